//! The program's processes and their mounts, guarded.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{MEDIA, wait_for};
use crate::KIND;

/// When a mount counts as hung.
const WATCHDOG: Duration = Duration::from_secs(180);

/// When a command counts as hung.
const COMMAND: Duration = Duration::from_secs(120);

/// How long a killed process may take to its end.
const LAST_BREATH: Duration = Duration::from_secs(30);

/// Where the program keeps its things, and where it is mounted.
#[derive(Debug, Clone)]
pub struct Place {
    pub state: PathBuf,
    pub cache: PathBuf,
    pub mount_point: PathBuf,
    pub log: PathBuf,
    /// What all mounts of a user share.
    pub runtime: PathBuf,
}

impl Place {
    pub fn new(folder: &Path, number: usize) -> Self {
        Place {
            state: folder.join(format!("state-{number}")),
            cache: folder.join(format!("cache-{number}")),
            mount_point: folder.join(format!("mount-{number}")),
            log: folder.join(format!("log-{number}.txt")),
            runtime: folder.join("run"),
        }
    }

    pub fn prepare(&self) {
        std::fs::create_dir_all(&self.mount_point).expect("make a mount point");
        std::fs::create_dir_all(&self.runtime).expect("make a runtime directory");
    }
}

/// What became of a command.
#[derive(Debug)]
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn succeeded(&self) -> &Self {
        assert!(self.status.success(), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn tells_no_secret(&self) -> &Self {
        let mut secrets = (KIND.secrets)(&(KIND.account)(MEDIA));
        secrets.push(KIND.wrong_secret.to_owned());
        for secret in secrets {
            assert!(
                !self.stdout.contains(&secret) && !self.stderr.contains(&secret),
                "tells a secret: {self:#?}"
            );
        }
        self
    }

    /// Failed with this exit status and a sentence that holds all of `words`.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        let said = self.stderr.to_lowercase();
        for word in words {
            assert!(
                said.contains(&word.to_lowercase()),
                "does not say {word:?}: {}",
                self.stderr
            );
        }
        assert!(!said.contains("panicked"), "{}", self.stderr);
        self.tells_no_secret();
        self
    }
}

fn base_command(config: &Path, place: &Place) -> Command {
    base_command_under(&[], config, place)
}

/// Run by another program, which is given as it is called.
fn base_command_under(under: &[&str], config: &Path, place: &Place) -> Command {
    const PROGRAM: &str = env!("CARGO_BIN_EXE_lockerfs");
    let mut command = match under {
        [] => Command::new(PROGRAM),
        [tool, arguments @ ..] => {
            let mut command = Command::new(tool);
            command.args(arguments).arg(PROGRAM);
            command
        }
    };
    command
        .env("XDG_RUNTIME_DIR", &place.runtime)
        .arg("--config")
        .arg(config)
        .arg("--state-dir")
        .arg(&place.state)
        .arg("--cache-dir")
        .arg(&place.cache);
    command
}

pub fn lockerfs(config: &Path, place: &Place, args: &[&str]) -> Ran {
    let mut command = base_command(config, place);
    command.args(args);
    finish(&mut command)
}

/// Runs a tool of the system.
pub fn run(tool: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) -> Ran {
    let mut command = Command::new(tool);
    command.args(args.iter().map(|arg| arg.as_ref()));
    finish(&mut command)
}

/// Runs a command to its end. Its output goes to files, since a background process may keep a pipe open.
fn finish(command: &mut Command) -> Ran {
    let (mut out, mut err) = (
        tempfile::tempfile().expect("a file"),
        tempfile::tempfile().expect("a file"),
    );
    command.stdin(Stdio::null());
    command
        .stdout(out.try_clone().expect("a handle"))
        .stderr(err.try_clone().expect("a handle"));
    let mut child = command.spawn().unwrap_or_else(|e| {
        let tool = command.get_program();
        panic!("cannot run {tool:?}, which this test needs: {e}; scripts/test installs what is missing")
    });
    let Some(status) = wait_exit(&mut child, COMMAND) else {
        let _ = child.kill();
        let _ = child.wait();
        panic!(
            "{command:?} did not end: {}{}",
            read_back(&mut out),
            read_back(&mut err)
        );
    };
    Ran {
        status,
        stdout: read_back(&mut out),
        stderr: read_back(&mut err),
    }
}

fn read_back(file: &mut File) -> String {
    use std::io::Seek;
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    read.expect("read a command's output");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return Some(status);
        }
        if began.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether something is mounted there, alive or dead.
