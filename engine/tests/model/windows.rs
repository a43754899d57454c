//! Layers with a window keep the window alone: what that takes of memory, and what is worked on again after a cut.

use siskin::gguf::write::OwnedValue;
use siskin::plan::Outline;
use siskin::{CacheType, Model, SequenceId, Sequences, SequencesOptions, SessionOptions};

use crate::parts::{Parts, family, ids_in};

const WINDOW: usize = 300;
const CONTEXT: usize = 4096;

fn gemma3(window: usize) -> Parts {
    let parts = Parts::read(&family("gemma3.gguf"));
    let number = |number: usize| Some(OwnedValue::U32(number as u32));
    parts.key("gemma3.attention.sliding_window", number(window)).key("gemma3.context_length", number(32768))
}

fn options(context: usize) -> SessionOptions {
    SessionOptions::default().context(context).threads(2).batch(64).cache(CacheType::F16)
}

#[test]
fn the_cache_of_a_layer_with_a_window_does_not_grow_with_the_context() {
    let cache = |window, context| {
        let outline = Outline::of(&gemma3(window).gguf()).unwrap();
        outline.plan(&options(context), 1).unwrap().cache
    };
    let all = |context| cache(1 << 20, context);
    // Of seven layers the sixth has none.
    let (layers, windowed) = (7, 6);
    let of_layer = |context| all(context) / layers;
    let grown = cache(WINDOW, 32768) - cache(WINDOW, 16384);
    assert_eq!(grown, (layers - windowed) * (of_layer(32768) - of_layer(16384)));
    assert!(3 * cache(512, 32768) < all(32768), "{} of {}", cache(512, 32768), all(32768));
    // And never more than all of it, but for what says which of it is there.
    for context in [16, 100, 300, 301, 512, 1000, 1500, 2000, 4096] {
        for window in [16, 256, 300, 1024] {
            assert!(cache(window, context) <= all(context) + 64, "{window} {context}");
        }
    }
    for context in [100, 1000, 4096] {
        let model = Model::from_gguf(&gemma3(WINDOW).gguf()).unwrap();
        let plan = Outline::of(&gemma3(WINDOW).gguf()).unwrap().plan(&options(context), 1).unwrap();
        assert!(model.session(&options(context)).unwrap().bytes() as u64 <= plan.cache + plan.scratch);
    }
}

/// Works until nothing waits: how many tokens that took, and the logits of the sequence.
fn work(sequences: &mut Sequences, id: SequenceId) -> (usize, Vec<u32>) {
    let (mut tokens, mut logits) = (0, Vec::new());
    loop {
        match sequences.step().unwrap() {
            0 => return (tokens, logits),
            more => tokens += more,
        }
        if let Ok(found) = sequences.logits(id) {
            logits = found.iter().map(|x| x.to_bits()).collect();
        }
    }
}

#[test]
fn prompts_that_begin_alike_are_worked_on_from_where_they_differ() {
    let model = Model::from_gguf(&gemma3(WINDOW).gguf()).unwrap();
    let text: Vec<u32> = ids_in(&family("gemma3")).into_iter().cycle().take(3000).collect();
    let options = SequencesOptions::default().most(2).session(options(CONTEXT));
    let mut sequences = model.sequences(&options).unwrap();
    let id = sequences.join().unwrap();
    sequences.feed(id, &text[..2000]).unwrap();
    assert_eq!(work(&mut sequences, id).0, 2000);
    // A cut by no more than a page costs nothing.
    sequences.truncate(id, 1750).unwrap();
    sequences.feed(id, &text[1750..2000]).unwrap();
    assert_eq!(work(&mut sequences, id).0, 250);
    // What prompts have in common is worked on once more where they are cut for the first time, and then no more.
    let (common, own) = (1100, 700);
    for (round, again) in [common, 0, 0].into_iter().enumerate() {
        sequences.truncate(id, common).unwrap();
        sequences.feed(id, &text[common + round..common + round + own]).unwrap();
        let (tokens, logits) = work(&mut sequences, id);
        assert_eq!(tokens, again + own, "round {round}");
        let expected = {
            let mut fresh = model.session(&options.session).unwrap();
            fresh.feed(&text[..common]).unwrap();
            fresh.feed(&text[common + round..common + round + own]).unwrap();
            fresh.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert!(logits == expected, "round {round}");
    }
    // A place before that, which is cut for the first time.
    sequences.truncate(id, 900).unwrap();
    sequences.feed(id, &text[..10]).unwrap();
    assert_eq!(work(&mut sequences, id).0, 910);
}
