use super::*;
use serde_json::Value;

/// The chain's outcome for a case of the goldens, without the draw.
fn run(options: &SamplerOptions, breakers: &Breakers, text: &[u32], logits: &[f32]) -> Vec<(u32, f32)> {
    let mut sampler = Sampler::new(options, logits.len(), 4096, breakers).expect("options of the goldens");
    sampler.accept_all(text);
    sampler.run_chain(logits, None);
    let possible = sampler.candidates.items().iter().filter(|c| c.logit > f32::NEG_INFINITY);
    let mut left: Vec<(u32, f32)> = possible.map(|c| (c.id, c.logit)).collect();
    left.sort_unstable_by_key(|(id, _)| *id);
    left
}

fn numbers(list: &Value) -> impl Iterator<Item = f32> {
    list.as_array().into_iter().flatten().map(|x| x.as_f64().map_or(f32::NEG_INFINITY, |x| x as f32))
}

fn tokens(list: &Value) -> Vec<u32> {
    numbers(list).map(|x| x as u32).collect()
}

/// The options of a case: those it names, and of the others every one switched off.
fn options(case: &Value) -> SamplerOptions {
    let given = &case["options"];
    let float = |name: &str, off: f32| given[name].as_f64().map_or(off, |x| x as f32);
    let integer = |name: &str, off: i32| given[name].as_i64().map_or(off, |x| x as i32);
    let steps: Vec<&str> = case["steps"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let pair =
        |pair: &Value| (pair[0].as_u64().expect("a token") as u32, pair[1].as_f64().expect("a bias") as f32);
    SamplerOptions {
        samplers: steps.iter().filter_map(|step| step.parse().ok()).collect(),
        seed: Some(1),
        min_keep: integer("min_keep", 0) as usize,
        top_k: integer("top_k", 0),
        top_p: float("top_p", 1.0),
        min_p: float("min_p", 0.0),
        typ_p: float("typ_p", 1.0),
        top_n_sigma: float("top_n_sigma", -1.0),
        xtc_probability: float("xtc_probability", 0.0),
        xtc_threshold: float("xtc_threshold", 0.1),
        temperature: float("temperature", 1.0),
        dynatemp_range: float("dynatemp_range", 0.0),
        dynatemp_exponent: float("dynatemp_exponent", 1.0),
        penalty_last_n: integer("penalty_last_n", 64),
        repeat_penalty: float("repeat_penalty", 1.0),
        frequency_penalty: float("frequency_penalty", 0.0),
        presence_penalty: float("presence_penalty", 0.0),
        dry_multiplier: float("dry_multiplier", 0.0),
        dry_base: float("dry_base", 1.75),
        dry_allowed_length: integer("dry_allowed_length", 2) as u32,
        dry_penalty_last_n: integer("dry_penalty_last_n", 64),
        mirostat: match steps.as_slice() {
            ["mirostat"] => Mirostat::V1,
            ["mirostat_v2"] => Mirostat::V2,
            _ => Mirostat::Off,
        },
        mirostat_tau: float("mirostat_tau", 5.0),
        mirostat_eta: float("mirostat_eta", 0.1),
        logit_bias: given["logit_bias"].as_array().into_iter().flatten().map(pair).collect(),
        ..Default::default()
    }
}

fn breakers(case: &Value) -> Breakers {
    let sequences = case["options"]["breakers"].as_array().into_iter().flatten().map(tokens);
    Breakers::from_sequences(sequences.map(|s| (s[0], s[1..].to_vec())).collect())
}

/// llama.cpp and we leave the same tokens with the same logits, sampler by sampler and as chains.
#[test]
fn every_sampler_agrees_with_llama_cpp() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../tests/goldens/sampler/sampler.json")).expect("JSON");
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() > 150);
    for case in cases {
        let index = |name: &str| case[name].as_u64().expect("an index") as usize;
        let logits: Vec<f32> = numbers(&golden["logits"][index("logits")]).collect();
        let text = tokens(&golden["texts"][index("text")]);
        let mut found = run(&options(case), &breakers(case), &text, &logits);
        let expected = case["left"].as_array().expect("candidates");
        if expected.iter().all(Value::is_array) && is_sparse(case) {
            found.retain(|(id, logit)| *logit != logits[*id as usize]);
        }
        let ids: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
        let expected_id = |c: &Value| c.as_u64().or(c[0].as_u64()).expect("an id") as u32;
        let label = format!("steps {} {} logits {}", case["steps"], case["options"], case["logits"]);
        assert_eq!(ids, expected.iter().map(expected_id).collect::<Vec<_>>(), "{label}");
        for ((id, logit), expected) in found.iter().zip(expected) {
            let expected = expected[1].as_f64().unwrap_or(f64::from(*logit));
            let error = (f64::from(*logit) - expected).abs();
            assert!(
                error <= 1e-5 * expected.abs().max(1.0),
                "{label}: token {id}: {logit} is not {expected}"
            );
        }
    }
}

