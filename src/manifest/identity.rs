//! What a service's process is made to be: `user`, `group`, `umask`, `nice`, `limits`, `tty`, `isolate`.
//!
//! Only shapes are checked here: that a user exists, and that devsup may become it, is seen when the service is started.

use super::desk::Desk;
use super::node::{Node, Place, Table, Value};
use super::{Service, resources};

/// Into `service`, whose `role` has been read.
pub(super) fn read(desk: &mut Desk<'_>, table: &Table, service: &mut Service) {
    let get = |key: &str| table.get(key).map(|entry| &entry.node);
    service.user = get("user").and_then(|node| account(desk, "user", node));
    service.group = get("group").and_then(|node| account(desk, "group", node));
    service.umask = get("umask").and_then(|node| umask(desk, node));
    service.nice = get("nice").and_then(|node| nice(desk, node));
    service.limits = table.get("limits").map(|entry| resources::read(desk, entry)).unwrap_or_default();
    service.tty = get("tty").and_then(|node| desk.flag("tty", node)).unwrap_or(false);
    service.isolate = get("isolate").and_then(|node| desk.flag("isolate", node)).unwrap_or(service.role.is_some());
}

/// The name or the number of a user or a group.
pub(super) fn account(desk: &mut Desk<'_>, key: &str, node: &Node) -> Option<String> {
    let text = match &node.value {
        Value::Whole(number) => number.to_string(),
        Value::Text(_) => desk.filled(key, node)?,
        _ => {
            desk.wrong(key, node, "a name or a number");
            return None;
        }
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) || matches!(node.value, Value::Whole(_)) {
        return number(desk, key, node.place, &text);
    }
    if key == "user"
        && let Some((user, group)) = text.split_once(':')
    {
        desk.refuse(node.place, format!("`user` cannot be `{text}`"))
            .label("the group is a key of its own")
            .help(format!("`user = \"{user}\"` and `group = \"{group}\"`"));
        return None;
    }
    // As shadow-utils has it, but generous: directories of companies have names such as `DOM\ada` and `ada@corp`.
    let odd = |letter: &char| letter.is_whitespace() || letter.is_control() || ":/,".contains(*letter);
    let first = text.chars().next().filter(|first| "-+~".contains(*first));
    let label = match (text.chars().find(odd), first) {
        (Some(' '), _) => "a space is in no such name".to_owned(),
        (Some(odd), _) => format!("`{}` is in no such name", odd.escape_default()),
        (None, Some(first)) => format!("no such name begins with `{first}`"),
        (None, None) => return Some(text),
    };
    desk.refuse(node.place, format!("`{key}` cannot be `{text}`")).label(label);
    None
}

/// 4294967295 is -1, which setuid(2) takes for "as it is".
fn number(desk: &mut Desk<'_>, key: &str, place: Place, text: &str) -> Option<String> {
    let id = text.parse::<u32>().ok().filter(|id| *id < u32::MAX);
    if id.is_none() {
        desk.refuse(place, format!("`{key}` is out of range"))
            .label("expected a name, or a number from 0 to 4294967294");
    }
    id.map(|id| id.to_string())
}

/// A string of octal digits, as umask(1) has it: a number in TOML is decimal, and `022` is none.
fn umask(desk: &mut Desk<'_>, node: &Node) -> Option<u32> {
    const SHAPE: &str = "a string of octal digits, such as `\"022\"`";
    if let Value::Whole(number) = node.value {
        let typed = desk.typed(node.place).to_owned();
        let bits = match typed.strip_prefix("0o") {
            Some(_) => u32::try_from(number).ok(),
            None => u32::from_str_radix(&typed, 8).ok(),
        };
        let draft = desk.wrong("umask", node, SHAPE);
        if let Some(bits) = bits.filter(|bits| *bits <= 0o777) {
            draft.help(format!("`umask = \"{bits:03o}\"`"));
        }
        return None;
    }
    if !matches!(node.value, Value::Text(_)) {
        desk.wrong("umask", node, SHAPE);
        return None;
    }
    let text = desk.filled("umask", node)?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let octal = digits.bytes().all(|byte| byte.is_ascii_digit());
    let bits = u32::from_str_radix(digits, 8).ok().filter(|bits| octal && *bits <= 0o777);
    if bits.is_none() {
        let label = if text.contains('=') {
            "symbols are not known here: expected octal digits"
        } else {
            "expected octal digits, `000` to `777`"
        };
        desk.refuse(node.place, format!("`umask` cannot be `{text}`")).label(label);
    }
    bits
}

fn nice(desk: &mut Desk<'_>, node: &Node) -> Option<i32> {
    let Value::Whole(number) = node.value else {
        desk.wrong("nice", node, "a whole number, -20 to 19");
        return None;
    };
    let nice = i32::try_from(number).ok().filter(|nice| (-20..=19).contains(nice));
    if nice.is_none() {
        desk.refuse(node.place, "`nice` is out of range").label("expected -20 (goes first) to 19 (goes last)");
    }
    nice
}
