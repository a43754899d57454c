//! Whether a server answers, as containers ask.

use crate::options::Listen;
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the server that listens there whether it is well (`GET /health`).
///
/// # Errors
/// Nobody there, or nobody who answers so within ten seconds; a socket of systemd's, which has no address.
pub fn check_health(listen: &Listen) -> Result<()> {
    match listen {
        Listen::Address(address) => {
            let address = reachable(*address);
            let stream = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE)).map(|()| stream)
            });
            stream.map_err(Into::into).and_then(ask).with_context(|| address.to_string())
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE)).map(|()| stream)
            });
            stream.map_err(Into::into).and_then(ask).with_context(|| path.display().to_string())
        }
        Listen::Inherited => bail!("expected the address of a server"),
    }
}

/// Where a server can be reached that listens at `address`: one that does so at all of them is asked at that of this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(mut stream: impl Read + Write) -> Result<()> {
    const WELL: &[u8] = b"HTTP/1.1 200 ";
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; WELL.len()];
    stream.read_exact(&mut status).context("expected an answer over HTTP")?;
    ensure!(status == WELL, "not well: {}", String::from_utf8_lossy(&status).trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::net::TcpListener;
    use std::thread;

    /// What comes of a server that sends `answer`.
    fn of(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Listen::Address(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 16]).unwrap();
            stream.write_all(answer).unwrap();
        });
        let found = check_health(&address).map_err(|error| format!("{error:#}"));
        server.join().unwrap();
        found
    }

    #[test]
    fn who_answers_otherwise_is_not_well() {
        assert_eq!(of(b"HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        assert!(
            of(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err().ends_with("not well: HTTP/1.1 503")
        );
        assert!(of(b"SSH-2.0").unwrap_err().contains("expected an answer over HTTP"));
        assert!(ask(Cursor::new(Vec::new())).is_err());
    }

    #[test]
    fn nobody_is_not_well() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(check_health(&Listen::Address(address)).is_err());
        assert!(check_health(&Listen::Unix("/nowhere/socket".into())).is_err());
    }

    #[test]
    fn all_addresses_are_those_of_this_machine() {
        let of = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "[::1]:8080");
        assert_eq!(of("10.0.0.7:8080"), "10.0.0.7:8080");
    }
}
