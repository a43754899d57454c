//! A session: a sequence of tokens with all the memory that it will ever use.

use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use siskin::tool_calls::ToolSyntax;
use siskin::{Answer, CacheType, CacheTypes, Session, SessionOptions, Speculation, StateError, WhenFull};
use siskin_kit::{Inputs, Output};

use crate::adapter::siskin_adapter;
use crate::input::{self, Options};
use crate::model::siskin_model;
use crate::output;
use crate::status::siskin_status::{SISKIN_BUSY, SISKIN_CANCELLED, SISKIN_FILE};
use crate::status::{Failure, call, quiet, siskin_status};

/// A session of a model. Used by one thread at a time, but for `siskin_session_cancel`.
pub struct siskin_session(pub(crate) Arc<Shared>);

/// What a session and its answers have in common.
pub(crate) struct Shared {
    cancel: Arc<AtomicBool>,
    held: Mutex<Held>,
}

/// What calls change, one at a time.
pub(crate) struct Held {
    pub(crate) answer: Answer,
    pub(crate) tools: Option<ToolSyntax>,
    /// Whether there is a `siskin_answer` of it.
    pub(crate) is_answering: bool,
}

impl Shared {
    pub(crate) fn held(&self) -> Result<MutexGuard<'_, Held>, Failure> {
        input::enter(&self.held, "session")
    }

    /// Where the work was cancelled that is told to the caller now, what comes next is not.
    pub(crate) fn told_of_cancel(&self) {
        self.cancel.store(false, Ordering::Relaxed);
    }
}

impl Held {
    /// The session, to be changed, which would change an answer that is not over.
    fn session_mut(&mut self) -> Result<&mut Session, Failure> {
        match self.is_answering && self.answer.ending().is_none() {
            true => Err(Failure::new(
                SISKIN_BUSY,
                "session: it has an answer that is not over: cancel or free it before",
            )),
            false => Ok(self.answer.session_mut()),
        }
    }
}

/// The session behind a handle.
///
/// # Safety
/// `session` is NULL or was not freed.
unsafe fn held<'a>(session: *mut siskin_session) -> Result<MutexGuard<'a, Held>, Failure> {
    // SAFETY: the caller's promise.
    unsafe { input::shared::<siskin_session>(session, "session")?.0.held() }
}

/// What keys and values are kept in.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_cache {
    /// The usual one: `SISKIN_CACHE_F16`.
    SISKIN_CACHE_DEFAULT = 0,
    /// 32-bit floats.
    SISKIN_CACHE_F32 = 1,
    /// 16-bit floats.
    SISKIN_CACHE_F16 = 2,
    /// 8-bit integers, a scale for each 32.
    SISKIN_CACHE_Q8_0 = 3,
}

/// What a session does where its context is full.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_when_full {
    /// Refuses tokens: `SISKIN_CONTEXT_FULL`.
    SISKIN_WHEN_FULL_STOP = 0,
    /// Forgets the older half of what is behind the first `keep` tokens. A prompt that begins like what the session holds then reuses
    /// only the tokens before the first that know of forgotten ones, mostly `keep`.
    SISKIN_WHEN_FULL_SHIFT = 1,
    /// Forgets the oldest eighth of what is behind the first `keep` tokens: some four that are kept are enough for texts without
    /// end.
    SISKIN_WHEN_FULL_WINDOW = 2,
}

