//! Adapters: LoRA that comes on and off.

use std::ffi::{CString, c_char};

use siskin::Adapter;

use crate::file::siskin_file;
use crate::input;
use crate::model::siskin_model;
use crate::output::{self, c_string};
use crate::status::{call, quiet, siskin_status};

/// An adapter in memory. May be used by several threads at a time.
pub struct siskin_adapter {
    pub(crate) adapter: Adapter,
    name: CString,
}

impl siskin_adapter {
    fn new(adapter: Adapter) -> Self {
        Self { name: c_string(adapter.name()), adapter }
    }
}

/// Opens an adapter, a GGUF file, for a model.
///
/// # Safety
/// `path` is a text, `model` was not freed, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_adapter_open(
    path: *const c_char,
    model: *const siskin_model,
    out: *mut *mut siskin_adapter,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let (path, model) = (input::required(path, "path")?, input::shared(model, "model")?);
                Ok(siskin_adapter::new(Adapter::open(path, &model.model)?))
            })
        }
    })
}

/// Loads the adapter of an open file, for a model.
///
/// # Safety
/// Neither was freed, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_adapter_load(
    file: *const siskin_file,
    model: *const siskin_model,
    out: *mut *mut siskin_adapter,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let (file, model) = (input::shared(file, "file")?, input::shared(model, "model")?);
                Ok(siskin_adapter::new(Adapter::from_gguf(&file.0, &model.model)?))
            })
        }
    })
}

/// Frees the adapter. Where it is attached it stays.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_adapter_free(adapter: *mut siskin_adapter) {
    // SAFETY: the caller's promise.
    unsafe { output::take_back(adapter) }
}

/// What the adapter is called, by its file; it is there as long as the adapter is.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_adapter_name(adapter: *const siskin_adapter) -> *const c_char {
    // SAFETY: the caller's promise.
    quiet(c"".as_ptr(), || unsafe { adapter.as_ref() }.map_or(c"".as_ptr(), |adapter| adapter.name.as_ptr()))
}

/// Bytes of its numbers.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_adapter_bytes(adapter: *const siskin_adapter) -> u64 {
    // SAFETY: the caller's promise.
    quiet(0, || unsafe { adapter.as_ref() }.map_or(0, |adapter| adapter.adapter.bytes() as u64))
}
