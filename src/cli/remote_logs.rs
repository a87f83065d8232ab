//! The logs of a project whose files we cannot open, through its socket.

use std::io::{self, Write as _};
use std::path::Path;

use super::audience::Audience;
use super::failure::Failure;
use crate::control::{Client, Lines};
use crate::logs::Query;
use crate::logs::show::{Printer, entry};

/// Must the socket be asked? A folder that is not there yet has nothing that we could not read.
pub(crate) fn closed(logs: &Path) -> bool {
    std::fs::read_dir(logs).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

pub(crate) async fn open(client: &Client, query: &Query) -> Result<Lines, Failure> {
    let mut path = format!("/v1/logs?follow={}", query.follow);
    if let Some(lines) = query.tail {
        path.extend(["&tail=", &lines.to_string()]);
    }
    for service in query.services.iter().filter(|_| !query.all) {
        path.extend(["&service=", service.as_str()]);
    }
    let mut filter = form_urlencoded::Serializer::new(String::new());
    filter.extend_pairs(query.filter.pairs());
    path.extend(["&", &filter.finish()]);
    Ok(client.lines(&path).await?)
}

/// Prints what comes, line by line as it comes, until there is no more.
pub(crate) async fn print(client: &Client, query: &Query, mut printer: Printer) -> Result<(), Failure> {
    let mut lines = open(client, query).await?;
    let mut text = Vec::new();
    let audience = Audience::of_stdout();
    loop {
        let line = tokio::select! {
            line = lines.next() => line?,
            failure = audience.left() => return Err(failure),
        };
        let Some(line) = line else { return Ok(()) };
        if let Some(entry) = entry(&line) {
            printer.line(&entry, &mut text);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text)?;
        stdout.flush()?;
        text.clear();
    }
}
