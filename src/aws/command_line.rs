//! A value of `credential_process` that every SDK splits alike: botocore splits it by itself (Python's shlex), most others
//! give it to `sh -c`, and the file it stands in has comments of its own.

use std::path::Path;

/// Both read them inside double quotes, each in its own way; or a parser of the file takes them for a comment.
const READ_DIFFERENTLY: &[char] = &['"', '\\', '$', '`', '#', ';'];

/// The command that prints the credentials of `service` of the project that listens at `socket`. No secret is in it.
///
/// An error is one sentence: a path that cannot be written so that all agree.
pub fn credential_process(devsup: &Path, socket: &Path, service: &str) -> Result<String, String> {
    Ok(format!("{} credential-process --socket {} {service}", quoted(devsup)?, quoted(socket)?))
}

fn quoted(path: &Path) -> Result<String, String> {
    let refused = |why: String| Err(format!("`{}`: a `credential_process` cannot name it: {why}", path.display()));
    let Some(text) = path.to_str() else { return refused("it is not UTF-8".to_owned()) };
    if !path.is_absolute() {
        return refused("it is no absolute path".to_owned());
    }
    match text.chars().find(|letter| READ_DIFFERENTLY.contains(letter) || letter.is_control()) {
        Some(letter) if letter.is_control() => refused("it has a control character".to_owned()),
        Some(letter) => refused(format!("SDKs read `{letter}` in it differently")),
        None => Ok(format!("\"{text}\"")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths_are_quoted_and_those_that_sdks_read_differently_are_refused() {
        let line = |devsup: &str| credential_process(Path::new(devsup), Path::new("/run/x y/control.sock"), "a");
        assert_eq!(
            line("/opt/it's here/devsup").as_deref(),
            Ok("\"/opt/it's here/devsup\" credential-process --socket \"/run/x y/control.sock\" a")
        );
        for bad in ["devsup", "/a\"b", "/a\\b", "/$HOME/devsup", "/`id`", "/a #b", "/a;b", "/a\nb"] {
            let why = line(bad).expect_err("it cannot be written");
            assert!(why.starts_with(&format!("`{bad}`: a `credential_process` cannot name it: ")), "{why}");
        }
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/a\xff"));
        assert!(credential_process(odd, Path::new("/x"), "a").is_err());
    }
}
