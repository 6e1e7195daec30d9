//! `lockerfs doctor`: looks at all that a mount needs, and says what to do about what is missing.

mod accounts;
mod machine;
mod round_trip;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::mount::run_to_end;
use super::{Global, Outcome, json, text};
use crate::config::{Config, Paths};

const HELP: &str = "\
It changes nothing: the round trip is made in a temporary folder, with an emulated service and a state \
of its own. Each account is logged in to once.

Exit status: 0 when nothing fails (warnings do not count), 1 when something does, 2 for wrong use.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Grade {
    Ok,
    /// Most things work without it.
    Warn,
    Fail,
}

/// What was looked at, and how it is.
#[derive(Serialize)]
struct Finding {
    check: String,
    grade: Grade,
    /// How it is.
    found: String,
    /// What to do, where something is to be done.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Finding {
            check: check.into(),
            grade: Grade::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warn(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            grade: Grade::Warn,
            remedy: Some(remedy.into()),
            ..Finding::ok(check, found)
        }
    }

    fn fail(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            grade: Grade::Fail,
            ..Finding::warn(check, found, remedy)
        }
    }

    fn line(&self) -> String {
        let grade = match self.grade {
            Grade::Ok => "ok",
            Grade::Warn => "warn",
            Grade::Fail => "fail",
        };
        let remedy = self.remedy.as_deref().map(|remedy| format!("; {remedy}"));
        let told = format!("{}{}", self.found, remedy.unwrap_or_default());
        format!("{grade:<5} {:<22} {}", self.check, text::printable(&told))
    }
}

/// What was found so far, told as it comes.
struct Report {
    json: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        if !self.json {
            putln!("{}", finding.line());
        }
        self.findings.push(finding);
    }
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let paths = global.paths()?;
    let json = args.json;
    run_to_end(async move {
        let mut report = Report {
            json,
            findings: Vec::new(),
        };
        look(&paths, &mut report).await;
        if json {
            print_json(&report.findings)?;
        }
        match report.findings.iter().any(|finding| finding.grade == Grade::Fail) {
            true => Err(Failure::told()),
            false => Ok(()),
        }
    })
}

async fn look(paths: &Paths, report: &mut Report) {
    let fuse = machine::fuse();
    let can_mount = fuse.grade == Grade::Ok;
    report.add(fuse);
    report.add(machine::fusermount());
    report.add(machine::allow_other());
    let config = config(paths, report);
    report.add(machine::keyring(config.as_ref()).await);
    let reserve = config.as_ref().map_or(256 << 20, |config| config.mount.reserve);
    report.add(machine::state_disk(&paths.state_dir, reserve));
    report.add(machine::cache_disk(&paths.cache_dir, reserve));
    if let Some(config) = &config {
        for finding in accounts::clocks(config).await {
            report.add(finding);
        }
        for finding in accounts::logins(config).await {
            report.add(finding);
        }
    }
    report.add(match can_mount {
        true => round_trip::make().await,
        false => Finding::fail(
            "round trip",
            "not tried without /dev/fuse",
            "mend that first, then ask again",
        ),
    });
}

fn config(paths: &Paths, report: &mut Report) -> Option<Config> {
    let place = paths.config.display();
    if paths.config.symlink_metadata().is_err() {
        let remedy = "run `lockerfs account add`";
        report.add(Finding::warn(
            "config",
            format!("there is no {place} yet"),
            remedy,
        ));
        return None;
    }
    match Config::load(&paths.config) {
        Ok(config) if config.accounts.is_empty() => {
            let found = format!("{place} has no accounts yet");
            report.add(Finding::warn("config", found, "run `lockerfs account add`"));
            Some(config)
        }
        Ok(config) => {
            let accounts = text::count(config.accounts.len() as u64, "account", "accounts");
            report.add(Finding::ok("config", format!("{place}, {accounts}")));
            Some(config)
        }
        Err(error) => {
            let remedy = "mend it, then ask again: its accounts were not looked at";
            report.add(Finding::fail("config", error.to_string(), remedy));
            None
        }
    }
}

fn print_json(findings: &[Finding]) -> Outcome {
    json::print(&findings)
}
