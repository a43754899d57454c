//! Everything that must not change a bit of the logits, all at once and at random: who works, on how much at a time, in
//! which order, what was cut, cancelled, saved elsewhere, shared or drafted before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crate::packed::packed;
use crate::parts::{Parts, family, ids, ids_in, llama_cpp};
use proptest::prelude::*;
use siskin::gguf::Gguf;
use siskin::gguf::write::OwnedValue;
use siskin::sampler::SamplerOptions;
use siskin::{
    CacheType, CacheTypes, Error, Isa, Model, Observer, Rows, SequencesOptions, Session, SessionError,
    SessionOptions, Speculation,
};
use siskin_quant::TensorType;

/// A model as it is and packed, a text, and the bits of the logits after each of its tokens for each of the [`caches`].
struct Case {
    name: &'static str,
    models: [Model; 2],
    text: Vec<u32>,
    expected: Vec<Vec<Vec<u32>>>,
}

/// Every kind of state and of layer; texts are longer than pages, and than what windows and convolutions look back at.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let long = |name: &str| {
        let parts = Parts::read(&family(&format!("{name}.gguf")));
        let key = parts.keys.iter().find(|(key, _)| key.ends_with(".context_length")).unwrap().0.clone();
        parts.key(&key, Some(OwnedValue::U32(2048)))
    };
    let gqa = || Parts::of("gqa").key("llama.context_length", Some(OwnedValue::U32(2048)));
    vec![
        Case::new("gqa", &gqa(), &ids("gqa"), 300),
        Case::new("gqa in Q4_0", &gqa().quantized(TensorType::Q4_0), &ids("gqa"), 70),
        Case::new("tied in Q8_0", &Parts::of("tied").quantized(TensorType::Q8_0), &ids("tied"), 70),
        Case::new("Q4_K_M", &Parts::read(&llama_cpp("q4_k_m.gguf")), &ids("kquant"), 70),
        Case::new("gemma3", &long("gemma3"), &ids_in(&family("gemma3")), 860),
        Case::new("lfm2", &long("lfm2"), &ids_in(&family("lfm2")), 540),
        Case::new("qwen3-moe", &long("qwen3-moe"), &ids_in(&family("qwen3-moe")), 270),
    ]
});

impl Case {
    fn new(name: &'static str, parts: &Parts, ids: &[u32], tokens: usize) -> Self {
        let in_panels = Gguf::from_bytes("packed.gguf", packed(parts).0).unwrap();
        let models = [parts.gguf(), in_panels].map(|file| Model::from_gguf(&file).unwrap());
        let text: Vec<u32> = ids.iter().copied().cycle().take(tokens).collect();
        let expected = caches().map(|cache| {
            let scalar = Some("scalar".parse().unwrap());
            let context = Some(tokens + 20);
            let options =
                SessionOptions::default().isa(scalar).threads(1).batch(1).cache(cache).context(context);
            let mut expected = Vec::new();
            let each = |logits: &[f32]| {
                expected.push(bits(logits));
                Ok::<_, Error>(())
            };
            models[0].session(&options).unwrap().feed_each(&text, each).unwrap();
            expected
        });
        Self { name, models, text, expected: expected.to_vec() }
    }
}

fn caches() -> [CacheTypes; 4] {
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F32 };
    [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed]
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Who works, and on how much at a time.
#[derive(Clone, Debug)]
struct Worker {
    isa: prop::sample::Index,
    threads: usize,
    batch: usize,
    /// Room behind the text.
    spare: usize,
}

impl Worker {
    fn options(&self, case: &Case, cache: CacheTypes) -> SessionOptions {
        let isas: Vec<Isa> = Isa::available().collect();
        SessionOptions::default()
            .isa(isas[self.isa.index(isas.len())])
            .threads(self.threads)
            .batch(self.batch)
            .context((case.text.len() + self.spare).min(case.models[0].context_length()))
            .cache(cache)
            .drafts(6)
    }
}

fn worker() -> impl Strategy<Value = Worker> {
    let batch = prop_oneof![1usize..9, 1usize..90, 200usize..900];
    (any::<prop::sample::Index>(), 1usize..=8, batch, 10usize..1200)
        .prop_map(|(isa, threads, batch, spare)| Worker { isa, threads, batch, spare })
}

