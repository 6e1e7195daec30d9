//! Connections: paced, counted, and cut on demand.
//!
//! Works below HTTP, so that every body, up or down, passes the same gate. A cut connection is closed with
//! whatever was in flight lost, as a broken line does it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::throttle::Pace;

/// The longest read that a pace shortens takes, in bytes.
const MOST_AT_ONCE: usize = 16 * 1024;

/// What all connections of a sandbox share.
pub struct Line {
    pub stop: CancellationToken,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub per_connection: Option<u64>,
    pub total: Option<Pace>,
}

/// A handle on the connection that a request came in on.
#[derive(Clone)]
pub struct Wire {
    cut: CancellationToken,
}

impl Wire {
    /// Closes the connection at once.
    pub fn cut(&self) {
        self.cut.cancel();
    }
}

impl Connected<IncomingStream<'_, Gate>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().wire.clone()
    }
}

pub struct Gate {
    pub listener: TcpListener,
    pub line: Arc<Line>,
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // A delayed small reply would blur every measured latency.
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, Arc::clone(&self.line)), peer);
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One direction's own pace and the wait it is in.
#[derive(Default)]
struct Direction {
    pace: Option<Pace>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Direction {
    fn new(rate: Option<u64>) -> Self {
        Self {
            pace: rate.map(Pace::new),
            wait: None,
        }
    }

    /// Ready with the number of bytes that may pass.
    fn poll_turn(&mut self, total: Option<&Pace>, context: &mut Context<'_>) -> Poll<usize> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            let own = self.pace.as_ref();
            let debt = own.and_then(Pace::wait).max(total.and_then(Pace::wait));
            match debt {
                Some(debt) => self.wait = Some(Box::pin(tokio::time::sleep(debt))),
                None => {
                    let step = own.into_iter().chain(total).map(Pace::step).min();
                    return Poll::Ready(step.unwrap_or(usize::MAX));
                }
            }
        }
    }

    fn spend(&self, total: Option<&Pace>, bytes: usize) {
        for pace in self.pace.as_ref().into_iter().chain(total) {
            pace.spend(bytes);
        }
    }
}

pub struct Connection {
    stream: TcpStream,
    line: Arc<Line>,
    wire: Wire,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    up: Direction,
    down: Direction,
}

impl Connection {
    fn new(stream: TcpStream, line: Arc<Line>) -> Self {
        let cut = line.stop.child_token();
        Self {
            stream,
            cut: Box::pin(cut.clone().cancelled_owned()),
            wire: Wire { cut },
            up: Direction::new(line.per_connection),
            down: Direction::new(line.per_connection),
            line,
        }
    }

    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_cut(context)?;
        let step = ready!(this.up.poll_turn(this.line.total.as_ref(), context));
        // Part of a `ReadBuf` cannot be lent out without `unsafe`, so a paced read takes a detour.
        let before = buffer.filled().len();
        if step >= buffer.remaining() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let mut part = [0; MOST_AT_ONCE];
            let mut part = ReadBuf::new(part.get_mut(..step.min(MOST_AT_ONCE)).unwrap_or_default());
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut part))?;
            buffer.put_slice(part.filled());
        }
        let read = buffer.filled().len() - before;
        this.up.spend(this.line.total.as_ref(), read);
        this.line.bytes_in.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.poll_cut(context)?;
        let step = ready!(this.down.poll_turn(this.line.total.as_ref(), context));
        let part = bytes.get(..step.min(bytes.len())).unwrap_or(bytes);
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, part))?;
        this.down.spend(this.line.total.as_ref(), written);
        this.line.bytes_out.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_cut(context)?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
