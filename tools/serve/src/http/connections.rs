//! Connections: how many there may be, how long they may say nothing, and how they end with the server.

use super::guard::Address;
use super::listen::{Listener, Stream};
use crate::server::Server;
use anyhow::{Context, Result};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// Connections at a time, at most: those beyond wait to be accepted.
pub(super) const CONNECTIONS: usize = 128;
/// Bytes of a request's line and headers, at most, and of what is read or written of a connection at a time.
pub(super) const HEADERS: usize = 32 << 10;
/// How long a client may take for them.
const HEADER_TIME: Duration = Duration::from_secs(20);
/// How long a client may read nothing of what is there for it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long answers under way have when the server ends.
const DRAIN_TIME: Duration = Duration::from_secs(4);

/// The signals that a server heeds, from the moment that there is one of these.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    /// Hears them from now on.
    ///
    /// # Errors
    /// Signals that cannot be heard.
    pub(crate) fn hear() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            reload: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }
}

/// Serves connections until the process, or the server alone, is asked to end. What is under way then may go on for some seconds.
pub(crate) async fn accept(
    listener: Listener,
    server: Arc<Server>,
    router: Router,
    mut signals: Signals,
    stop: &Notify,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (ending, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            _ = stop.notified() => break,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.reload.recv() => server.reload(),
            Some(_) = connections.join_next() => {}
            (accepted, place) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let name = peer.address.map_or_else(|| "local".into(), |address| address.to_string().into());
                    let address = Address { name, is_local: peer.is_local };
                    let service = router.clone().layer(Extension(address));
                    let ending = ending.subscribe();
                    connections.spawn(async move {
                        connection(stream, service, ending).await;
                        drop(place);
                    });
                }
                // Too many files are open, or the like: others must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    drop(listener);
    server.is_ending();
    let _ = ending.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
}

/// Serves a connection to its end. A request that is under way when the server is asked to end is answered first.
async fn connection(stream: Stream, service: Router, mut ending: watch::Receiver<bool>) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        // What went wrong is the client's concern, who knows.
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