/// Cases of steps that change few logits list only those.
fn is_sparse(case: &Value) -> bool {
    let steps = &case["steps"];
    steps.as_array().is_some_and(|steps| steps.len() == 1)
        && ["dry", "penalties", "logit_bias"].iter().any(|name| steps[0] == *name)
}

fn sampler(options: SamplerOptions) -> Sampler {
    Sampler::new(&options, 100, 100, &Breakers::default()).expect("valid options")
}

fn noise(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(42);
    (0..n).map(|_| (rng.uniform() * 6.0) as f32).collect()
}

#[test]
fn the_defaults_are_llama_cpps() {
    let o = SamplerOptions::default();
    let names: Vec<_> = o.samplers.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.join(" "), "penalties dry top_n_sigma top_k typ_p top_p min_p xtc temperature");
    assert_eq!((o.top_k, o.top_p, o.min_p, o.typ_p, o.top_n_sigma), (40, 0.95, 0.05, 1.0, -1.0));
    assert_eq!((o.temperature, o.dynatemp_range, o.dynatemp_exponent), (0.8, 0.0, 1.0));
    assert_eq!((o.repeat_penalty, o.penalty_last_n), (1.0, 64));
    assert_eq!((o.frequency_penalty, o.presence_penalty), (0.0, 0.0));
    assert_eq!(
        (o.dry_multiplier, o.dry_base, o.dry_allowed_length, o.dry_penalty_last_n),
        (0.0, 1.75, 2, -1)
    );
    assert_eq!(o.dry_sequence_breakers, ["\n", ":", "\"", "*"]);
    assert_eq!((o.xtc_probability, o.xtc_threshold), (0.0, 0.1));
    assert_eq!((o.mirostat, o.mirostat_tau, o.mirostat_eta, o.min_keep), (Mirostat::Off, 5.0, 0.1, 0));
    assert_eq!(o.seed, None);
}

#[test]
fn layers_override_each_other() {
    let model = SamplerOverrides { top_k: Some(20), temperature: Some(0.6), ..Default::default() };
    let user = SamplerOverrides { temperature: Some(1.1), seed: Some(Some(7)), ..Default::default() };
    let options = SamplerOptions::default().overlay(&model).overlay(&user);
    assert_eq!((options.top_k, options.temperature, options.top_p, options.seed), (20, 1.1, 0.95, Some(7)));
}

