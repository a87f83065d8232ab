//! Measures what this project promises of itself, on the release binary, and fails if a promise is broken.
//!
//! `cargo bench --bench bars`. Each figure is a median of several runs, each in a home folder of its own, on the embedded
//! AWS. Nothing of the machine is changed. Rows without a bar are there to be watched. Each time waits for a quiet machine, a
//! minute in all; on one that stays busy the times are the machine's, so the load average is printed beside them.

mod ends;
mod measures;
mod place;
mod process;

use std::io::{self, Write};
use std::process::ExitCode;

use place::Result;

/// One line of the table.
struct Row {
    what: &'static str,
    /// `None`: no promise is made.
    bar: Option<f64>,
    unit: &'static str,
    measured: Vec<f64>,
}

impl Row {
    fn median(&self) -> Option<f64> {
        let mut sorted = self.measured.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    fn missed(&self) -> bool {
        match (self.bar, self.median()) {
            (Some(bar), Some(median)) => median > bar,
            (bar, None) => bar.is_some(),
            (None, _) => false,
        }
    }

    fn line(&self) -> String {
        let (Row { what, unit, measured, .. }, median) = (self, self.median());
        let number =
            |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2} {unit}"));
        let least = measured.iter().copied().min_by(f64::total_cmp);
        let most = measured.iter().copied().max_by(f64::total_cmp);
        let verdict = match (self.bar, self.missed()) {
            (None, _) => "",
            (Some(_), false) => "pass",
            (Some(_), true) => "MISS",
        };
        let (bar, median, least, most) = (number(self.bar), number(median), number(least), number(most));
        format!("| {what} | {bar} | {median} | {least} | {most} | {} | {verdict} |", measured.len())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        // This program is also the services it starts.
        Some(place::ACT) => place::act(arguments.next().unwrap_or_default().as_ref()),
        _ => match measured() {
            Ok(rows) if rows.iter().any(Row::missed) => ExitCode::FAILURE,
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                drop(writeln!(io::stderr(), "error: {error}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn measured() -> Result<Vec<Row>> {
    let mut out = io::stdout();
    writeln!(out, "{}\n", process::machine())?;
    writeln!(out, "| what | bar | median | least | most | runs | |\n|---|---:|---:|---:|---:|---:|---|")?;
    let mut all = Vec::new();
    for measure in measures::ALL {
        for row in measure()? {
            writeln!(out, "{}", row.line())?;
            all.push(row);
        }
    }
    writeln!(out, "\n{}", process::machine())?;
    Ok(all)
}
