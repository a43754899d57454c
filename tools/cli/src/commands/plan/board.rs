//! What a model does on a board that is not this machine.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use siskin::SessionOptions;
use siskin::plan::{Budget, Outline, PlanError, Reads};
use siskin_boards::{Board, Bound, Speed};
use siskin_quant::TensorType;
use std::fmt::Write as _;

/// The types that a model is most often in, the largest first.
const TYPES: [TensorType; 6] = [
    TensorType::F16,
    TensorType::Q8_0,
    TensorType::Q6_K,
    TensorType::Q5_K,
    TensorType::Q4_K,
    TensorType::Q4_0,
];

/// A model on a board.
pub(super) struct OnBoard<'a> {
    board: &'a Board,
    /// For each size of memory that the board is sold with, in MiB, the context for which there is room.
    room: Vec<(u64, Option<usize>)>,
    speed: Option<Speed>,
    /// What the model would do if all its matrices were of one type, and the bytes of those that a token reads.
    by_type: Vec<(TensorType, u64, Speed)>,
}

impl<'a> OnBoard<'a> {
    /// What `sessions` sessions of the model do on the board.
    ///
    /// # Errors
    /// An option without meaning.
    pub(super) fn new(
        board: &'a Board,
        outline: &Outline,
        options: &SessionOptions,
        sessions: usize,
    ) -> Result<Self, PlanError> {
        let room = board.memory.options_mib.iter().map(|&mib| {
            let left = (mib << 20).saturating_sub(Board::SYSTEM);
            match outline.fit(options, sessions, &Budget::of(left)) {
                Ok((_, plan)) => Ok((mib, Some(plan.context))),
                Err(PlanError::Memory { .. }) => Ok((mib, None)),
                Err(other) => Err(other),
            }
        });
        let reads = outline.reads();
        let (layers, output) = reads
            .iter()
            .fold((0, 0), |(layers, output), reads| (layers + reads.layers, output + reads.output));
        let by_type = TYPES.into_iter().filter(|ty| outline.can_be(*ty)).filter_map(|ty| {
            let reads = Reads::new(ty, layers, output);
            Some((ty, reads.bytes(), Speed::of(board, &[reads])?))
        });
        Ok(Self {
            board,
            room: room.collect::<Result<_, _>>()?,
            speed: Speed::of(board, &reads),
            by_type: by_type.collect(),
        })
    }

    /// # Errors
    /// No board of this kind has memory for the model.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        let most = self.room.iter().map(|&(mib, _)| mib).max().unwrap_or(0);
        if self.room.iter().all(|(_, context)| context.is_none()) {
            bail!("{name}: no {} has memory for it: expected at most what {most} MiB leave", self.board.name);
        }
        Ok(())
    }

    pub(super) fn to_text(&self) -> String {
        let board = self.board;
        let mut text = format!(
            "\non {}, {} threads with the kernels of {}:\n\n",
            board.name,
            board.fast_cores(),
            board.tier
        );
        let mut line = |what: String, said: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{what:18}{said:>10}");
        };
        for &(mib, context) in &self.room {
            let room = context.map_or_else(
                || "no room".to_owned(),
                |context| format!("room for a context of {context} tokens"),
            );
            line(format!("{mib} MiB"), room);
        }
        let range = |[least, most]: [f64; 2]| format!("{} to {} tokens/s", rate(least), rate(most));
        match self.speed {
            Some(speed) => {
                line("decode".to_owned(), format!("{}, {}", range(speed.decode), waits(speed.bound)));
                let prefill = speed
                    .prefill
                    .map_or_else(|| "nobody has counted instructions for these kernels".to_owned(), range);
                line("prefill".to_owned(), prefill);
            }
            None => line("decode".to_owned(), "what the board's memory gives is not known".to_owned()),
        }
        for (ty, bytes, speed) in &self.by_type {
            let megabytes = *bytes as f64 / 1e6;
            line(
                format!("all of it {ty}"),
                format!("{} of decode, {megabytes:.0} MB a token", range(speed.decode)),
            );
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let room = |&(mib, context): &(u64, Option<usize>)| json!({ "memory_mib": mib, "context": context });
        let by_type = |(ty, bytes, speed): &(TensorType, u64, Speed)| json!({ "type": ty.name(), "bytes_per_token": bytes, "decode_tps": speed.decode, "bound": speed.bound });
        json!({
            "name": self.board.name,
            "tier": self.board.tier,
            "threads": self.board.fast_cores(),
            "room": self.room.iter().map(room).collect::<Vec<_>>(),
            "decode_tps": self.speed.map(|speed| speed.decode),
            "bound": self.speed.map(|speed| speed.bound),
            "prefill_tps": self.speed.and_then(|speed| speed.prefill),
            "by_type": self.by_type.iter().map(by_type).collect::<Vec<_>>(),
        })
    }
}

fn rate(tokens: f64) -> String {
    if tokens < 10.0 { format!("{tokens:.1}") } else { format!("{tokens:.0}") }
}

fn waits(bound: Option<Bound>) -> &'static str {
    match bound {
        Some(Bound::Memory) => "which memory bounds",
        Some(Bound::Computing) => "which computing bounds",
        None => "by what memory gives alone",
    }
}
