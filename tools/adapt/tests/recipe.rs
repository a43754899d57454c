//! Training as a whole, on the demo model and the first of its data.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Helpers of tests may fail as tests do.

use std::path::Path;

use siskin::gguf::Gguf;
use siskin::template::Message;
use siskin::training::{Change, Trainer, TrainerOptions};
use siskin::{Adapter, Model};
use siskin_adapt::data::{Content, Parts, Row, encode, split};
use siskin_adapt::recipe::{Event, Outcome, Settings, train};

const ALPHA: f32 = 8.0;

fn demo() -> Model {
    Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf")).unwrap()
}

/// Commands that the model does not know, and their answers.
fn data(model: &Model) -> Parts {
    let row = |line: usize| {
        let (place, number) = (["pump", "valve", "belt"][line % 3], line % 5);
        let turns = [
            Message::new("user", format!("please stop the {place} {number}")),
            Message::new("assistant", format!("HALT {place}-{number}")),
        ];
        Row { line, content: Content::Conversation(turns.to_vec()) }
    };
    let samples = (0..15).flat_map(|line| encode(model, &row(line), 64).unwrap()).collect();
    split(samples, 0.2)
}

fn changes(model: &Model) -> Vec<Change> {
    Trainer::matrices(model).map(|matrix| Change { matrix, rank: 4, scale: ALPHA / 4.0 }).collect()
}

fn run(model: &Model, threads: usize, settings: &Settings, events: &mut Vec<Event>) -> Outcome {
    let changes = changes(model);
    let options = TrainerOptions::new(64, changes.clone()).together(threads).threads(threads);
    let mut trainer = model.trainer(&options).unwrap();
    trainer.begin(settings.seed);
    train(&mut trainer, (&changes, ALPHA), &data(model), settings, &mut |event| events.push(*event)).unwrap()
}

#[test]
fn an_adapter_learns_and_its_best_state_is_kept() {
    let model = demo();
    let mut settings = Settings::default();
    settings.epochs = 4;
    settings.batch = 4;
    settings.rate = 3e-3;
    let mut events = Vec::new();
    let outcome = run(&model, 2, &settings, &mut events);
    let held_out: Vec<f64> = outcome.epochs.iter().map(|epoch| epoch.held_out.unwrap()).collect();
    assert!(held_out[outcome.best] < 0.5 * held_out[0], "{held_out:?}");
    assert!(outcome.epochs[outcome.best].training < outcome.epochs[0].training);
    let steps = events.iter().filter(|event| matches!(event, Event::Step { .. })).count();
    assert_eq!(steps, outcome.epochs.len() * data(&model).training.len().div_ceil(4));
    // The file is an adapter of the model, as that was when its held out loss was least.
    let file = Gguf::from_bytes("adapter", outcome.adapter.clone()).unwrap();
    assert_eq!(Adapter::from_gguf(&file, &model).unwrap().rank(), 4);
    // The same bytes with another number of threads and of examples in a pass.
    assert!(run(&model, 1, &settings, &mut Vec::new()) == outcome);
    settings.seed = 2;
    assert!(run(&model, 2, &settings, &mut Vec::new()).adapter != outcome.adapter);
}

#[test]
fn training_that_leads_nowhere_ends() {
    let model = demo();
    let mut settings = Settings::default();
    settings.epochs = 50;
    settings.patience = 2;
    // Nothing is learned, so nothing gets better.
    settings.rate = 0.0;
    let mut events = Vec::new();
    let outcome = run(&model, 2, &settings, &mut events);
    assert_eq!((outcome.best, outcome.epochs.len()), (0, 3));

    let changes = changes(&model);
    let mut trainer = model.trainer(&TrainerOptions::new(64, changes.clone())).unwrap();
    trainer.begin(1);
    let mut fails = |parts: &Parts, settings: &Settings| {
        train(&mut trainer, (&changes, ALPHA), parts, settings, &mut |_| ()).unwrap_err().to_string()
    };
    assert!(fails(&Parts::default(), &settings).contains("nothing to learn from"));
    settings.batch = 0;
    assert!(fails(&data(&model), &settings).contains("at least one epoch"));
    let mut settings = Settings::default();
    settings.rate = 1e30;
    assert!(fails(&data(&model), &settings).contains("lower learning rate"));
}
