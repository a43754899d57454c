use super::super::document::Document;
use super::super::tensor::RowOrder;
use super::sizes::Sizes;
use anyhow::Result;

/// A tensor of the GGUF file and where a checkpoint has it.
#[derive(Debug)]
pub(crate) struct Weight {
    /// Its name in the checkpoint; or several, such as one for each expert, whose tensors follow one another.
    pub(crate) names: Vec<String>,
    /// Its name in the GGUF file.
    pub(crate) gguf: String,
    /// Sizes of each tensor of the checkpoint as PyTorch orders them: the row length is last.
    pub(crate) stored: Vec<u32>,
    /// Sizes in the GGUF file, in the same order.
    pub(crate) shape: Vec<u32>,
    /// How the GGUF file orders the rows.
    pub(crate) order: RowOrder,
    /// Whether one is added to every value: a gain of which the checkpoint holds the distance from 1.
    pub(crate) plus_one: bool,
}

/// Which linear layers of an attention have biases.
#[derive(Clone, Copy, Default)]
pub(super) struct Biases {
    pub(super) queries_keys_values: bool,
    pub(super) output: bool,
}

impl Biases {
    /// As `attention_bias` says, with which `transformers` gives all four layers biases or none.
    pub(super) fn read(config: &Document<'_>) -> Result<Biases> {
        let all = config.bool("attention_bias")?.unwrap_or(false);
        Ok(Biases { queries_keys_values: all, output: all })
    }
}

impl Weight {
    /// A tensor that is written as it is stored.
    fn same(name: String, gguf: String, shape: &[u32]) -> Weight {
        let (stored, shape) = (shape.to_vec(), shape.to_vec());
        Weight { names: vec![name], gguf, stored, shape, order: RowOrder::Same, plus_one: false }
    }

    /// The gains of a norm.
    fn norm(name: &str, gguf: &str, len: u32, gains: Gains) -> Weight {
        let weight = Weight::same(format!("{name}.weight"), format!("{gguf}.weight"), &[len]);
        Weight { plus_one: gains == Gains::FromOne, ..weight }
    }
}

/// How a checkpoint stores the gains of its norms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gains {
    /// As they are.
    Plain,
    /// As their distance from 1.
    FromOne,
}

/// The weights of a whole model whose blocks are alike: the embedding, what `block` adds for each, the last norm, and the
/// output matrix unless it is the embedding. `tied` says whether it is where config.json does not.
pub(super) fn of_blocks(
    config: &Document<'_>,
    sizes: &Sizes,
    gains: Gains,
    tied: bool,
    block: impl Fn(&mut Layer),
) -> Result<Vec<Weight>> {
    let mut list = vec![embedding(sizes)];
    for index in 0..sizes.layers {
        let mut layer = Layer { index, gains, list };
        block(&mut layer);
        list = layer.list;
    }
    list.push(Weight::norm("model.norm", "output_norm", sizes.hidden, gains));
    if !config.bool("tie_word_embeddings")?.unwrap_or(tied) {
        list.push(Weight::same(
            "lm_head.weight".into(),
            "output.weight".into(),
            &[sizes.vocabulary, sizes.hidden],
        ));
    }
    Ok(list)
}

fn embedding(sizes: &Sizes) -> Weight {
    Weight::same(
        "model.embed_tokens.weight".into(),
        "token_embd.weight".into(),
        &[sizes.vocabulary, sizes.hidden],
    )
}

/// The weights of a block, behind those of the blocks before it.
pub(super) struct Layer {
    pub(super) index: u32,
    gains: Gains,
    list: Vec<Weight>,
}

impl Layer {
    /// The gains of a norm over `len` elements.
    pub(super) fn norm(&mut self, name: &str, gguf: &str, len: u32) {
        let (name, gguf) = self.names(name, gguf);
        self.list.push(Weight::norm(&name, &gguf, len, self.gains));
    }

    /// A matrix from `columns` to `rows` elements.
    pub(super) fn linear(&mut self, name: &str, gguf: &str, [rows, columns]: [u32; 2], bias: bool) {
        self.ordered(name, gguf, [rows, columns], RowOrder::Same, bias);
    }

    /// As [`linear`](Self::linear), its rows in another order.
    fn ordered(&mut self, name: &str, gguf: &str, [rows, columns]: [u32; 2], order: RowOrder, bias: bool) {
        let (name, gguf) = self.names(name, gguf);
        let mut add = |suffix: &str, shape: &[u32]| {
            let weight = Weight::same(format!("{name}.{suffix}"), format!("{gguf}.{suffix}"), shape);
            self.list.push(Weight { order, ..weight });
        };
        add("weight", &[rows, columns]);
        if bias {
            add("bias", &[rows]);
        }
    }

    /// A tensor of another shape than the `stored` one, of whose rows `order` makes its own.
    pub(super) fn reshaped(
        &mut self,
        name: &str,
        gguf: &str,
        stored: &[u32],
        shape: &[u32],
        order: RowOrder,
    ) {
        let (name, gguf) = self.names(name, gguf);
        let weight = Weight::same(format!("{name}.weight"), format!("{gguf}.weight"), shape);
        self.list.push(Weight { stored: stored.to_vec(), order, ..weight });
    }

    /// The experts' matrices of one kind, each a tensor of its own in the checkpoint.
    pub(super) fn experts(
        &mut self,
        name: impl Fn(u32) -> String,
        gguf: &str,
        experts: u32,
        [rows, columns]: [u32; 2],
    ) {
        let names = (0..experts).map(|expert| self.names(&format!("{}.weight", name(expert)), gguf).0);
        let names = names.collect();
        let weight =
            Weight::same(String::new(), self.names("", gguf).1 + ".weight", &[experts, rows, columns]);
        self.list.push(Weight { names, stored: vec![rows, columns], ..weight });
    }

    /// The four matrices of `self_attn`; `rotary` is the order of the rows of queries and keys.
    pub(super) fn attention(&mut self, sizes: &Sizes, rotary: RowOrder, biases: Biases) {
        let (queries, keys, hidden) = (sizes.queries(), sizes.keys(), sizes.hidden);
        let bias = biases.queries_keys_values;
        self.ordered("self_attn.q_proj", "attn_q", [queries, hidden], rotary, bias);
        self.ordered("self_attn.k_proj", "attn_k", [keys, hidden], rotary, bias);
        self.linear("self_attn.v_proj", "attn_v", [keys, hidden], bias);
        self.linear("self_attn.o_proj", "attn_output", [hidden, queries], biases.output);
    }

    /// The three matrices of `mlp`.
    pub(super) fn feed_forward(&mut self, sizes: &Sizes, bias: bool) {
        let (hidden, inner) = (sizes.hidden, sizes.feed_forward);
        self.linear("mlp.gate_proj", "ffn_gate", [inner, hidden], bias);
        self.linear("mlp.up_proj", "ffn_up", [inner, hidden], bias);
        self.linear("mlp.down_proj", "ffn_down", [hidden, inner], bias);
    }

    fn names(&self, name: &str, gguf: &str) -> (String, String) {
        (format!("model.layers.{}.{name}", self.index), format!("blk.{}.{gguf}", self.index))
    }
}

/// The rows of queries and keys where neighbours rotate together.
pub(super) fn interleaved(sizes: &Sizes) -> RowOrder {
    RowOrder::Interleave { head_dim: sizes.head_dim.into() }
}