/// What a session is made for. Set `size`; all else may stay 0, which is what suits an assistant on the device.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_session_options {
    /// `sizeof(siskin_session_options)`.
    pub size: usize,
    /// Tokens that it holds at most, up to the model's own context length. 0: that, but at most 4,096.
    pub context: usize,
    /// Threads that share the work, the calling one among them, at most 1,024. 0: as many as the machine has for it.
    pub threads: usize,
    /// Tokens of a prompt that are worked on together. 0: 256.
    pub batch: usize,
    /// Draft tokens that are worked on at a time, at most, up to 31: what the text went on with when its last tokens stood in it before. They
    /// change no bit of an answer. 0: none.
    pub drafts: usize,
    /// NULL, or the instruction set of the kernels: `"avx512-vnni"`, `"avx-vnni"`, `"avx2"`, `"ssse3"`, `"neon-i8mm"`, `"neon-dotprod"`,
    /// `"neon"` or `"scalar"`, as far as the CPU and the library have it. NULL: what the environment variable
    /// `SISKIN_ISA` names, else the best that the CPU has.
    pub isa: *const c_char,
    /// A `siskin_cache`: what keys are kept in.
    pub cache_keys: u32,
    /// A `siskin_cache`: what values are kept in.
    pub cache_values: u32,
    /// A `siskin_when_full`. Sessions only.
    pub when_full: u32,
    /// 1: each thread that is started stays on a CPU of its own.
    pub pin: u32,
    /// Tokens that are never forgotten: see `when_full`. At most two less than the context.
    pub keep: usize,
}
// SAFETY: integers and pointers may have any bytes.
unsafe impl Options for siskin_session_options {
    const NAME: &'static str = "siskin_session_options";
}

impl siskin_session_options {
    /// The engine's options.
    ///
    /// # Safety
    /// `from` is NULL or points to options, whose `isa` is NULL or a text.
    pub(crate) unsafe fn read(from: *const Self) -> Result<SessionOptions, Failure> {
        // SAFETY: the caller's promise.
        let options = unsafe { input::options(from)? };
        // SAFETY: the caller's promise.
        let isa = unsafe { input::text(options.isa, "isa")? };
        let wrong = |error: siskin::UnknownIsa| Failure::argument(format!("isa: {error}"));
        let isa = isa.map(|name| name.parse().map_err(wrong)).transpose()?;
        options.when_full()?;
        let given = |value: usize| (value > 0).then_some(value);
        let cache = CacheTypes {
            keys: cache_type("cache_keys", options.cache_keys)?,
            values: cache_type("cache_values", options.cache_values)?,
        };
        Ok(SessionOptions::default()
            .context(given(options.context))
            .threads(given(options.threads))
            .batch(given(options.batch))
            .isa(isa)
            .cache(cache)
            .pin(flag("pin", options.pin)?)
            .drafts(options.drafts))
    }

    pub(crate) fn when_full(&self) -> Result<WhenFull, Failure> {
        match self.when_full {
            0 => Ok(WhenFull::Stop),
            1 => Ok(WhenFull::Shift { keep: self.keep }),
            2 => Ok(WhenFull::Window { keep: self.keep }),
            found => Err(Failure::argument(format!("when_full: expected a siskin_when_full, found {found}"))),
        }
    }
}

fn cache_type(field: &str, number: u32) -> Result<CacheType, Failure> {
    match number {
        0 => Ok(CacheType::default()),
        1 => Ok(CacheType::F32),
        2 => Ok(CacheType::F16),
        3 => Ok(CacheType::Q8_0),
        found => Err(Failure::argument(format!("{field}: expected a siskin_cache, found {found}"))),
    }
}

/// A field that is 0 or 1.
pub(crate) fn flag(field: &str, number: u32) -> Result<bool, Failure> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Failure::argument(format!("{field}: expected 0 or 1, found {found}"))),
    }
}

/// Makes a session, with all the memory that it will ever use.
///
/// # Safety
/// `model` was not freed, `options` is NULL or points to options, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_new(
    model: *const siskin_model,
    options: *const siskin_session_options,
    out: *mut *mut siskin_session,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let model = input::shared(model, "model")?;
                let read = siskin_session_options::read(options)?;
                let mut session = model.model.session(&read)?;
                session.set_when_full(input::options(options)?.when_full()?)?;
                if read.drafts > 0 {
                    session.speculate(Speculation::lookup())?;
                }
                let cancel = Arc::new(AtomicBool::new(false));
                let mut answer = Answer::new(session)?;
                answer.cancel_when(cancel.clone());
                let held = Held { answer, tools: model.tools, is_answering: false };
                Ok(siskin_session(Arc::new(Shared { cancel, held: Mutex::new(held) })))
            })
        }
    })
}

