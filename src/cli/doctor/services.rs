//! Whether each service could be started: its user, folder, command, files and limits.

use std::path::PathBuf;

use super::finding::Finding;

pub(super) struct Facts {
    pub(super) name: String,
    /// As it is written; `None`: somebody else runs it.
    pub(super) program: Option<String>,
    /// Whom it runs as.
    pub(super) who: Result<String, String>,
    /// The file that would be executed; `None`: nobody could look.
    pub(super) found: Option<Result<PathBuf, String>>,
    pub(super) env_file: Result<(), String>,
    /// What of `limits` and `nice` cannot be had, a sentence each.
    pub(super) limits: Vec<String>,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(program) = &facts.program else {
        return vec![Finding::ok("service", "somebody else runs it").of(&facts.name)];
    };
    let mut wrong: Vec<&str> = Vec::new();
    wrong.extend(facts.who.as_ref().err().map(String::as_str));
    wrong.extend(facts.found.as_ref().and_then(|found| found.as_ref().err()).map(String::as_str));
    wrong.extend(facts.env_file.as_ref().err().map(String::as_str));
    wrong.extend(facts.limits.iter().map(String::as_str));
    if !wrong.is_empty() {
        return wrong.into_iter().map(|sentence| split(sentence).of(&facts.name)).collect();
    }
    let who = facts.who.as_deref().unwrap_or_default();
    vec![
        match &facts.found {
            Some(Ok(file)) => Finding::ok("service", format!("`{program}` is {}, as {who}", file.display())),
            _ => Finding::warn("service", format!("whether {who} can execute `{program}` could not be seen")),
        }
        .of(&facts.name),
    ]
}

/// The sentences that a failed start has end in their mend.
fn split(sentence: &str) -> Finding {
    match sentence.split_once("; ") {
        Some((what, mend)) => Finding::error("service", what).fix(mend),
        None => Finding::error("service", sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;

    fn well() -> Facts {
        Facts {
            name: "a".into(),
            program: Some("node".into()),
            who: Ok("web".into()),
            found: Some(Ok("/usr/bin/node".into())),
            env_file: Ok(()),
            limits: Vec::new(),
        }
    }

    #[test]
    fn each_fault_is_a_line_with_its_mend() {
        let wrong = Facts {
            found: Some(Err("command `node`: not found in PATH (`/bin`); install it, or write its path".into())),
            env_file: Err("env_file `/x/.env` cannot be read: no such file".into()),
            ..well()
        };
        let all = judge(&wrong);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|found| found.verdict == Verdict::Error && found.service.as_deref() == Some("a")));
        assert_eq!(all[0].sentence, "command `node`: not found in PATH (`/bin`)");
        assert_eq!(all[0].fix.as_deref(), Some("install it, or write its path"));
    }

    #[test]
    fn a_good_one_is_one_line_and_an_external_one_is_not_looked_at() {
        assert_eq!(judge(&well())[0].sentence, "`node` is /usr/bin/node, as web");
        let external = Facts { program: None, who: Err("no user".into()), ..well() };
        assert_eq!(judge(&external)[0].verdict, Verdict::Ok);
        assert_eq!(judge(&Facts { found: None, ..well() })[0].verdict, Verdict::Warn);
    }
}
