//! `lockerfs demo`: sample files on emulated services, mounted beside each other, until ^C.

mod sample;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;

use super::failure::Failure;
use super::mount::{Plan, Running, point, run_to_end};
use super::sandbox::{accounts, config_text};
use super::{Global, Outcome};
use crate::config::{Config, Paths};
use crate::sandbox::{Account, Options, Sandbox, Service};

#[derive(Args)]
pub(super) struct DemoArgs {
    /// Where to mount; made if missing [default: a temporary folder]
    #[arg(value_name = "DIR")]
    mount_point: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: DemoArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let folder = tempfile::Builder::new().prefix("lockerfs-demo-").tempdir();
    let folder = folder.map_err(|e| Failure::new(format!("cannot make a temporary folder: {e}")))?;
    let place = Place::make(args.mount_point.as_deref(), &folder)?;
    point::prepare(&place.path)?;
    let outcome = run_to_end(serve(&folder, &place.path));
    drop(place);
    let path = folder.path().to_owned();
    folder
        .close()
        .map_err(|e| Failure::new(format!("{} could not be removed: {e}", path.display())))?;
    outcome
}

/// The mount point, which is removed in the end where the demo made it.
struct Place {
    path: PathBuf,
    is_ours: bool,
}

impl Place {
    fn make(given: Option<&Path>, folder: &TempDir) -> Result<Self, Failure> {
        let path = given.map_or_else(|| folder.path().join("mount"), Path::to_owned);
        let is_ours = match std::fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Failure::new(format!("cannot make {}: {error}", path.display()))),
        };
        Ok(Place {
            path: point::resolve(&path)?,
            is_ours,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_ours {
            // A folder that somebody put something into stays.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

async fn serve(folder: &TempDir, mount_point: &Path) -> Outcome {
    let service = folder.path().join("service");
    let accounts = accounts();
    let folders: Vec<_> = accounts
        .iter()
        .filter(|account| !publishes(account))
        .map(|account| {
            let holds_empty = account.service == Service::MediaFire;
            (service.join(&account.name).join("files"), holds_empty)
        })
        .collect();
    let seed = tokio::task::spawn_blocking(move || {
        let mut folders = folders.iter();
        folders.try_for_each(|(files, holds_empty)| sample::write(files, *holds_empty))
    });
    seed.await
        .map_err(|e| Failure::new(e.to_string()))?
        .map_err(|e| Failure::new(format!("cannot write the sample files: {e}")))?;
    let options = Options {
        accounts: accounts.clone(),
        ..Options::new(&service)
    };
    let sandbox = Sandbox::start(options).await;
    let sandbox = sandbox.map_err(|e| Failure::new(format!("cannot start the sandbox: {e}")))?;
    let outcome = mounted(folder, mount_point, &sandbox, &accounts).await;
    sandbox.stop().await;
    outcome
}

/// Whether the service lists nothing, so that only what is copied into the mount shows there.
fn publishes(account: &Account) -> bool {
    matches!(account.service, Service::MirrorAce | Service::MirroredTo)
}

async fn mounted(folder: &TempDir, mount_point: &Path, sandbox: &Sandbox, accounts: &[Account]) -> Outcome {
    let paths = Paths {
        config: folder.path().join("config.toml"),
        state_dir: folder.path().join("state"),
        cache_dir: folder.path().join("cache"),
    };
    write_private(&paths.config, &config_text(sandbox, accounts))
        .map_err(|e| Failure::new(format!("cannot write {}: {e}", paths.config.display())))?;
    let plan = Plan {
        config: Config::load(&paths.config)?,
        paths,
        alone: false,
        mount_point: mount_point.to_owned(),
        allow_other: false,
        read_only: false,
        no_exec: false,
        source: None,
    };
    let hints = hints(&plan.paths, mount_point, sandbox, accounts);
    let running = Running::start(plan).await?;
    putln!("{hints}");
    running.until_end().await
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, "")?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    std::fs::write(path, text)
}

fn hints(paths: &Paths, mount_point: &Path, sandbox: &Sandbox, accounts: &[Account]) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "lockerfs".to_owned(), |path| path.display().to_string());
    let (mount, state) = (mount_point.display(), paths.state_dir.display());
    let list = |line: &dyn Fn(&Account) -> String| {
        let lines: Vec<String> = accounts.iter().map(line).collect();
        lines.join("\n")
    };
    let mounted = list(&|account| format!("  {mount}/{}", account.name));
    let plain = list(&|account| format!("  {}", sandbox.files_dir(&account.name).display()));
    let first = accounts.first().map_or("", |account| &account.name);
    let mut drives = accounts.iter().filter(|account| !publishes(account));
    let last = drives.next_back().map_or("", |account| &account.name);
    format!(
        "Emulated accounts are mounted at
{mounted}

Try in another terminal:
  ls -lR {mount}
  cat {mount}/{first}/README.txt
  cp {mount}/{first}/README.txt {mount}/{last}/Documents/
  cp {mount}/{first}/Pictures/sunset.png {mount}/mirrorace/
  cp {mount}/{first}/Pictures/sunset.png {mount}/mirrored_to/
  {program} link {mount}/mirrorace/sunset.png {mount}/mirrored_to/sunset.png
  getfattr -d {mount}/mirrored_to/sunset.png
  {program} --state-dir {state} status

What the services hold stands as plain files in
{plain}
Files that you add there show up in the mount a little later; of MirrorAce and Mirrored.to, which list
nothing, only what was copied into the mount.

^C uploads what waits, unmounts and removes everything."
    )
}
