//! Findings as a page for people, and as the exit code.

use std::fmt::Write as _;

use super::finding::{Bar, Finding, Verdict};
use crate::cli::failure::Code;
use crate::cli::paint::Paint;
use crate::cli::terminal::Talk;

/// All lines, each ended. What is well is one line, and with `-v` its detail too; with `-q` it is left out.
pub(crate) fn text(findings: &[Finding], paint: Paint, talk: Talk) -> String {
    let mut text = String::new();
    for finding in findings.iter().filter(|finding| talk != Talk::Quiet || finding.verdict != Verdict::Ok) {
        let word = match finding.verdict {
            Verdict::Ok => paint.green("ok"),
            Verdict::Warn => paint.yellow("warn"),
            Verdict::Error => paint.red("error"),
        };
        // Colours have no width.
        let gap = match finding.verdict {
            Verdict::Ok => "     ",
            Verdict::Warn => "   ",
            Verdict::Error => "  ",
        };
        writeln!(text, "{word}{gap}{}: {}", paint.bold(&subject(finding)), finding.sentence).ok();
        if finding.verdict != Verdict::Ok || talk == Talk::Verbose {
            below(&mut text, &paint.dim("cause:"), finding.detail.as_deref());
            below(&mut text, &paint.cyan("fix:"), finding.fix.as_deref());
        }
    }
    text + &summary(findings) + "\n"
}

fn subject(finding: &Finding) -> String {
    match &finding.service {
        // The check of a service as a whole is named as it is.
        Some(service) => format!("{} {service}", finding.check),
        None => finding.check.to_owned(),
    }
}

/// Under its finding; what has several lines begins on its own, so that it can be copied whole.
fn below(text: &mut String, label: &str, words: Option<&str>) {
    let Some(words) = words.map(str::trim_end) else { return };
    if words.contains('\n') {
        writeln!(text, "  {label}").ok();
        for line in words.lines() {
            writeln!(text, "    {line}").ok();
        }
    } else {
        writeln!(text, "  {label} {words}").ok();
    }
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let (warnings, errors) = (count(Verdict::Warn), count(Verdict::Error));
    let counted = format!("{} ok, {}, {}", count(Verdict::Ok), many(warnings, "warning"), many(errors, "error"));
    let would = match code(findings) {
        Code::OK => "`devsup up` would work",
        Code::CREDENTIALS_REFUSED => "`devsup up` would not get all credentials",
        _ => "`devsup up` would not work",
    };
    format!("{counted}: {would}")
}

/// Whether `up` would work.
pub(crate) fn code(findings: &[Finding]) -> Code {
    let mut errors = findings.iter().filter(|finding| finding.verdict == Verdict::Error).peekable();
    if errors.peek().is_none() {
        Code::OK
    } else if errors.any(|finding| finding.bar == Bar::Refused) {
        Code::CREDENTIALS_REFUSED
    } else {
        Code::FAILED
    }
}
