//! Training as a whole, on the demo model and the first of its data.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Helpers of tests may fail as tests do.

use std::path::Path;

use siskin::gguf::Gguf;
use siskin::template::Message;
use siskin::training::{Change, Trainer, TrainerOptions};
use siskin::{Adapter, Model};
use siskin_adapt::data::{Content, Parts, Row, encode, split};
use siskin_adapt::journal;
use siskin_adapt::recipe::{Event, Progress, Run, Settings};
use siskin_kit::Inputs;

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

fn trainer(model: &Model, threads: usize) -> Trainer {
    let options = TrainerOptions::new(64, changes(model)).together(threads).threads(threads);
    model.trainer(&options).unwrap()
}

fn run(model: &Model, threads: usize, settings: &Settings, events: &mut Vec<Event>) -> Progress {
    let (changes, parts, mut trainer) = (changes(model), data(model), trainer(model, threads));
    trainer.begin(settings.seed);
    let mut run = Run::new((&changes, ALPHA), &parts, settings, Progress::default()).unwrap();
    while !run.is_over() {
        events.push(run.advance(&mut trainer).unwrap());
    }
    run.into_progress()
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

    let (changes, parts) = (changes(&model), data(&model));
    let refused = |parts: &Parts, settings: &Settings| {
        let run = Run::new((&changes, ALPHA), parts, settings, Progress::default());
        run.map(drop).unwrap_err().to_string()
    };
    assert!(refused(&Parts::default(), &settings).contains("nothing to learn from"));
    settings.batch = 0;
    assert!(refused(&parts, &settings).contains("at least one epoch"));
    let mut settings = Settings::default();
    settings.rate = 1e30;
    let mut trainer = trainer(&model, 2);
    trainer.begin(1);
    let mut run = Run::new((&changes, ALPHA), &parts, &settings, Progress::default()).unwrap();
    let error = loop {
        match run.advance(&mut trainer) {
            Ok(_) => (),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("lower learning rate"), "{error}");
}

#[test]
fn training_that_is_interrupted_anywhere_comes_to_the_same_adapter() {
    let model = demo();
    let mut settings = Settings::default();
    settings.epochs = 2;
    settings.batch = 4;
    let expected = run(&model, 2, &settings, &mut Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let (path, inputs) = (folder.path().join("journal"), Inputs::default());
    let (changes, parts) = (changes(&model), data(&model));
    let mut runs = 0;
    loop {
        runs += 1;
        // Each time as a new process would: with nothing but the journal.
        let mut trainer = trainer(&model, 1 + runs % 2);
        trainer.begin(settings.seed);
        let progress = journal::load(&path, "this", &mut trainer).unwrap().unwrap_or_default();
        let mut run = Run::new((&changes, ALPHA), &parts, &settings, progress).unwrap();
        if run.is_over() {
            assert!(run.into_progress() == expected);
            break;
        }
        run.advance(&mut trainer).unwrap();
        journal::save(&path, &inputs, "this", &trainer, run.progress()).unwrap();
        if !run.is_over() && runs % 3 == 0 {
            // What is not in the journal is done again.
            run.advance(&mut trainer).unwrap();
        }
    }
    assert!(runs > 6, "{runs}");

    let mut trainer = trainer(&model, 1);
    let mut refused = |of: &str| format!("{:#}", journal::load(&path, of, &mut trainer).unwrap_err());
    assert!(refused("another").contains("of another training"));
    let bytes = std::fs::read(&path).unwrap();
    for (damage, expected) in [
        (bytes[..bytes.len() - 1].to_vec(), "cut off"),
        (bytes[..20].to_vec(), "cut off"),
        (b"something else".to_vec(), "another file"),
        ([&bytes[..bytes.len() / 2], b"x", &bytes[bytes.len() / 2 + 1..]].concat(), ""),
    ] {
        std::fs::write(&path, damage).unwrap();
        let error = refused("this");
        assert!(error.contains(expected) && error.contains("journal"), "{error}");
    }
}