#[test]
fn chains_are_read_by_every_name() {
    use SamplerKind::{MinP, Penalties, Temperature, TopK, TopNSigma, TopP, TypP};
    let read = SamplerKind::parse_chain;
    assert_eq!(read("penalties;top_k; min-p;temp"), Ok(vec![Penalties, TopK, MinP, Temperature]));
    assert_eq!(read("nucleus;typical;top-n-sigma;typ"), Ok(vec![TopP, TypP, TopNSigma, TypP]));
    assert_eq!(read(""), Ok(vec![]));
    let all: Vec<_> = SamplerKind::DEFAULT_CHAIN.iter().map(ToString::to_string).collect();
    assert_eq!(read(&all.join(";")), Ok(SamplerKind::DEFAULT_CHAIN.to_vec()));
    assert_eq!(SamplerKind::parse_letters("edskypmxt"), Ok(SamplerKind::DEFAULT_CHAIN.to_vec()));
    let message = |e: SamplerError| e.to_string();
    assert!(
        read("top_k;infill").map_err(message).is_err_and(|e| e.starts_with("unknown sampler \"infill\""))
    );
    assert!(SamplerKind::parse_letters("kq").map_err(message).is_err_and(|e| e.contains("\"q\"")));
}

#[test]
fn options_without_meaning_are_named() {
    type Change = fn(&mut SamplerOptions);
    let cases: [(&str, Change); 19] = [
        ("top_p", |o| o.top_p = 1.5),
        ("min_p", |o| o.min_p = -0.1),
        ("typ_p", |o| o.typ_p = f32::NAN),
        ("top_n_sigma", |o| o.top_n_sigma = f32::INFINITY),
        ("xtc_probability", |o| o.xtc_probability = 2.0),
        ("xtc_threshold", |o| o.xtc_threshold = -1.0),
        ("temperature", |o| o.temperature = f32::NAN),
        ("temperature", |o| o.temperature = -1.0),
        ("dynatemp_range", |o| o.dynatemp_range = -1.0),
        ("dynatemp_exponent", |o| o.dynatemp_exponent = f32::INFINITY),
        ("penalty_last_n", |o| o.penalty_last_n = -2),
        ("repeat_penalty", |o| o.repeat_penalty = 0.0),
        ("frequency_penalty", |o| o.frequency_penalty = f32::NAN),
        ("presence_penalty", |o| o.presence_penalty = f32::INFINITY),
        ("dry_multiplier", |o| o.dry_multiplier = -1.0),
        ("dry_base", |o| o.dry_base = f32::NAN),
        ("dry_penalty_last_n", |o| o.dry_penalty_last_n = -7),
        ("mirostat_tau", |o| o.mirostat_tau = -1.0),
        ("logit_bias", |o| o.logit_bias = vec![(1, f32::NAN)]),
    ];
    for (name, change) in cases {
        let mut options = SamplerOptions::default();
        change(&mut options);
        let error = Sampler::new(&options, 100, 100, &Breakers::default()).expect_err(name).to_string();
        assert!(error.starts_with(&format!("sampling option {name} is ")), "{error}");
        assert!(!error.contains('\n'));
    }
    let options = SamplerOptions { logit_bias: vec![(100, 1.0)], ..Default::default() };
    let error = Sampler::new(&options, 100, 100, &Breakers::default()).expect_err("no such token");
    assert_eq!(error, SamplerError::UnknownToken { token: 100, vocabulary: 100 });
    let error =
        Sampler::new(&SamplerOptions::default(), 0, 100, &Breakers::default()).expect_err("no tokens");
    assert_eq!(error, SamplerError::Vocabulary { vocabulary: 0 });
}

/// Pinned: these tokens are part of the promise that a seed gives the same text on every machine.
#[test]
fn a_seed_gives_the_same_tokens_everywhere() {
    let mut sampler =
        sampler(SamplerOptions { seed: Some(2026), top_k: 0, min_p: 0.0, ..Default::default() });
    let logits = noise(100);
    let mut draw = || -> Vec<u32> {
        let next = |_| {
            let token = sampler.sample(&logits);
            sampler.accept(token);
            token
        };
        let tokens = (0..12).map(next).collect();
        sampler.reset();
        tokens
    };
    let first = draw();
    assert_eq!(first, draw());
    assert_eq!(first, [27, 72, 24, 50, 78, 12, 4, 97, 36, 9, 3, 21]);
}

