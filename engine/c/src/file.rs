//! A model or adapter file that is open: to be planned for, and to be loaded.

use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

use siskin::gguf::Gguf;

use crate::input;
use crate::output;
use crate::status::{Failure, call, siskin_status};

/// An open GGUF file. May be used by several threads at a time.
pub struct siskin_file(pub(crate) Gguf);

/// Opens a GGUF file and maps it into memory; any part of a model that is split over several files opens all of it.
///
/// Nobody may write to the file or cut it off while it is open or a model of it is there: replace a model by a new file that is
/// renamed over it. A page that can no longer be read raises SIGBUS.
///
/// # Safety
/// `path` is a text, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_open(path: *const c_char, out: *mut *mut siskin_file) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let path = input::required(path, "path")?;
                Ok(siskin_file(Gguf::open(Path::new(path))?))
            })
        }
    })
}

/// Opens the GGUF file behind a descriptor that is open for reading, and calls it `name` in messages. The descriptor stays the
/// caller's, who may close it; where it stands in the file makes no difference.
///
/// # Safety
/// `name` is a text, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_open_fd(
    fd: c_int,
    name: *const c_char,
    out: *mut *mut siskin_file,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise; a negative number is refused before it is taken for a descriptor, and one that is not open
        // by the system.
        unsafe {
            output::give(out, || {
                let name = input::required(name, "name")?;
                if fd < 0 {
                    return Err(Failure::argument(format!("fd: expected an open file, found {fd}")));
                }
                let wrong = |error| Failure::argument(format!("fd: {fd} cannot be used: {error}"));
                let file = BorrowedFd::borrow_raw(fd).try_clone_to_owned().map_err(wrong)?;
                Ok(siskin_file(Gguf::open_file(File::from(file), name)?))
            })
        }
    })
}

/// Takes a GGUF file that is in memory, as flash that is mapped or data of the program, and calls it `name` in messages. The
/// weights of a packed file are used where they are, if they begin at a multiple of 64.
///
/// # Safety
/// `bytes` points to `len` bytes that stay there, unchanged, until this file and all models of it are freed. `name` is a text, and
/// `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_from_memory(
    bytes: *const c_void,
    len: usize,
    name: *const c_char,
    out: *mut *mut siskin_file,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise: the bytes outlive all that is made of them.
        unsafe {
            output::give(out, || {
                let name = input::required(name, "name")?;
                let bytes: &'static [u8] = input::list(bytes.cast(), len, "bytes")?;
                Ok(siskin_file(Gguf::from_static(name, bytes)?))
            })
        }
    })
}

/// Frees the file. Models that were loaded from it stay.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_free(file: *mut siskin_file) {
    // SAFETY: the caller's promise.
    unsafe { output::take_back(file) }
}
