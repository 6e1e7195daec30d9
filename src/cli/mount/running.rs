//! A mount from the moment it serves to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::Plan;
use super::assemble::{Assembled, assemble};
use super::handler::{EndRequest, MountHandler};
use super::{point, supervisor};
use crate::cli::failure::Failure;
use crate::cli::signals::Signals;
use crate::cli::{Outcome, text};
use crate::control::Server;

/// How long the kernel may take to let go of the mount before it is taken away.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(10);
/// How long services may take at the end to give back their tokens, and clients to read an answer.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// How long the index may take to be brought up to date.
const INDEX_LIMIT: Duration = Duration::from_secs(10);
/// How long requests under way may take to end once nothing more is begun; they have a grace of their own.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long each of these may take for a person who asked twice.
const HURRY: Duration = Duration::from_millis(500);

/// A mount that serves.
pub(in crate::cli) struct Running {
    mount_point: PathBuf,
    stop_timeout: Duration,
    parts: Assembled,
    signals: Signals,
    server: Arc<Server>,
    serving: AbortOnDropHandle<()>,
    requests: mpsc::Receiver<EndRequest>,
    /// Who asked for the end and waits for it.
    askers: Vec<oneshot::Sender<Result<u64, String>>>,
}

enum Cause {
    Signal,
    /// Somebody else unmounted it.
    Unmounted,
    Asked {
        now: bool,
    },
}

impl Running {
    /// Mounts. On return the mount and its control socket serve.
    pub async fn start(plan: Plan) -> Result<Self, Failure> {
        let signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
        let parts = assemble(&plan).await?;
        let (end, requests) = mpsc::channel(1);
        let server = Arc::clone(&parts.server);
        let handler = Arc::new(MountHandler {
            mount_point: plan.mount_point.clone(),
            alone: plan.alone,
            accounts: parts.accounts.clone(),
            uploads: Arc::clone(&parts.uploads),
            vfs: Arc::clone(&parts.vfs),
            pins: parts.pins.clone(),
            config: plan.paths.config.clone(),
            database: parts.database.clone(),
            end,
        });
        let serving = Arc::clone(&server);
        let serving = AbortOnDropHandle::new(tokio::spawn(async move { serving.run(handler).await }));
        tracing::info!(mount_point = %plan.mount_point.display(), accounts = parts.accounts.len(), "mounted");
        Ok(Running {
            mount_point: plan.mount_point,
            stop_timeout: plan.config.mount.stop_timeout,
            parts,
            signals,
            server,
            serving,
            requests,
            askers: Vec::new(),
        })
    }

    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Serves until a signal, a request or somebody else ends the mount; then drains and unmounts.
    pub async fn until_end(mut self) -> Outcome {
        supervisor::ready(&format!("Mounted at {}", self.mount_point.display()));
        let cause = tokio::select! {
            name = self.signals.next() => {
                tracing::info!("{name}: the mount ends");
                Cause::Signal
            }
            () = self.parts.mounted.wait_ended() => Cause::Unmounted,
            Some(request) = self.requests.recv() => {
                self.askers.push(request.reply);
                Cause::Asked { now: request.now }
            }
        };
        supervisor::stopping("Ending");
        self.parts.vfs.refuse_writes();
        let in_time = match cause {
            Cause::Asked { now: true } => false,
            _ => self.drain().await,
        };
        supervisor::still_stopping();
        let Running {
            mount_point,
            parts,
            server,
            serving,
            mut requests,
            mut askers,
            mut signals,
            ..
        } = self;
        let mut hurry = Hurry {
            signals: &mut signals,
            asked: !in_time,
        };
        let is_gone = matches!(cause, Cause::Unmounted);
        let unmounted = unmount(parts.mounted, &mount_point, is_gone, &mut hurry).await;
        // A cut only ends the waiting: what is begun without it is ended by the next.
        if hurry.within(STOP_LIMIT, parts.uploads.stop()).await.is_none() {
            parts.uploads.stop_within(Duration::ZERO).await;
        }
        let left = parts.uploads.unfinished() as u64;
        let farewells = parts.accounts.iter().map(|account| account.provider.close());
        // Tokens that are not given back run out by themselves.
        let _ = hurry.within(FAREWELL_LIMIT, join_all(farewells)).await;
        drop(parts.watches);
        // What the index lacks is asked for again by the next mount.
        let _ = hurry.within(INDEX_LIMIT, parts.vfs.finish_index()).await;
        parts.database.close().await;
        if left > 0 {
            let files = text::count(left, "file is", "files are");
            tell!(
                "lockerfs: {files} not uploaded yet; kept in {} for the next mount",
                parts.state_dir.path().display()
            );
        }
        while let Ok(request) = requests.try_recv() {
            askers.push(request.reply);
        }
        for asker in askers {
            let answer = unmounted.as_ref().map(|()| left).map_err(ToString::to_string);
            // Whoever asked may have gone.
            let _ = asker.send(answer);
        }
        drop((serving, requests));
        server.finish(FAREWELL_LIMIT).await;
        unmounted
    }

