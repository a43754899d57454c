//! A model: weights, and the forward pass that families of models are written in.

mod adapter;
pub(crate) mod attention;
#[cfg(feature = "training")]
mod backward;
pub(crate) mod batch;
mod config;
mod context;
mod conv;
mod error;
mod experts;
mod families;
mod hidden;
mod layer;
mod left_out;
mod network;
mod observer;
mod ops;
mod rope;
mod weights;

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;

use siskin_quant::TensorType;
use twox_hash::XxHash3_128;

pub(crate) use adapter::Attached;
pub use adapter::{Adapter, AdapterChange, AdapterError, AdapterOutline};
#[cfg(feature = "training")]
pub(crate) use backward::{Backward, Learned, Lesson, Lora, Target};
#[cfg(feature = "training")]
pub(crate) use context::ContextArena;
pub(crate) use context::{Context, ContextOptions};
pub(crate) use error::Cancelled;
pub use error::{AttachError, LoadError};
pub(crate) use network::Network;
pub use observer::{Observer, Rows};
pub(crate) use weights::{Linear, LinearId};

use crate::gguf::Gguf;
use crate::grammar::{Grammar, GrammarError, GrammarSource, GrammarVocabulary};
use crate::kernels::Kernels;
use crate::panel::Panels;
use crate::sampler::SamplerOverrides;
use crate::template::{CHATML_TOKENS, ChatTemplate, Message, Rendering, TemplateError};
use crate::tokenizer::{Special, Tokenizer};

/// A model in memory: weights, tokenizer and chat template. Cloning shares it.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    name: String,
    network: Network,
    tokenizer: Arc<Tokenizer>,
    template: Arc<ChatTemplate>,
    sampling: SamplerOverrides,
    fingerprint: OnceLock<u128>,
    /// The vocabulary as grammars want it, made with the first of them.
    grammars: Arc<OnceLock<Result<GrammarVocabulary, GrammarError>>>,
}

