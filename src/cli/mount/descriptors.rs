//! How many files a mount may have open: each file that is written and not uploaded yet takes one, and what
//! most systems allow at first is soon used up by a copied folder.

/// Takes as many descriptors as the system lets this process have. Where it does not, the mount goes on with
/// what there is.
pub(super) fn take_all() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: it writes one `rlimit`, which lives until it returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur == limit.rlim_max {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: it reads one `rlimit`, which lives until it returns.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