/// What happens to a session or a sequence that holds a beginning of the text.
#[derive(Clone, Debug)]
enum Event {
    /// So many tokens more, with the logits after the last or after each.
    Feed(usize, bool),
    /// All behind a part of it is forgotten.
    Cut(f64),
    /// Tokens of no text are fed and forgotten again.
    Stray(usize),
    /// Work on so many tokens is cancelled at a product.
    Cancel(usize, usize),
    /// Another session goes on from its saved state.
    Elsewhere(Worker),
    /// It goes on with draft tokens: most are wrong.
    Draft(usize),
    /// A sequence leaves, and another one comes in its place.
    Rejoin,
}

fn event() -> impl Strategy<Value = Event> {
    let tokens = || prop_oneof![1usize..4, 1usize..80, 200usize..600];
    prop_oneof![
        5 => (tokens(), any::<bool>()).prop_map(|(tokens, each)| Event::Feed(tokens, each)),
        1 => (0.0f64..1.0).prop_map(Event::Cut),
        1 => (0.97f64..1.0).prop_map(Event::Cut),
        1 => tokens().prop_map(Event::Stray),
        1 => (tokens(), 1usize..30).prop_map(|(tokens, product)| Event::Cancel(tokens, product)),
        1 => worker().prop_map(Event::Elsewhere),
        1 => (1usize..40).prop_map(Event::Draft),
        1 => Just(Event::Rejoin),
    ]
}

/// Raises a flag at a product.
struct At(usize, Arc<AtomicBool>);

impl Observer for At {
    fn product(&mut self, _: &str, _: Rows<'_>) {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

/// Tokens that are not the text's.
fn stray(case: &Case, count: usize) -> Vec<u32> {
    case.text.iter().rev().map(|&token| token ^ 1).cycle().take(count).collect()
}

/// A session that holds a beginning of a case's text.
struct Reader<'c> {
    case: &'c Case,
    cache: usize,
    model: usize,
    session: Session,
    cancel: Arc<AtomicBool>,
}

impl<'c> Reader<'c> {
    fn new(case: &'c Case, cache: usize, model: usize, worker: &Worker) -> Self {
        let mut session = case.models[model].session(&worker.options(case, caches()[cache])).unwrap();
        let cancel = Arc::new(AtomicBool::new(false));
        session.cancel_when(Arc::clone(&cancel));
        Self { case, cache, model, session, cancel }
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let (text, expected) = (&self.case.text, &self.case.expected[self.cache]);
        let held = self.session.position();
        let end = |count: usize| (held + count).min(text.len());
        let room = |count: usize, session: &Session| count.min(session.context() - held);
        match event {
            Event::Feed(count, false) => self.session.feed(&text[held..end(*count)]).unwrap(),
            Event::Feed(count, true) => {
                let mut after = held;
                let each = |logits: &[f32]| {
                    assert!(bits(logits) == expected[after], "after {after}");
                    after += 1;
                    Ok::<_, Error>(())
                };
                self.session.feed_each(&text[held..end(*count)], each).unwrap();
            }
            Event::Cut(part) => self.session.truncate((held as f64 * part) as usize),
            Event::Stray(count) => {
                let count = room(*count, &self.session);
                self.session.feed(&stray(self.case, count)).unwrap();
                self.session.truncate(held);
            }
            Event::Cancel(count, product) => {
                let mut at = At(*product, Arc::clone(&self.cancel));
                let _ = self.session.feed_observed(&text[held..end(*count)], &mut at);
                self.cancel.store(false, Ordering::Relaxed);
            }
            Event::Elsewhere(worker) => {
                let (mut state, mut again) = (Vec::new(), Vec::new());
                self.session.save(&mut state).unwrap();
                // The other session has the other kind of file, and held something else before.
                let mut other = Reader::new(self.case, self.cache, 1 - self.model, worker);
                other.session.feed(&stray(self.case, 40)).unwrap();
                other.session.restore(&state).unwrap();
                other.session.save(&mut again).unwrap();
                prop_assert!(again == state, "a state that was restored is saved as other bytes");
                *self = other;
            }
            Event::Draft(count) => {
                if self.session.logits().is_err() {
                    return Ok(());
                }
                self.session.speculate(Speculation::lookup().fixed(5)).unwrap();
                let options = SamplerOptions::default().temperature(0.0);
                let mut sampler = self.session.sampler(&options).unwrap();
                let mut generation = self.session.generate(&mut sampler, *count).unwrap();
                while matches!(generation.next_token(), Ok(Some(_))) {}
                self.session.truncate(held);
            }
            Event::Rejoin => self.session.clear(),
        }
        self.check()
    }

