//! References in text that only a run can fill: `${PORT}`, `${PORT_ADMIN}`, `${ports.db.sql}`, `${DEVSUP_RUN}`.
//!
//! When the manifest is read they become marks that cannot be confused with what was meant literally: a NUL, which
//! neither an argument nor a variable can hold.

pub(super) const OPEN: char = '\0';
const CLOSE: char = '}';

/// The mark that stands for `${name}`.
pub(super) fn mark(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// The text with every reference filled. An error is the name that `known` does not know.
pub fn fill(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        filled.push_str(before);
        let (name, after) = after.split_once(CLOSE).unwrap_or((after, ""));
        filled.push_str(&known(name).ok_or_else(|| name.to_owned())?);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// As it was written, for people.
pub fn shown(text: &str) -> String {
    text.replace(OPEN, "${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_filled_and_nothing_else() {
        let text = format!("--port {} $PORT ${{PORT}} {}", mark("PORT"), mark("ports.db.sql"));
        assert_eq!(shown(&text), "--port ${PORT} $PORT ${PORT} ${ports.db.sql}");
        let known = |name: &str| (name == "PORT").then(|| "81".to_owned());
        assert_eq!(fill(&text, &known), Err("ports.db.sql".to_owned()));
        let both = |name: &str| Some(if name == "PORT" { "81" } else { "127.0.0.1:5" }.to_owned());
        assert_eq!(fill(&text, &both).as_deref(), Ok("--port 81 $PORT ${PORT} 127.0.0.1:5"));
    }
}
