//! Where a probe asks: `host:port` and `http://host:port/path`. Names are resolved by whoever asks.

// The addresses alone: nothing here opens a socket.
use core::net::{Ipv4Addr, Ipv6Addr};

use super::desk::{Desk, quoted};
use super::node::{Node, Place, Value};
use super::references::Use;
use super::{Address, HttpUrl, Target, readiness, words};

const SCHEME: &str = "http://";

/// `http://HOST:PORT/PATH`; the port is 80 unless it is said. `/PATH` asks a port of the service's own.
pub(super) fn http(desk: &mut Desk<'_>, node: &Node) -> Option<HttpUrl> {
    let text = desk.filled_for(Use::Address, "http", node)?;
    if text.starts_with('/') {
        check_path(desk, node.place, &text)?;
        return Some(HttpUrl { target: Target::Own(own_http(desk, node.place, &text)?), path: text });
    }
    let Some(rest) = text.strip_prefix(SCHEME) else {
        not_http(desk, node.place, &text);
        return None;
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        desk.refuse(node.place, "`http` holds a user or a password")
            .label("it would be shown to whoever looks")
            .help("use `exec` with a program that takes it from the environment");
        return None;
    }
    check_path(desk, node.place, path)?;
    match address(authority, Some(80)) {
        Ok(address) => {
            let slash = if path.starts_with('/') { "" } else { "/" };
            Some(HttpUrl { target: Target::At(address), path: format!("{slash}{path}") })
        }
        Err(label) => {
            desk.refuse(node.place, "`http` is not a URL").label(label);
            None
        }
    }
}

fn check_path(desk: &mut Desk<'_>, place: Place, path: &str) -> Option<()> {
    if path.contains('#') {
        desk.refuse(place, "`http` is not a URL to ask for").label("what follows `#` is never sent");
        return None;
    }
    if let Some(letter) = path.chars().find(|letter| !letter.is_ascii_graphic()) {
        let label = match letter {
            ' ' => "a space is written as `%20` in a URL".to_owned(),
            _ => format!("`{}` is written as `%…` in a URL", letter.escape_default()),
        };
        desk.refuse(place, "`http` is not a URL").label(label);
        return None;
    }
    Some(())
}

/// The port that a path alone is asked for at.
fn own_http(desk: &mut Desk<'_>, place: Place, path: &str) -> Option<String> {
    let (service, list) = desk.own_ports();
    let service = service.to_owned();
    let several = match readiness::own_http(list) {
        Ok(name) => return Some(name.to_owned()),
        Err(names) => quoted(names.into_iter()),
    };
    let whole = format!("or write it in full: `http = \"http://127.0.0.1:PORT{path}\"`");
    let external = desk.externals.contains(&service);
    let draft = desk.refuse(place, "`http` is a path alone");
    if external {
        draft.label(format!("an external service has no ports: somebody else runs `{service}`"));
        draft.help(whole.trim_start_matches("or "));
    } else if several.is_empty() {
        draft.label(format!("it asks a port of the service itself, and `{service}` has none of TCP"));
        draft.help(format!("say in `[services.{service}.ports]` where it listens, {whole}"));
    } else {
        draft.label(format!("which port? `{service}` has {several}"));
        draft.help(format!("name the one that is meant `http`, {whole}"));
    }
    None
}

fn not_http(desk: &mut Desk<'_>, place: Place, text: &str) {
    let safe = !text.contains('@');
    if text.starts_with("https://") {
        let draft = desk.refuse(place, "`http` does not speak TLS").label("expected `http://…`");
        let url = if safe { text } else { "URL" };
        draft.help(format!("let a program ask: `exec = [\"curl\", \"-fsS\", \"{url}\"]`"));
    } else {
        let draft = desk
            .refuse(place, "`http` is not a URL")
            .label("expected `http://HOST:PORT/PATH`, or a `/PATH` of the service's own port");
        let authority = text.split('/').next().unwrap_or_default();
        if address(authority, None).is_ok() {
            draft.help(format!("`http = \"http://{text}\"`"));
        }
    }
}

