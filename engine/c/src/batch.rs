//! Many answers at once.

use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use siskin::tool_calls::ToolSyntax;
use siskin::{AnswerEvent, AnswerId, AnswerRequest, Scheduler, SequencesOptions};

use crate::answer::{Asked, PieceReader, asked, plain, siskin_answer_options, siskin_ending, siskin_piece};
use crate::input::{self, Options};
use crate::model::{chat_tokens, messages, siskin_message, siskin_model};
use crate::output::{self, Text, c_string};
use crate::session::siskin_session_options;
use crate::status::siskin_status::SISKIN_CANCELLED;
use crate::status::{Failure, call, siskin_status};

/// Answers that are worked on together. Each has the bits that it would have alone. Used by one thread at a time, but for
/// `siskin_batch_cancel`.
pub struct siskin_batch {
    cancel: Arc<AtomicBool>,
    held: Mutex<Held>,
}

struct Held {
    scheduler: Scheduler,
    syntax: Option<ToolSyntax>,
    /// What was asked for and is not over.
    unfinished: Vec<Unfinished>,
    asked: u64,
    text: Text,
}

struct Unfinished {
    id: AnswerId,
    /// What the caller knows it by.
    number: u64,
    reader: Option<PieceReader>,
}

/// What a batch is made for. Set `size`; all else may stay 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_batch_options {
    /// `sizeof(siskin_batch_options)`.
    pub size: usize,
    /// Answers that are worked on at a time, at most, up to 4,096; others wait. 0: 8.
    pub sequences: usize,
    /// Sequences beside them that are kept for what later prompts begin with: with the others 8,192 at most.
    pub idle: usize,
    /// Pages of 256 positions that the cache has for all. 0: as many as they fill with nothing in common. Where there are fewer, answers
    /// wait for each other; one that needs more than there are fails.
    pub pages: usize,
    /// NULL, or the rest: `context` is that of each sequence. `drafts` and `when_full` are not for batches.
    pub session: *const siskin_session_options,
}
// SAFETY: integers and pointers may be zero, and C sets them to what they are.
unsafe impl Options for siskin_batch_options {
    const NAME: &'static str = "siskin_batch_options";
}

/// What is new of an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_event_kind {
    /// The prompt is read: `reused` tokens of it were there already.
    SISKIN_EVENT_READ = 0,
    /// A piece of the answer.
    SISKIN_EVENT_PIECE = 1,
    /// What a text comes to as a whole: `embedding` and `width`. There is no more of it.
    SISKIN_EVENT_EMBEDDING = 2,
    /// The answer is over: `ending`, `tokens`, and where it failed `message`. There is no more of it.
    SISKIN_EVENT_OVER = 3,
}

/// What `siskin_batch_step` tells of an answer. What it points to is there until the function that is told returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_event {
    /// `sizeof(siskin_event)` of the library.
    pub size: usize,
    /// The answer's number.
    pub answer: u64,
    /// A `siskin_event_kind`. New ones may be added.
    pub kind: u32,
    /// A `siskin_ending`, of an answer that is over.
    pub ending: u32,
    /// A piece.
    pub piece: siskin_piece,
    /// Tokens of the prompt that were there already.
    pub reused: usize,
    /// Tokens of an answer that is over.
    pub tokens: usize,
    /// The mean of the activations behind the last norm, over all tokens.
    pub embedding: *const f32,
    /// As many as the model is wide.
    pub width: usize,
    /// Why an answer failed; NULL where it did not.
    pub message: *const c_char,
}

/// Makes a batch, with all the memory that its sequences will ever use.
///
/// # Safety
/// `model` was not freed, `options` is NULL or points to options, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_new(
    model: *const siskin_model,
    options: *const siskin_batch_options,
    out: *mut *mut siskin_batch,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let model = input::shared(model, "model")?;
                let options = input::options(options)?;
                let of_sessions = input::options(options.session)?;
                if of_sessions.drafts != 0 || of_sessions.when_full != 0 || of_sessions.keep != 0 {
                    return Err(Failure::argument(
                        "session: expected neither drafts nor when_full nor keep for a batch",
                    ));
                }
                let mut made_for = SequencesOptions::default()
                    .idle(options.idle)
                    .pages((options.pages > 0).then_some(options.pages))
                    .session(siskin_session_options::read(options.session)?);
                if options.sequences > 0 {
                    made_for = made_for.most(options.sequences);
                }
                let cancel = Arc::new(AtomicBool::new(false));
                let mut scheduler = Scheduler::new(model.model.sequences(&made_for)?);
                scheduler.cancel_when(cancel.clone());
                let held = Held {
                    scheduler,
                    syntax: model.tools,
                    unfinished: Vec::new(),
                    asked: 0,
                    text: Text::default(),
                };
                Ok(siskin_batch { cancel, held: Mutex::new(held) })
            })
        }
    })
}

