//! `devsup unit`: the systemd unit of this manifest, with its own timeouts. `contrib/systemd/` has the same for any.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Code, Failure, Kind};
use crate::cli::verbs::config::{load, trust};
use crate::manifest::{Manifest, Name, Service};

/// Print the systemd unit that keeps this project up
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  devsup unit | sudo tee /etc/systemd/system/devsup-shop.service\n  devsup unit --user > ~/.config/systemd/user/devsup-shop.service\n"
)]
pub(crate) struct Unit {
    /// For your own service manager: a project of your own, and no root
    #[arg(long)]
    user: bool,
    /// Read a manifest that other people may write to
    #[arg(long)]
    insecure_manifest: bool,
}

/// What stopping one service may take beyond its own timeout: SIGKILL, a keeper that does not answer, the tree's end.
const BEYOND: Duration = Duration::from_secs(5);
/// And devsup itself, at the end.
const SLACK: Duration = Duration::from_secs(10);

impl Unit {
    pub(crate) fn run(self, context: &Context) -> Result<Code, Failure> {
        let manifest = load(context, trust(self.insecure_manifest))?.manifest;
        let own = |error| Failure::new(Kind::Failed, "this program's own file is not known").cause(error);
        let program = std::env::current_exe().map_err(own)?;
        let Some(file) = manifest.files.first() else { return Ok(Code::OK) };
        let (program, file) = (word(&program)?, word(file)?);
        let text =
            if self.user { for_user(&manifest, &program, &file) } else { for_system(&manifest, &program, &file) };
        context.terminal.print(&text)?;
        Ok(Code::OK)
    }
}

/// One word of a command line in a unit (systemd.service(5), systemd.unit(5)): `%`, `$`, `"` and `\` mean something there.
fn word(path: &Path) -> Result<String, Failure> {
    let bad = || Failure::new(Kind::Usage, format!("path `{}` cannot stand in a unit", path.display()));
    let text = path.to_str().filter(|text| !text.contains(char::is_control)).ok_or_else(bad)?;
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '%' | '$' => quoted.extend([letter, letter]),
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    Ok(if text.contains(|letter: char| !letter.is_ascii_alphanumeric() && !"/._-+".contains(letter)) {
        quoted
    } else {
        text.to_owned()
    })
}

fn for_system(manifest: &Manifest, program: &str, file: &str) -> String {
    let name = &manifest.name;
    let mut text = format!(
        "# As root:\n#   devsup unit > /etc/systemd/system/devsup-{name}.service\n#   systemctl daemon-reload && systemctl enable --now devsup-{name}\n\n\
         [Unit]\nDescription=devsup project {name}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=notify\nNotifyAccess=main\n\
         ExecStart={program} -f {file} up --system\n\
         ExecReload={program} -p {name}@system reload\n\
         ExecStopPost={program} __await-empty --within {await}\n\
         RuntimeDirectory=devsup/{name}\nStateDirectory=devsup/{name}\nLogsDirectory=devsup/{name}\n\
         StateDirectoryMode=0700\nLogsDirectoryMode=0700\n",
        await = await_seconds(manifest),
    );
    text.push_str(&common(manifest));
    text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    text
}

fn for_user(manifest: &Manifest, program: &str, file: &str) -> String {
    let name = &manifest.name;
    let mut text = format!(
        "# As yourself:\n#   devsup unit --user > ~/.config/systemd/user/devsup-{name}.service\n#   systemctl --user daemon-reload && systemctl --user enable --now devsup-{name}\n\
         # Without lingering it ends when you log out, and does not begin before you log in:\n#   loginctl enable-linger\n\n\
         [Unit]\nDescription=devsup project {name}\n\n\
         [Service]\nType=notify\nNotifyAccess=main\n\
         ExecStart={program} -f {file} up --unit\n\
         ExecReload={program} -f {file} reload\n\
         ExecStopPost={program} __await-empty --within {await} --manifest {file}\n",
        await = await_seconds(manifest),
    );
    text.push_str(&common(manifest));
    text.push_str("\n[Install]\nWantedBy=default.target\n");
    text
}

fn common(manifest: &Manifest) -> String {
    let mut text = String::new();
    writeln!(
        text,
        "# Only devsup is told to end: it stops its services in order. If it dies, their keepers end them.\n\
         KillMode=process\nDelegate=yes\nOOMPolicy=continue\n\
         # A manifest with an error (2) does not get better by trying again.\n\
         Restart=on-failure\nRestartSec=2\nRestartPreventExitStatus=2\n\
         # devsup says READY=1 when every service is ready, or has a lasting reason not to be (systemctl status shows it).\n\
         TimeoutStartSec=infinity\n\
         # Above the longest way through the services: {} s by their stop timeouts.\n\
         TimeoutStopSec={}",
        longest_stop(manifest).as_secs(),
        (longest_stop(manifest) + SLACK).as_secs().max(await_seconds(manifest)),
    )
    .ok();
    text
}

/// Stopping one takes at most this long; `stop_command` is within it.
fn stop_of(service: &Service) -> Duration {
    if service.external() { Duration::ZERO } else { service.stop_timeout + BEYOND }
}

/// Dependents stop before what they depend on: the longest chain counts.
fn longest_stop(manifest: &Manifest) -> Duration {
    let mut known = BTreeMap::new();
    manifest.services.keys().map(|name| chain(manifest, name, &mut known)).max().unwrap_or_default()
}

/// Of a service and all that must wait for it. A checked manifest has no circle.
fn chain(manifest: &Manifest, name: &Name, known: &mut BTreeMap<Name, Duration>) -> Duration {
    if let Some(known) = known.get(name) {
        return *known;
    }
    let Some(service) = manifest.services.get(name) else { return Duration::ZERO };
    let below = service.depends_on.keys().map(|needed| chain(manifest, needed, known)).max().unwrap_or_default();
    let whole = stop_of(service) + below;
    known.insert(name.clone(), whole);
    whole
}

/// When devsup has died all runs are ended at once, each by its own keeper.
fn await_seconds(manifest: &Manifest) -> u64 {
    let longest = manifest.services.values().map(|service| stop_of(service)).max().unwrap_or_default();
    (longest + SLACK).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_systemd_is_quoted() {
        let said = |text: &str| word(Path::new(text)).expect("a word");
        assert_eq!(said("/srv/shop/services.toml"), "/srv/shop/services.toml");
        assert_eq!(said("/srv/my shop/50%/$a\"b"), "\"/srv/my shop/50%%/$$a\\\"b\"");
        assert!(word(Path::new("/a\nExecStart=/b")).is_err());
    }
}
