//! Answers of a session: a conversation or a text in, pieces of text out.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

use siskin::grammar::GrammarSource;
use siskin::sampler::{SamplerOptions, SamplerOverrides};
use siskin::template::{Json, Rendering};
use siskin::tool_calls::{Tool, ToolChoice, ToolPiece, ToolReader, ToolSyntax};
use siskin::{Adapter, Answer, AnswerLimits, Channel, Ending, Model, Piece};

use crate::adapter::siskin_adapter;
use crate::input::{self, Options};
use crate::model::{chat_tokens, messages, siskin_message};
use crate::output::{self, Text};
use crate::session::{Held, Shared, flag, siskin_session};
use crate::status::siskin_status::{SISKIN_BUSY, SISKIN_GRAMMAR};
use crate::status::{Failure, call, quiet, siskin_status};

/// Answers of a session, to one prompt after the other. Used by one thread at a time.
pub struct siskin_answer {
    session: Arc<Shared>,
    asking: Mutex<Asking>,
}

/// How a session is asked, and what of its answer is handed on.
struct Asking {
    rendering: Rendering,
    progress: Option<Progress>,
    reader: Option<PieceReader>,
    /// Of an answer that may call tools, for each to be read anew.
    tools: Option<(ToolSyntax, Vec<Tool>)>,
    text: Text,
}

/// Who is told how much of a prompt is read.
#[derive(Clone, Copy)]
struct Progress {
    tell: unsafe extern "C" fn(*mut c_void, usize, usize),
    data: *mut c_void,
}

// SAFETY: the function is called by the thread that calls the library, with what the caller wants it to be given.
unsafe impl Send for Progress {}

/// How tools may be called.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_tool_choice {
    /// The model may answer, and call tools as well.
    SISKIN_TOOL_CHOICE_AUTO = 0,
    /// It calls a tool, and says nothing else. A limit or a stop string may end the answer in the midst of the call.
    SISKIN_TOOL_CHOICE_REQUIRED = 1,
}

/// How answers are to be. Set `size`; all else may stay 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_answer_options {
    /// `sizeof(siskin_answer_options)`.
    pub size: usize,
    /// NULL, or how tokens are picked: a JSON object of options by the names that llama.cpp gave them, such as
    /// `{"temperature": 0.7, "top_k": 40, "seed": 1}`. What it does not name is as the model's file recommends, else as in
    /// llama.cpp. A temperature of 0 takes the likeliest token. The numbers that chance is made of go on from one answer of the handle
    /// to the next: with a seed its answers are the same, one after the other, as those of another handle with it; without one, one is
    /// drawn for the handle. They are
    /// samplers, seed, min_keep, top_k, top_p, min_p, typ_p, top_n_sigma, xtc_probability, xtc_threshold, temperature,
    /// dynatemp_range, dynatemp_exponent, penalty_last_n, repeat_penalty, frequency_penalty, presence_penalty, dry_multiplier,
    /// dry_base, dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers, mirostat (0 to 2), mirostat_tau, mirostat_eta,
    /// and logit_bias, a list of pairs of a token and what is added to its logit.
    pub sampling: *const c_char,
    /// Tokens of an answer, at most. 0: as many as the context has room for.
    pub max_tokens: usize,
    /// NULL, or texts before which an answer ends.
    pub stop: *const *const c_char,
    /// How many they are.
    pub stop_count: usize,
    /// NULL, or what the answer keeps to: `"json_object"`, `"json_schema"`, `"regex"`, `"lark"` or `"gbnf"`. It is compiled by a thread
    /// whose stack has 256 MiB of address space, of which it touches what it needs; so are `tools`.
    pub grammar_kind: *const c_char,
    /// The schema, expression or grammar. NULL for `"json_object"`.
    pub grammar: *const c_char,
    /// NULL, or the tools that the model may call: a JSON array as in OpenAI's chat completions.
    pub tools: *const c_char,
    /// A `siskin_tool_choice`.
    pub tool_choice: u32,
    /// 1: at most one call.
    pub one_call: u32,
    /// NULL, or further values that the model's template knows by name, a JSON object such as `{"enable_thinking": false}`.
    pub template_variables: *const c_char,
    /// 1: control tokens stand in the answer by their own text.
    pub show_special: u32,
    /// 0.
    pub reserved: u32,
    /// NULL, or who is told after each batch how many of the prompt's tokens that have to be read are read. Answers of a session
    /// only.
    pub progress: Option<unsafe extern "C" fn(data: *mut c_void, read: usize, tokens: usize)>,
    /// What `progress` is given.
    pub progress_data: *mut c_void,
    /// NULL, or adapters that change the model. Answers of a batch only: those of a session are attached to it.
    pub adapters: *const *const siskin_adapter,
    /// How many times each.
    pub adapter_scales: *const f32,
    /// How many they are.
    pub adapter_count: usize,
}
// SAFETY: integers, pointers and functions that may be NULL may be zero, and C sets them to what they are.
unsafe impl Options for siskin_answer_options {
    const NAME: &'static str = "siskin_answer_options";
}

