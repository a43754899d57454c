//! Connections, the bodies of requests, and answers that come piece by piece.

mod body;
mod connections;
mod guard;
mod listen;
mod room;
mod stream;
mod written;

pub(crate) use body::{read, read_json};
pub(crate) use connections::{Signals, accept};
pub(crate) use guard::{guard, is_of_this_machine, named_origin};
pub(crate) use listen::Listener;
pub(crate) use room::{Room, Told, ToldRoom, give_back};
pub(crate) use stream::{event_pieces, events, json, lines, pieces, text};
pub(crate) use written::Written;
