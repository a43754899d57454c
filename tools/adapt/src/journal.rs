//! What training goes on from after an interruption: a file that is replaced as a whole, again and again.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use siskin::training::Trainer;
use siskin_kit::{Inputs, Output, hash};

use crate::recipe::{Epoch, Mean, Progress};

/// What a journal begins with.
const MAGIC: &[u8] = b"SISKJNL1\n";

/// Writes how far training is. `of` tells apart what training it is: of which model, data and settings.
///
/// # Errors
/// A file that cannot be written; what was there before is there still.
pub fn save(path: &Path, inputs: &Inputs, of: &str, trainer: &Trainer, progress: &Progress) -> Result<()> {
    let mut state = Vec::new();
    trainer.save(&mut state)?;
    let Progress { epochs, best, adapter, learned, loss } = progress;
    // As bits, since decimals need not lead back to the same number.
    let epochs: Vec<_> = epochs
        .iter()
        .map(|Epoch { training, held_out }| json!([training.to_bits(), held_out.map(f64::to_bits)]))
        .collect();
    let head = json!({
        "of": of,
        "epochs": epochs,
        "best": best,
        "learned": learned,
        "loss": [loss.sum.to_bits(), loss.count],
        "adapter": adapter.len(),
        "state": state.len(),
        // The state has one of its own.
        "hash": hash::of(adapter),
    });
    // What was learned is of its owner's concern alone.
    let output = Output::create_private(path, inputs)?;
    let mut whole = MAGIC.to_vec();
    writeln!(whole, "{head}")?;
    let parts = [&whole, adapter, &state];
    parts
        .iter()
        .try_for_each(|part| output.file().write_all(part))
        .with_context(|| output.name().to_owned())?;
    output.commit()
}

/// How far training was, if the journal is there and of this training; the trainer has the state of that time then.
///
/// # Errors
/// A journal of another training, one that is damaged or cannot be read.
pub fn load(path: &Path, of: &str, trainer: &mut Trainer) -> Result<Option<Progress>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| path.display().to_string())?,
    };
    parse(&bytes, of, trainer).map(Some).with_context(|| path.display().to_string())
}

fn parse(bytes: &[u8], of: &str, trainer: &mut Trainer) -> Result<Progress> {
    let rest = bytes.strip_prefix(MAGIC).context("expected the journal of a training, found another file")?;
    let end = rest.iter().position(|&byte| byte == b'\n').context("the journal is cut off")?;
    let head: Value = serde_json::from_slice(&rest[..end]).context("the journal is damaged")?;
    let damaged = || "the journal is damaged";
    ensure!(
        head["of"].as_str().with_context(damaged)? == of,
        "the journal is of another training: expected the same model, data and settings; remove it to begin anew"
    );
    let number = |value: &Value| value.as_u64().with_context(damaged);
    let size = |value: &Value| Ok::<_, anyhow::Error>(usize::try_from(number(value)?)?);
    let mut epochs = Vec::new();
    for epoch in head["epochs"].as_array().with_context(damaged)? {
        let training = f64::from_bits(number(&epoch[0])?);
        let held_out = match &epoch[1] {
            Value::Null => None,
            bits => Some(f64::from_bits(number(bits)?)),
        };
        epochs.push(Epoch { training, held_out });
    }
    let (adapter, state) = (size(&head["adapter"])?, size(&head["state"])?);
    let body = &rest[end + 1..];
    if adapter.checked_add(state) != Some(body.len()) {
        bail!("the journal is cut off");
    }
    let (adapter, state) = body.split_at(adapter);
    ensure!(head["hash"].as_str() == Some(hash::of(adapter).as_str()), "the journal is damaged");
    let loss = Mean { sum: f64::from_bits(number(&head["loss"][0])?), count: size(&head["loss"][1])? };
    let progress = Progress {
        epochs,
        best: size(&head["best"])?,
        adapter: adapter.to_vec(),
        learned: size(&head["learned"])?,
        loss,
    };
    trainer.restore(state)?;
    Ok(progress)
}