pub fn is_mount_point(path: &Path) -> bool {
    let parent = std::fs::metadata(path.parent().expect("a parent")).expect("stat the parent");
    match std::fs::metadata(path) {
        Ok(metadata) => metadata.dev() != parent.dev(),
        Err(error) => error.raw_os_error() == Some(libc::ENOTCONN),
    }
}

/// Whether a FUSE mount there answers. Asks by `statfs`, which the kernel never answers from a cache.
fn is_alive(path: &Path) -> bool {
    const FUSE_SUPER_MAGIC: libc::c_long = 0x6573_5546;
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // SAFETY: a `statfs` of zeros is valid, and `path` is a valid C string for the time of the call.
    unsafe {
        let mut told: libc::statfs = std::mem::zeroed();
        libc::statfs(path.as_ptr(), &mut told) == 0 && told.f_type == FUSE_SUPER_MAGIC
    }
}

/// Takes a mount down, whoever uses it. Asks nothing of it, since it may not answer.
pub fn detach(path: &Path) {
    let target = CString::new(path.as_os_str().as_bytes()).expect("a path");
    // By force first: that ends what waits in it for an answer, which may keep a killed process from its end.
    // SAFETY: `target` is a valid C string for the time of both calls.
    let detached = unsafe {
        libc::umount2(target.as_ptr(), libc::MNT_FORCE);
        libc::umount2(target.as_ptr(), libc::MNT_DETACH)
    };
    if detached != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) {
        let _ = Command::new("fusermount3")
            .args(["-u", "-z", "--"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
    }
}

/// A mount in the foreground of a child process.
pub struct Mount {
    child: Child,
    place: Place,
    done: Arc<AtomicBool>,
    /// The dead mount stays, as it would; whoever mounts again has to cope with it.
    stays: bool,
}

impl Mount {
    pub fn start(config: &Path, place: &Place) -> Mount {
        Mount::start_under(&[], config, place)
    }

    /// As [`Mount::start`], by a tool that becomes the program in the process that it was started as.
    pub fn start_under(under: &[&str], config: &Path, place: &Place) -> Mount {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&place.log)
            .expect("open the log");
        let mut command = base_command_under(under, config, place);
        command
            .arg("mount")
            .arg(&place.mount_point)
            .env("LOCKERFS_LOG", "lockerfs=debug");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|e| match under {
            [tool, ..] => {
                panic!("cannot run {tool}, which this test needs: {e}; scripts/test installs what is missing")
            }
            [] => panic!("start lockerfs: {e}"),
        });
        let done = Arc::new(AtomicBool::new(false));
        watch(child.id(), done.clone());
        let mut mount = Mount {
            child,
            place: place.clone(),
            done,
            stays: false,
        };
        wait_for("the mount comes up", || {
            let ended = mount.child.try_wait().expect("wait for lockerfs");
            assert!(ended.is_none(), "lockerfs ended: {ended:?}\n{}", mount.log());
            is_alive(&place.mount_point)
        });
        mount
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn mount_point(&self) -> &Path {
        &self.place.mount_point
    }

    /// A path in the account that tests use.
    pub fn path(&self, path: &str) -> PathBuf {
        self.place.mount_point.join(MEDIA).join(path)
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.path(path)).unwrap_or_else(|e| panic!("read {path}: {e}"))
    }

    #[track_caller]
    pub fn write(&self, path: &str, content: &[u8]) {
        std::fs::write(self.path(path), content).unwrap_or_else(|e| panic!("write {path}: {e}"));
    }

    /// The names in a folder, sorted.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).unwrap_or_else(|e| panic!("list {path}: {e}"));
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a UTF-8 name")
            })
            .collect();
        names.sort();
        names
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.place.log).unwrap_or_default()
    }

    /// The extended attribute `user.lockerfs.NAME`.
    pub fn xattr(&self, path: &str, name: &str) -> std::io::Result<String> {
        let path = CString::new(self.path(path).as_os_str().as_bytes()).expect("a path");
        let name = CString::new(format!("user.lockerfs.{name}")).expect("a name");
        let mut value = vec![0u8; 4096];
        // SAFETY: both strings are valid, and `value` has the room that is told.
        let size = unsafe {
            libc::getxattr(
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        let size = usize::try_from(size).map_err(|_| std::io::Error::last_os_error())?;
        value.truncate(size);
        Ok(String::from_utf8(value).expect("a text"))
    }

    /// Power cut: no word to the process, no cleaning up.
    pub fn kill(mut self) {
        self.child.kill().expect("kill lockerfs");
        if wait_exit(&mut self.child, LAST_BREATH).is_none() {
            detach(&self.place.mount_point);
            panic!("lockerfs does not end when it is killed: a thread of it waits in the kernel");
        }
        self.done.store(true, Ordering::Relaxed);
        self.stays = true;
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits until the process ends by itself, and tells with which status.
    pub fn ended(mut self) -> ExitStatus {
        let status = wait_exit(&mut self.child, COMMAND);
        self.done.store(true, Ordering::Relaxed);
        status.unwrap_or_else(|| panic!("lockerfs does not end\n{}", self.log()))
    }

    /// `lockerfs unmount`, with success on both sides.
    pub fn unmount(self, config: &Path) {
        let place = self.place.clone();
        let point = place.mount_point.to_str().expect("a UTF-8 path").to_owned();
        lockerfs(config, &place, &["unmount", &point]).succeeded();
        assert!(!is_mount_point(&place.mount_point), "still mounted after unmount");
        let status = self.ended();
        assert!(status.success(), "the mount ended with {status}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(6000);
            let from = (from..log.len())
                .find(|at| log.is_char_boundary(*at))
                .unwrap_or(0);
            eprintln!("--- the mount's log ends so ---\n{}\n---", &log[from..]);
        }
        self.done.store(true, Ordering::Relaxed);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.stays {
            detach(&self.place.mount_point);
        }
    }
}

/// A background mount, known by its process id.
pub struct Daemon(pub i32);

impl Daemon {
    pub fn is_running(&self) -> bool {
        // A zombie of a process that nobody waits for has ended too.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            // SAFETY: sends a signal to the process that this test started.
            unsafe { libc::kill(self.0, libc::SIGKILL) };
        }
    }
}

/// Kills a process that outlives any test's patience: what waits in its mount gets an error then.
fn watch(pid: u32, done: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let began = Instant::now();
        while began.elapsed() < WATCHDOG {
            std::thread::sleep(Duration::from_millis(200));
            if done.load(Ordering::Relaxed) {
                return;
            }
        }
        eprintln!("a mount hung; killing it");
        // SAFETY: `done` is set before the child is waited for, so the id is still its own.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    });
}

/// A command that runs until a signal, with its output in a file or a terminal of its own.
pub struct Watching {
    child: Child,
    output: File,
    /// Reads what a terminal shows, to its end.
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Watching {
    /// Both outputs go to one file.
    pub fn start(config: &Path, place: &Place, args: &[&str]) -> Watching {
        let output = tempfile::tempfile().expect("a file");
        let copy = || Stdio::from(output.try_clone().expect("a handle"));
        let mut command = base_command(config, place);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(copy())
            .stderr(copy());
        let child = command.spawn().expect("start lockerfs");
        Watching {
            child,
            output,
            reader: None,
        }
    }

    /// As [`Watching::start`], in a terminal of 24 lines.
    pub fn in_terminal(config: &Path, place: &Place, args: &[&str]) -> Watching {
        let size = libc::winsize {
            ws_row: 24,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let (mut ours, mut theirs) = (0, 0);
        // SAFETY: the descriptors have room for one each, and no name or mode is asked for.
        let opened = unsafe {
            libc::openpty(
                &mut ours,
                &mut theirs,
                std::ptr::null_mut(),
                std::ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: both were just opened and are nobody else's.
        let (ours, theirs) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
        let copy = || Stdio::from(theirs.try_clone().expect("a handle"));
        let mut command = base_command(config, place);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(copy())
            .stderr(copy());
        let child = command.spawn().expect("start lockerfs");
        // What a terminal showed is kept in a file, so that it can be looked at again.
        let output = tempfile::tempfile().expect("a file");
        let mut kept = output.try_clone().expect("a handle");
        let reader = std::thread::spawn(move || {
            // Ends with the terminal, by an error.
            let _ = std::io::copy(&mut { ours }, &mut kept);
        });
        Watching {
            child,
            output,
            reader: Some(reader),
        }
    }

    pub fn shown(&self) -> String {
        use std::os::unix::fs::FileExt;
        let length = self.output.metadata().expect("stat").len();
        let mut bytes = vec![0; usize::try_from(length).expect("a size")];
        self.output.read_exact_at(&mut bytes, 0).expect("read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// The exit status, and all that was shown.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let Some(status) = wait_exit(&mut self.child, COMMAND) else {
            let _ = self.child.kill();
            let _ = self.child.wait();
            panic!("it does not end: {}", self.shown());
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the terminal's reader");
        }
        (status.code(), self.shown())
    }
}
