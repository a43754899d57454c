//! Connections, the bodies of requests, and answers that come piece by piece.

mod body;
mod connections;
mod stream;

pub(crate) use body::{read, read_json};
pub(crate) use connections::{accept, listen};
pub(crate) use stream::{events, json, lines, text};
