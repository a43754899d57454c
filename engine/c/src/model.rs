//! A model: its weights, its tokens, and how it is spoken to.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::ControlFlow;

use siskin::Model;
use siskin::template::{Json, Message, Rendering};
use siskin::tokenizer::Special;
use siskin::tool_calls::{self, ToolSyntax};

use crate::file::siskin_file;
use crate::input::{self, Options};
use crate::log;
use crate::log::siskin_log_level::SISKIN_LOG_NOTE;
use crate::output::{self, c_string};
use crate::status::{Failure, call, quiet, siskin_status};

/// A model in memory. May be used by several threads at a time, and freed before what was made of it.
pub struct siskin_model {
    pub(crate) model: Model,
    pub(crate) tools: Option<ToolSyntax>,
    name: CString,
    architecture: CString,
    notes: CString,
    template: CString,
}

impl siskin_model {
    fn new(model: Model) -> Self {
        model
            .notes()
            .iter()
            .for_each(|line| log::tell(SISKIN_LOG_NOTE, &format!("{}: {line}", model.name())));
        Self {
            tools: ToolSyntax::of(model.chat_template(), model.tokenizer()),
            name: c_string(model.name()),
            architecture: c_string(model.architecture()),
            notes: c_string(&model.notes().join("\n")),
            template: c_string(model.chat_template().source()),
            model,
        }
    }
}

/// One turn of a conversation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_message {
    /// Who speaks: `"system"`, `"user"`, `"assistant"`, `"tool"`, or what else the model's template knows.
    pub role: *const c_char,
    /// What is said.
    pub content: *const c_char,
    /// NULL, or all else that the turn has, a JSON object, such as `{"tool_calls": [...]}`. It may have a `content` of another form than
    /// a text where `content` above is NULL.
    pub fields: *const c_char,
}

/// How texts that spell control tokens, such as `<|im_end|>`, become tokens.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_special {
    /// As text like any other: for what users wrote.
    SISKIN_SPECIAL_TEXT = 0,
    /// As the control tokens: for texts whose writer may use them.
    SISKIN_SPECIAL_PARSE = 1,
}

/// Opens a GGUF file and loads its model: `siskin_file_open` and `siskin_model_load` in one.
///
/// # Safety
/// `path` is a text, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_open(
    path: *const c_char,
    out: *mut *mut siskin_model,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let path = input::required(path, "path")?;
                Ok(siskin_model::new(Model::open(path)?))
            })
        }
    })
}

/// Loads the model of an open file.
///
/// # Safety
/// `file` was not freed, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_load(
    file: *const siskin_file,
    out: *mut *mut siskin_model,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let file = input::shared(file, "file")?;
                Ok(siskin_model::new(Model::from_gguf(&file.0)?))
            })
        }
    })
}

/// How a model is loaded.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_load_options {
    /// `sizeof(siskin_load_options)`.
    pub size: usize,
    /// NULL, or who is told, again and again, how many bytes of the file's tensors are loaded, and of how many. What returns another
    /// number than 0 has the loading end with `SISKIN_CANCELLED`.
    pub progress: Option<unsafe extern "C" fn(data: *mut c_void, loaded: u64, bytes: u64) -> c_int>,
    /// What `progress` is given.
    pub progress_data: *mut c_void,
}
// SAFETY: integers, pointers and functions that may be NULL may be zero, and C sets them to what they are.
unsafe impl Options for siskin_load_options {
    const NAME: &'static str = "siskin_load_options";
}

/// Loads the model of an open file as options say, which are as usual where they are NULL.
///
/// # Safety
/// `file` was not freed, `options` is NULL or points to options, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_load_with(
    file: *const siskin_file,
    options: *const siskin_load_options,
    out: *mut *mut siskin_model,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise, of `progress` too.
        unsafe {
            output::give(out, || {
                let (file, options) = (input::shared(file, "file")?, input::options(options)?);
                let ended = |loaded, bytes| match options.progress {
                    Some(tell) => tell(options.progress_data, loaded, bytes) != 0,
                    None => false,
                };
                let mut watch = |loaded, bytes| match ended(loaded, bytes) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                };
                Ok(siskin_model::new(Model::from_gguf_watched(&file.0, &mut watch)?))
            })
        }
    })
}

/// Frees the model. Sessions, batches and adapters of it stay, and keep of it what they need.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_free(model: *mut siskin_model) {
    // SAFETY: the caller's promise.
    unsafe { output::take_back(model) }
}

/// What is told of a model; `none` where there is none.
///
/// # Safety
/// `model` is NULL or was not freed.
unsafe fn told<T: Copy>(model: *const siskin_model, none: T, tell: fn(&siskin_model) -> T) -> T {
    // SAFETY: the caller's promise.
    quiet(none, || unsafe { model.as_ref() }.map_or(none, tell))
}

/// What the model is called, by its file; it is there as long as the model is.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_name(model: *const siskin_model) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { told(model, c"".as_ptr(), |model| model.name.as_ptr()) }
}

/// Its architecture, such as `"llama"`; it is there as long as the model is.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_architecture(model: *const siskin_model) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { told(model, c"".as_ptr(), |model| model.architecture.as_ptr()) }
}

