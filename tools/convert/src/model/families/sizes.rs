use super::super::document::Document;
use anyhow::{Result, bail};

/// The sizes that shape the tensors.
pub(super) struct Sizes {
    pub(super) vocabulary: u32,
    pub(super) hidden: u32,
    pub(super) feed_forward: u32,
    pub(super) layers: u32,
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) head_dim: u32,
}

impl Sizes {
    /// The sizes of a model whose blocks have a feed-forward part of `intermediate_size`.
    pub(super) fn read(config: &Document<'_>) -> Result<Sizes> {
        Self::with_feed_forward(config, config.size("intermediate_size")?)
    }

    /// As [`read`](Self::read), with another size of the feed-forward part.
    pub(super) fn with_feed_forward(config: &Document<'_>, feed_forward: u32) -> Result<Sizes> {
        let name = config.name();
        let hidden = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        let kv_heads = config.u32("num_key_value_heads")?.unwrap_or(heads);
        let head_dim = match config.u32("head_dim")? {
            Some(head_dim) => head_dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => bail!("{name}: hidden_size {hidden} is no multiple of num_attention_heads {heads}"),
        };
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            bail!("{name}: expected heads of an even size, found {head_dim}");
        }
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            bail!("{name}: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}");
        }
        // Three times as wide at most: queries, keys and values in one matrix.
        if heads.checked_mul(head_dim).and_then(|queries| queries.checked_mul(3)).is_none() {
            bail!("{name}: {heads} heads of {head_dim} are too wide");
        }
        if hidden.checked_mul(3).is_none() || feed_forward.checked_mul(2).is_none() {
            bail!("{name}: hidden_size {hidden} or a feed-forward part of {feed_forward} is too wide");
        }
        let vocabulary = config.size("vocab_size")?;
        Ok(Sizes { vocabulary, hidden, feed_forward, layers: layers(config)?, heads, kv_heads, head_dim })
    }

    /// Elements of all query heads.
    pub(super) const fn queries(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Elements of all key heads, and of all value heads.
    pub(super) const fn keys(&self) -> u32 {
        self.kv_heads * self.head_dim
    }
}

/// Each layer makes nine names or more, so their number is not left to the file.
fn layers(config: &Document<'_>) -> Result<u32> {
    const MOST: u32 = 4096;
    match config.size("num_hidden_layers")? {
        layers if layers <= MOST => Ok(layers),
        layers => bail!("{}: num_hidden_layers: expected at most {MOST}, found {layers}", config.name()),
    }
}

/// The number of experts at `key`, and how many of them a token gets.
pub(super) fn experts(config: &Document<'_>, key: &str, layers: u32) -> Result<(u32, u32)> {
    /// Each makes three names or more, so their number, too, is not left to the file.
    const MOST: u32 = 1 << 16;
    let (experts, used) = (config.size(key)?, config.size("num_experts_per_tok")?);
    if experts > MOST / layers {
        bail!(
            "{}: {key}: expected at most {} for {layers} blocks, found {experts}",
            config.name(),
            MOST / layers
        );
    }
    if used > experts {
        bail!("{}: num_experts_per_tok: {used} of {experts} experts", config.name());
    }
    Ok((experts, used))
}
