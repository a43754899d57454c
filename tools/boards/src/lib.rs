//! Boards that Siskin knows, and how fast a model will be there.
//!
//! A [`Board`] is what a file of `targets/boards/` says of one. What a token of a model takes of it
//! ([`Outline::reads`](siskin::plan::Outline::reads)), by the instructions that are counted for each type of weights
//! ([`counts`]) and by what memory gives, makes a [`Speed`]. `targets/expected-speed.md` has what is assumed, and figures
//! to hold against.
#![forbid(unsafe_code)]

mod board;
pub mod counts;
mod speed;

pub use board::{Board, Cluster, Cpu, Memory, UnknownBoard};
pub use speed::{Bound, Speed};
