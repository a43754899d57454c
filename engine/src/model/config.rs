use twox_hash::XxHash3_128;

use super::left_out::first_ahead;
use crate::gguf::{Gguf, Value};
use crate::model::LoadError;
use crate::state::ConvSpec;

const EPSILON: &str = "attention.layer_norm_rms_epsilon";
const KV_HEADS: &str = "attention.head_count_kv";

/// Larger heads than any model has: a task's buffers grow with them.
const MAX_HEAD_DIM: usize = 512;

/// The sizes and constants that all layers of a decoder-only transformer share.
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
}

impl Config {
    /// Hashes all of it but the context length, which nothing is computed with.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        let &Self { width, layers, heads, kv_heads, head_dim, feed_forward, vocabulary, .. } = self;
        let &Self { context_length: _, norm_epsilon, .. } = self;
        for size in [width, layers, heads, kv_heads, head_dim, feed_forward, vocabulary] {
            hasher.write(&(size as u64).to_le_bytes());
        }
        hasher.write(&norm_epsilon.to_le_bytes());
    }

    /// Numbers of the queries of all heads.
    pub(crate) fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers of the keys of all heads.
    pub(crate) fn keys(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// 1/√d, what most models scale scores by.
    pub(crate) fn score_scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Reads one architecture's keys, which begin with its name.
pub(crate) struct Keys<'a> {
    pub(crate) file: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(file: &'a Gguf, architecture: &'a str) -> Self {
        Self { file, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(crate) fn refuse(&self, name: &str, found: impl ToString, expected: impl Into<String>) -> LoadError {
        LoadError::Hyperparameter {
            file: self.file.name().to_owned(),
            key: self.key(name),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// A size of at least 1, and no larger than any model's.
    pub(crate) fn size(&self, name: &str, default: Option<usize>) -> Result<usize, LoadError> {
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

    /// A finite number above 0.
    pub(crate) fn positive(&self, name: &str, default: Option<f32>) -> Result<f32, LoadError> {
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
    pub(crate) fn config(&self) -> Result<Config, LoadError> {
        let width = self.size("embedding_length", None)?;
        let heads = self.size("attention.head_count", None)?;
        let layers = self.layers()?;
        let kv_heads = self.kv_heads(layers, heads)?;
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
        let tokens = self.file.tensor("token_embd.weight").and_then(|t| t.shape.get(1)).copied().unwrap_or(0);
        Ok(Config {
            width,
            layers,
            heads,
            kv_heads,
            head_dim,
            feed_forward: self.size("feed_forward_length", None)?,
            vocabulary: usize::try_from(tokens).unwrap_or(0),
            context_length: self.size("context_length", None)?,
            norm_epsilon: self.positive(EPSILON, self.known_epsilon())?,
        })
    }

    /// Layers of the model, of which the file may count some more that predict tokens further ahead.
    fn layers(&self) -> Result<usize, LoadError> {
        let layers = self.size("block_count", None)?;
        match first_ahead(self.file) {
            Some(0) => {
                Err(self.refuse("block_count", "only layers that predict tokens further ahead", "others"))
            }
            Some(first) => Ok(first.min(layers)),
            None => Ok(layers),
        }
    }

    /// What is added to variances where the file does not say it: Gemma 3's that Ollama wrote do not.
    fn known_epsilon(&self) -> Option<f32> {
        (self.architecture == "gemma3").then_some(1e-6)
    }

    /// A line about a key that the file lacks and whose value is known.
    pub(crate) fn assumed(&self) -> Result<Option<String>, LoadError> {
        let known = self.known_epsilon();
        let absent = self.file.f32(&self.key(EPSILON))?.is_none();
        Ok(known.filter(|_| absent).map(|value| {
            let key = self.key(EPSILON);
            format!(
                "key {key:?} is missing, as in Ollama's files: {value:e} is taken, as all such models have"
            )
        }))
    }

    /// Heads of keys and values of a layer. Some files have a list, in which layers without attention have none.
    fn kv_heads(&self, layers: usize, heads: usize) -> Result<usize, LoadError> {
        let Some(counts) = self.kv_heads_by_layer(layers)? else { return self.size(KV_HEADS, Some(heads)) };
        let most = counts.iter().copied().max().unwrap_or(0);
        match counts.iter().all(|&count| count == 0 || count == most) && (1..=heads).contains(&most) {
            true => Ok(most),
            false => Err(self.refuse(KV_HEADS, "other numbers", "one number in all layers with attention")),
        }
    }

    /// None where the file has no list of them.
    fn kv_heads_by_layer(&self, layers: usize) -> Result<Option<Vec<usize>>, LoadError> {
        let Some(Value::Array(list)) = self.file.get(&self.key(KV_HEADS)) else { return Ok(None) };
        let counts = list.iter().map(|count| count.as_u32().map(|count| count as usize));
        match counts.collect::<Option<Vec<_>>>().filter(|counts| counts.len() == layers) {
            Some(counts) => Ok(Some(counts)),
            None => {
                let expected = format!("a number for each of the {layers} layers");
                Err(self.refuse(KV_HEADS, "another list", expected))
            }
        }
    }

    /// Which layers have attention: those that the file's list gives heads of keys and values.
    pub(crate) fn attends(&self, layers: usize) -> Result<Vec<bool>, LoadError> {
        match self.kv_heads_by_layer(layers)? {
            Some(counts) => Ok(counts.into_iter().map(|count| count > 0).collect()),
            None => {
                Err(self.refuse(KV_HEADS, "no list", format!("a number for each of the {layers} layers")))
            }
        }
    }

    /// Refuses a file that says of layers that they have attention, or none, and the family has it otherwise.
    pub(crate) fn must_attend(&self, attention: &[bool]) -> Result<(), LoadError> {
        let as_said = match self.kv_heads_by_layer(attention.len())? {
            Some(counts) => counts.iter().map(|&count| count > 0).eq(attention.iter().copied()),
            None => attention.iter().all(|&attends| attends),
        };
        match as_said {
            true => Ok(()),
            false => Err(self.refuse(KV_HEADS, "0 in some layers", "a number of at least 1 in each")),
        }
    }

    /// Tokens that a short convolution is over.
    pub(crate) fn taps(&self) -> Result<usize, LoadError> {
        const NAME: &str = "shortconv.l_cache";
        let taps = self.size(NAME, None)?;
        match (2..=ConvSpec::MOST + 1).contains(&taps) {
            true => Ok(taps),
            false => Err(self.refuse(NAME, taps, format!("2 to {}", ConvSpec::MOST + 1))),
        }
    }

    /// A positive number, or None where the file does not give it.
    pub(crate) fn optional_positive(&self, name: &str) -> Result<Option<f32>, LoadError> {
        match self.file.f32(&self.key(name))? {
            None => Ok(None),
            Some(_) => self.positive(name, None).map(Some),
        }
    }

    /// A text, or None where the file does not give it.
    pub(crate) fn str(&self, name: &str) -> Result<Option<&'a str>, LoadError> {
        Ok(self.file.str(&self.key(name))?)
    }

    /// Numbers of a head that are rotated, from its first.
    pub(crate) fn rotated(&self, head_dim: usize) -> Result<usize, LoadError> {
        let rotated = self.size("rope.dimension_count", Some(head_dim))?;
        if rotated % 2 != 0 || rotated > head_dim {
            let expected = format!("an even number, at most the head's {head_dim}");
            return Err(self.refuse("rope.dimension_count", rotated, expected));
        }
        Ok(rotated)
    }

    /// Which layers have the window. The file says it for each layer, or of how many the last has none (0: all have one);
    /// `period` where it does not say it.
    pub(crate) fn windowed(&self, layers: usize, period: usize) -> Result<Vec<bool>, LoadError> {
        const NAME: &str = "attention.sliding_window_pattern";
        let expected = || format!("a number, or true or false for each of the {layers} layers");
        let period = match self.file.get(&self.key(NAME)) {
            None => period,
            Some(Value::Array(pattern)) => {
                let flag = |value| if let Value::Bool(flag) = value { Some(flag) } else { None };
                let flags: Option<Vec<bool>> = pattern.iter().map(flag).collect();
                let flags = flags.filter(|flags| flags.len() == layers);
                return flags.ok_or_else(|| self.refuse(NAME, "another list", expected()));
            }
            Some(value) => match value.as_u32() {
                Some(period) => period as usize,
                None => return Err(self.refuse(NAME, "another type", expected())),
            },
        };
        Ok((0..layers).map(|layer| period == 0 || !(layer + 1).is_multiple_of(period)).collect())
    }

    /// Positions that a token of a windowed layer sees: its own and those next before it. None where there is no window.
    pub(crate) fn window(&self) -> Result<Option<usize>, LoadError> {
        match self.file.u32(&self.key("attention.sliding_window"))? {
            None | Some(0) => Ok(None),
            Some(window) => Ok(Some(window as usize)),
        }
    }

    /// Refuses a file whose key switches something off that the family's code does.
    pub(crate) fn must_not_be_false(&self, name: &str) -> Result<(), LoadError> {
        match self.file.bool(&self.key(name))? {
            Some(false) => Err(self.refuse(name, false, "true")),
            _ => Ok(()),
        }
    }

    /// Refuses a file whose layers have windows.
    pub(crate) fn must_have_no_window(&self) -> Result<(), LoadError> {
        self.must_be_absent_or_zero("attention.sliding_window")
    }

    /// Refuses a file whose key asks for something that the family's code does not do.
    pub(crate) fn must_be_absent_or_zero(&self, name: &str) -> Result<(), LoadError> {
        match self.file.u32(&self.key(name))? {
            None | Some(0) => Ok(()),
            Some(found) => Err(self.refuse(name, found, "0")),
        }
    }
}
