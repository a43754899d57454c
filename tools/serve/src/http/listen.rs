//! Where clients connect: an address, a socket in the file system, or what systemd hands over.

use crate::options::Listen;
use anyhow::{Context, Result, ensure};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// A connection, of whatever kind.
pub(super) type Stream = Pin<Box<dyn Connection>>;

/// Bytes in both directions.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Connection for T {}

/// Whom a connection is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// None: it came through a socket in the file system.
    pub(super) address: Option<IpAddr>,
    /// Whether it is a process of this machine.
    pub(super) is_local: bool,
}

impl Peer {
    /// Who comes from `peer` to the address `own` of this machine: what has the same address is the machine itself.
    fn of(peer: SocketAddr, own: Option<SocketAddr>) -> Self {
        let address = peer.ip().to_canonical();
        let is_own = own.is_some_and(|own| own.ip().to_canonical() == address);
        Self { address: Some(address), is_local: is_own || address.is_loopback() }
    }
}

/// What clients connect to.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Option<SocketFile>),
}

/// A socket's file, which goes with it.
pub(crate) struct SocketFile(PathBuf);

impl Listener {
    /// Listens where it is said.
    ///
    /// # Errors
    /// An address that cannot be had; nothing that systemd hands over.
    pub(crate) async fn open(listen: &Listen) -> Result<Self> {
        match listen {
            Listen::Address(address) => {
                let listener = TcpListener::bind(address).await;
                listener.map(Listener::Tcp).with_context(|| format!("cannot listen on {address}"))
            }
            Listen::Unix(path) => {
                let name = path.display().to_string();
                // One that a killed server has left. One that still answers stays.
                let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
                if is_socket {
                    let answers = std::os::unix::net::UnixStream::connect(path).is_ok();
                    ensure!(!answers, "{name}: another server listens there");
                    remove(path).with_context(|| name.clone())?;
                }
                let listener = UnixListener::bind(path).with_context(|| name.clone())?;
                Ok(Listener::Unix(listener, Some(SocketFile(path.clone()))))
            }
            Listen::Inherited => inherited(),
        }
    }

    /// What it is called, as clients would write it.
    pub(crate) fn name(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "http://?".to_owned(), |address| format!("http://{address}")),
            Listener::Unix(_, Some(SocketFile(path))) => format!("unix:{}", path.display()),
            Listener::Unix(_, None) => "unix:".to_owned(),
        }
    }

    /// Whether only this machine can connect.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Listener::Tcp(listener) => listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
            Listener::Unix(..) => true,
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                let peer = Peer::of(peer, stream.local_addr().ok());
                Ok((Box::pin(stream), peer))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::pin(stream), Peer { address: None, is_local: true }))
            }
        }
    }
}

/// The socket that systemd hands over (`sd_listen_fds`).
fn inherited() -> Result<Listener> {
    let mut sockets = listenfd::ListenFd::from_env();
    ensure!(sockets.len() == 1, "expected one socket from systemd, found {}", sockets.len());
    if let Ok(Some(listener)) = sockets.take_tcp_listener(0) {
        listener.set_nonblocking(true).context("systemd's socket")?;
        return Ok(Listener::Tcp(TcpListener::from_std(listener).context("systemd's socket")?));
    }
    let listener = sockets.take_unix_listener(0).context("systemd's socket")?;
    let listener = listener.context("systemd's socket is of a kind that is not known")?;
    listener.set_nonblocking(true).context("systemd's socket")?;
    Ok(Listener::Unix(UnixListener::from_std(listener).context("systemd's socket")?, None))
}

#[allow(clippy::disallowed_methods, reason = "sockets are made and removed here")]
fn remove(path: &std::path::Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_an_address_of_this_machine_is_on_it() {
        let is_local = |peer: &str, own: &str| {
            let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 1);
            Peer::of(at(peer), Some(at(own))).is_local
        };
        assert!(is_local("127.0.0.1", "127.0.0.1") && is_local("127.3.2.1", "127.0.0.1"));
        assert!(is_local("::1", "::1") && is_local("::ffff:127.0.0.1", "::ffff:127.0.0.1"));
        assert!(is_local("192.168.0.2", "192.168.0.2") && is_local("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!is_local("192.168.0.3", "192.168.0.2") && !is_local("::ffff:10.0.0.2", "::ffff:10.0.0.1"));
    }
}