/// What is to be known of it, a line each: `""` where nothing is. It is there as long as the model is.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_notes(model: *const siskin_model) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { told(model, c"".as_ptr(), |model| model.notes.as_ptr()) }
}

/// The Jinja template that conversations are written by; it is there as long as the model is. NULL where the model has none, and its
/// vocabulary no tokens to do without: it goes on with texts, and conversations are refused with `SISKIN_TEMPLATE`.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_chat_template(model: *const siskin_model) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe {
        told(model, std::ptr::null(), |model| match model.model.has_conversations() {
            true => model.template.as_ptr(),
            false => std::ptr::null(),
        })
    }
}

/// The longest sequence that it was made for, in tokens.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_context_length(model: *const siskin_model) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(model, 0, |model| model.model.context_length()) }
}

/// How many tokens it has: logits are as many.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_vocabulary(model: *const siskin_model) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(model, 0, |model| model.model.vocabulary()) }
}

/// Bytes of its weights.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_weight_bytes(model: *const siskin_model) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { told(model, 0, |model| model.model.weight_bytes() as u64) }
}

/// Writes the fingerprint of its weights to `out`, which has room for 16 bytes: it is the same for the same weights, wherever
/// they came from.
///
/// # Safety
/// The model was not freed, and `out` has room for 16 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_fingerprint(model: *const siskin_model, out: *mut u8) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = input::shared(model, "model")?.model.fingerprint().to_be_bytes();
            output::fill(&bytes, out, &mut bytes.len(), "out")
        }
    })
}

/// Writes the tokens of `text`, which has `len` bytes and in which control tokens are as `special` says, a `siskin_special`, to
/// `tokens`, and their number to `count`. `*count` says how many there is
/// room for; where that is too few, or `tokens` is NULL, it says how many there are. Tokens that every prompt of the model begins
/// with, such as `<s>`, are among them.
///
/// # Safety
/// The model was not freed; `text` points to `len` bytes, `count` may be read and written, and `tokens` is NULL or has room for
/// `*count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_tokenize(
    model: *const siskin_model,
    text: *const c_char,
    len: usize,
    special: u32,
    tokens: *mut u32,
    count: *mut usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let model = input::shared(model, "model")?;
            let text = input::list(text.cast::<u8>(), len, "text")?;
            let special = match special {
                0 => Special::Text,
                1 => Special::Parse,
                found => {
                    return Err(Failure::argument(format!(
                        "special: expected a siskin_special, found {found}"
                    )));
                }
            };
            let mut found = Vec::new();
            model.model.tokenizer().encode_prompt(text, special, &mut found);
            output::fill(&found, tokens, count, "tokens")
        }
    })
}

/// Writes the bytes that a token stands for to `bytes`, and their number to `len`, which says how many there is room for. They are
/// part of a character at times. A control token stands for none.
///
/// # Safety
/// The model was not freed; `len` may be read and written, and `bytes` is NULL or has room for `*len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_token_bytes(
    model: *const siskin_model,
    token: u32,
    bytes: *mut c_char,
    len: *mut usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let tokenizer = input::shared(model, "model")?.model.tokenizer();
            if token as usize >= tokenizer.len() {
                let message = format!("token: expected less than {}, found {token}", tokenizer.len());
                return Err(Failure::argument(message));
            }
            output::fill(tokenizer.piece(token), bytes.cast(), len, "bytes")
        }
    })
}

/// Whether an answer ends with this token.
///
/// # Safety
/// The model was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_model_is_end(model: *const siskin_model, token: u32) -> bool {
    // SAFETY: the caller's promise.
    quiet(false, || unsafe { model.as_ref() }.is_some_and(|model| model.model.tokenizer().is_end(token)))
}

/// The turns of a conversation, out of an array of the caller's.
///
/// # Safety
/// `messages` points to `count` messages whose texts are texts.
pub(crate) unsafe fn messages(
    messages: *const siskin_message,
    count: usize,
) -> Result<Vec<Message>, Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        let messages = input::list(messages, count, "messages")?;
        let read = |message: &siskin_message| {
            let role = input::required(message.role, "role")?;
            let content = input::text(message.content, "content")?.unwrap_or_default();
            let mut turn = Message::new(role, content);
            turn.fields = input::json_object(message.fields, "fields")?;
            let taken = |(name, _): &&(String, Json)| {
                name == "role" || (name == "content" && !message.content.is_null())
            };
            match turn.fields.iter().find(taken) {
                Some((name, _)) => Err(Failure::argument(format!("fields: {name:?} has a field of its own"))),
                None => Ok(turn),
            }
        };
        messages.iter().map(read).collect()
    }
}

/// The tokens of a conversation up to where the assistant answers. Where the template knows nothing of tools the system prompt
/// tells of them.
pub(crate) fn chat_tokens(
    model: &Model,
    syntax: Option<ToolSyntax>,
    mut messages: Vec<Message>,
    mut rendering: Rendering,
) -> Result<Vec<u32>, Failure> {
    if syntax.is_none()
        && let Some(tools) = rendering.tools.take()
    {
        messages = tool_calls::told(&messages, &tools);
    }
    model.chat_tokens_with(&messages, &rendering).map_err(|error| siskin::Error::from(error).into())
}