/// `HOST:PORT`, or the name of a port of the service's own.
pub(super) fn tcp(desk: &mut Desk<'_>, node: &Node) -> Option<Target> {
    if let Value::Whole(number) = node.value {
        let draft = desk.wrong("tcp", node, "`HOST:PORT`");
        if (1..=65535).contains(&number) {
            draft.help(format!("`tcp = \"127.0.0.1:{number}\"`"));
        }
        return None;
    }
    let text = desk.filled_for(Use::Address, "tcp", node)?;
    if let Some(listed) = desk.own_ports().1.get(&text) {
        if listed.port.is_tcp() {
            return Some(Target::Own(text));
        }
        let place = listed.listen;
        desk.refuse(node.place, format!("port `{text}` cannot be asked by `tcp`"))
            .label("expected a port of TCP")
            .at(place, "it is a unix socket")
            .help("let it say so by `notify` or `log`, or ask by `exec`");
        return None;
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let (scheme, rest) = (scheme.to_owned(), rest.trim_end_matches('/').to_owned());
        let draft = desk.refuse(node.place, "`tcp` is not an address");
        draft.label(format!("expected `HOST:PORT`, without `{scheme}://`"));
        if address(&rest, None).is_ok() {
            draft.help(format!("`tcp = \"{rest}\"`"));
        }
        return None;
    }
    if is_a_name_of_a_port(&text) {
        no_port(desk, node.place, &text);
        return None;
    }
    match address(&text, None) {
        Ok(address) => Some(Target::At(address)),
        Err(label) => {
            let draft = desk.refuse(node.place, "`tcp` is not an address").label(label);
            let port = text.strip_prefix(':').unwrap_or(&text);
            if port.parse::<u16>().is_ok_and(|port| port > 0) {
                draft.help(format!("`tcp = \"127.0.0.1:{port}\"`"));
            }
            None
        }
    }
}

fn is_a_name_of_a_port(text: &str) -> bool {
    text != "localhost"
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
}

fn no_port(desk: &mut Desk<'_>, place: Place, name: &str) {
    let (service, list) = desk.own_ports();
    let names = || list.keys().map(String::as_str);
    let label = match words::nearest(name, names()) {
        _ if list.is_empty() => format!("`{service}` has no `[services.{service}.ports]`"),
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("`{service}` has {}", quoted(names())),
    };
    let draft = desk.refuse(place, format!("`{name}` is no port of the service")).label(label);
    draft.help("a port's name is asked where the run listens; in full it is `tcp = \"HOST:PORT\"`");
}

/// `HOST:PORT`, `[IPV6]:PORT`. What is wrong with it is a label under it.
fn address(text: &str, port: Option<u16>) -> Result<Address, String> {
    let (host, number) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("`[` is not closed")?;
        let host: Ipv6Addr = host.parse().map_err(|_| format!("`{host}` is not an IPv6 address"))?;
        let number = match rest.strip_prefix(':') {
            Some(number) => Some(number),
            None if rest.is_empty() => None,
            None => return Err(format!("expected `:PORT` after `]`, not `{rest}`")),
        };
        (host.to_string(), number)
    } else if text.matches(':').count() > 1 {
        return Err("an IPv6 address stands in brackets: `[::1]:8001`".into());
    } else {
        let (host, number) = text.split_once(':').map_or((text, None), |(host, number)| (host, Some(number)));
        (check_host(host)?.to_owned(), number)
    };
    let port = match number {
        // `parse` would take a `+`.
        Some(number) if number.starts_with('+') => None,
        Some(number) => number.parse().ok().filter(|port| *port > 0),
        None => Some(port.ok_or("the port is missing: expected `HOST:PORT`")?),
    };
    let port = port.ok_or_else(|| format!("`{}` is not a port: expected 1 to 65535", number.unwrap_or_default()))?;
    Ok(Address { host, port })
}

fn check_host(host: &str) -> Result<&str, String> {
    let word = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if host.is_empty() {
        return Err("the host is missing: expected `HOST:PORT`".into());
    }
    if let Some(letter) = host.chars().find(|letter| !word(*letter)) {
        return Err(format!("`{}` cannot be in the name of a host", letter.escape_default()));
    }
    let digits = host.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    if digits && host.parse::<Ipv4Addr>().is_err() {
        let what = if host.contains('.') { "is not an IPv4 address" } else { "is no host: expected `HOST:PORT`" };
        return Err(format!("`{host}` {what}"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("[::1]:80", "[::1]:80"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
            ("db_1.local-net:65535", "db_1.local-net:65535"),
        ] {
            assert_eq!(address(text, None).map(|address| address.to_string()).as_deref(), Ok(shown));
        }
        assert_eq!(address("localhost", Some(80)), Ok(Address { host: "localhost".into(), port: 80 }));
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("localhost", "port is missing"),
            (":80", "host is missing"),
            ("::1:80", "in brackets"),
            ("[::1", "not closed"),
            ("[::1]80", "expected `:PORT`"),
            ("[::g]:80", "`::g` is not an IPv6"),
            ("127.0.0.300:80", "not an IPv4"),
            ("8001", "no host"),
            ("a b:80", "cannot be in"),
            ("*:80", "`*` cannot be in"),
            ("a:0", "1 to 65535"),
            ("a:65536", "1 to 65535"),
            ("a:+80", "`+80` is not a port"),
            ("a:", "`` is not a port"),
            ("a:http", "`http` is not a port"),
        ] {
            assert!(address(text, None).is_err_and(|label| label.contains(why)), "{text}: {:?}", address(text, None));
        }
    }
}
