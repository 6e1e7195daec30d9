//! `lockerfs mount`: check what can be checked at once, go to the background if asked, serve.

mod allocator;
mod assemble;
mod descriptors;
mod handler;
mod health;
mod login;
mod options;
pub(super) mod point;
mod running;
mod succession;
mod supervisor;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::daemon::{self, Side, Teller};
use super::failure::Failure;
use super::{Global, Outcome};
use crate::config::{Config, Paths};
pub(super) use handler::seconds;
pub(super) use options::Options;
pub(super) use running::Running;

const EXAMPLES: &str = "\
Examples:
  lockerfs mount ~/cloud                  all accounts, in the foreground; ^C ends it
  lockerfs mount --daemon ~/cloud         in the background; returns when mounted
  lockerfs mount --account media ~/media  one account alone
  lockerfs mount -o on_close=wait ~/cloud any option of the config, for this mount

SIGINT and SIGTERM refuse new changes, upload what waits (for as long as stop_timeout in the
config says, 60 s by default), then unmount. A second signal ends at once; what is not uploaded
then is kept and uploaded with the next mount.

In fstab, where mount.lockerfs is a link to lockerfs; the config is /etc/lockerfs/config.toml then:
  lockerfs:       /mnt/cloud  lockerfs  _netdev,noauto,allow_other,uid=1000  0  0
  lockerfs:media  /mnt/media  lockerfs  _netdev,ro                           0  0";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MountArgs {
    /// An empty directory to mount on
    #[arg(value_name = "DIR")]
    mount_point: PathBuf,
    /// Mount this account alone, without a directory for it
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Go to the background once it is mounted
    #[arg(long)]
    daemon: bool,
    /// Let other users in (non-root: needs user_allow_other in /etc/fuse.conf)
    #[arg(long)]
    allow_other: bool,
    /// Refuse all changes
    #[arg(long)]
    read_only: bool,
    /// Options as in fstab, with commas between them: ro, noexec, allow_other, config=, state_dir=, cache_dir=,
    /// log_file=, account=, and any option of the config, such as uid=, umask= or on_close=, for this mount
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Threads for what blocks on the disk, of which none waits for another that is not under way. Without a bound there would be
/// as many as were ever busy at once.
const DISK_THREADS: usize = 32;
/// How long the end waits for work that cannot be cancelled.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// What is to be mounted, checked as far as that goes without the network.
pub(super) struct Plan {
    pub paths: Paths,
    /// With the accounts to mount alone.
    pub config: Config,
    /// Whether the one account takes the mount's root.
    pub alone: bool,
    pub mount_point: PathBuf,
    pub allow_other: bool,
    pub read_only: bool,
    pub no_exec: bool,
    /// What stands as the device in the table of mounts, where it is not to be made of the accounts' names.
    pub source: Option<String>,
}

pub(super) fn run(global: &Global, args: MountArgs) -> Outcome {
    let options = Options::parse(args.options.iter().map(String::as_str)).map_err(Failure::new)?;
    let global = &global.or(&options);
    let paths = global.paths()?;
    let mut config = Config::load(&paths.config)?
        .overridden(&options.settings)
        .map_err(|error| Failure::new(options::wrong(&error)))?;
    let account = args.account.or(options.account);
    if let Some(name) = &account {
        config.account(name)?;
        config.accounts.retain(|account| account.name == *name);
    }
    if config.accounts.is_empty() {
        let message = format!(
            "{} has no accounts yet: run `lockerfs account add`",
            paths.config.display()
        );
        return Err(Failure::new(message));
    }
    let mount_point = point::resolve(&args.mount_point)?;
    point::prepare(&mount_point)?;
    let plan = Plan {
        paths,
        config,
        alone: account.is_some(),
        mount_point,
        allow_other: args.allow_other || options.allow_other,
        read_only: args.read_only || options.read_only,
        no_exec: options.no_exec,
        source: options.source,
    };
    descriptors::take_all();
    if args.daemon {
        in_background(global, plan)
    } else {
        in_foreground(global, plan)
    }
}

fn in_foreground(global: &Global, plan: Plan) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    run_to_end(async {
        let running = Running::start(plan).await?;
        tell!(
            "Mounted at {}; ^C uploads what waits and unmounts.",
            running.mount_point().display()
        );
        running.until_end().await
    })
}

fn in_background(global: &Global, plan: Plan) -> Outcome {
    let log = match &global.log_file {
        Some(path) => {
            std::path::absolute(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?
        }
        None => plan.paths.state_dir.join("lockerfs.log"),
    };
    if global.log_file.is_none() {
        private_directory(&plan.paths.state_dir)?;
    }
    match daemon::split(&log)? {
        Side::Parent(result) => result,
        Side::Child(teller) => {
            super::logging::start(global.verbose, Some(&log))?;
            serve(plan, teller)
        }
    }
}

fn serve(plan: Plan, teller: Teller) -> Outcome {
    run_to_end(async {
        match Running::start(plan).await {
            Ok(running) => {
                teller.ready();
                running.until_end().await
            }
            Err(failure) => {
                teller.failed(&failure);
                Err(failure)
            }
        }
    })
}

fn private_directory(path: &std::path::Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|e| Failure::new(format!("cannot make the state directory {}: {e}", path.display())))
}

/// Runs the work of a mount to its end. What still hangs on the kernel or a disk then is left behind.
pub(super) fn run_to_end(work: impl Future<Output = Outcome>) -> Outcome {
    allocator::keep_little();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lockerfs")
        .max_blocking_threads(DISK_THREADS)
        .build();
    let runtime = runtime.map_err(|e| Failure::new(format!("cannot start: {e}")))?;
    runtime.spawn(allocator::give_back());
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(LEFT_BEHIND);
    outcome
}
