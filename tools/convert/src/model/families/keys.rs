use super::super::document::Document;
use super::super::metadata::{Metadata, Value};
use super::rope::{Rope, Scaling};
use super::sizes::Sizes;
use anyhow::Result;

/// The metadata of an architecture: its keys start with its name.
pub(super) struct Keys {
    architecture: &'static str,
    metadata: Metadata,
}

impl Keys {
    /// The keys that all families have, in the order in which llama.cpp's converter writes them. `epsilon` is that of the
    /// norms.
    pub(super) fn new(
        architecture: &'static str,
        config: &Document<'_>,
        sizes: &Sizes,
        rope: &Rope,
        epsilon: f32,
    ) -> Result<Keys> {
        let mut keys = Keys { architecture, metadata: Metadata::default() };
        keys.set("block_count", sizes.layers);
        keys.set("context_length", config.size("max_position_embeddings")?);
        keys.set("embedding_length", sizes.hidden);
        keys.set("feed_forward_length", sizes.feed_forward);
        keys.set("attention.head_count", sizes.heads);
        keys.set("attention.head_count_kv", sizes.kv_heads);
        if let Scaling::Linear(factor) = rope.scaling {
            keys.set("rope.scaling.type", "linear");
            keys.set("rope.scaling.factor", factor);
        }
        keys.set("rope.freq_base", rope.theta);
        keys.set("attention.layer_norm_rms_epsilon", epsilon);
        keys.set("attention.key_length", sizes.head_dim);
        keys.set("attention.value_length", sizes.head_dim);
        Ok(keys)
    }

    /// Sets `ARCHITECTURE.key`.
    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.set(&format!("{}.{key}", self.architecture), value);
    }

    /// Sets `ARCHITECTURE.key` where config.json has a number at `name`.
    pub(super) fn set_number(&mut self, key: &str, config: &Document<'_>, name: &str) -> Result<()> {
        if let Some(value) = config.f32(name)? {
            self.set(key, value);
        }
        Ok(())
    }

    pub(super) fn into_metadata(self) -> Metadata {
        self.metadata
    }
}

/// The epsilon of the norms, or the family's own.
pub(super) fn epsilon(config: &Document<'_>, default: f32) -> Result<f32> {
    Ok(config.f32("rms_norm_eps")?.unwrap_or(default))
}
