//! `POST /api/pull`, `DELETE /api/delete` and `POST /api/copy`: models come, go, and are called otherwise.

use super::{error, models, respond};
use crate::http;
use crate::models::Progress;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use siskin_kit::json::Object;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Fetches a model. Who goes away meanwhile finds it here later.
pub(super) async fn pull(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let pull = async {
        check_may_change(&server, &request)?;
        let mut fields = http::read_json(&server, request).await?;
        let stream = fields.flag("stream")?.unwrap_or(true);
        let name = required(&mut fields)?;
        let progress = Progress::new();
        let pulling = begin(&server, &name, &progress)?;
        if stream {
            return Ok(http::lines(lines(Pulling { name, progress, done: Some(pulling), is_begun: false })));
        }
        over(pulling.await)?;
        Ok(http::json(200, &json!({"status": "success"})))
    };
    respond(pull.await)
}

/// A model's name, which must be there.
fn required(fields: &mut Object) -> Result<String, Refusal> {
    let name = models::name(fields)?.filter(|name| !name.is_empty());
    name.ok_or_else(|| Refusal::invalid("model is missing, expected a name"))
}

/// Refuses to have strangers on the network fill or empty the disk.
fn check_may_change(server: &Server, request: &Request<Body>) -> Result<(), Refusal> {
    if server.is_local || server.keys.are_wanted() || http::is_of_this_machine(request) {
        return Ok(());
    }
    let said = "models may be pulled and removed from this machine alone, or with a key (--keys)";
    Err(Refusal::new(Reason::Forbidden, said))
}

/// Begins to fetch, on a thread of its own: it may take hours.
fn begin(
    server: &Server,
    name: &str,
    progress: &Progress,
) -> Result<oneshot::Receiver<Result<(), Refusal>>, Refusal> {
    let leave = server.models.library.leave_to_pull()?;
    let (sender, receiver) = oneshot::channel();
    let (library, name, progress) = (Arc::clone(&server.models.library), name.to_owned(), progress.clone());
    let pull = move || {
        let pulled = library.pull(&name, &progress);
        drop(leave);
        // Whoever asked may have gone.
        let _ = sender.send(pulled);
    };
    std::thread::Builder::new().name("pull".into()).spawn(pull).map_err(Refusal::internal)?;
    Ok(receiver)
}

fn over(done: Result<Result<(), Refusal>, oneshot::error::RecvError>) -> Result<(), Refusal> {
    done.map_err(|_| Refusal::internal("a fault of the server's own"))?
}

/// A model on its way.
struct Pulling {
    name: String,
    progress: Progress,
    /// None once it is over.
    done: Option<oneshot::Receiver<Result<(), Refusal>>>,
    is_begun: bool,
}

/// How far it has come, as lines.
fn lines(pulling: Pulling) -> impl Stream<Item = Value> {
    stream::unfold(pulling, |mut pulling| async {
        let line = pulling.next().await?;
        Some((line, pulling))
    })
}

impl Pulling {
    /// The next line; None once the last was written.
    async fn next(&mut self) -> Option<Value> {
        /// How often it is told.
        const RHYTHM: Duration = Duration::from_millis(250);
        let done = self.done.as_mut()?;
        if !std::mem::replace(&mut self.is_begun, true) {
            return Some(json!({"status": "pulling manifest"}));
        }
        loop {
            match tokio::time::timeout(RHYTHM, &mut *done).await {
                Ok(done) => {
                    self.done = None;
                    return Some(match over(done) {
                        Ok(()) => json!({"status": "success"}),
                        Err(refusal) => error(&refusal),
                    });
                }
                Err(_) => {
                    let Some((completed, total)) = self.progress.bytes() else { continue };
                    let status = format!("pulling {}", self.name);
                    // Clients tell several files on their way apart by the digest.
                    return Some(
                        json!({"status": status, "digest": self.name, "total": total, "completed": completed}),
                    );
                }
            }
        }
    }
}

/// Removes a model that was pulled, or a copy's name, and ends the pull of one that is on its way.
pub(super) async fn delete(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let delete = async {
        check_may_change(&server, &request)?;
        let mut fields = http::read_json(&server, request).await?;
        let name = required(&mut fields)?;
        server.models.remove(&name).await?;
        Ok(http::text(200, "text/plain", ""))
    };
    respond(delete.await)
}

/// Gives a model another name, for as long as the server runs.
pub(super) async fn copy(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let copy = async {
        check_may_change(&server, &request)?;
        let mut fields = http::read_json(&server, request).await?;
        let (source, other) = (fields.require_text("source")?, fields.require_text("destination")?);
        server.models.copy(&source, &other).await?;
        Ok(http::text(200, "text/plain", ""))
    };
    respond(copy.await)
}
