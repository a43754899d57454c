//! Models from servers that speak https, with certificates that few trust.

use super::common::{failure, here, text};
use super::hub::{Repository, sha256};
use super::names::User;
use super::server::{Reply, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Speaks https in front of a server, as `localhost`.
struct Front {
    port: u16,
}

impl Front {
    fn of(server: &Server) -> Front {
        let certificate = CertificateDer::from_pem_file(golden("localhost.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(golden("localhost.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                // Whoever asked may not have liked the certificate.
                thread::spawn(move || pass_on(stream, config, behind).ok());
            }
        });
        Front { port }
    }

    fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

fn pass_on(stream: TcpStream, config: Arc<ServerConfig>, behind: u16) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut secret = StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        secret.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let mut plain = TcpStream::connect(("127.0.0.1", behind))?;
    plain.write_all(&request)?;
    io::copy(&mut plain, &mut secret)?;
    secret.conn.send_close_notify();
    secret.flush()?;
    secret.sock.shutdown(Shutdown::Write)
}

/// A certificate, or the key of one.
fn golden(name: &str) -> PathBuf {
    here("tests/goldens/tls").join(name)
}

fn demo() -> Vec<u8> {
    fs::read(here("../demo/siskin-demo.gguf")).unwrap()
}

#[test]
fn a_server_is_believed_if_its_certificate_is_trusted() {
    let server = Server::start(|request| Reply::file(request, &demo()));
    let front = Front::of(&server);
    let user = User::of(&server);
    let (trusted, other) = (golden("localhost.pem"), golden("other.pem"));
    let address = format!("{}/m.gguf", front.address());
    let said = failure(&user.command(&["pull", &address]).env("SSL_CERT_FILE", &other).output().unwrap());
    assert!(said.contains("certificate") && said.contains("SSL_CERT_FILE"), "{said}");
    let none =
        failure(&user.command(&["pull", &address]).env("SSL_CERT_FILE", "missing.pem").output().unwrap());
    assert!(none.contains("this machine trusts no certificates"), "{none}");
    assert!(server.seen().is_empty());
    let run = user.command(&["pull", &address]).env("SSL_CERT_FILE", text(&trusted)).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.ends_with(&format!("SHA-256 {}\n", sha256(&demo()))), "{run:?}");
    // Through a proxy, which sees no more than whom it is for.
    let proxy = Server::proxy();
    user.said(&["rm", &address]);
    let through = format!("http://127.0.0.1:{}", proxy.port());
    let run = user
        .command(&["pull", &address])
        .env("SSL_CERT_FILE", text(&trusted))
        .env("HTTPS_PROXY", through)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    assert_eq!(proxy.seen()[0].target, format!("localhost:{}", front.port));
}

#[test]
fn what_began_as_https_stays_https() {
    let hub = Repository::with(&[("m.gguf", &demo())]).serve();
    let front = Front::of(&hub);
    let mut user = User::of(&hub);
    user.endpoint = front.address();
    let mut command = user.command(&["pull", "hf.co/Org/Repo"]);
    let run = command.env("SSL_CERT_FILE", golden("localhost.pem")).output().unwrap();
    let said = failure_after_notes(&run.stderr);
    assert!(
        said.ends_with("localhost redirects from https to http, where anybody could change what comes"),
        "{said}"
    );
}

/// The last line that is said.
fn failure_after_notes(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).trim_end().lines().last().unwrap_or_default().to_owned()
}