    /// Uploads what can be uploaded within the time for it, or until somebody asks for the end at once. False after
    /// that.
    async fn drain(&mut self) -> bool {
        let waiting = self.parts.uploads.unfinished() as u64;
        if waiting > 0 {
            let files = text::count(waiting, "file", "files");
            tell!("lockerfs: uploading {files} before the end; a second ^C ends at once");
            supervisor::stopping(&format!("Uploading {files} before the end"));
        } else if !self.parts.uploads.is_busy() {
            return true;
        }
        let mut drained = std::pin::pin!(tokio::time::timeout(
            self.stop_timeout,
            self.parts.uploads.drain()
        ));
        let mut patience = tokio::time::interval(supervisor::MORE_TIME_EVERY);
        loop {
            tokio::select! {
                drained = &mut drained => {
                    if drained.is_err() {
                        tracing::warn!("not all was uploaded within {:?}", self.stop_timeout);
                    }
                    return true;
                }
                name = self.signals.next() => {
                    tracing::info!("{name} again: the mount ends at once");
                    return false;
                }
                Some(request) = self.requests.recv() => {
                    self.askers.push(request.reply);
                    if request.now {
                        return false;
                    }
                }
                _ = patience.tick() => supervisor::still_stopping(),
            }
        }
    }
}

/// Whether a person has asked a second time for the end, and is not to be kept waiting.
struct Hurry<'a> {
    signals: &'a mut Signals,
    asked: bool,
}

impl Hurry<'_> {
    /// Waits for a part of the end for so long, and hardly longer once a second signal came. `None` where it was not
    /// done by then.
    async fn within<T>(&mut self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        if !self.asked {
            tokio::select! {
                done = tokio::time::timeout(limit, &mut work) => return done.ok(),
                name = self.signals.next() => {
                    tracing::info!("{name} again: the mount ends at once");
                    self.asked = true;
                }
            }
        }
        tokio::time::timeout(limit.min(HURRY), work).await.ok()
    }
}

/// Unmounts; what is in use goes when its users do.
async fn unmount(
    mounted: crate::fuse::Mounted,
    place: &Path,
    is_gone: bool,
    hurry: &mut Hurry<'_>,
) -> Outcome {
    let ended = tokio::task::spawn_blocking(move || mounted.unmount());
    match hurry.within(UNMOUNT_LIMIT, ended).await {
        Some(Ok(Ok(()))) => return Ok(()),
        _ if is_gone => return Ok(()),
        Some(Ok(Err(error))) => tracing::warn!(%error, "the mount is in use: it goes when its users do"),
        _ => tracing::warn!("the kernel did not let go of the mount in time"),
    }
    match point::look(place)? {
        point::MountPoint::Free => Ok(()),
        _ => point::unmount(place),
    }
}