/// What a piece of an answer is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_piece_kind {
    /// What is said.
    SISKIN_PIECE_TEXT = 0,
    /// What the model thought before it said anything.
    SISKIN_PIECE_THOUGHTS = 1,
    /// What divides the two.
    SISKIN_PIECE_MARK = 2,
    /// A call of a tool begins: its name.
    SISKIN_PIECE_CALL = 3,
    /// More of a call's arguments: all of it together is a JSON object.
    SISKIN_PIECE_ARGUMENTS = 4,
}

/// A piece of an answer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_piece {
    /// Whole characters, with a zero byte behind them, until the next piece is asked for; a model may write zero bytes among them, too.
    /// NULL: the answer is over.
    pub text: *const c_char,
    /// Its bytes, without the zero.
    pub length: usize,
    /// A `siskin_piece_kind`. New ones may be added.
    pub kind: u32,
    /// Of a call: its number among those of the answer, from 0.
    pub call: u32,
}

impl siskin_piece {
    pub(crate) const NONE: Self = siskin_piece { text: std::ptr::null(), length: 0, kind: 0, call: 0 };
}

/// Why an answer is over.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum siskin_ending {
    /// It is not over, or none was asked for.
    SISKIN_ENDING_NONE = 0,
    /// The model ended its turn, or a stop string came.
    SISKIN_ENDING_COMPLETE = 1,
    /// There were as many tokens as were asked for.
    SISKIN_ENDING_LIMIT = 2,
    /// The context has no room for another token.
    SISKIN_ENDING_CONTEXT_FULL = 3,
    /// It was cancelled.
    SISKIN_ENDING_CANCELLED = 4,
    /// A call failed.
    SISKIN_ENDING_FAILED = 5,
}

impl From<Option<Ending>> for siskin_ending {
    fn from(ending: Option<Ending>) -> Self {
        match ending {
            None => Self::SISKIN_ENDING_NONE,
            Some(Ending::Complete) => Self::SISKIN_ENDING_COMPLETE,
            Some(Ending::Limit) => Self::SISKIN_ENDING_LIMIT,
            Some(Ending::ContextFull) => Self::SISKIN_ENDING_CONTEXT_FULL,
            Some(Ending::Cancelled) => Self::SISKIN_ENDING_CANCELLED,
            Some(Ending::Failed) => Self::SISKIN_ENDING_FAILED,
        }
    }
}

/// A value as JSON text, for messages.
fn written(value: &Json) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What options of an answer come to for a model.
pub(crate) struct Asked {
    pub(crate) sampling: SamplerOptions,
    pub(crate) limits: AnswerLimits,
    pub(crate) grammar: Option<GrammarSource>,
    pub(crate) tools: Option<(ToolSyntax, Vec<Tool>)>,
    pub(crate) rendering: Rendering,
    pub(crate) show_special: bool,
    pub(crate) adapters: Vec<(Adapter, f32)>,
}

