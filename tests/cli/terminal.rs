//! The built program in a terminal, as a person sees it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::home::wait_for;

pub struct Terminal {
    child: Child,
    screen: File,
    /// All that it showed.
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    pub fn run(mut command: Command) -> Self {
        let (mut main, mut other) = (-1, -1);
        // SAFETY: both have room for a descriptor; the rest may be absent.
        let opened = unsafe {
            libc::openpty(
                &raw mut main,
                &raw mut other,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        assert_eq!(opened, 0, "{}", io::Error::last_os_error());
        // SAFETY: both were opened just now, and are ours.
        let (main, other) = unsafe { (OwnedFd::from_raw_fd(main), OwnedFd::from_raw_fd(other)) };
        let end = || Stdio::from(other.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: both calls may be made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            })
        };
        let child = command.spawn().unwrap();
        drop((command, other));
        let screen = File::from(main);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut input, kept) = (screen.try_clone().unwrap(), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of a terminal is told as an error.
            while let Ok(read @ 1..) = input.read(&mut buffer) {
                kept.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Terminal {
            child,
            screen,
            shown,
            reader: Some(reader),
        }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        wait_for(&format!("{text:?} is shown"), || self.shown().contains(text));
    }

    /// Types an answer once the question is there.
    #[track_caller]
    pub fn answer(&mut self, question: &str, answer: &str) {
        wait_for(&format!("{question:?} is asked"), || {
            let shown = self.shown();
            let asked = shown.rfind(question).map(|at| &shown[at..]);
            asked.is_some_and(|asked| asked.ends_with(": "))
        });
        if question == "Password" {
            wait_for("what is typed is hidden", || !self.echoes());
        }
        self.screen.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// Whether it shows what is typed.
    pub fn echoes(&self) -> bool {
        // SAFETY: a `termios` of zeros is valid, and the descriptor is open.
        unsafe {
            let mut now: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.screen.as_raw_fd(), &raw mut now), 0);
            now.c_lflag & libc::ECHO != 0
        }
    }

    /// ^C.
    pub fn interrupt(&mut self) {
        self.screen.write_all(b"\x03").unwrap();
    }

    /// Waits for the program's end: its exit status, and all that was shown.
    pub fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap().code().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status, self.shown.lock().unwrap().clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Of a test that failed: nobody answers it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
