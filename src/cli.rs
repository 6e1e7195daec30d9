//! What a person types and reads: one file per command.
//!
//! Results go to standard output, failures as one sentence to standard error. The exit status is 0 when
//! the work is done, 1 for a failure, 2 for wrong use. No secret is ever taken from an argument.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where nothing can be written: see `output`"
)]

#[macro_use]
mod output;

mod account;
mod artwork;
mod ask;
mod attribute;
mod completions;
mod confirm;
mod create;
mod daemon;
mod demo;
mod describe;
mod doctor;
mod drain;
mod failure;
mod helper;
mod info;
mod json;
mod link;
mod logging;
mod login;
mod man;
mod mount;
mod privacy;
mod progress;
mod purge;
mod queue;
mod recent;
mod report;
mod restore;
mod retry;
mod sandbox;
mod screen;
mod seen;
mod session;
mod signals;
mod status;
mod text;
mod trash;
mod unmount;
mod versions;
mod which;
mod zip;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Paths;
use failure::Failure;

type Outcome = Result<(), Failure>;

macro_rules! examples {
    () => {
        "\
Examples:
  lockerfs demo                    try it out, without an account
  lockerfs account add             add an account: it asks for what it needs
  lockerfs account check           do the logins work?
  lockerfs mount --daemon ~/cloud  mount all accounts of the config
  lockerfs status                  what is not uploaded yet?
  lockerfs unmount ~/cloud         upload what waits, then unmount

Exit status: 0 when it is done, 1 after a failure, which one sentence tells, 2 after wrong use."
    };
}

const EXAMPLES: &str = examples!();
const NOTES: &str = concat!(
    examples!(),
    "

Files:
  ~/.config/lockerfs/config.toml  accounts and options
  /etc/lockerfs/config.toml       the same for root's mounts of fstab
  ~/.local/state/lockerfs         what is not uploaded yet, what is known of folders, the log
  ~/.cache/lockerfs               what was read; deleting it loses nothing

Environment:
  LOCKERFS_LOG             what is logged, such as debug or info,lockerfs::upload=trace
  NO_COLOR                 if set, the log has no colours on a terminal
  LOCKERFS_ACCOUNT_FIELD   a secret of an account, such as LOCKERFS_MEDIA_PASSWORD
  XDG_CONFIG_HOME, XDG_STATE_HOME and XDG_CACHE_HOME say where these folders are"
);

/// Mounts file-host accounts as a drive.
#[derive(Parser)]
#[command(name = "lockerfs", version, after_help = EXAMPLES, after_long_help = NOTES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of the options that all commands take.
const ALWAYS: &str = "Options of all commands";

/// Where things are, and how much is told.
#[derive(Args)]
struct Global {
    /// The config file [default: ~/.config/lockerfs/config.toml]
    #[arg(long, global = true, help_heading = ALWAYS, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where pending uploads are kept [default: ~/.local/state/lockerfs]
    #[arg(long, global = true, help_heading = ALWAYS, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where what was read is kept; deleting it loses nothing [default: ~/.cache/lockerfs]
    #[arg(long, global = true, help_heading = ALWAYS, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Tell more; twice for still more
    #[arg(short, long, global = true, help_heading = ALWAYS, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Write the log to a file in place of standard error
    #[arg(long, global = true, help_heading = ALWAYS, value_name = "FILE")]
    log_file: Option<PathBuf>,
}

impl Global {
    /// With the places that mount options name, where no flag does.
    fn or(&self, options: &mount::Options) -> Self {
        Global {
            config: self.config.clone().or_else(|| options.config.clone()),
            state_dir: self.state_dir.clone().or_else(|| options.state_dir.clone()),
            cache_dir: self.cache_dir.clone().or_else(|| options.cache_dir.clone()),
            verbose: self.verbose,
            log_file: self.log_file.clone().or_else(|| options.log_file.clone()),
        }
    }

    fn paths(&self) -> Result<Paths, Failure> {
        Paths::find(
            self.config.as_deref(),
            self.state_dir.as_deref(),
            self.cache_dir.as_deref(),
        )
        .map_err(Failure::new)
    }
}