impl siskin_answer_options {
    /// Reads the options for answers of a model.
    ///
    /// # Safety
    /// Pointers are NULL or point to what the fields say.
    unsafe fn asked(&self, model: &Model, syntax: Option<ToolSyntax>) -> Result<Asked, Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            let stop = input::list(self.stop, self.stop_count, "stop")?;
            let stop = stop.iter().map(|&text| input::required(text, "stop").map(str::to_owned));
            let limits = AnswerLimits::default()
                .tokens((self.max_tokens > 0).then_some(self.max_tokens))
                .stop(stop.collect::<Result<_, _>>()?);
            let listed = input::json_array(self.tools, "tools")?;
            let mut rendering = Rendering::default()
                .variables(input::json_object(self.template_variables, "template_variables")?);
            let (choice, one_call) = (self.choice()?, flag("one_call", self.one_call)?);
            if self.reserved != 0 {
                return Err(Failure::argument("reserved: expected 0"));
            }
            let (grammar, tools) = match listed.filter(|tools| !tools.is_empty()) {
                None if choice == ToolChoice::Required => {
                    return Err(Failure::argument("tool_choice: expected tools where one must be called"));
                }
                None => (self.grammar_source()?, None),
                Some(_) if !self.grammar_kind.is_null() => {
                    return Err(Failure::argument("tools: expected no grammar beside them"));
                }
                Some(listed) => {
                    let (grammar, tools) = calls(&listed, model, syntax, choice, one_call)?;
                    rendering = rendering.tools(listed);
                    (Some(grammar), Some(tools))
                }
            };
            Ok(Asked {
                sampling: self.sampler(model)?,
                limits,
                grammar,
                // The marks around calls are control tokens.
                show_special: flag("show_special", self.show_special)? || tools.is_some(),
                tools,
                rendering,
                adapters: self.adapters()?,
            })
        }
    }

    /// How tokens of a model are picked.
    ///
    /// # Safety
    /// As for [`Self::asked`].
    unsafe fn sampler(&self, model: &Model) -> Result<SamplerOptions, Failure> {
        let mut overrides = SamplerOverrides::default();
        // SAFETY: the caller's promise.
        for (name, value) in unsafe { input::json_object(self.sampling, "sampling")? } {
            match overrides.set(&name, &value) {
                Some(true) => (),
                Some(false) => {
                    let usual = SamplerOptions::default().to_json();
                    let usual = usual.iter().find(|(usual, _)| *usual == name);
                    let usual = usual.map_or_else(String::new, |(_, usual)| written(usual));
                    let found = written(&value);
                    let message =
                        format!("sampling: {name}: expected a value such as {usual}, found {found}");
                    return Err(Failure::argument(message));
                }
                None => return Err(Failure::argument(format!("sampling: there is no option {name:?}"))),
            }
        }
        let sampling = SamplerOptions::default().overlay(model.sampling()).overlay(&overrides);
        let wrong = |error| Failure::argument(format!("sampling: {error}"));
        sampling.validate().map_err(wrong)?;
        Ok(sampling)
    }

    /// The adapters, and how many times each.
    ///
    /// # Safety
    /// As for [`Self::asked`].
    unsafe fn adapters(&self) -> Result<Vec<(Adapter, f32)>, Failure> {
        // SAFETY: the caller's promise.
        let (adapters, scales) = unsafe {
            (
                input::list(self.adapters, self.adapter_count, "adapters")?,
                input::list(self.adapter_scales, self.adapter_count, "adapter_scales")?,
            )
        };
        let read = |(&adapter, &scale): (&*const siskin_adapter, &f32)| {
            if !scale.is_finite() {
                let message = format!("adapter_scales: expected finite numbers, found {scale}");
                return Err(Failure::argument(message));
            }
            // SAFETY: the caller's promise.
            let adapter = unsafe { input::shared(adapter, "adapters")? };
            Ok((adapter.adapter.clone(), scale))
        };
        adapters.iter().zip(scales).map(read).collect()
    }

    /// What the answer is to keep to.
    ///
    /// # Safety
    /// As for [`Self::asked`].
    unsafe fn grammar_source(&self) -> Result<Option<GrammarSource>, Failure> {
        // SAFETY: the caller's promise.
        let (kind, text) = unsafe {
            (input::text(self.grammar_kind, "grammar_kind")?, input::text(self.grammar, "grammar")?)
        };
        match (kind, text) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::argument("grammar: expected a grammar_kind beside it")),
            (Some(kind), text) => {
                let source = GrammarSource::from_named(kind, text.unwrap_or_default().to_owned());
                let unknown = || Failure::argument(format!("grammar_kind: there is no kind {kind:?}"));
                let source = source.ok_or_else(unknown)?;
                match (&source, text) {
                    (GrammarSource::JsonObject, _) | (_, Some(_)) => Ok(Some(source)),
                    _ => Err(Failure::argument("grammar: expected a pointer, found NULL")),
                }
            }
        }
    }

    fn choice(&self) -> Result<ToolChoice, Failure> {
        match self.tool_choice {
            0 => Ok(ToolChoice::Auto),
            1 => Ok(ToolChoice::Required),
            found => {
                Err(Failure::argument(format!("tool_choice: expected a siskin_tool_choice, found {found}")))
            }
        }
    }
}