/// Frees the batch. Of answers that are not over nothing more is told.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_free(batch: *mut siskin_batch) {
    // SAFETY: the caller's promise.
    unsafe { output::take_back(batch) }
}

/// Has the step that is under way end before the next layer of the model, or else the next one that has tokens to work on: it returns
/// `SISKIN_CANCELLED`, and the step behind it goes on where it stood.
///
/// May be called by any thread at any time, and by a signal handler.
///
/// # Safety
/// The batch was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_cancel(batch: *const siskin_batch) {
    // SAFETY: the caller's promise. The flag is atomic and is all that is touched.
    if let Some(batch) = unsafe { batch.as_ref() } {
        batch.cancel.store(true, Ordering::Relaxed);
    }
}

/// The batch behind a handle.
///
/// # Safety
/// `batch` is NULL or was not freed.
unsafe fn held<'a>(batch: *mut siskin_batch) -> Result<MutexGuard<'a, Held>, Failure> {
    // SAFETY: the caller's promise.
    unsafe { input::enter(&input::shared::<siskin_batch>(batch, "batch")?.held, "batch") }
}

/// Asks for the answer to a conversation, in the model's chat template, and writes the answer's number to `number`.
///
/// # Safety
/// The batch was not freed, `messages` points to `count`, `options` is NULL or points to options, and `number` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_ask(
    batch: *mut siskin_batch,
    messages: *const siskin_message,
    count: usize,
    options: *const siskin_answer_options,
    number: *mut u64,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut held, number) = (held(batch)?, input::place(number, "number")?);
            let messages = self::messages(messages, count)?;
            let asked = asked(options, held.scheduler.model(), held.syntax)?;
            let prompt = chat_tokens(held.scheduler.model(), held.syntax, messages, asked.rendering.clone())?;
            *number = held.ask(prompt, asked)?;
            Ok(())
        }
    })
}

/// Asks for what a text goes on with, and writes the answer's number to `number`.
///
/// # Safety
/// As for `siskin_batch_ask`; `text` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_ask_text(
    batch: *mut siskin_batch,
    text: *const c_char,
    options: *const siskin_answer_options,
    number: *mut u64,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut held, number) = (held(batch)?, input::place(number, "number")?);
            let prompt = held.scheduler.model().text_tokens(input::required(text, "text")?);
            let asked = asked(options, held.scheduler.model(), held.syntax)?;
            *number = held.ask(prompt, asked)?;
            Ok(())
        }
    })
}

/// Asks what a text comes to as a whole, and writes the number that it is told by to `number`.
///
/// # Safety
/// The batch was not freed, `text` is a text, and `number` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_embed(
    batch: *mut siskin_batch,
    text: *const c_char,
    number: *mut u64,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let (mut held, number) = (held(batch)?, input::place(number, "number")?);
            let tokens = held.scheduler.model().text_tokens(input::required(text, "text")?);
            let id = held.scheduler.embed(tokens, Vec::new())?;
            *number = held.remember(id, None);
            Ok(())
        }
    })
}

/// Drops an answer or a text, of which nothing more is told: between two steps. One that is over is none any more, and nothing happens.
///
/// # Safety
/// The batch was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_drop(batch: *mut siskin_batch, number: u64) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        let mut held = unsafe { held(batch)? };
        if let Some(at) = held.unfinished.iter().position(|unfinished| unfinished.number == number) {
            let id = held.unfinished.remove(at).id;
            held.scheduler.drop_answer(id);
        }
        Ok(())
    })
}

