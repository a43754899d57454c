//! A web server for tests: it answers as it is told, which may be wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path with the query; of a proxy, what follows `CONNECT`.
    pub(crate) target: String,
    /// Headers, their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |from| from.parse().unwrap())
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The length that is announced, where it is another than the body's.
    pub(crate) announced: Option<u64>,
    /// Bytes of the body before the connection is cut.
    pub(crate) cut: Option<usize>,
    /// Time between pieces of 16 KiB.
    pub(crate) pace: Duration,
    /// Instead of an answer, nothing is said for this long.
    pub(crate) silence: Option<Duration>,
    /// Instead of an answer, these bytes.
    pub(crate) raw: Option<Vec<u8>>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    /// A whole file, or the part that was asked for.
    pub(crate) fn file(request: &Request, bytes: &[u8]) -> Reply {
        match request.from() {
            0 => Reply::status(200).body(bytes),
            from if from >= bytes.len() => {
                Reply::status(416).with("content-range", format!("bytes */{}", bytes.len()))
            }
            from => Reply::status(206)
                .with("content-range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
                .body(&bytes[from..]),
        }
    }
}

/// A server on a port of its own, until the test ends.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen_here) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen_here));
                // Whoever asked may be gone.
                thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Server { port, seen }
    }

    /// A proxy that lets everybody through to whom they ask for.
    pub(crate) fn proxy() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seen_here = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen_here);
                thread::spawn(move || connect(stream, &seen));
            }
        });
        Server { port, seen }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Another name of the same server, as another host.
    pub(crate) fn other_host(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { method, target, headers })
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Request) -> Reply,
    seen: &Mutex<Vec<Request>>,
) -> Option<()> {
    let request = read(&stream)?;
    seen.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    if let Some(silence) = reply.silence {
        thread::sleep(silence);
        return None;
    }
    if let Some(raw) = &reply.raw {
        return stream.write_all(raw).ok();
    }
    let mut head = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let length = reply.announced.unwrap_or(reply.body.len() as u64);
    if !reply.headers.iter().any(|(name, _)| name == "transfer-encoding") {
        head += &format!("content-length: {length}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    let sent = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    for piece in sent.chunks(1 << 14) {
        stream.write_all(piece).ok()?;
        thread::sleep(reply.pace);
    }
    stream.shutdown(Shutdown::Write).ok()
}

fn connect(mut stream: TcpStream, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let request = read(&stream)?;
    seen.lock().unwrap().push(request.clone());
    let mut other = TcpStream::connect(&request.target).ok()?;
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut from, mut to) = (stream.try_clone().ok()?, other.try_clone().ok()?);
    let upward = thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut other, &mut stream).ok()?;
    stream.shutdown(Shutdown::Both).ok()?;
    upward.join().ok()?.ok().map(|_| ())
}
