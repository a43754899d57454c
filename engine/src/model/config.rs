use twox_hash::XxHash3_128;

use crate::error::Error;
use crate::gguf::Gguf;

/// Larger heads than any model has: a task's buffers grow with them.
const MAX_HEAD_DIM: usize = 512;

/// The sizes and constants of a decoder-only transformer.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The residual stream's width.
    pub(crate) width: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Heads of keys and values, each shared by `heads / kv_heads` heads of queries.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) feed_forward: usize,
    /// Rows of the token embedding and of the output.
    pub(crate) vocabulary: usize,
    /// Tokens of the longest sequence that the model was made for.
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f32,
    /// Numbers of a head that are rotated, from its first.
    pub(crate) rotated: usize,
    pub(crate) rope_base: f32,
    /// What positions are divided by (linear RoPE scaling).
    pub(crate) rope_factor: f32,
}

impl Config {
    /// Hashes all of it but the context length, which nothing is computed with.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        let &Self { width, layers, heads, kv_heads, head_dim, feed_forward, vocabulary, .. } = self;
        let &Self { context_length: _, norm_epsilon, rotated, rope_base, rope_factor, .. } = self;
        for size in [width, layers, heads, kv_heads, head_dim, feed_forward, vocabulary, rotated] {
            hasher.write(&(size as u64).to_le_bytes());
        }
        for number in [norm_epsilon, rope_base, rope_factor] {
            hasher.write(&number.to_le_bytes());
        }
    }
}

/// Reads one architecture's keys, which begin with its name.
pub(crate) struct Keys<'a> {
    file: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(file: &'a Gguf, architecture: &'a str) -> Self {
        Self { file, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(crate) fn refuse(&self, name: &str, found: impl ToString, expected: impl Into<String>) -> Error {
        Error::Hyperparameter {
            file: self.file.name().to_owned(),
            key: self.key(name),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// A size of at least 1, and no larger than any model's.
    fn size(&self, name: &str, default: Option<usize>) -> Result<usize, Error> {
        const LARGEST: usize = 1 << 24;
        let key = self.key(name);
        let found = match (self.file.u32(&key)?, default) {
            (Some(found), _) => found as usize,
            (None, Some(default)) => default,
            (None, None) => self.file.require_u32(&key)? as usize,
        };
        if (1..=LARGEST).contains(&found) {
            Ok(found)
        } else {
            Err(self.refuse(name, found, format!("1 to {LARGEST}")))
        }
    }

    fn positive(&self, name: &str, default: Option<f32>) -> Result<f32, Error> {
        let key = self.key(name);
        let found = match (self.file.f32(&key)?, default) {
            (Some(found), _) => found,
            (None, Some(default)) => default,
            (None, None) => self.file.require_f32(&key)?,
        };
        if found.is_finite() && found > 0.0 {
            Ok(found)
        } else {
            Err(self.refuse(name, found, "a positive number"))
        }
    }

    /// The keys that all families share, with llama.cpp's defaults.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        let width = self.size("embedding_length", None)?;
        let heads = self.size("attention.head_count", None)?;
        let kv_heads = self.size("attention.head_count_kv", Some(heads))?;
        if heads % kv_heads != 0 {
            return Err(self.refuse(
                "attention.head_count_kv",
                kv_heads,
                format!("a divisor of the {heads} heads"),
            ));
        }
        let head_dim = match self.file.u32(&self.key("attention.key_length"))? {
            Some(_) => self.size("attention.key_length", None)?,
            None if width % heads == 0 => width / heads,
            None => {
                let expected = format!("a divisor of the embedding length {width}");
                return Err(self.refuse("attention.head_count", heads, expected));
            }
        };
        if head_dim > MAX_HEAD_DIM {
            return Err(self.refuse("attention.key_length", head_dim, format!("at most {MAX_HEAD_DIM}")));
        }
        let value_dim = self.size("attention.value_length", Some(head_dim))?;
        if value_dim != head_dim {
            return Err(self.refuse(
                "attention.value_length",
                value_dim,
                format!("the key length, {head_dim}"),
            ));
        }
        let rotated = self.size("rope.dimension_count", Some(head_dim))?;
        if rotated % 2 != 0 || rotated > head_dim {
            let expected = format!("an even number, at most the head's {head_dim}");
            return Err(self.refuse("rope.dimension_count", rotated, expected));
        }
        let tokens = self.file.tensor("token_embd.weight").and_then(|t| t.shape.get(1)).copied().unwrap_or(0);
        Ok(Config {
            width,
            layers: self.size("block_count", None)?,
            heads,
            kv_heads,
            head_dim,
            feed_forward: self.size("feed_forward_length", None)?,
            vocabulary: usize::try_from(tokens).unwrap_or(0),
            context_length: self.size("context_length", None)?,
            norm_epsilon: self.positive("attention.layer_norm_rms_epsilon", None)?,
            rotated,
            rope_base: self.positive("rope.freq_base", Some(10_000.0))?,
            rope_factor: self.rope_factor()?,
        })
    }

    fn rope_factor(&self) -> Result<f32, Error> {
        match self.file.str(&self.key("rope.scaling.type"))? {
            None => self.positive("rope.scale_linear", Some(1.0)),
            Some("none") => Ok(1.0),
            Some("linear") => self.positive("rope.scaling.factor", None),
            Some(other) => {
                Err(self.refuse("rope.scaling.type", format!("{other:?}"), "\"none\" or \"linear\""))
            }
        }
    }

    /// Refuses a file whose key asks for something that the family's code does not do.
    pub(crate) fn must_be_absent_or_zero(&self, name: &str) -> Result<(), Error> {
        match self.file.u32(&self.key(name))? {
            None | Some(0) => Ok(()),
            Some(found) => Err(self.refuse(name, found, "0")),
        }
    }
}