#[test]
fn a_drawn_seed_can_be_read_and_used_again() {
    let logits = noise(100);
    let mut drawn = sampler(SamplerOptions { temperature: 2.0, ..Default::default() });
    let mut again =
        sampler(SamplerOptions { temperature: 2.0, seed: Some(drawn.seed()), ..Default::default() });
    assert!((0..20).all(|_| drawn.sample(&logits) == again.sample(&logits)));
}

#[test]
fn chance_can_be_taken_back_and_begun_anew() {
    let logits = noise(100);
    for mirostat in [Mirostat::Off, Mirostat::V2] {
        let options = SamplerOptions { seed: Some(5), mirostat, ..Default::default() };
        let mut sampler = sampler(options.clone());
        let draw = |sampler: &mut Sampler| -> Vec<u32> {
            let next = |_| {
                let token = sampler.sample(&logits);
                sampler.accept(token);
                token
            };
            (0..12).map(next).collect()
        };
        let begun = draw(&mut sampler);
        let chance = sampler.chance();
        let expected = draw(&mut sampler);
        sampler.reseed(6);
        assert_eq!(sampler.seed(), 6);
        let other = draw(&mut sampler);
        let mut fresh = self::sampler(SamplerOptions { seed: Some(6), ..options });
        assert!(other == draw(&mut fresh) && other != begun);
        sampler.set_chance(&chance);
        assert_eq!((draw(&mut sampler), sampler.seed()), (expected, 5));
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let options = SamplerOptions { samplers: vec![], seed: Some(3), ..Default::default() };
    let mut sampler = Sampler::new(&options, 3, 10, &Breakers::default()).expect("valid options");
    let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
    let mut counts = [0u32; 3];
    (0..20_000).for_each(|_| counts[sampler.sample(&logits) as usize] += 1);
    for (count, p) in counts.iter().zip([0.5, 0.3, 0.2]) {
        let deviation = (20_000.0f64 * p * (1.0 - p)).sqrt();
        assert!((f64::from(*count) - 20_000.0 * p).abs() < 5.0 * deviation, "{counts:?}");
    }
}

#[test]
fn greedy_takes_the_first_of_the_highest_after_bias_and_penalties() {
    let mut logits = vec![0.0; 100];
    logits[30] = 4.0;
    logits[20] = 4.0;
    logits[50] = 3.0;
    let greedy = SamplerOptions { temperature: 0.0, ..Default::default() };
    assert_eq!(sampler(greedy.clone()).sample(&logits), 20);
    assert_eq!(sampler(SamplerOptions { top_k: 1, ..Default::default() }).sample(&logits), 20);
    let biased = SamplerOptions { logit_bias: vec![(20, f32::NEG_INFINITY), (50, 2.0)], ..greedy.clone() };
    assert_eq!(sampler(biased).sample(&logits), 50);
    let mut penalized = sampler(SamplerOptions { repeat_penalty: 2.0, ..greedy.clone() });
    penalized.accept(20);
    assert_eq!(penalized.sample(&logits), 30);
    penalized.accept(30);
    assert_eq!(penalized.sample(&logits), 50);
    penalized.reset();
    assert_eq!(penalized.sample(&logits), 20);
    let mirostat = SamplerOptions { mirostat: Mirostat::V2, ..greedy };
    assert_eq!(sampler(mirostat).sample(&logits), 20);
}

#[test]
fn no_logits_make_it_panic() {
    let strange =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE];
    let everything = SamplerOptions {
        seed: Some(5),
        repeat_penalty: 1.1,
        frequency_penalty: 0.1,
        dry_multiplier: 1.0,
        dry_allowed_length: 0,
        top_n_sigma: 1.0,
        typ_p: 0.9,
        xtc_probability: 0.5,
        dynatemp_range: 0.5,
        ..Default::default()
    };
    let v1 = SamplerOptions { mirostat: Mirostat::V1, ..everything.clone() };
    let v2 = SamplerOptions { mirostat: Mirostat::V2, ..everything.clone() };
    let hot = SamplerOptions { temperature: f32::MIN_POSITIVE, ..everything.clone() };
    for options in [everything, v1, v2, hot] {
        let mut sampler = sampler(options);
        let mut rng = Rng::new(6);
        for round in 0..300 {
            let pick = |rng: &mut Rng| strange[rng.next_u64() as usize % strange.len()];
            let logits: Vec<f32> = (0..round % 102).map(|_| pick(&mut rng)).collect();
            let token = sampler.sample(&logits);
            assert!((token as usize) < 100);
            sampler.accept(token);
            sampler.accept(u32::MAX);
        }
    }
}

