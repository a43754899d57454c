//! Training of adapters: gradients against differences of losses, and the same bits whatever they are worked out with.

use crate::parts::{Parts, family, golden, ids_in, random};
use siskin::gguf::Gguf;
use siskin::gguf::write::OwnedValue;
use siskin::plan::Outline;
use siskin::training::{Change, Example, Step, Trainer, TrainerOptions};
use siskin::{CacheType, Isa, Model, SessionOptions};

const RANK: usize = 3;

fn options(model: &Model) -> TrainerOptions {
    let change = |matrix: String| Change { matrix, rank: RANK, scale: 1.5 };
    let changes = Trainer::matrices(model).map(change).collect();
    TrainerOptions::new(64, changes).threads(2).cache(CacheType::F32)
}

/// A trainer whose adapter has numbers that make a difference.
fn trainer(model: &Model, options: &TrainerOptions) -> Trainer {
    let mut trainer = model.trainer(options).unwrap();
    trainer.begin(1);
    for (seed, Change { matrix, .. }) in (3..).zip(&options.changes) {
        let [a, b] = trainer.numbers(matrix).unwrap();
        let scaled =
            |seed, count, scale: f32| random(seed, count).into_iter().map(|x| x * scale).collect::<Vec<_>>();
        trainer.set(matrix, &scaled(seed, a.len(), 0.2), &scaled(seed + 1000, b.len(), 0.1)).unwrap();
    }
    trainer
}

fn loss(trainer: &mut Trainer, examples: &[Example<'_>]) -> f64 {
    let mut sum = 0.0;
    trainer.losses(examples, &mut |_, loss| sum += loss).unwrap();
    sum
}

/// The families, with windows where the converter drops them.
fn models() -> impl Iterator<Item = (&'static str, Model, Vec<u32>)> {
    let names = [
        "../llama/gqa",
        "../llama/bias",
        "../llama/head-dim",
        "bitnet",
        "gemma2",
        "gemma3",
        "granite",
        "granite-moe",
        "lfm2",
        "ministral",
        "mistral",
        "olmo2",
        "phi3",
        "phi4-mini",
        "qwen2",
        "qwen3",
        "qwen3-moe",
        "smollm3",
    ];
    names.into_iter().map(|name| {
        let parts = Parts::read(&family(&format!("{name}.gguf")));
        let parts = match name {
            "mistral" => parts.key("llama.attention.sliding_window", Some(OwnedValue::U32(16))),
            _ => parts,
        };
        let ids = ids_in(&family(name));
        (name, Model::from_gguf(&parts.gguf()).unwrap(), ids)
    })
}

#[test]
fn gradients_are_what_losses_change_by() {
    for (name, model, ids) in models() {
        let options = options(&model);
        let mut trainer = trainer(&model, &options);
        let tokens = &ids[..ids.len().min(40)];
        let learned: Vec<bool> = (0..tokens.len()).map(|i| i % 3 != 0).collect();
        let example = Example { tokens, learned: &learned, weight: 1.0 };
        let mut sum = 0.0;
        trainer.learn(&[example], 0.0, &mut |_, loss| sum += loss).unwrap();
        assert_eq!(sum, loss(&mut trainer, &[example]), "{name}");
        for Change { matrix, .. } in &options.changes {
            let gradients = trainer.gradients(matrix).unwrap();
            let numbers = trainer.numbers(matrix).unwrap();
            for half in 0..2 {
                let direction = random(77, numbers[half].len());
                let at = |trainer: &mut Trainer, by: f32| {
                    let mut moved = numbers.clone();
                    moved[half].iter_mut().zip(&direction).for_each(|(x, d)| *x += by * d);
                    trainer.set(matrix, &moved[0], &moved[1]).unwrap();
                    loss(trainer, &[example])
                };
                let step = 1e-3;
                let difference = (at(&mut trainer, step) - at(&mut trainer, -step)) / (2.0 * f64::from(step));
                let product = |(g, d): (&f32, &f32)| f64::from(*g) * f64::from(*d);
                let along: f64 = gradients[half].iter().zip(&direction).map(product).sum();
                let size: f64 = gradients[half].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                let error = (difference - along).abs();
                assert!(
                    error <= 0.02 * size + 2e-5 * sum,
                    "{name}: {matrix} {half}: {difference}, not {along}"
                );
            }
            trainer.set(matrix, &numbers[0], &numbers[1]).unwrap();
        }
    }
}

/// All bits of a change's numbers, or of the gradients by them.
fn bits(of: [Vec<f32>; 2]) -> [Vec<u32>; 2] {
    of.map(|numbers| numbers.iter().map(|x| x.to_bits()).collect())
}

#[test]
fn gradients_and_steps_are_the_same_bits_whatever_they_are_worked_out_with() {
    let quantized = Model::open(golden("kquant.gguf")).unwrap();
    let ids_of_it = ids_in(&golden("kquant"));
    for (name, model, ids) in models().chain([("kquant", quantized, ids_of_it)]) {
        let learned = vec![true; ids.len()];
        let cuts = [0..7, 3..40, 1..2, 5..33, 0..ids.len()];
        let examples: Vec<_> = cuts
            .map(|cut| Example { tokens: &ids[cut.clone()], learned: &learned[cut], weight: 0.01 })
            .into_iter()
            .collect();
        let run = |options: &TrainerOptions| {
            let mut trainer = trainer(&model, options);
            let mut losses = Vec::new();
            let mut all = Vec::new();
            for step in 0..2 {
                trainer.learn(&examples, 0.1, &mut |of, loss| losses.push((of, loss.to_bits()))).unwrap();
                let of = |change: &Change| match step {
                    0 => bits(trainer.gradients(&change.matrix).unwrap()),
                    _ => bits(trainer.numbers(&change.matrix).unwrap()),
                };
                all.extend(options.changes.iter().map(of));
                trainer.step(&Step::new(1e-3).b_ratio(4.0).clip(0.5));
            }
            (losses, all)
        };
        let options = options(&model).cache(CacheType::F16);
        let expected = run(&options.clone().threads(1));
        assert_eq!(expected.0.iter().map(|(of, _)| *of).max(), Some(4), "{name}");
        for (threads, together, slice) in [(2, 1, 64), (3, 2, 5), (2, 4, 1)] {
            let found = run(&options.clone().threads(threads).together(together).slice(slice));
            assert!(found == expected, "{name}: {threads} threads, {together} together, slices of {slice}");
        }
        for isa in Isa::available() {
            let found = run(&options.clone().isa(isa).together(3));
            assert!(found == expected, "{name}: {isa}");
        }
    }
}

#[test]
fn an_adapter_in_training_is_the_one_that_sessions_attach() {
    for (name, model, ids) in models() {
        let options = options(&model);
        let mut trainer = trainer(&model, &options);
        let learned: Vec<bool> = (0..ids.len()).map(|i| i == ids.len() - 1).collect();
        let found = loss(&mut trainer, &[Example { tokens: &ids, learned: &learned, weight: 1.0 }]);
        let options = SessionOptions::default().context(64).threads(2).cache(CacheType::F32);
        let mut session = model.session(&options).unwrap();
        session.attach(&trainer.adapter("trained").unwrap(), 1.0).unwrap();
        session.feed(&ids[..ids.len() - 1]).unwrap();
        let logits: Vec<f64> = session.logits().unwrap().iter().map(|&x| f64::from(x)).collect();
        let high = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|x| (x - high).exp()).sum();
        let expected = high + sum.ln() - logits[ids[ids.len() - 1] as usize];
        assert!((found - expected).abs() < 1e-5, "{name}: {found}, not {expected}");
    }
}