/// Begins answers where there are places, works on a batch of tokens, and tells `tell` what is new. Writes to `unfinished`, which may
/// be NULL, how many are not over: go on until there are none.
///
/// # Safety
/// The batch was not freed. `tell` is NULL or takes `data` and an event, and throws nothing. `unfinished` is
/// NULL or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_batch_step(
    batch: *mut siskin_batch,
    tell: Option<unsafe extern "C" fn(data: *mut c_void, event: *const siskin_event)>,
    data: *mut c_void,
    unfinished: *mut usize,
) -> siskin_status {
    let status = call(|| {
        // SAFETY: the caller's promise.
        let mut held = unsafe { held(batch)? };
        let Held { scheduler, unfinished: asked, text, .. } = &mut *held;
        let left = scheduler.step(|id, event| {
            let Some(at) = asked.iter().position(|asked| asked.id == id) else { return };
            let is_over = tell_event(&mut asked[at], &event, text, &mut |event| {
                if let Some(tell) = tell {
                    // SAFETY: the caller's promise.
                    unsafe { tell(data, event) }
                }
            });
            if is_over {
                asked.remove(at);
            }
        })?;
        // SAFETY: the caller's promise.
        if let Some(unfinished) = unsafe { unfinished.as_mut() } {
            *unfinished = left;
        }
        Ok(())
    });
    // SAFETY: the caller's promise.
    if let (SISKIN_CANCELLED, Some(batch)) = (status, unsafe { batch.as_ref() }) {
        batch.cancel.store(false, Ordering::Relaxed);
    }
    status
}

/// Tells what is new of an answer; whether it is over.
fn tell_event(
    of: &mut Unfinished,
    event: &AnswerEvent<'_>,
    text: &mut Text,
    tell: &mut dyn FnMut(&siskin_event),
) -> bool {
    let none = siskin_event {
        size: size_of::<siskin_event>(),
        answer: of.number,
        kind: siskin_event_kind::SISKIN_EVENT_PIECE as u32,
        ending: siskin_ending::SISKIN_ENDING_NONE as u32,
        piece: siskin_piece::NONE,
        reused: 0,
        tokens: 0,
        embedding: std::ptr::null(),
        width: 0,
        message: std::ptr::null(),
    };
    let mut pieces = |reader: &mut PieceReader, tell: &mut dyn FnMut(&siskin_event)| {
        while let Some(piece) = reader.next(text) {
            tell(&siskin_event { piece, ..none });
        }
    };
    match event {
        AnswerEvent::Read { reused } => {
            tell(&siskin_event {
                kind: siskin_event_kind::SISKIN_EVENT_READ as u32,
                reused: *reused,
                ..none
            });
        }
        AnswerEvent::Token { .. } => (),
        AnswerEvent::Piece(piece) => match &mut of.reader {
            None => tell(&siskin_event { piece: plain(*piece, text), ..none }),
            Some(reader) => {
                reader.push(*piece);
                pieces(reader, tell);
            }
        },
        AnswerEvent::Embedded { mean, .. } => {
            let kind = siskin_event_kind::SISKIN_EVENT_EMBEDDING as u32;
            tell(&siskin_event { kind, embedding: mean.as_ptr(), width: mean.len(), ..none });
            return true;
        }
        AnswerEvent::Over { ending, tokens, error, .. } => {
            if let Some(reader) = &mut of.reader {
                reader.finish();
                pieces(reader, tell);
            }
            let message: Option<CString> = error.as_ref().map(|error| c_string(&error.to_string()));
            tell(&siskin_event {
                kind: siskin_event_kind::SISKIN_EVENT_OVER as u32,
                ending: siskin_ending::from(Some(*ending)) as u32,
                tokens: tokens.len(),
                message: message.as_ref().map_or(std::ptr::null(), |message| message.as_ptr()),
                ..none
            });
            return true;
        }
    }
    false
}

impl Held {
    fn ask(&mut self, prompt: Vec<u32>, asked: Asked) -> Result<u64, Failure> {
        let model = self.scheduler.model().clone();
        let grammar = asked.grammar.map(|source| model.grammar(&source)).transpose();
        let grammar = grammar.map_err(siskin::Error::from)?;
        let request = AnswerRequest::new(prompt)
            .sampling(asked.sampling)
            .limits(asked.limits)
            .adapters(asked.adapters)
            .special(asked.show_special)
            .grammar(grammar);
        let id = self.scheduler.ask(request)?;
        let reader = asked.tools.as_ref().map(|(syntax, tools)| PieceReader::new(*syntax, tools));
        Ok(self.remember(id, reader))
    }

    fn remember(&mut self, id: AnswerId, reader: Option<PieceReader>) -> u64 {
        self.asked += 1;
        self.unfinished.push(Unfinished { id, number: self.asked, reader });
        self.asked
    }
}
