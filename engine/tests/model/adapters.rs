//! LoRA adapters: what they add, that they come off again, and what is refused.

use crate::parts::{Parts, golden, ids, nmse, random};
use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedValue};
use siskin::plan::Outline;
use siskin::{
    Adapter, AdapterOutline, AttachError, CacheType, Isa, Model, SequencesOptions, Session, SessionError,
    SessionOptions, StateError,
};
use siskin_quant::TensorType::{self, *};

fn options() -> SessionOptions {
    SessionOptions::default().context(64).threads(2).cache(CacheType::F32)
}

/// A change of a matrix.
#[derive(Clone)]
struct Change {
    name: String,
    rank: usize,
    rows: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Change {
    /// Another change of the same matrix.
    fn of_rank(self, rank: usize) -> Self {
        let (a, b) = (random(5, rank * self.k), random(6, rank * self.rows));
        Self { rank, a, b, ..self }
    }
}

const ALPHA: f32 = 6.0;

/// Changes of some of the matrices of `gqa`, of different ranks.
fn changes(seed: u64) -> Vec<Change> {
    let parts = Parts::of("gqa");
    let matrices = parts.tensors.iter().filter(|t| t.name.starts_with("blk.") && t.shape.len() == 2);
    let change = |(i, t): (usize, &crate::parts::Tensor)| {
        let (k, rows, rank) = (t.shape[0] as usize, t.shape[1] as usize, 1 + (7 * i + seed as usize) % 20);
        let (a, b) = (random(seed + 2 * i as u64, rank * k), random(seed + 2 * i as u64 + 1, rows * rank));
        let b = b.into_iter().map(|x| x * 0.2).collect();
        Change { name: t.name.clone(), rank, rows, k, a, b }
    };
    // Not all: q, k and v have different partners then.
    matrices.enumerate().filter(|(i, _)| i % 5 != 3).map(change).collect()
}

fn file(changes: &[Change], ty: TensorType, more: impl Fn(&mut Builder)) -> Gguf {
    let mut builder = Builder::new();
    let keys: [(&str, OwnedValue); 4] = [
        ("general.type", "adapter".into()),
        ("general.architecture", "llama".into()),
        ("adapter.type", "lora".into()),
        ("adapter.lora.alpha", ALPHA.into()),
    ];
    for (key, value) in keys {
        builder.set(key, value).unwrap();
    }
    more(&mut builder);
    let halves: Vec<_> = changes
        .iter()
        .flat_map(|Change { name, rank, rows, k, a, b }| {
            [(format!("{name}.lora_a"), [*k, *rank], a), (format!("{name}.lora_b"), [*rank, *rows], b)]
        })
        .collect();
    for (name, shape, _) in &halves {
        builder.tensor(name, &shape.map(|n| n as u64), ty).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for (name, _, numbers) in &halves {
        let bytes = match ty {
            // Whatever they are, which no encoder takes.
            F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            ty => {
                let mut bytes = vec![0; numbers.len() / ty.block_len() * ty.block_bytes()];
                siskin_quant::encode(ty, numbers, &mut bytes).unwrap();
                bytes
            }
        };
        writer.tensor(name, &bytes).unwrap();
    }
    Gguf::from_bytes("adapter.gguf", writer.finish().unwrap()).unwrap()
}

/// An adapter of `gqa`.
pub(crate) fn adapter(model: &Model, seed: u64, ty: TensorType) -> Adapter {
    Adapter::from_gguf(&file(&changes(seed), ty, |_| ()), model).unwrap()
}

/// The model with the changes worked into its matrices.
fn merged(model: &Model, changes: &[Change], scale: f32) -> Model {
    let parts = Parts::of("gqa");
    let mut model = model.clone();
    for Change { name, rank, rows, k, a, b } in changes {
        let tensor = parts.tensors.iter().find(|t| t.name == *name).unwrap();
        let mut weights = vec![0.0; rows * k];
        siskin_quant::decode(tensor.ty, &tensor.data, &mut weights).unwrap();
        for (row, weights) in weights.chunks_mut(*k).enumerate() {
            for (column, weight) in weights.iter_mut().enumerate() {
                let product: f64 =
                    (0..*rank).map(|r| f64::from(b[row * rank + r]) * f64::from(a[r * k + column])).sum();
                *weight += (f64::from(scale * ALPHA) / *rank as f64 * product) as f32;
            }
        }
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        model = model.with_matrix(name, F32, &bytes).unwrap();
    }
    model
}

fn text() -> Vec<u32> {
    ids("gqa").iter().copied().cycle().take(40).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

fn fed(session: &mut Session) -> Vec<f32> {
    session.feed(&text()).unwrap();
    session.logits().unwrap().to_vec()
}

fn base() -> Model {
    Model::open(golden("gqa.gguf")).unwrap()
}

#[test]
fn an_adapter_is_what_is_added_to_the_matrices() {
    let base = base();
    let plain = fed(&mut base.session(&options()).unwrap());
    for (seed, scale) in [(1, 1.0), (2, 0.5), (3, -2.0)] {
        let expected = fed(&mut merged(&base, &changes(seed), scale).session(&options()).unwrap());
        let mut session = base.session(&options()).unwrap();
        session.attach(&adapter(&base, seed, F32), scale).unwrap();
        let found = fed(&mut session);
        assert!(nmse(&found, &expected) < 1e-9, "{seed}: {:e}", nmse(&found, &expected));
        assert!(nmse(&plain, &expected) > 1e-3);
    }
}

#[test]
fn several_add_up_and_each_comes_off_again() {
    let base = base();
    let (one, two) = (adapter(&base, 1, F32), adapter(&base, 2, F32));
    let logits = |adapters: &[(&Adapter, f32)]| {
        let mut session = base.session(&options()).unwrap();
        adapters.iter().for_each(|(adapter, scale)| session.attach(adapter, *scale).unwrap());
        bits(&fed(&mut session))
    };
    let plain = logits(&[]);
    let (first, second, both) =
        (logits(&[(&one, 1.0)]), logits(&[(&two, 0.5)]), logits(&[(&one, 1.0), (&two, 0.5)]));
    assert!(plain != first && first != second && second != both && both != first);
    assert!(logits(&[(&one, 0.0)]) == plain && logits(&[(&one, 0.0), (&two, 0.5)]) == second);

    let mut session = base.session(&options()).unwrap();
    session.attach(&one, 1.0).unwrap();
    session.attach(&two, 3.0).unwrap();
    session.attach(&two, 0.5).unwrap();
    assert_eq!(session.adapters().map(|(_, scale)| scale).collect::<Vec<_>>(), [1.0, 0.5]);
    assert!(bits(&fed(&mut session)) == both);
    assert!(session.detach(&two) && !session.detach(&two));
    session.clear();
    assert!(bits(&fed(&mut session)) == first);
    session.attach(&one, 0.0).unwrap();
    session.clear();
    assert!(bits(&fed(&mut session)) == plain);
    session.detach(&one);
    session.clear();
    assert!(bits(&fed(&mut session)) == plain);
}

#[test]
fn what_was_worked_out_before_stays_and_is_not_taken_for_the_adapter_s() {
    let base = base();
    let one = adapter(&base, 1, F32);
    let mut session = base.session(&options()).unwrap();
    session.feed(&text()[..10]).unwrap();
    let before = bits(session.logits().unwrap());
    session.attach(&one, 1.0).unwrap();
    assert!(bits(session.logits().unwrap()) == before && session.pristine() == 0);
    session.feed(&text()[10..]).unwrap();
    let mut fresh = base.session(&options()).unwrap();
    fresh.attach(&one, 1.0).unwrap();
    assert_eq!(fresh.pristine(), 0);
    assert!(fed(&mut fresh) != session.logits().unwrap());
    assert_eq!((fresh.pristine(), session.pristine()), (40, 0));
    session.clear();
    assert!(fed(&mut session) == fresh.logits().unwrap());
}

#[test]
fn adapters_have_the_same_bits_whoever_works_on_whatever_together() {
    for (model, ty) in [
        (base(), F32),
        (Model::from_gguf(&Parts::of("gqa").quantized(Q4_0).gguf()).unwrap(), F16),
        (Model::from_gguf(&Parts::of("gqa").quantized(Q8_0).gguf()).unwrap(), BF16),
    ] {
        let adapters = [adapter(&model, 1, ty), adapter(&model, 2, ty)];
        let run = |isa: Isa, threads, batch, piece| {
            let options = options().isa(isa).threads(threads).batch(batch);
            let mut session = model.session(&options).unwrap();
            session.attach(&adapters[0], 0.7).unwrap();
            session.attach(&adapters[1], 1.1).unwrap();
            text().chunks(piece).for_each(|piece| session.feed(piece).unwrap());
            bits(session.logits().unwrap())
        };
        let expected = run("scalar".parse().unwrap(), 1, 1, 1);
        for isa in Isa::available() {
            for (threads, batch, piece) in [(1, 40, 40), (2, 1, 1), (3, 16, 7), (5, 9, 40)] {
                assert!(
                    run(isa, threads, batch, piece) == expected,
                    "{isa} {ty:?} {threads} {batch} {piece}"
                );
            }
        }
        // Each sequence has its own; those of the same share what they begin with.
        let sets: [&[(&Adapter, f32)]; 4] = [
            &[(&adapters[0], 0.7), (&adapters[1], 1.1)],
            &[],
            &[(&adapters[1], 1.1)],
            &[(&adapters[0], 0.7), (&adapters[1], 1.1)],
        ];
        let together = SequencesOptions::default().most(4).session(options());
        let mut sequences = model.sequences(&together).unwrap();
        let ids = sets.map(|set| sequences.join_with(set).unwrap());
        let alone = sets.map(|set| {
            let mut session = model.session(&options()).unwrap();
            set.iter().for_each(|(adapter, scale)| session.attach(adapter, *scale).unwrap());
            bits(&fed(&mut session))
        });
        assert!(alone[0] == expected && alone[3] == expected && alone[1] != expected && alone[2] != alone[1]);
        for (id, piece) in ids.into_iter().cycle().zip([17, 40, 3, 39, 23, 0, 37, 1]) {
            let held = sequences.position(id).unwrap();
            sequences.feed(id, &text()[held..(held + piece).min(40)]).unwrap();
        }
        let mut found = [const { None }; 4];
        while sequences.step().unwrap() > 0 {
            for (id, found) in ids.into_iter().zip(&mut found) {
                *found = sequences.logits(id).ok().map(bits).or(found.take());
            }
        }
        for (number, (found, alone)) in found.into_iter().zip(alone).enumerate() {
            assert!(found == Some(alone), "{ty:?}: sequence {number}");
        }
    }
}

#[test]
fn a_state_belongs_to_its_adapters_and_scales() {
    let base = base();
    let (one, two) = (adapter(&base, 1, F32), adapter(&base, 2, F32));
    let session = |adapters: &[(&Adapter, f32)]| {
        let mut session = base.session(&options()).unwrap();
        adapters.iter().for_each(|(adapter, scale)| session.attach(adapter, *scale).unwrap());
        session
    };
    let mut first = session(&[(&one, 0.5)]);
    let logits = fed(&mut first);
    let mut state = Vec::new();
    first.save(&mut state).unwrap();
    for mut other in [
        session(&[]),
        session(&[(&two, 0.5)]),
        session(&[(&one, 0.25)]),
        session(&[(&one, 0.5), (&two, 1.0)]),
    ] {
        assert_eq!(other.restore(&state), Err(StateError::OtherModel));
        assert_eq!(other.position(), 0);
    }
    // The same changes, loaded again; others of no effect do not count.
    let again = adapter(&base, 1, F32);
    for mut same in [session(&[(&again, 0.5)]), session(&[(&two, 0.0), (&one, 0.5)])] {
        same.restore(&state).unwrap();
        assert_eq!(same.logits().unwrap(), logits);
    }
}

#[test]
fn a_plan_counts_what_adapters_take() {
    let (file, base) = (Gguf::open(&golden("gqa.gguf")).unwrap(), base());
    let options = options().batch(24);
    let mut outline = Outline::of(&file).unwrap();
    let without = outline.plan(&options, 1).unwrap();
    assert_eq!(without.adapters, 0);
    let mut session = base.session(&options).unwrap();
    let (alone, mut numbers) = (session.bytes() as u64, 0);
    for (seed, ty) in [(1, F32), (2, BF16), (3, Q8_0)] {
        let changes: Vec<Change> = match ty {
            Q8_0 => changes(seed).into_iter().map(|change| change.of_rank(32)).collect(),
            _ => changes(seed),
        };
        let file = self::file(&changes, ty, |_| ());
        let adapter = Adapter::from_gguf(&file, &base).unwrap();
        session.attach(&adapter, 0.5).unwrap();
        let header = AdapterOutline::of(&file).unwrap();
        outline.add_adapter(&header).unwrap();
        numbers += adapter.bytes() as u64;
        let plan = outline.plan(&options, 1).unwrap();
        let (scratch, reserved) = (plan.scratch - without.scratch, session.bytes() as u64 - alone);
        assert!(plan.adapters == numbers && scratch == reserved && reserved > 0, "{ty:?}: {plan:?}");
        assert!(plan.peak() >= without.peak() + numbers, "{ty:?}: {plan:?}");
        let two = outline.plan(&options, 2).unwrap();
        assert_eq!((two.adapters, two.scratch), (plan.adapters, 2 * plan.scratch));
        let detached = session.detach(&adapter);
        assert!(detached && session.bytes() as u64 == alone + reserved);
    }
    let other = Gguf::open(&golden("head-dim.gguf")).unwrap();
    let error = Outline::of(&other)
        .unwrap()
        .add_adapter(&AdapterOutline::of(&self::file(&changes(1), F32, |_| ())).unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("expected shape"), "{error}");
}

#[test]
fn what_is_no_adapter_of_the_model_is_refused() {
    let base = base();
    let refusal = |file: &Gguf| match Adapter::from_gguf(file, &base) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("refused"),
    };
    let whole = changes(1);
    let with = |key: &'static str, value: OwnedValue| {
        refusal(&file(&whole, F32, move |builder| {
            builder.set(key, value.clone()).unwrap();
        }))
    };
    let line = refusal(&Gguf::open(&golden("gqa.gguf")).unwrap());
    assert!(line.contains("general.type"), "{line}");
    assert_eq!(
        with("adapter.type", "ia3".into()),
        "adapter.gguf: key \"adapter.type\": expected \"lora\", found \"ia3\""
    );
    assert_eq!(
        with("general.architecture", "gemma".into()),
        "adapter.gguf: key \"general.architecture\": expected \"llama\", found \"gemma\""
    );
    for alpha in [f32::NAN, f32::INFINITY] {
        let line = with("adapter.lora.alpha", alpha.into());
        assert!(
            line.starts_with("adapter.gguf: key \"adapter.lora.alpha\": expected a finite number"),
            "{line}"
        );
    }
    assert_eq!(refusal(&file(&[], F32, |_| ())), "adapter.gguf: the adapter changes no matrix");

    let changed = |change: &dyn Fn(&mut Change)| {
        let mut changes = whole.clone();
        change(&mut changes[0]);
        refusal(&file(&changes, F32, |_| ()))
    };
    let name = &whole[0].name;
    let line = changed(&|change| change.name = "blk.9.attn_q.weight".into());
    assert_eq!(
        line,
        "adapter.gguf: tensor \"blk.9.attn_q.weight.lora_a\": the model has no such matrix among those of its layers"
    );
    for other in ["token_embd.weight", "output.weight", "blk.0.attn_norm.weight"] {
        assert!(changed(&|change| change.name = other.into()).contains("no such matrix"));
    }
    let line = changed(&|change| {
        change.k -= 1;
        change.a.truncate(change.rank * change.k);
    });
    assert!(line.contains(&format!("tensor \"{name}.lora_a\": expected shape")), "{line}");
    let line = changed(&|change| {
        change.rows -= 1;
        change.b.truncate(change.rank * change.rows);
    });
    assert!(line.contains(&format!("tensor \"{name}.lora_b\": expected shape")), "{line}");
    let line = changed(&|change| {
        change.rank = 0;
        change.a.clear();
        change.b.clear();
    });
    assert!(line.contains(name), "{line}");
    let line = changed(&|change| change.b[0] = f32::NAN);
    assert_eq!(line, format!("adapter.gguf: tensor \"{name}.lora_b\": expected finite numbers"));

    // A half alone.
    let sound = file(&whole, F32, |_| ());
    let mut builder = Builder::new();
    for (key, value) in sound.metadata() {
        builder.copy(key, value).unwrap();
    }
    let tensors = sound.tensors().iter().filter(|t| t.name != format!("{name}.lora_b"));
    for t in tensors.clone() {
        builder.tensor(&t.name, &t.shape, t.ty).unwrap();
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    tensors.for_each(|t| writer.tensor(&t.name, sound.data(t)).unwrap());
    let half = Gguf::from_bytes("adapter.gguf", writer.finish().unwrap()).unwrap();
    assert_eq!(refusal(&half), format!("adapter.gguf: tensor \"{name}.lora_b\" is missing"));

    let mut session = base.session(&options()).unwrap();
    for scale in [f32::NAN, f32::INFINITY] {
        let error = session.attach(&adapter(&base, 1, F32), scale).unwrap_err();
        assert!(matches!(error, SessionError::Attach(AttachError::Scale { .. })), "{error}");
    }
    let other = Model::open(golden("head-dim.gguf")).unwrap();
    let error = other.session(&options()).unwrap().attach(&adapter(&base, 1, F32), 1.0).unwrap_err();
    assert_eq!(error.to_string(), "adapter.gguf: made for a model with matrices of other shapes");
    assert_eq!(session.adapters().count(), 0);
}