/// The tools that may be called, and the grammar of answers that may do so.
fn calls(
    listed: &[Json],
    model: &Model,
    syntax: Option<ToolSyntax>,
    choice: ToolChoice,
    one_call: bool,
) -> Result<(GrammarSource, (ToolSyntax, Vec<Tool>)), Failure> {
    let wrong = |error| Failure::argument(format!("tools: {error}"));
    let tools = listed.iter().map(Tool::read).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let syntax = syntax.unwrap_or(ToolSyntax::Hermes);
    let grammar = syntax.grammar(model.tokenizer(), &tools, choice, !one_call);
    Ok((grammar.map_err(wrong)?, (syntax, tools)))
}

/// Reads options of answers of a batch.
///
/// # Safety
/// `options` is NULL or points to options whose pointers are NULL or point to what the fields say.
pub(crate) unsafe fn asked(
    options: *const siskin_answer_options,
    model: &Model,
    syntax: Option<ToolSyntax>,
) -> Result<Asked, Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        let options = input::options(options)?;
        if options.progress.is_some() {
            return Err(Failure::argument("progress: expected NULL, as it is of answers of a session only"));
        }
        options.asked(model, syntax)
    }
}

/// Reads calls of tools out of an answer, and gives its pieces one by one.
pub(crate) struct PieceReader {
    calls: ToolReader,
    /// What was read and not handed on.
    pieces: VecDeque<(siskin_piece_kind, usize, String)>,
    is_over: bool,
}

impl PieceReader {
    pub(crate) fn new(syntax: ToolSyntax, tools: &[Tool]) -> Self {
        Self { calls: ToolReader::new(syntax, tools), pieces: VecDeque::new(), is_over: false }
    }

    pub(crate) fn push(&mut self, piece: Piece<'_>) {
        let Self { calls, pieces, .. } = self;
        match piece.channel {
            Channel::Text => calls.push(piece.text, |piece| pieces.push_back(of_tool(piece))),
            channel => pieces.push_back((of_channel(channel), 0, piece.text.to_owned())),
        }
    }

    pub(crate) fn finish(&mut self) {
        let Self { calls, pieces, is_over } = self;
        if !std::mem::replace(is_over, true) {
            calls.finish(|piece| pieces.push_back(of_tool(piece)));
        }
    }

    /// The next piece, whose text `text` keeps.
    pub(crate) fn next(&mut self, text: &mut Text) -> Option<siskin_piece> {
        let (kind, call, said) = self.pieces.pop_front()?;
        Some(piece(kind, call, &said, text))
    }
}

fn of_tool(piece: ToolPiece) -> (siskin_piece_kind, usize, String) {
    match piece {
        ToolPiece::Text(text) => (siskin_piece_kind::SISKIN_PIECE_TEXT, 0, text),
        ToolPiece::Call { number, name, .. } => (siskin_piece_kind::SISKIN_PIECE_CALL, number, name),
        ToolPiece::Arguments(number, text) => (siskin_piece_kind::SISKIN_PIECE_ARGUMENTS, number, text),
    }
}

