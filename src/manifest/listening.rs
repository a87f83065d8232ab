//! What `listen` says: `127.0.0.1:8001`, `[::1]:8001`, `localhost:8001`, `127.0.0.1:auto`, or the path of a unix socket.

// The addresses alone: nothing here opens a socket.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Listen;
use super::desk::Desk;
use super::node::{Node, Value};

/// `sun_path` without its NUL.
const LONGEST: usize = 107;

const SHAPE: &str = "expected `IP:PORT`, `IP:auto` or the path of a unix socket";

/// Why it is none, and how it could be said.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    label: String,
    mend: Option<String>,
}

/// Reads it; what it cannot be has been reported, with what it could be. `key` is what stands before it.
pub(super) fn read(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<Listen> {
    let (title, wrong) = match &node.value {
        Value::Whole(number) => (format!("`{key}` is a number"), bare(&number.to_string(), SHAPE)),
        Value::Text(_) => {
            let text = desk.filled("listen", node)?;
            let read = if is_path(&text) { unix(desk, &text) } else { tcp(&text) };
            match read {
                Ok(listen) => return Some(listen),
                Err(wrong) => (format!("`{key}` cannot listen at `{text}`"), wrong),
            }
        }
        _ => {
            desk.wrong(key, node, "an address such as `127.0.0.1:8001`");
            return None;
        }
    };
    let draft = desk.refuse(node.place, title).label(wrong.label);
    if let Some(mend) = wrong.mend {
        draft.help(format!("`{key} = \"{mend}\"`"));
    }
    None
}

/// docker's `8001/tcp` is none.
fn is_path(text: &str) -> bool {
    text.contains('/') && !text.contains("://") && !text.ends_with("/tcp") && !text.ends_with("/udp")
}

fn unix(desk: &mut Desk<'_>, text: &str) -> Result<Listen, Wrong> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Err(wrong("a path needs no `unix:`", Some(path)));
    }
    if text.ends_with('/') {
        return Err(wrong("this is a folder: expected the path of a socket in it", Some(&format!("{text}http.sock"))));
    }
    let path = desk.path(text);
    let length = path.as_os_str().len();
    if length > LONGEST {
        let label = format!("as an absolute path it has {length} bytes, and a unix socket's at most {LONGEST}");
        return Err(wrong(&label, None));
    }
    Ok(Listen::Unix(path))
}

fn tcp(text: &str) -> Result<Listen, Wrong> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let mend = Some(rest.trim_end_matches('/')).filter(|rest| is_good(rest));
        return Err(wrong(&format!("expected `IP:PORT`, without `{scheme}://`"), mend));
    }
    if let Some((rest, protocol)) = text.split_once('/') {
        let label = if protocol == "udp" { "devsup holds no UDP ports" } else { "it is TCP always" };
        let mend = bare(rest, SHAPE).mend.or_else(|| is_good(rest).then(|| rest.to_owned()));
        return Err(Wrong { label: label.into(), mend: mend.filter(|_| protocol != "udp") });
    }
    let (ip, port) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']').ok_or_else(|| wrong("`[` is not closed", None))?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| wrong(&format!("`{ip}` is not an IPv6 address"), None))?;
        let port = rest.strip_prefix(':').ok_or_else(|| wrong("expected `:PORT` after `]`", None))?;
        (IpAddr::V6(ip), port)
    } else {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bare(text, SHAPE))?;
        (ip(host, port)?, port)
    };
    if port == "auto" {
        return Ok(Listen::Auto(ip));
    }
    match number(port) {
        Ok(port) => Ok(Listen::At(SocketAddr::new(ip, port))),
        Err(label) => {
            let mend = (port == "0").then(|| Listen::Auto(ip).to_string());
            Err(Wrong { label, mend })
        }
    }
}

/// What stands before the last colon.
fn ip(host: &str, port: &str) -> Result<IpAddr, Wrong> {
    let local = |port: &str| format!("127.0.0.1:{port}");
    let good = port == "auto" || number(port).is_ok();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if host == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(ip.into());
    }
    if host.is_empty() {
        let label = "the address is missing: `127.0.0.1` is this machine alone, `0.0.0.0` everybody";
        return Err(Wrong { label: label.into(), mend: good.then(|| local(port)) });
    }
    if host == "*" {
        let label = "every address of the machine is `0.0.0.0`, or `[::]` with IPv6";
        return Err(Wrong { label: label.into(), mend: good.then(|| format!("0.0.0.0:{port}")) });
    }
    // docker's `8001:80`, `127.0.0.1:8001:80`
    let of_docker = |(ip, port): (&str, &str)| digits(port) && ip.parse::<Ipv4Addr>().is_ok();
    if digits(port) && (digits(host) || host.rsplit_once(':').is_some_and(of_docker)) {
        let mend = if digits(host) { local(host) } else { host.to_owned() };
        let label = "a service has no network of its own here: there is one port, not a pair";
        return Err(Wrong { label: label.into(), mend: Some(mend).filter(|mend| is_good(mend)) });
    }
    if host.contains(':') {
        let label = "an IPv6 address stands in brackets: `[::1]:8001`";
        let mend = Some(format!("[{host}]:{port}")).filter(|mend| is_good(mend));
        return Err(Wrong { label: label.into(), mend });
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong(&format!("`{host}` is not an IPv4 address"), None));
    }
    let label = format!("`{host}` is a name: expected an IP address of this machine");
    Err(Wrong { label, mend: good.then(|| local(port)) })
}

