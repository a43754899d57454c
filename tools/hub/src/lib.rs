//! Models by name: fetched from the Hugging Face hub or any web server, kept where the user's data is, found again, removed.
//!
//! A [`Name`] is `hf.co/ORG/REPO:QUANT` or an address. A [`Store`] finds what it stands for on this machine, and never asks
//! anybody else. [`pull`] fetches it: what a server says is hostile, so that every length, name and hash is checked, and a
//! model has its name only once all of it is on the disk.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

mod address;
mod choose;
mod client;
mod digest;
mod download;
mod name;
mod proxies;
mod pull;
mod remote;
mod repository;
mod settings;
mod shown;
mod stop;
mod store;

pub use address::Address;
pub use name::{HubName, Name};
pub use pull::{Options, Pulled, pull};
pub use settings::Settings;
pub use stop::Stop;
pub use store::{Found, Model, Part, Removed, Store};
