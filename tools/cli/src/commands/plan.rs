//! The `plan` command: the memory that a model will take.

#[cfg(feature = "boards")]
mod board;

use crate::arguments::memory::types;
use crate::arguments::numbers::count;
use crate::arguments::{
    AdapterArguments, GrammarArguments, MemoryArguments, ModelArguments, SessionArguments,
    SpeculationArguments, outline,
};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
#[cfg(feature = "long-work")]
use siskin::SequencesOptions;
use siskin::SessionOptions;
use siskin::plan::{Budget, Outline, Plan, PlanError};
#[cfg(feature = "boards")]
use siskin_boards::Board;
use siskin_kit::in_file;
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Tell what memory a model will take, without loading it.
///
/// The peak is the most that the program will have at once when all contexts are full. The exit code is 1 where that is
/// more than there is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Tokens that each session has at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    ctx_size: Option<usize>,
    /// Sessions of the model at once, or sequences [default: 1, or what is worth its memory]
    #[arg(long, value_name = "N", value_parser = count)]
    parallel: Option<usize>,
    /// Tell what the model will do on a board instead: which of its sizes of memory have room for it, and how fast it will be, by
    /// the instructions that are counted and by what the board's memory gives. `siskin doctor --board NAME` has what is known of
    /// a board, and from where
    #[cfg(feature = "boards")]
    #[arg(long, value_name = "NAME", value_parser = Board::named, conflicts_with_all = ["memory", "fit", "threads", "isa"])]
    #[cfg_attr(feature = "long-work", arg(conflicts_with = "together"))]
    board: Option<Board>,
    /// Plan sequences that are worked on together, as `siskin batch` has them, and not sessions
    #[cfg(feature = "long-work")]
    #[arg(long, conflicts_with = "drafts")]
    together: bool,
    #[command(flatten)]
    adapters: AdapterArguments,
    #[command(flatten)]
    speculation: SpeculationArguments,
    #[command(flatten)]
    grammar: GrammarArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  siskin plan model.gguf
  siskin plan model.gguf --context 8192 --parallel 4 --cache-type q8_0
  siskin plan model.gguf --context 512 --together
  siskin plan model.gguf --memory 900MB --fit
  siskin plan model.gguf --board raspberry-pi-5";

/// Prints the plan.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let file = arguments.model.file()?;
    let mut planned = outline(&file)?;
    arguments.adapters.files(&file)?.count(&mut planned)?;
    arguments.grammar.count(&mut planned);
    if let Some(draft) = arguments.speculation.draft(&arguments.model)? {
        planned.add_draft(outline(&draft)?);
    }
    let options = arguments.speculation.options(arguments.session.options(arguments.ctx_size));
    #[cfg(feature = "boards")]
    if let Some(board) = &arguments.board {
        return arguments.print_on(board, &planned, options, file.name());
    }
    let wanted = arguments.wanted(&planned, &options).map_err(|error| in_file(&file, error))?;
    // The options have meaning, as there is a plan: what can be wrong is the memory.
    let (plan, refused) = match arguments.within_memory(&planned, options) {
        Ok(plan) => (plan, None),
        Err(error) => (wanted, Some(error)),
    };
    let budget = arguments.memory.budget();
    let report = match arguments.json {
        true => format!("{:#}\n", to_json(file.name(), &plan, budget.as_ref())),
        false => to_text(file.name(), &plan, budget.as_ref()),
    };
    io::stdout().lock().write_all(report.as_bytes()).context("standard output")?;
    refused.map_or(Ok(()), Err)
}

impl Arguments {
    /// What is asked for, or the least of it where nobody says how many sequences, whatever memory there is.
    fn wanted(&self, outline: &Outline, options: &SessionOptions) -> Result<Plan, PlanError> {
        #[cfg(feature = "long-work")]
        if self.together {
            let sequences = SequencesOptions::default().session(options.clone());
            return outline.plan_sequences(&sequences.most(self.parallel.unwrap_or(1)));
        }
        outline.plan(options, self.parallel.unwrap_or(1))
    }

    /// Prints what the model does on a board.
    ///
    /// # Errors
    /// No such board has memory for it.
    #[cfg(feature = "boards")]
    fn print_on(&self, board: &Board, outline: &Outline, options: SessionOptions, name: &str) -> Result<()> {
        let threads = options.threads.unwrap_or(board.fast_cores());
        let (options, sessions) = (options.threads(threads), self.parallel.unwrap_or(1));
        let plan = outline.plan(&options, sessions)?;
        let on_board = board::OnBoard::new(board, outline, &options, sessions)?;
        let report = match self.json {
            true => {
                let mut json = to_json(name, &plan, None);
                json["board"] = on_board.to_json();
                format!("{json:#}\n")
            }
            false => to_text(name, &plan, None) + &on_board.to_text(),
        };
        io::stdout().lock().write_all(report.as_bytes()).context("standard output")?;
        on_board.check(name)
    }

    /// What there is memory for.
    ///
    /// # Errors
    /// Too little memory, with what helps.
    fn within_memory(&self, outline: &Outline, options: SessionOptions) -> Result<Plan> {
        #[cfg(feature = "long-work")]
        if self.together {
            return Ok(self.memory.sequences(outline, options, self.parallel)?.1);
        }
        Ok(self.memory.options(outline, options, self.parallel.unwrap_or(1))?.1)
    }
}

fn to_text(name: &str, plan: &Plan, budget: Option<&Budget>) -> String {
    let sessions = match (plan.sequences, plan.sessions) {
        (1, 1) => "a session".to_owned(),
        (1, many) => format!("{many} sessions, each"),
        (many, _) => format!("{many} sequences together, in {} pages of the cache, each", plan.pages),
    };
    let mut text = format!(
        "{name}: {sessions} of {} tokens, {} threads, batches of {}, cache {}\n\n",
        plan.context,
        plan.threads,
        plan.batch,
        types(plan.cache_types)
    );
    let parts = [
        ("weights", plan.weights),
        ("weights in place", plan.in_place),
        ("adapters", plan.adapters),
        ("grammars", plan.grammars),
        ("KV cache", plan.cache),
        ("scratch", plan.scratch),
        ("program", plan.program),
        ("while loading", plan.loading),
        ("peak", plan.peak()),
    ];
    for (part, bytes) in parts.into_iter().filter(|&(_, bytes)| bytes > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{part:18}{:10.1} MiB", bytes as f64 / f64::from(1 << 20));
    }
    if let Some(budget) = budget {
        let _ = writeln!(text, "\nthere is room for {budget}");
    }
    text
}

fn to_json(name: &str, plan: &Plan, budget: Option<&Budget>) -> Value {
    json!({
        "model": name,
        "sessions": plan.sessions,
        "sequences": plan.sequences,
        "pages": plan.pages,
        "context": plan.context,
        "threads": plan.threads,
        "batch": plan.batch,
        "cache_type_k": plan.cache_types.keys.name(),
        "cache_type_v": plan.cache_types.values.name(),
        "weights_bytes": plan.weights,
        "in_place_bytes": plan.in_place,
        "adapter_bytes": plan.adapters,
        "grammar_bytes": plan.grammars,
        "cache_bytes": plan.cache,
        "scratch_bytes": plan.scratch,
        "program_bytes": plan.program,
        "loading_bytes": plan.loading,
        "peak_bytes": plan.peak(),
        "budget_bytes": budget.map(Budget::bytes),
        "board": null,
    })
}