#[test]
fn what_a_trainer_reserves_is_what_was_planned() {
    for name in ["gemma3", "lfm2", "qwen3-moe", "phi3"] {
        let path = family(&format!("{name}.gguf"));
        let model = Model::open(&path).unwrap();
        for (together, threads) in [(1, 1), (3, 2)] {
            let options = options(&model).together(together).threads(threads);
            let plan = Outline::of(&Gguf::open(&path).unwrap()).unwrap().plan_training(&options).unwrap();
            let trainer = model.trainer(&options).unwrap();
            assert_eq!(plan.cache + plan.scratch, trainer.bytes() as u64, "{name} {together}");
        }
    }
}

#[test]
fn what_has_no_meaning_is_refused() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let change = |matrix: &str, rank, scale| Change { matrix: matrix.to_owned(), rank, scale };
    let refused = |options: TrainerOptions| model.trainer(&options).map(drop).unwrap_err().to_string();
    let of = |change| TrainerOptions::new(8, vec![change]);
    assert!(refused(TrainerOptions::new(8, vec![])).contains("at least one"));
    assert!(refused(of(change("blk.9.attn_q.weight", 1, 1.0))).contains("blk.9.attn_q.weight"));
    assert!(refused(of(change("token_embd.weight", 1, 1.0))).contains("token_embd.weight"));
    assert!(refused(of(change("blk.0.attn_q.weight", 0, 1.0))).contains("expected a rank of 1 to "));
    assert!(refused(of(change("blk.0.attn_q.weight", 1000, 1.0))).contains("found 1000"));
    assert!(refused(of(change("blk.0.attn_q.weight", 1, f32::NAN))).contains("finite"));
    let sound = of(change("blk.0.attn_q.weight", 2, 1.0));
    assert!(refused(TrainerOptions::new(0, sound.changes.clone())).contains("length"));
    assert!(refused(sound.clone().together(0)).contains("together"));
    let mut trainer = model.trainer(&sound).unwrap();
    let mut refused = |tokens: &[u32], learned: &[bool]| {
        let example = Example { tokens, learned, weight: 1.0 };
        trainer.learn(&[example], 0.0, &mut |_, _| ()).unwrap_err().to_string()
    };
    assert!(refused(&[], &[]).contains("found 0 and 0"));
    assert!(refused(&[1; 9], &[true; 9]).contains("1 to 8"));
    assert!(refused(&[1, 2], &[true]).contains("found 2 and 1"));
    assert!(refused(&[1, 1_000_000], &[true; 2]).contains("found 1000000"));
    assert!(trainer.set("blk.0.attn_q.weight", &[1.0], &[]).is_err());
    assert!(trainer.numbers("blk.1.attn_q.weight").is_err());
}