    /// What it holds is the text's beginning, and its logits are those.
    fn check(&self) -> Result<(), TestCaseError> {
        let (case, held) = (self.case, self.session.position());
        prop_assert_eq!(self.session.tokens(), &case.text[..held]);
        if let Ok(logits) = self.session.logits() {
            prop_assert!(bits(logits) == case.expected[self.cache][held - 1], "{} after {held}", case.name);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 90, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_session_s_logits_are_the_same_bits_whatever_happened_to_it(
        case in 0usize..7,
        model in 0usize..2,
        cache in 0usize..4,
        worker in worker(),
        events in prop::collection::vec(event(), 1..9),
    ) {
        let case = &CASES[case];
        let mut reader = Reader::new(case, cache, model, &worker);
        for event in &events {
            reader.happen(event)?;
        }
        // A token of its own, so that there are logits in any case.
        reader.session.truncate(case.text.len() - 1);
        reader.happen(&Event::Feed(1, false))?;
        prop_assert!(reader.session.logits().is_ok());
    }

    #[test]
    fn sequences_logits_are_the_same_bits_whoever_else_is_worked_on(
        case in 0usize..7,
        cache in 0usize..4,
        worker in worker(),
        events in prop::collection::vec((0usize..3, event(), 0usize..3), 1..16),
    ) {
        let case = &CASES[case];
        let expected = &case.expected[cache];
        let options = SequencesOptions::default().most(3).session(worker.options(case, caches()[cache]));
        let mut sequences = case.models[0].sequences(&options).unwrap();
        let cancel = Arc::new(AtomicBool::new(false));
        sequences.cancel_when(Arc::clone(&cancel));
        let mut ids = [(); 3].map(|()| sequences.join().unwrap());
        // How much of the text each has; the rest of what it holds is not of it.
        let mut held = [0; 3];
        for (member, event, steps) in events {
            let (id, all) = (ids[member], sequences.position(ids[member]).unwrap());
            // A sequence whose end is not of the text is cut before it goes on.
            match event {
                Event::Feed(count, _) | Event::Draft(count) => {
                    sequences.truncate(id, held[member]).unwrap();
                    let end = (held[member] + count).min(case.text.len());
                    sequences.feed(id, &case.text[held[member]..end]).unwrap();
                    held[member] = end;
                }
                Event::Cut(part) => {
                    sequences.truncate(id, (all as f64 * part) as usize).unwrap();
                    held[member] = held[member].min(sequences.position(id).unwrap());
                }
                Event::Stray(count) => {
                    let count = count.min(sequences.context() - all);
                    sequences.feed(id, &stray(case, count)).unwrap();
                }
                Event::Cancel(..) => {
                    cancel.store(true, Ordering::Relaxed);
                    let done = sequences.step();
                    prop_assert!(matches!(done, Ok(0) | Err(SessionError::Cancelled)));
                    cancel.store(false, Ordering::Relaxed);
                }
                Event::Elsewhere(_) => {}
                Event::Rejoin => {
                    sequences.leave(id).unwrap();
                    ids[member] = sequences.join().unwrap();
                    held[member] = 0;
                }
            }
            for _ in 0..steps {
                sequences.step().unwrap();
                for (id, &held) in ids.iter().zip(&held) {
                    if let Ok(logits) = sequences.logits(*id)
                        && sequences.position(*id).unwrap() == held
                    {
                        prop_assert!(bits(logits) == expected[held - 1], "{} after {held}", case.name);
                    }
                }
            }
        }
    }

    /// As where several people are answered: nothing is worked on twice.
    #[test]
    fn so_many_sequences_that_go_on_by_a_token_are_so_many_rows(
        case in 0usize..7,
        worker in worker(),
        starts in prop::collection::vec(1usize..40, 2..5),
    ) {
        let case = &CASES[case];
        let options = worker.options(case, CacheType::F16.into());
        let options = SequencesOptions::default().most(starts.len()).session(options);
        let mut sequences = case.models[0].sequences(&options).unwrap();
        let mut members: Vec<_> = starts.iter().map(|&start| (sequences.join().unwrap(), start)).collect();
        for (id, start) in &members {
            sequences.feed(*id, &case.text[..*start]).unwrap();
        }
        while sequences.step().unwrap() > 0 {}
        for _ in 0..20 {
            for (id, held) in &mut members {
                sequences.feed(*id, &case.text[*held..=*held]).unwrap();
                *held += 1;
            }
            prop_assert_eq!(sequences.step().unwrap(), members.len());
            for (id, held) in &members {
                prop_assert!(bits(sequences.logits(*id).unwrap()) == case.expected[1][held - 1]);
            }
        }
    }
}

/// What is fed to a sequence, or taken from it, for good.
#[derive(Clone, Debug)]
enum Change {
    Feed(usize),
    /// From here on, so much of what there is.
    Forget(f64, f64),
    Cut(f64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (1usize..120).prop_map(Change::Feed),
        2 => (0.0f64..1.0, 0.0f64..0.6).prop_map(|(from, part)| Change::Forget(from, part)),
        1 => (0.6f64..1.0).prop_map(Change::Cut),
    ]
}

impl Change {
    /// The tokens that are forgotten of so many, or to which they are cut.
    fn range(&self, held: usize) -> std::ops::Range<usize> {
        let (from, part) = match self {
            Change::Feed(_) => return held..held,
            Change::Forget(from, part) => (*from, *part),
            Change::Cut(from) => (*from, 1.0),
        };
        let from = (held as f64 * from) as usize;
        from..(from + (held as f64 * part) as usize).min(held)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was forgotten cannot be had from the tokens that are left, so a session that goes the same way is the reference.
    #[test]
    fn a_sequence_that_forgets_has_the_bits_of_a_session_that_forgets_the_same(
        case in 0usize..7,
        cache in 0usize..4,
        worker in worker(),
        changes in prop::collection::vec(change(), 1..8),
        other in 1usize..90,
    ) {
        let case = &CASES[case];
        let plain = Worker { threads: 1, batch: 1, ..worker.clone() };
        let scalar = Some("scalar".parse().unwrap());
        let alone = plain.options(case, caches()[cache]).isa(scalar);
        let mut alone = case.models[1].session(&alone).unwrap();
        let options = SequencesOptions::default().most(3).session(worker.options(case, caches()[cache]));
        let mut sequences = case.models[0].sequences(&options).unwrap();
        // The first has pages that the second shares, and goes its own way.
        let [first, second, third] = [(); 3].map(|()| sequences.join().unwrap());
        sequences.feed(first, &case.text[..case.text.len().min(2 * other)]).unwrap();
        while sequences.step().unwrap() > 0 {}
        for change in &changes {
            let held = alone.position();
            match change {
                Change::Feed(count) => {
                    let count = (*count).min(case.text.len() - held);
                    let tokens = &case.text[held..held + count];
                    alone.feed(tokens).unwrap();
                    sequences.feed(second, tokens).unwrap();
                    // Others are worked on in the same batches.
                    sequences.truncate(third, 0).unwrap();
                    sequences.feed(third, &stray(case, other.min(sequences.context()))).unwrap();
                }
                Change::Forget(..) => {
                    alone.forget(change.range(held));
                    sequences.forget(second, change.range(held)).unwrap();
                }
                Change::Cut(_) => {
                    alone.truncate(change.range(held).start);
                    sequences.truncate(second, change.range(held).start).unwrap();
                }
            }
            prop_assert_eq!(alone.tokens(), sequences.tokens(second).unwrap());
        }
        let last = &case.text[..1];
        if alone.position() == alone.context() {
            alone.truncate(alone.context() - 1);
            sequences.truncate(second, alone.position()).unwrap();
        }
        alone.feed(last).unwrap();
        sequences.feed(second, last).unwrap();
        // Logits are of the last step alone.
        let mut found = Vec::new();
        while sequences.step().unwrap() > 0 {
            if let Ok(logits) = sequences.logits(second) {
                found = bits(logits);
            }
        }
        prop_assert!(found == bits(alone.logits().unwrap()), "{}", case.name);
    }
}
