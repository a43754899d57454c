//! What an answer costs more that keeps to a JSON schema: `cargo bench -p siskin-benches --bench grammar`.
//!
//! Each token is worked out once, and picked twice by the same logits: among all, and among those that the schema allows, in turn.
//! So both have the same machine at the same moment. A run is made several times, with the same tokens: of each token's times
//! the least counts, as others may use the machine. A line for each schema: means over all tokens, the share that masks add to
//! picking without them and working out, how long compiling took and how long a copy for an answer does.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use siskin::grammar::{Grammar, GrammarSource};
use siskin::measure::Picking;
use siskin::sampler::SamplerOptions;
use siskin::{Error, Model, SessionOptions};
use siskin_benches::{measuring, model_path};

const SCHEMAS: [(&str, &str); 4] = [
    ("any object", r#"{"type": "object"}"#),
    (
        "texts and numbers",
        r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "mail": {"type": "string", "maxLength": 60}, "score": {"type": "number"}, "tags": {"type": "array", "items":
            {"type": "string", "maxLength": 12}, "maxItems": 5}}, "required": ["name", "age", "mail", "score", "tags"],
            "additionalProperties": false}"#,
    ),
    (
        "choices",
        r##"{"type": "array", "minItems": 50, "items": {"anyOf": [{"$ref": "#/$defs/light"}, {"$ref": "#/$defs/blind"}]}, "$defs": {
            "light": {"type": "object", "properties": {"room": {"enum": ["kitchen", "hall", "attic"]}, "on": {"type": "boolean"}},
            "required": ["room", "on"], "additionalProperties": false}, "blind": {"type": "object", "properties": {"window":
            {"type": "integer", "minimum": 1, "maximum": 12}, "open": {"type": "number", "minimum": 0, "maximum": 1}}, "required":
            ["window", "open"], "additionalProperties": false}}}"##,
    ),
    (
        "patterns",
        r#"{"type": "array", "minItems": 50, "items": {"type": "object", "properties": {"day": {"type": "string", "format": "date"},
            "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}, "note": {"type": "string", "minLength": 20, "maxLength": 80}},
            "required": ["day", "code", "note"], "additionalProperties": false}}"#,
    ),
];

fn main() -> Result<(), Error> {
    let model = Model::open(model_path())?;
    let (runs, tokens) = if measuring() { (7, 48) } else { (1, 8) };
    // The first grammar sorts the vocabulary, too.
    let start = Instant::now();
    model.grammar(&GrammarSource::JsonObject)?;
    let sorted = start.elapsed();
    println!("{}: the first grammar took {:.1} ms", model.name(), milliseconds(sorted));
    for (name, schema) in SCHEMAS {
        let start = Instant::now();
        let grammar = model.grammar(&GrammarSource::JsonSchema(schema.to_owned()))?;
        let compiled = start.elapsed();
        let mut steps = run(&model, &grammar, tokens)?;
        for _ in 1..runs {
            for (least, step) in steps.iter_mut().zip(run(&model, &grammar, tokens)?) {
                *least = least.least(step);
            }
        }
        let of = |part: fn(&Step) -> Duration| {
            milliseconds(steps.iter().map(part).sum::<Duration>())
                / steps.iter().map(|step| step.tokens).sum::<f64>()
        };
        let (work, free, masked) = (of(|step| step.work), of(|step| step.free), of(|step| step.masked));
        let start = Instant::now();
        std::hint::black_box(Picking::new(&grammar));
        println!(
            "{name}: working out {work:.3} ms, picking {free:.3} ms, with masks {masked:.3} ms: {:+.1} %; compiling {:.2} ms, a copy \
             {:.3} ms",
            (masked - free) / (work + free) * 100.0,
            milliseconds(compiled),
            milliseconds(start.elapsed()),
        );
    }
    Ok(())
}

/// What a pick took, and the tokens that it led to.
#[derive(Clone, Copy)]
struct Step {
    tokens: f64,
    work: Duration,
    free: Duration,
    masked: Duration,
}

impl Step {
    fn least(&self, other: Step) -> Step {
        let (work, free, masked) = (other.work, other.free, other.masked);
        Step {
            tokens: self.tokens,
            work: self.work.min(work),
            free: self.free.min(free),
            masked: self.masked.min(masked),
        }
    }
}

fn run(model: &Model, grammar: &Grammar, tokens: usize) -> Result<Vec<Step>, Error> {
    let mut session = model.session(&SessionOptions::default().context(tokens * 2 + 512))?;
    let sampling = SamplerOptions::default().overlay(model.sampling()).seed(1);
    let [mut free_sampler, mut sampler] = [session.sampler(&sampling)?, session.sampler(&sampling)?];
    let mut picking = Picking::new(grammar);
    let (mut steps, mut count, mut run) = (Vec::new(), 0, vec![1]);
    while count < tokens {
        // One by one, also those that are certain, which an answer feeds together.
        let start = Instant::now();
        for token in &run {
            session.feed(std::slice::from_ref(token))?;
        }
        let [mut free, mut masked] = [Duration::ZERO; 2];
        let (work, fed) = (start.elapsed(), run.len());
        count += fed;
        let logits = session.logits()?;
        run.clear();
        // What comes first finds the logits in no cache.
        for turn in 0..2 {
            let start = Instant::now();
            if turn == steps.len() % 2 {
                std::hint::black_box(free_sampler.sample(logits));
                free = start.elapsed();
            } else {
                let token = picking.pick(&mut sampler, logits)?;
                let is_end = model.tokenizer().is_end(token);
                if !is_end {
                    picking.accept(token, &mut run)?;
                }
                masked = start.elapsed();
                if is_end || picking.is_over() {
                    picking = Picking::new(grammar);
                    run.extend(run.is_empty().then_some(1));
                }
            }
        }
        if let Some(&token) = run.last() {
            free_sampler.accept(token);
            sampler.accept(token);
        }
        steps.push(Step { tokens: fed as f64, work, free, masked });
    }
    Ok(steps)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