#[test]
fn training_goes_on_from_a_saved_state_as_if_it_had_not_been_interrupted() {
    let model = Model::open(golden("gqa.gguf")).unwrap();
    let (options, ids) = (options(&model), ids_in(&golden("gqa")));
    let learned = vec![true; ids.len()];
    let example = Example { tokens: &ids, learned: &learned, weight: 0.02 };
    let step = |trainer: &mut Trainer| {
        trainer.learn(&[example], 0.0, &mut |_, _| ()).unwrap();
        trainer.step(&Step::new(1e-2).b_ratio(2.0));
    };
    let saved = |trainer: &Trainer| {
        let mut state = Vec::new();
        trainer.save(&mut state).unwrap();
        state
    };
    let mut undisturbed = trainer(&model, &options);
    (0..3).for_each(|_| step(&mut undisturbed));
    let state = saved(&undisturbed);
    let mut other = model.trainer(&options).unwrap();
    other.begin(5);
    step(&mut other);
    // What is learned behind the last step is not part of it.
    other.learn(&[example], 0.0, &mut |_, _| ()).unwrap();
    other.restore(&state).unwrap();
    assert!(saved(&other) == state && other.steps() == 3);
    for trainer in [&mut undisturbed, &mut other] {
        (0..2).for_each(|_| step(trainer));
    }
    assert!(saved(&other) == saved(&undisturbed));

    let mut damaged = state.clone();
    damaged[100] ^= 1;
    for (bytes, expected) in [
        (&damaged[..], "were changed"),
        (&state[..30], "were changed"),
        (&state[..10], "fewer bytes"),
        (&b"something else, and long enough"[..], "something else"),
    ] {
        let error = other.restore(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut fewer = options.clone();
    fewer.changes.pop();
    let error = model.trainer(&fewer).unwrap().restore(&state).unwrap_err().to_string();
    assert!(error.contains("other changes"), "{error}");
}

#[test]
fn the_model_s_own_losses_are_those_without_an_adapter() {
    for (name, model, ids) in models() {
        let mut trained = trainer(&model, &options(&model));
        let mut fresh = model.trainer(&options(&model)).unwrap();
        fresh.begin(1);
        let learned = vec![true; ids.len()];
        let example = Example { tokens: &ids, learned: &learned, weight: 1.0 };
        let (mut own, mut adapted) = (Vec::new(), Vec::new());
        trained.losses_of_model(&[example], &mut |_, loss| own.push(loss)).unwrap();
        trained.losses(&[example], &mut |_, loss| adapted.push(loss)).unwrap();
        assert_ne!(own, adapted, "{name}");
        let mut none_yet = Vec::new();
        fresh.losses(&[example], &mut |_, loss| none_yet.push(loss)).unwrap();
        assert_eq!(own, none_yet, "{name}");
    }
}

#[test]
fn routers_are_not_trained() {
    let model = Model::open(family("qwen3-moe.gguf")).unwrap();
    assert!(Trainer::matrices(&model).all(|matrix| matrix.contains("attn_")));
    let router = Change { matrix: "blk.0.ffn_gate_inp.weight".to_owned(), rank: 1, scale: 1.0 };
    let error = model.trainer(&TrainerOptions::new(8, vec![router])).map(drop).unwrap_err().to_string();
    assert!(error.contains("router"), "{error}");
}
