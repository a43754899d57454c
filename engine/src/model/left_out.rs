//! What files of a family have beside the language model, and what is known of files that lack a key.

use crate::gguf::{Gguf, TensorInfo};

/// The number of the first layer that predicts tokens further ahead (multi-token prediction: DeepSeek-V3, arXiv 2412.19437),
/// which stand behind all others.
pub(crate) fn first_ahead(file: &Gguf) -> Option<usize> {
    let layer = |tensor: &TensorInfo| {
        let (layer, part) = tensor.name.strip_prefix("blk.")?.split_once('.')?;
        layer.parse().ok().filter(|_| part.starts_with("nextn."))
    };
    file.tensors().iter().filter_map(layer).min()
}

/// Parts of a model that answers in text do without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Images,
    Sound,
    Ahead,
}

impl Part {
    fn of(tensor: &TensorInfo, first_ahead: Option<usize>) -> Option<Part> {
        let (start, rest) = tensor.name.split_once('.')?;
        match start {
            "v" | "mm" => Some(Part::Images),
            "a" => Some(Part::Sound),
            "nextn" | "mtp" => Some(Part::Ahead),
            "blk" => {
                let layer: usize = rest.split_once('.')?.0.parse().ok()?;
                first_ahead.filter(|&first| layer >= first).map(|_| Part::Ahead)
            }
            _ => None,
        }
    }

    /// What it is, and the names of its tensors.
    fn name(self) -> &'static str {
        match self {
            Part::Images => "what sees images (v.*, mm.*)",
            Part::Sound => "what hears (a.*)",
            Part::Ahead => "layers that predict tokens further ahead (nextn.*)",
        }
    }
}

/// Whether a tensor belongs to a part that is left out.
pub(crate) fn is_left_out(tensor: &TensorInfo, first_ahead: Option<usize>) -> bool {
    Part::of(tensor, first_ahead).is_some()
}

/// A line about each part of the file that is left out.
pub(crate) fn lines(file: &Gguf) -> Vec<String> {
    let first = first_ahead(file);
    let line = |part: Part| {
        let tensors = file.tensors().iter().filter(|tensor| Part::of(tensor, first) == Some(part));
        let (count, bytes) =
            tensors.fold((0usize, 0u64), |(count, bytes), tensor| (count + 1, bytes + tensor.bytes));
        let (name, mib) = (part.name(), bytes as f64 / f64::from(1 << 20));
        let tensors = if count == 1 { "tensor" } else { "tensors" };
        (count > 0).then(|| format!("{name} is left out: {count} {tensors}, {mib:.1} MiB"))
    };
    [Part::Images, Part::Sound, Part::Ahead].into_iter().filter_map(line).collect()
}