fn of_channel(channel: Channel) -> siskin_piece_kind {
    match channel {
        Channel::Text => siskin_piece_kind::SISKIN_PIECE_TEXT,
        Channel::Thoughts => siskin_piece_kind::SISKIN_PIECE_THOUGHTS,
        Channel::Mark => siskin_piece_kind::SISKIN_PIECE_MARK,
    }
}

fn piece(kind: siskin_piece_kind, call: usize, said: &str, text: &mut Text) -> siskin_piece {
    siskin_piece { text: text.set(said), length: said.len(), kind: kind as u32, call: call as u32 }
}

/// A piece as the engine gives it.
pub(crate) fn plain(of: Piece<'_>, text: &mut Text) -> siskin_piece {
    piece(of_channel(of.channel), 0, of.text, text)
}

/// Prepares answers of a session. There is one such handle of a session at a time: another is refused with `SISKIN_BUSY` until it
/// is freed.
///
/// # Safety
/// The session was not freed, `options` is NULL or points to options, and `out` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_new(
    session: *mut siskin_session,
    options: *const siskin_answer_options,
    out: *mut *mut siskin_answer,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            output::give(out, || {
                let session = input::shared(session, "session")?.0.clone();
                let mut held = session.held()?;
                if held.is_answering {
                    return Err(Failure::new(
                        SISKIN_BUSY,
                        "session: expected its answer to be freed before another is made",
                    ));
                }
                let options = input::options(options)?;
                let model = held.answer.model().clone();
                let asked = options.asked(&model, held.tools)?;
                if !asked.adapters.is_empty() {
                    return Err(Failure::argument(
                        "adapters: expected none, as those of a session are attached to it",
                    ));
                }
                let failed = |error| Failure::new(SISKIN_GRAMMAR, format!("{error}"));
                let grammar =
                    asked.grammar.map(|source| model.grammar(&source)).transpose().map_err(failed)?;
                let sampler = held.answer.session().sampler(&asked.sampling).map_err(siskin::Error::from)?;
                held.answer.set_sampler(sampler);
                held.answer.set_limits(asked.limits);
                held.answer.set_grammar(grammar);
                held.answer.show_special(asked.show_special);
                held.is_answering = true;
                drop(held);
                // A piece is the text of a few tokens, unless a stop string holds them back.
                const PIECE: usize = 4096;
                let asking = Asking {
                    rendering: asked.rendering,
                    progress: options.progress.map(|tell| Progress { tell, data: options.progress_data }),
                    reader: None,
                    tools: asked.tools,
                    text: Text::with_capacity(PIECE),
                };
                Ok(siskin_answer { session, asking: Mutex::new(asking) })
            })
        }
    })
}

/// Frees the answer; its session can have another then.
///
/// # Safety
/// It is NULL or was not freed, and nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_free(answer: *mut siskin_answer) {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(answer) = answer.as_ref()
            && let Ok(mut held) = answer.session.held()
        {
            held.is_answering = false;
        }
        output::take_back(answer);
    }
}

/// Asks for the answer to a conversation, in the model's chat template. What is left of the answer before is dropped. Of the prompt
/// only what the session does not hold already is read, when the first piece is asked for.
///
/// # Safety
/// The answer was not freed, and `messages` points to `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_ask(
    answer: *mut siskin_answer,
    messages: *const siskin_message,
    count: usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let messages = self::messages(messages, count)?;
            input::shared(answer, "answer")?.ask(|held, asking| {
                chat_tokens(held.answer.model(), held.tools, messages, asking.rendering.clone())
            })
        }
    })
}

/// Asks for what a text goes on with.
///
/// # Safety
/// The answer was not freed, and `text` is a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_ask_text(
    answer: *mut siskin_answer,
    text: *const c_char,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let text = input::required(text, "text")?;
            input::shared(answer, "answer")?.ask(|held, _| Ok(held.answer.model().text_tokens(text)))
        }
    })
}