fn number(port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(0) => Err("0 would be another port at every start".into()),
        // `parse` would take a `+`.
        Ok(number) if !port.starts_with('+') => Ok(number),
        _ => Err(format!("`{port}` is not a port: expected 1 to 65535, or `auto`")),
    }
}

/// A number, or a word, alone.
fn bare(text: &str, shape: &str) -> Wrong {
    let mend = match number(text) {
        Ok(port) => Some(format!("127.0.0.1:{port}")),
        Err(_) if matches!(text, "0" | "auto") => Some("127.0.0.1:auto".into()),
        Err(_) => None,
    };
    let label = match text {
        "0" => "0 would be another port at every start",
        "localhost" => "the port is missing: expected `localhost:PORT`",
        text if text.parse::<IpAddr>().is_ok() => "the port is missing: expected `IP:PORT` or `IP:auto`",
        _ if mend.is_some() => "the address is missing: `127.0.0.1` is this machine alone, `0.0.0.0` everybody",
        _ => shape,
    };
    Wrong { label: label.into(), mend }
}

fn is_good(text: &str) -> bool {
    !text.contains('/') && tcp(text).is_ok()
}

fn wrong(label: &str, mend: Option<&str>) -> Wrong {
    Wrong { label: label.into(), mend: mend.map(str::to_owned) }
}

/// A unix path as a person would write it: relative where it lies in the manifest's folder, and with a `/` in any case.
pub(super) fn written(socket: &Path, dir: &Path) -> String {
    match socket.strip_prefix(dir) {
        Ok(inside) if inside.components().count() > 1 => inside.to_string_lossy().into_owned(),
        Ok(inside) => format!("./{}", inside.display()),
        Err(_) => socket.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<String, Wrong> {
        let mut desk = Desk::new(&|_| None, Path::new("/srv/shop"));
        let read = if is_path(text) { unix(&mut desk, text) } else { tcp(text) };
        read.map(|listen| listen.to_string())
    }

    #[test]
    fn what_can_be_listened_at() {
        for (text, shown) in [
            ("127.0.0.1:8001", "127.0.0.1:8001"),
            ("localhost:8001", "127.0.0.1:8001"),
            ("localhost:auto", "127.0.0.1:auto"),
            ("0.0.0.0:auto", "0.0.0.0:auto"),
            ("[0:0::1]:65535", "[::1]:65535"),
            ("[::]:auto", "[::]:auto"),
            ("run/a.sock", "/srv/shop/run/a.sock"),
            ("./a.sock", "/srv/shop/a.sock"),
            ("/run/a.sock", "/run/a.sock"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(shown), "{text}");
        }
        assert!(listen(&format!("/{}", "x".repeat(LONGEST - 1))).is_ok());
    }

    #[test]
    fn what_cannot_says_why_and_what_could() {
        for (text, why, mend) in [
            ("8001", "address is missing", "127.0.0.1:8001"),
            (":8001", "address is missing", "127.0.0.1:8001"),
            (":auto", "address is missing", "127.0.0.1:auto"),
            ("auto", "address is missing", "127.0.0.1:auto"),
            ("0", "another port", "127.0.0.1:auto"),
            ("127.0.0.1:0", "another port", "127.0.0.1:auto"),
            ("[::1]:0", "another port", "[::1]:auto"),
            ("*:80", "every address", "0.0.0.0:80"),
            ("8001:80", "not a pair", "127.0.0.1:8001"),
            ("0.0.0.0:8001:80", "not a pair", "0.0.0.0:8001"),
            ("8001/tcp", "TCP always", "127.0.0.1:8001"),
            ("8001/udp", "no UDP", ""),
            ("tcp://127.0.0.1:80", "without `tcp://`", "127.0.0.1:80"),
            ("http://web/", "without `http://`", ""),
            ("unix:/run/a.sock", "no `unix:`", "/run/a.sock"),
            ("/run/", "a folder", "/run/http.sock"),
            ("web:80", "`web` is a name", "127.0.0.1:80"),
            ("web", "expected `IP:PORT`", ""),
            ("localhost", "port is missing", ""),
            ("127.0.0.1", "port is missing", ""),
            ("127.0.0.300:80", "not an IPv4", ""),
            ("::1:8001", "in brackets", "[::1]:8001"),
            ("[::1", "not closed", ""),
            ("[::1]", "expected `:PORT`", ""),
            ("[::g]:1", "not an IPv6", ""),
            ("127.0.0.1:65536", "1 to 65535", ""),
            ("127.0.0.1:+80", "1 to 65535", ""),
            ("127.0.0.1:", "1 to 65535", ""),
        ] {
            let wrong = listen(text).expect_err(text);
            assert!(wrong.label.contains(why), "{text}: {wrong:?}");
            assert_eq!(wrong.mend.as_deref().unwrap_or_default(), mend, "{text}");
        }
        let long = listen(&format!("/{}", "x".repeat(LONGEST))).expect_err("too long");
        assert!(long.label.contains("108 bytes"), "{long:?}");
    }
}