/// Frees the session, or leaves it to its answer if there is one.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_free(session: *mut siskin_session) {
    // SAFETY: the caller's promise.
    unsafe { output::take_back(session) }
}

/// Has the work that is under way end before the next layer of the model, or else the work that comes next. Whoever is at work is
/// told so, once: a call that feeds tokens with `SISKIN_CANCELLED`, an answer by its ending.
///
/// May be called by any thread at any time, and by a signal handler.
///
/// # Safety
/// The session was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_cancel(session: *const siskin_session) {
    // SAFETY: the caller's promise. The flag is atomic and is all that is touched.
    if let Some(session) = unsafe { session.as_ref() } {
        session.0.cancel.store(true, Ordering::Relaxed);
    }
}

/// Adds tokens to what the session holds and works them out.
///
/// # Safety
/// The session was not freed, and `tokens` points to `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_feed(
    session: *mut siskin_session,
    tokens: *const u32,
    count: usize,
) -> siskin_status {
    let status = call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let tokens = input::list(tokens, count, "tokens")?;
            Ok(held(session)?.session_mut()?.feed(tokens)?)
        }
    });
    // SAFETY: the caller's promise.
    if let (SISKIN_CANCELLED, Some(session)) = (status, unsafe { session.as_ref() }) {
        session.0.told_of_cancel();
    }
    status
}

/// The logits behind the last token: as many as the model has tokens. They are there until the session is used again.
///
/// # Safety
/// The session was not freed, and `logits` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_logits(
    session: *mut siskin_session,
    logits: *mut *const f32,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let found = held(session)?.answer.session().logits()?.as_ptr();
            *input::place(logits, "logits")? = found;
            Ok(())
        }
    })
}

/// Writes the tokens that the session holds to `tokens`, and their number to `count`, which says how many there is room for.
///
/// # Safety
/// The session was not freed; `count` may be read and written, and `tokens` is NULL or has room for `*count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_tokens(
    session: *mut siskin_session,
    tokens: *mut u32,
    count: *mut usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { output::fill(held(session)?.answer.session().tokens(), tokens, count, "tokens") }
    })
}

/// What is told of a session; 0 where there is none.
///
/// # Safety
/// `session` is NULL or was not freed.
unsafe fn told<T: Copy + Default>(session: *mut siskin_session, tell: fn(&Session) -> T) -> T {
    quiet(T::default(), || {
        // SAFETY: the caller's promise.
        let held = unsafe { held(session) };
        held.map_or(T::default(), |held| tell(held.answer.session()))
    })
}

/// Tokens that the session holds.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_position(session: *mut siskin_session) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(session, |session| session.position()) }
}

/// Tokens that it holds at most.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_context(session: *mut siskin_session) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(session, |session| session.context()) }
}

/// Threads that share its work.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_threads(session: *mut siskin_session) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(session, |session| session.threads()) }
}

/// Bytes of its memory.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_bytes(session: *mut siskin_session) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { told(session, |session| session.bytes() as u64) }
}

/// Forgets all tokens behind the first `count`. There are logits again once tokens are fed.
///
/// # Safety
/// The session was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_truncate(
    session: *mut siskin_session,
    count: usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { held(session)? }.session_mut()?.truncate(count);
        Ok(())
    })
}

/// Changes the model by an adapter, `scale` times, for what is worked out from now on; the session forgets what it held. One that
/// is attached gets the scale.
///
/// # Safety
/// Neither was freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_attach(
    session: *mut siskin_session,
    adapter: *const siskin_adapter,
    scale: f32,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let adapter = input::shared(adapter, "adapter")?;
            if !scale.is_finite() {
                return Err(Failure::argument(format!("scale: expected a finite number, found {scale}")));
            }
            let mut held = held(session)?;
            let session = held.session_mut()?;
            session.attach(&adapter.adapter, scale)?;
            session.clear();
            Ok(())
        }
    })
}

