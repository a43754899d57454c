//! Siskin as C programs see it: `siskin.h` is made of this crate.
//!
//! Each handle is a Rust value behind a pointer, and each function reads its arguments (`input`), does one thing with the
//! engine, and says how it went (`status`). What C hands over is checked as far as it can be; what cannot be, such as that a
//! pointer is one, is what the caller must see to and is said in the header.

// The names are those of C.
#![allow(non_camel_case_types)]

// In the order in which the header has them.
pub mod status;

pub mod log;

pub mod file;

pub mod plan;

pub mod model;

pub mod session;

pub mod answer;

pub mod batch;

pub mod adapter;

mod input;
mod output;

use std::ffi::c_char;

/// The version of the library, such as `"0.1.0"`.
#[unsafe(no_mangle)]
pub extern "C" fn siskin_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