#[test]
fn nan_is_never_chosen_while_a_number_is_left() {
    let mut logits = vec![f32::NAN; 100];
    logits[77] = -1e30;
    for temperature in [0.0, 0.8] {
        assert_eq!(sampler(SamplerOptions { temperature, ..Default::default() }).sample(&logits), 77);
    }
}

/// The linear-time search of repetitions equals its definition.
#[test]
fn dry_equals_its_definition() {
    let mut rng = Rng::new(9);
    for round in 0..200 {
        let letters = 2 + round % 3;
        let text: Vec<u32> = (0..1 + round % 40).map(|_| (rng.next_u64() % letters) as u32).collect();
        let options = SamplerOptions { dry_multiplier: 1.0, dry_allowed_length: 1, ..Default::default() };
        let found = run(&options_only(SamplerKind::Dry, options), &Breakers::default(), &text, &[0.0; 5]);
        for (id, logit) in found {
            let repeated = (1..text.len()).filter(|&end| text[end] == id);
            let overlap =
                |end: usize| (0..end).take_while(|i| text[end - 1 - i] == text[text.len() - 1 - i]).count();
            let longest = repeated.map(overlap).max().filter(|&n| n >= 1);
            let expected = longest.map_or(0.0, |n| -(1.75f64.powi(n as i32 - 1)) as f32);
            assert!((logit - expected).abs() <= 1e-5 * expected.abs(), "{text:?} {id}: {logit} {expected}");
        }
    }
}

fn options_only(kind: SamplerKind, options: SamplerOptions) -> SamplerOptions {
    SamplerOptions { samplers: vec![kind], ..options }
}

/// Files hold it: it stays the same from build to build, and each option counts.
#[test]
fn a_fingerprint_is_that_of_all_options() {
    let options = |change: fn(&mut SamplerOptions)| {
        let mut options = SamplerOptions { seed: Some(7), ..SamplerOptions::default() };
        change(&mut options);
        options.fingerprint()
    };
    let fingerprints = [
        options(|_| {}),
        options(|options| options.samplers.truncate(8)),
        options(|options| options.seed = None),
        options(|options| options.min_keep = 1),
        options(|options| options.temperature = -0.0),
        options(|options| options.temperature = 0.0),
        options(|options| options.dry_allowed_length = 3),
        options(|options| options.dry_sequence_breakers = vec!["\n:".to_owned(), "\"".into(), "*".into()]),
        options(|options| options.mirostat = Mirostat::V1),
        options(|options| options.mirostat = Mirostat::V2),
        options(|options| options.logit_bias = vec![(1, 2.0)]),
        options(|options| options.logit_bias = vec![(1, f32::NEG_INFINITY)]),
    ];
    let distinct: std::collections::BTreeSet<_> = fingerprints.into_iter().collect();
    assert_eq!(distinct.len(), fingerprints.len());
    assert_eq!(
        fingerprints[0], 44_895_372_465_195_349_774_721_234_929_998_226_726,
        "of seed 7 and llama.cpp's defaults"
    );
}