/// Takes an adapter off, if it is attached, and the session forgets what it held: it has the model's own bits again. An adapter that
/// was freed or opened anew is another one.
///
/// # Safety
/// Neither was freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_detach(
    session: *mut siskin_session,
    adapter: *const siskin_adapter,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let adapter = input::shared(adapter, "adapter")?;
            let mut held = held(session)?;
            let session = held.session_mut()?;
            if session.detach(&adapter.adapter) {
                session.clear();
            }
            Ok(())
        }
    })
}

/// Writes what the session holds to a file, which appears under its name when it is whole: a file that had the name is replaced
/// then, and stays if anything fails. Nobody else may read it.
///
/// # Safety
/// The session was not freed, and `path` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_save(
    session: *mut siskin_session,
    path: *const c_char,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        let (path, held) = unsafe { (input::required(path, "path")?, held(session)?) };
        let chain = |error| Failure::new(SISKIN_FILE, format!("{error:#}"));
        // `-` alone would be standard output.
        let file = Output::create_private(&Path::new(".").join(path), &Inputs::default()).map_err(chain)?;
        let mut writer = file.writer();
        let written = held.answer.session().save(&mut writer).and_then(|()| writer.flush());
        written.map_err(|error| Failure::new(SISKIN_FILE, format!("{path}: cannot write it: {error}")))?;
        drop(writer);
        file.commit().map_err(chain)
    })
}

/// Hands what the session holds to `write`, piece by piece: it returns 0, or another number to end the work, which then fails with
/// `SISKIN_FILE`.
///
/// # Safety
/// The session was not freed. `write` takes `data` and what it is given, and throws nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_save_to(
    session: *mut siskin_session,
    write: Option<unsafe extern "C" fn(data: *mut c_void, bytes: *const c_void, len: usize) -> c_int>,
    data: *mut c_void,
) -> siskin_status {
    /// The caller's function as a place to write to.
    struct Callback {
        write: unsafe extern "C" fn(*mut c_void, *const c_void, usize) -> c_int,
        data: *mut c_void,
    }
    impl Write for Callback {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // SAFETY: the caller's promise.
            match unsafe { (self.write)(self.data, bytes.as_ptr().cast(), bytes.len()) } {
                0 => Ok(bytes.len()),
                number => Err(io::Error::other(format!("it returned {number}"))),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    call(|| {
        let write = write.ok_or_else(|| Failure::argument("write: expected a function, found NULL"))?;
        let failed = |error| Failure::new(SISKIN_FILE, format!("write: {error}"));
        // SAFETY: the caller's promise.
        unsafe { held(session)? }.answer.session().save(Callback { write, data }).map_err(failed)
    })
}

/// Goes on from a saved state: what the session held is forgotten. Its logits are those that it would have if it had been fed the
/// same tokens, to the bit, on whatever machine the state was saved.
///
/// # Safety
/// The session was not freed, and `path` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_restore(
    session: *mut siskin_session,
    path: *const c_char,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        let (path, mut held) = unsafe { (input::required(path, "path")?, held(session)?) };
        let failed = |error| Failure::new(SISKIN_FILE, format!("{path}: cannot open it: {error}"));
        let mut file = File::open(path).map_err(failed)?;
        match held.session_mut()?.restore_from(&mut file) {
            Err(error @ StateError::Unreadable(_)) => {
                Err(Failure::new(SISKIN_FILE, format!("{path}: {error}")))
            }
            other => other.map_err(|error| Failure::from(error).of(path)),
        }
    })
}

/// The same from memory.
///
/// # Safety
/// The session was not freed, and `bytes` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_session_restore_from(
    session: *mut siskin_session,
    bytes: *const c_void,
    len: usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let state = input::list(bytes.cast::<u8>(), len, "bytes")?;
            Ok(held(session)?.session_mut()?.restore(state)?)
        }
    })
}