/// Asks for what these tokens go on with.
///
/// # Safety
/// The answer was not freed, and `tokens` points to `count`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_ask_tokens(
    answer: *mut siskin_answer,
    tokens: *const u32,
    count: usize,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let tokens = input::list(tokens, count, "tokens")?;
            input::shared(answer, "answer")?.ask(|_, _| Ok(tokens.to_vec()))
        }
    })
}

impl siskin_answer {
    /// Asks for the answer to a prompt.
    fn ask(&self, prompt: impl FnOnce(&Held, &Asking) -> Result<Vec<u32>, Failure>) -> Result<(), Failure> {
        let (mut asking, mut held) = (input::enter(&self.asking, "answer")?, self.session.held()?);
        let prompt = prompt(&held, &asking)?;
        held.answer.ask_tokens(&prompt)?;
        asking.reader = asking.tools.as_ref().map(|(syntax, tools)| PieceReader::new(*syntax, tools));
        Ok(())
    }

    /// The next piece of the answer.
    fn next(&self) -> Result<siskin_piece, Failure> {
        let (mut asking, mut held) = (input::enter(&self.asking, "answer")?, self.session.held()?);
        let Asking { progress, reader, text, .. } = &mut *asking;
        let answer = &mut held.answer;
        if let Some(Progress { tell, data }) = *progress {
            let (prompt, reused) = (answer.prompt().len(), answer.reused());
            let wanted = prompt - reused.min(prompt.saturating_sub(1));
            answer.read_prompt_telling(|read| {
                // SAFETY: the caller gave the function and what it is given.
                unsafe { tell(data, read, wanted) }
            })?;
        }
        loop {
            if let Some(piece) = reader.as_mut().and_then(|reader| reader.next(text)) {
                return Ok(piece);
            }
            match (answer.next_piece()?, &mut *reader) {
                (Some(piece), Some(reader)) => reader.push(piece),
                (Some(piece), None) => return Ok(plain(piece, text)),
                (None, Some(reader)) if !reader.is_over => reader.finish(),
                (None, _) => break,
            }
        }
        if answer.ending() == Some(Ending::Cancelled) {
            self.session.told_of_cancel();
        }
        Ok(siskin_piece::NONE)
    }
}

/// The next piece of the answer, as soon as there is one; one whose `text` is NULL when it is over, for a reason that
/// `siskin_answer_ending` gives. Nothing is allocated, but for answers that call tools or keep to a grammar.
///
/// # Safety
/// The answer was not freed, and `piece` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_next(
    answer: *mut siskin_answer,
    piece: *mut siskin_piece,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let piece = input::place(piece, "piece")?;
            *piece = siskin_piece::NONE;
            *piece = input::shared(answer, "answer")?.next()?;
            Ok(())
        }
    })
}

/// What is told of an answer; `none` where there is none.
///
/// # Safety
/// `answer` is NULL or was not freed.
unsafe fn told<T: Copy>(answer: *const siskin_answer, none: T, tell: fn(&Answer) -> T) -> T {
    quiet(none, || {
        // SAFETY: the caller's promise.
        let answer = unsafe { answer.as_ref() };
        answer.and_then(|answer| answer.session.held().ok()).map_or(none, |held| tell(&held.answer))
    })
}

/// Why the answer is over.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_ending(answer: *const siskin_answer) -> siskin_ending {
    // SAFETY: the caller's promise.
    unsafe { told(answer, siskin_ending::SISKIN_ENDING_NONE, |answer| answer.ending().into()) }
}

/// The answer's tokens so far.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_token_count(answer: *const siskin_answer) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(answer, 0, |answer| answer.tokens().len()) }
}

/// The prompt's tokens.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_prompt_count(answer: *const siskin_answer) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(answer, 0, |answer| answer.prompt().len()) }
}

/// How many of the prompt's tokens the session held already.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_reused_count(answer: *const siskin_answer) -> usize {
    // SAFETY: the caller's promise.
    unsafe { told(answer, 0, |answer| answer.reused()) }
}

/// The seed of the random numbers that tokens are picked by, drawn or given.
///
/// # Safety
/// It was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_answer_seed(answer: *const siskin_answer) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { told(answer, 0, |answer| answer.seed()) }
}