impl Model {
    /// Opens a GGUF file. The file is mapped while its weights are packed for the kernels, and closed afterwards.
    ///
    /// # Errors
    /// A file that is not sound GGUF, an architecture that is not supported, missing, unexpected or misshapen
    /// tensors, an unusable vocabulary, or too little memory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::from_gguf(&Gguf::open(path.as_ref())?)
    }

    /// A model from an open GGUF file.
    ///
    /// # Errors
    /// As for [`Model::open`].
    pub fn from_gguf(file: &Gguf) -> Result<Self, LoadError> {
        Self::from_gguf_watched(file, &mut |_, _| ControlFlow::Continue(()))
    }

    /// The same. While weights are loaded, `watch` is told again and again how many bytes of the file's tensors are, and of how
    /// many; it may have that end.
    ///
    /// # Errors
    /// As for [`Model::open`], and [`LoadError::Cancelled`].
    pub fn from_gguf_watched(
        file: &Gguf,
        watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self, LoadError> {
        let (network, tokenizer) = beside(|| Network::load(file, watch), || Tokenizer::from_gguf(file));
        let network = network?;
        let tokenizer =
            tokenizer.map_err(|source| LoadError::Tokenizer { file: file.name().to_owned(), source })?;
        let vocabulary = network.config().vocabulary;
        if tokenizer.len() > vocabulary {
            return Err(LoadError::Hyperparameter {
                file: file.name().to_owned(),
                key: "tokenizer.ggml.tokens".to_owned(),
                found: tokenizer.len().to_string(),
                expected: format!("at most {vocabulary} tokens, the rows of token_embd.weight"),
            });
        }
        let template = ChatTemplate::from_gguf(file)?;
        let sampling = SamplerOverrides::from_gguf(file)?;
        let name = file.str("general.name")?.unwrap_or("unnamed").to_owned();
        file.check_unchanged()?;
        let (tokenizer, template) = (Arc::new(tokenizer), Arc::new(template));
        let fingerprint = OnceLock::new();
        let grammars = Arc::new(OnceLock::new());
        Ok(Self(Arc::new(Inner { name, network, tokenizer, template, sampling, fingerprint, grammars })))
    }

    /// This model with other weights in the matrix `name`: `rows` as a GGUF file has them, in any type that can be run.
    /// All else is shared, so this takes the memory of one matrix.
    ///
    /// # Errors
    /// A name that no matrix has, a type without kernels, rows that are not as many as the matrix has or not as long,
    /// or too little memory.
    pub fn with_matrix(&self, name: &str, ty: TensorType, rows: &[u8]) -> Result<Self, LoadError> {
        let mut inner = Inner::clone(&self.0);
        let (file, tensor) = (inner.name.clone(), name.to_owned());
        let Some(linear) = inner.network.linear_mut(name) else {
            return Err(LoadError::MissingTensor { file, tensor });
        };
        if !Kernels::supports(ty) {
            return Err(LoadError::Type { file, tensor, ty });
        }
        let (height, k) = (linear.weight.rows(), linear.weight.k());
        let bytes = ty.row_bytes(k as u64).and_then(|bytes| bytes.checked_mul(height as u64));
        if bytes != Some(rows.len() as u64) {
            return Err(LoadError::Rows { tensor, ty, rows: height, row_len: k, found: rows.len() });
        }
        linear.weight = Panels::pack(ty, height, k, rows)?;
        inner.fingerprint = OnceLock::new();
        Ok(Self(Arc::new(inner)))
    }

    /// The model's name, as `general.name` gives it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What of the file is left out, and what it lacks and is known otherwise: lines to be told to whoever named it.
    pub fn notes(&self) -> &[String] {
        self.0.network.notes()
    }

    /// The model's family, as `general.architecture` names it.
    pub fn architecture(&self) -> &'static str {
        self.0.network.architecture()
    }

    /// The longest sequence that the model was made for, in tokens.
    pub fn context_length(&self) -> usize {
        self.0.network.config().context_length
    }

    /// Logits for each token: the rows of the output matrix. The tokenizer may name fewer.
    pub fn vocabulary(&self) -> usize {
        self.0.network.config().vocabulary
    }

    /// Tells models with different logits apart: a hash of the weights, as the kernels read them, and of all else that
    /// logits depend on but the tokens. A packed file's is that of the file that was packed. The first call reads all
    /// weights.
    pub fn fingerprint(&self) -> u128 {
        *self.0.fingerprint.get_or_init(|| {
            let mut hasher = XxHash3_128::new();
            self.0.network.hash(&mut hasher);
            hasher.finish_128()
        })
    }

    /// Bytes that the weights take in memory.
    pub fn weight_bytes(&self) -> usize {
        self.0.network.weight_bytes()
    }

    /// Bytes of weights that one token's way through the model reads: all but the table of embeddings, of which it
    /// takes a row, unless that is the output too. Memory that gives `b` bytes a second lets a model decode no more
    /// than `b / bytes_per_token` tokens a second.
    pub fn bytes_per_token(&self) -> usize {
        self.0.network.bytes_per_token()
    }

    /// Multiplications by a weight, each with its addition, that feeding `tokens` tokens takes: all go through the
    /// layers, the last alone to the output. What attention multiplies is not among them.
    pub fn multiply_adds(&self, tokens: usize) -> u64 {
        self.0.network.multiply_adds(tokens)
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// Compiles a grammar that answers of this model keep to. The first one sorts the vocabulary, which all others use: see
    /// [`Outline::add_grammars`](crate::plan::Outline::add_grammars) for what that takes.
    ///
    /// # Errors
    /// A source that is wrong, asks for what cannot be kept to, or is too large; a build without the feature `grammar`.
    pub fn grammar(&self, source: &GrammarSource) -> Result<Grammar, GrammarError> {
        let made = self.0.grammars.get_or_init(|| self.sort_vocabulary());
        made.as_ref().map_err(GrammarError::clone)?.compile(source)
    }

    /// The vocabulary as grammars want it, which is made once.
    pub(crate) fn sort_vocabulary(&self) -> Result<GrammarVocabulary, GrammarError> {
        GrammarVocabulary::new(Arc::clone(&self.0.tokenizer))
    }

    /// The sampler settings that the model's file recommends.
    pub fn sampling(&self) -> &SamplerOverrides {
        &self.0.sampling
    }

    /// The tokens of a conversation in the model's chat template, ready for the assistant's answer. Control tokens
    /// that a message spells are text, whatever the template does with it: only the template's own count.
    ///
    /// # Errors
    /// A template that fails.
    pub fn chat_tokens(&self, messages: &[Message]) -> Result<Vec<u32>, TemplateError> {
        self.chat_tokens_with(messages, &Rendering::default())
    }

    /// As [`chat_tokens`](Self::chat_tokens), with the time that the template may ask for: seconds since 1970, UTC. So
    /// what was prepared once has the same tokens later.
    ///
    /// # Errors
    /// A template that fails.
    pub fn chat_tokens_at(&self, messages: &[Message], seconds: u64) -> Result<Vec<u32>, TemplateError> {
        self.chat_tokens_with(messages, &Rendering { seconds: Some(seconds), ..Rendering::default() })
    }

    /// As [`chat_tokens`](Self::chat_tokens), with tools and variables. Control tokens that these or a message's fields
    /// spell are text as well. A system message that the template does not take goes before the first of the user
    /// ([`ChatTemplate::with_system_taken`]).
    ///
    /// # Errors
    /// A template that fails, values that no template is given (see [`ChatTemplate::render_with`]), and a model without a
    /// template whose vocabulary lacks ChatML's tokens.
    pub fn chat_tokens_with(
        &self,
        messages: &[Message],
        rendering: &Rendering,
    ) -> Result<Vec<u32>, TemplateError> {
        if self.0.template.is_fallback() {
            self.check_fallback()?;
        }
        let messages = self.0.template.with_system_taken(messages);
        let rendered = self.0.template.render_traced(&messages, rendering)?;
        let mut tokens = Vec::new();
        self.0.tokenizer.encode_rendered(&rendered, &mut tokens);
        self.begin(&mut tokens);
        Ok(tokens)
    }

    /// Whether it answers conversations: its file has a template, or its vocabulary the tokens that the template of models
    /// without one spells. Without either it goes on with texts alone.
    pub fn has_conversations(&self) -> bool {
        !self.0.template.is_fallback() || self.check_fallback().is_ok()
    }

    /// Whether the vocabulary has the tokens that the template of models without one spells.
    fn check_fallback(&self) -> Result<(), TemplateError> {
        let tokenizer = &self.0.tokenizer;
        let has = |token: &str| tokenizer.find(token.as_bytes()).is_some_and(|id| tokenizer.is_special(id));
        match CHATML_TOKENS.iter().find(|token| !has(token)) {
            Some(token) => Err(TemplateError::NoTemplate { token }),
            None => Ok(()),
        }
    }

    /// The model's chat template.
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.0.template
    }

    /// This model with another chat template. All else is shared, and so are the control tokens: those that only the new
    /// template would make control tokens ([`Tokenizer::corrected`]) stay text.
    #[must_use]
    pub fn with_chat_template(&self, template: ChatTemplate) -> Self {
        let mut inner = Inner::clone(&self.0);
        inner.template = Arc::new(template);
        Self(Arc::new(inner))
    }

    /// The tokens of plain text that is to be continued, with the token that begins a text where the model wants one.
    pub fn text_tokens(&self, text: &str) -> Vec<u32> {
        self.text_tokens_with(text, Special::Text)
    }

    /// As [`text_tokens`](Self::text_tokens), for a text whose writer may use control tokens, if `special` says so.
    pub fn text_tokens_with(&self, text: &str, special: Special) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.0.tokenizer.encode(text.as_bytes(), special, &mut tokens);
        self.begin(&mut tokens);
        tokens
    }

    /// Puts the token that begins a text before all others, where the model wants one and none is there yet: most
    /// chat templates write it themselves.
    fn begin(&self, tokens: &mut Vec<u32>) {
        if let Some(bos) = self.0.tokenizer.bos().filter(|_| self.0.tokenizer.add_bos())
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.0.network
    }
}

/// What both give, the second on a thread of its own where the system grants one.
fn beside<A, B: Send>(a: impl FnOnce() -> A, b: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| {
        let second = thread::Builder::new().spawn_scoped(scope, &b);
        let a = a();
        let b = match second {
            Ok(second) => second.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => b(),
        };
        (a, b)
    })
}