#[derive(Subcommand)]
enum Command {
    /// Try lockerfs out: a mount of sample files on an emulated service
    Demo(demo::DemoArgs),
    /// Emulate the services on this machine, for tests and for trying out
    Sandbox(sandbox::SandboxArgs),
    /// Mount the accounts of the config, each as a directory
    Mount(mount::MountArgs),
    /// Upload what waits, then unmount
    Unmount(unmount::UnmountArgs),
    /// Wait until all that can be uploaded is uploaded
    Drain(drain::DrainArgs),
    /// List, retry, give up, save or pause what waits to be uploaded
    Queue(queue::QueueArgs),
    /// Try failed uploads again now, for example after the quota was raised
    Retry(retry::RetryArgs),
    /// Print the links under which people find files on their services
    Link(link::LinkArgs),
    /// Tell all that a service knows of a file or directory
    Info(info::InfoArgs),
    /// List the contents that a file has had
    Versions(versions::VersionsArgs),
    /// Make an old content of a file the present one
    Restore(restore::RestoreArgs),
    /// List, restore or empty the trash of an account
    Trash(trash::TrashArgs),
    /// Delete files and directories for good, past the trash
    Purge(purge::PurgeArgs),
    /// List the files of an account that changed last
    Recent(recent::RecentArgs),
    /// Download files and directories as one archive
    Zip(zip::ZipArgs),
    /// Say who may see a file or directory on its service
    Privacy(privacy::PrivacyArgs),
    /// Set the text that a service shows with a file or directory
    Describe(describe::DescribeArgs),
    /// Give an audio or video file an image
    Artwork(artwork::ArtworkArgs),
    /// Make an empty text file on the service, without an upload
    Create(create::CreateArgs),
    /// Show the accounts, and the files that are not uploaded yet
    Status(status::StatusArgs),
    /// Look at all that a mount needs, and say what to do about what is missing
    Doctor(doctor::DoctorArgs),
    /// Add, list, check, rename or remove accounts
    Account(account::AccountArgs),
    /// Give an account its password or keys anew, also while it is mounted
    Login(login::LoginArgs),
    /// Print what a shell needs to complete command lines of lockerfs
    Completions(completions::CompletionsArgs),
    /// Print the manual, or write its pages to a folder
    Man(man::ManArgs),
}

/// The whole command line, for help, completions and the manual.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    // SAFETY: geteuid has no preconditions and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    match helper::call(&args, is_root) {
        None => ExitCode::from(match Cli::try_parse_from(args) {
            Ok(cli) => run(cli),
            Err(error) => explain(&error),
        }),
        Some(helper::Call::Run(args)) => {
            let own = match Cli::try_parse_from(args) {
                Ok(cli) => run(cli),
                Err(error) => {
                    tell!("{error}");
                    WRONG_USE
                }
            };
            helper::exit_code(own)
        }
        Some(helper::Call::Pretend) => ExitCode::SUCCESS,
        Some(helper::Call::Wrong(why)) => {
            tell!("lockerfs: {why}");
            helper::exit_code(WRONG_USE)
        }
    }
}

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_USE: u8 = 2;

/// Runs a command and returns the exit status.
fn run(cli: Cli) -> u8 {
    if !matches!(
        cli.command,
        Command::Demo(_) | Command::Sandbox(_) | Command::Mount(_)
    ) {
        end_with_the_pipe();
    }
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&cli.global, args),
        Command::Sandbox(args) => sandbox::run(&cli.global, args),
        Command::Mount(args) => mount::run(&cli.global, args),
        Command::Unmount(args) => unmount::run(&cli.global, &args),
        Command::Drain(args) => drain::run(&cli.global, &args),
        Command::Queue(args) => queue::run(&cli.global, args),
        Command::Retry(args) => retry::run(&cli.global, &args),
        Command::Link(args) => link::run(&cli.global, args),
        Command::Info(args) => info::run(&cli.global, &args),
        Command::Versions(args) => versions::run(&cli.global, &args),
        Command::Restore(args) => restore::run(&cli.global, &args),
        Command::Trash(args) => trash::run(&cli.global, args),
        Command::Purge(args) => purge::run(&cli.global, &args),
        Command::Recent(args) => recent::run(&cli.global, &args),
        Command::Zip(args) => zip::run(&cli.global, &args),
        Command::Privacy(args) => privacy::run(&cli.global, &args),
        Command::Describe(args) => describe::run(&cli.global, &args),
        Command::Artwork(args) => artwork::run(&cli.global, &args),
        Command::Create(args) => create::run(&cli.global, &args),
        Command::Status(args) => status::run(&cli.global, &args),
        Command::Doctor(args) => doctor::run(&cli.global, &args),
        Command::Account(args) => account::run(&cli.global, args),
        Command::Login(args) => login::run(&cli.global, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    // What was printed and did not arrive has told nothing.
    let outcome = match outcome {
        Err(failure) if !failure.is_told() => Err(failure),
        outcome => output::end().and(outcome),
    };
    exit_status(outcome)
}

/// Tells why a command line cannot be run, or the help that it asks for, and returns the exit status.
fn explain(error: &clap::Error) -> u8 {
    end_with_the_pipe();
    match error.print() {
        _ if error.use_stderr() => WRONG_USE,
        Err(unwritten) => exit_status(Err(output::failure(&unwritten))),
        Ok(()) => exit_status(output::end()),
    }
}

fn exit_status(outcome: Outcome) -> u8 {
    match outcome {
        Ok(()) => DONE,
        Err(failure) => {
            if !failure.is_told() {
                tell!("lockerfs: {failure}");
            }
            FAILED
        }
    }
}

/// Lets a command that only prints end quietly when its reader does, as in `lockerfs status | head`. What
/// serves a mount must outlive its terminal.
fn end_with_the_pipe() {
    // SAFETY: this sets a disposition that the system knows; no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Runs a short command's work to its end.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|e| Failure::new(format!("cannot start: {e}")))?
        .block_on(work)
}
