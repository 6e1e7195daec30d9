//! How much the C library's allocator keeps of the memory that a mount has freed.
//!
//! As it comes, each of some seventy threads gets a share of memory of its own, in which what is kept for long and what
//! goes at once lie side by side, and a large answer that is gone moves the size up to which it keeps what is freed. So a
//! mount would take more and more for the same work. With another C library nothing is changed.

use std::time::Duration;

/// Parts of memory that all threads share. More of them wait for each other less, and keep more.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;
/// What is larger has pages of its own, which go back to the system at once. No read or write is.
#[cfg(target_env = "gnu")]
const OWN_PAGES_FROM: libc::c_int = 4 << 20;
/// What may be free at the end of a part before it goes back at once.
#[cfg(target_env = "gnu")]
const KEPT_AT_ENDS: libc::c_int = 4 << 20;
/// How often all that is free goes back.
const EACH: Duration = Duration::from_secs(60);

/// For threads that are begun later.
pub(super) fn keep_little() {
    #[cfg(target_env = "gnu")]
    for (setting, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        (libc::M_MMAP_THRESHOLD, OWN_PAGES_FROM),
        (libc::M_TRIM_THRESHOLD, KEPT_AT_ENDS),
    ] {
        // SAFETY: it takes two numbers; who allocates meanwhile goes by the old setting or the new one.
        if unsafe { libc::mallopt(setting, value) } == 0 {
            tracing::debug!(setting, value, "a setting of the allocator stays as it is");
        }
    }
}

/// Gives back what is free, again and again.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(EACH).await;
        if tokio::task::spawn_blocking(give_back_once).await.is_err() {
            return;
        }
    }
}

fn give_back_once() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number, and may be called while other threads allocate.
    unsafe {
        libc::malloc_trim(0);
    }
}
