//! Tokens that stay when others are forgotten stand where they stand then, in every family, layer and cache: the logits are
//! those of a session that was fed what is left, but for what the tokens that stay know of the forgotten ones.
//!
//! That knowledge is taken away here: of all layers one alone looks at other tokens, the others add nothing of what they see.

use crate::parts::{Parts, family, golden, ids, ids_in, nmse};
use siskin::gguf::write::{OwnedArray, OwnedValue};
use siskin::{CacheType, CacheTypes, Model, SessionOptions, WhenFull};

/// Ends of the names of matrices by which layers add what they have seen of other tokens.
const LOOKS: [&str; 2] = [".attn_output.weight", ".shortconv.out_proj.weight"];

/// A model of each family, and a prompt.
fn models() -> Vec<(&'static str, Parts, Vec<u32>)> {
    let window = || Some(OwnedValue::U32(16));
    let pattern = |flags: &[bool]| Some(OwnedValue::Array(OwnedArray::Bool(flags.to_vec())));
    let names = [
        "qwen2",
        "qwen3",
        "qwen3-moe",
        "gemma2",
        "gemma3",
        "gemma3-scale",
        "smollm3",
        "granite",
        "granite-moe",
        "olmo2",
        "phi3",
        "phi4-mini",
        "bitnet",
        "lfm2",
        "mistral",
        "ministral",
    ];
    let of = |name: &'static str| {
        let parts = Parts::read(&family(&format!("{name}.gguf")));
        let parts = match name {
            "mistral" => parts.key("llama.attention.sliding_window", window()),
            "ministral" => parts
                .key("llama.attention.sliding_window", window())
                .key("llama.attention.sliding_window_pattern", pattern(&[false, true, true])),
            _ => parts,
        };
        (name, parts, ids_in(&family(name)))
    };
    let llama = ("llama", Parts::read(&golden("gqa.gguf")), ids("gqa"));
    names.into_iter().map(of).chain([llama]).collect()
}

/// The model in which layer `index` alone looks at other tokens; None where there is no such layer.
fn looking(parts: &Parts, index: usize) -> Option<Model> {
    let mut parts = parts.clone();
    let looks = |name: &str| LOOKS.iter().any(|end| name.ends_with(end));
    let own = format!("blk.{index}.");
    parts.tensors.iter().find(|tensor| looks(&tensor.name) && tensor.name.starts_with(&own))?;
    // Blocks of all types are 0 where their bytes are.
    let others =
        parts.tensors.iter_mut().filter(|tensor| looks(&tensor.name) && !tensor.name.starts_with(&own));
    others.for_each(|tensor| tensor.data.fill(0));
    Some(Model::from_gguf(&parts.gguf()).unwrap())
}

#[test]
fn what_is_left_is_as_if_it_alone_had_been_fed() {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    let caches = [
        (CacheTypes::from(CacheType::F32), 1e-10),
        (CacheType::F16.into(), 1e-5),
        (CacheType::Q8_0.into(), 2e-3),
        (mixed, 2e-3),
    ];
    for (name, parts, ids) in models() {
        let text: Vec<u32> = ids.into_iter().cycle().take(96).collect();
        let layers = (0..).map_while(|index| looking(&parts, index)).collect::<Vec<_>>();
        assert!(layers.len() > 1, "{name}");
        for (layer, model) in layers.iter().enumerate() {
            for (cache, most) in caches {
                let options = SessionOptions::default().context(112).threads(1).batch(16).cache(cache);
                let mut session = model.session(&options).unwrap();
                session.feed(&text).unwrap();
                session.forget(4..40);
                session.forget(10..11);
                let kept = [&text[..4], &text[40..46], &text[47..]].concat();
                assert_eq!((session.tokens(), session.pristine()), (&kept[..], 4), "{name}");
                session.feed(&text[..8]).unwrap();
                let mut fresh = model.session(&options).unwrap();
                fresh.feed(&[&kept, &text[..8]].concat()).unwrap();
                let error = nmse(session.logits().unwrap(), fresh.logits().unwrap());
                assert!(error < most, "{name}, layer {layer}, {cache}: {error:e}");
            }
        }
    }
}

/// Behind a gap, what a session can go back to is part of what it is saved as.
#[test]
fn a_restored_session_that_forgot_is_cut_as_the_one_that_was_saved() {
    for (name, parts, ids) in models() {
        let model = Model::from_gguf(&parts.gguf()).unwrap();
        for when_full in [WhenFull::Window { keep: 4 }, WhenFull::Shift { keep: 3 }] {
            for (context, fed) in [(64, 150), (112, 300)] {
                let options = SessionOptions::default().context(context).threads(1).batch(16);
                let text: Vec<u32> = ids.iter().copied().cycle().take(fed).collect();
                let mut session = model.session(&options).unwrap();
                session.set_when_full(when_full).unwrap();
                text.chunks(10).for_each(|tokens| session.feed(tokens).unwrap());
                for back in [1, 3, 12, 20, 31, 40, 60] {
                    let mut state = Vec::new();
                    session.save(&mut state).unwrap();
                    let mut restored = model.session(&options).unwrap();
                    restored.restore(&state).unwrap();
                    let len = session.tokens().len();
                    // Saved again it is the same, also where it was fed meanwhile what was taken back.
                    let mut again = Vec::new();
                    restored.save(&mut again).unwrap();
                    assert!(again == state, "{name} {when_full:?} {context} {back}");
                    if back >= len {
                        continue;
                    }
                    let mut bits = Vec::new();
                    for session in [&mut session, &mut restored] {
                        session.truncate(len - back);
                        session.feed(&text[..back.min(7)]).unwrap();
                        bits.push(session.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>());
                    }
                    assert!(bits[0] == bits[1], "{name} {when_full:?} {context}: {back} of {len}");
                }
            }
        }
    }
}
