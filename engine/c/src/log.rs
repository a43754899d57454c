//! What the library has to tell that no call returns.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;

use crate::status::{line, quiet};

/// What a line that is told is about. New ones may be added.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_log_level {
    /// Something to be known of a model that was loaded: what `siskin_model_notes` has.
    SISKIN_LOG_NOTE = 0,
    /// A fault of the library, where it happened, in whichever thread: a call fails with `SISKIN_INTERNAL`, if one waits for it.
    SISKIN_LOG_FAULT = 1,
}

/// Who is told a line without its end: `level` is a `siskin_log_level`, and the line is there during the call. Any thread calls it,
/// also several at a time, and it must call nothing of this library.
pub type siskin_log_fn = Option<unsafe extern "C" fn(data: *mut c_void, level: c_int, line: *const c_char)>;

#[derive(Clone, Copy)]
struct Log {
    tell: siskin_log_fn,
    data: *mut c_void,
}
// SAFETY: the pointer is handed back to the caller's function alone, which was promised to be one for any thread.
unsafe impl Send for Log {}

static LOG: Mutex<Log> = Mutex::new(Log { tell: None, data: std::ptr::null_mut() });

/// Has `log` told what the library has to tell, with `data`, in this whole process, from the next line on; nobody where it is NULL,
/// which is so at first. A line that is being told meanwhile may still go to the former.
///
/// # Safety
/// `log` may be called by any thread with `data`, until some time after another has taken its place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_log_to(log: siskin_log_fn, data: *mut c_void) {
    quiet((), || *LOG.lock().unwrap_or_else(|broken| broken.into_inner()) = Log { tell: log, data });
}

/// Tells a line.
pub(crate) fn tell(level: siskin_log_level, message: &str) {
    let log = *LOG.lock().unwrap_or_else(|broken| broken.into_inner());
    if let Some(tell) = log.tell {
        let line = line(message);
        // SAFETY: the promise of who set it.
        unsafe { tell(log.data, level as c_int, line.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::call;
    use std::ffi::CStr;

    #[test]
    fn faults_are_told_where_they_happen() {
        unsafe extern "C" fn keep(data: *mut c_void, level: c_int, line: *const c_char) {
            // SAFETY: what the test hands over, and a line that is there.
            let (lines, line) = unsafe { (&*data.cast::<Mutex<Vec<String>>>(), CStr::from_ptr(line)) };
            lines.lock().unwrap().push(format!("{level} {}", line.to_str().unwrap()));
        }
        // Tests beside this one have faults of their own, and may be telling one when this one ends.
        let lines: &'static Mutex<Vec<String>> = Box::leak(Box::default());
        // SAFETY: it is there for good.
        unsafe { siskin_log_to(Some(keep), std::ptr::from_ref(lines).cast_mut().cast()) };
        call(|| panic!("fault of the day"));
        // SAFETY: nobody is nobody's.
        unsafe { siskin_log_to(None, std::ptr::null_mut()) };
        call(|| panic!("fault of the morrow"));
        let told = lines.lock().unwrap().join("\n");
        assert!(told.contains("1 internal fault: fault of the day, engine/c/src/log.rs:"), "{told}");
        assert!(!told.contains("morrow"), "{told}");
    }
}
