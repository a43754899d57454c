//! The flags that have answers guessed ahead.

use super::numbers::count;
use super::{InputPath, ModelArguments, names};
use crate::terminal::note;
use anyhow::{Context, Result};
use clap::Args;
use siskin::gguf::Gguf;
use siskin::{Model, Score, Session, SessionOptions, Speculation};
use siskin_kit::in_file;

/// Who guesses, and how much. None of the flags changes a bit of the result.
#[derive(Debug, Args)]
pub(crate) struct SpeculationArguments {
    /// Guess that an answer goes on as the text before it did, for answers that quote or correct; only as long as that
    /// is faster
    #[arg(long, group = "drafts")]
    lookup: bool,
    /// A small model with the same tokens that guesses how answers go on; only as long as that is faster
    #[arg(long, value_name = "MODEL", group = "drafts", conflicts_with = "lookup", value_parser = names::model())]
    draft_model: Option<InputPath>,
    /// Tokens that are guessed at a time, at most
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = count, requires = "drafts")]
    draft_max: usize,
}

impl SpeculationArguments {
    /// The options of a session whose answers are guessed ahead.
    pub(crate) fn options(&self, options: SessionOptions) -> SessionOptions {
        let drafts = if self.lookup || self.draft_model.is_some() { self.draft_max } else { 0 };
        options.drafts(drafts)
    }

    /// The file of the draft model, where there is one, mapped or read as the other model's is.
    pub(crate) fn draft(&self, model: &ModelArguments) -> Result<Option<Gguf>> {
        self.draft_model.as_deref().map(|path| model.beside(path)).transpose()
    }

    /// What guesses for a session with these options; the model in `draft` is loaded for that, whose file is of no use
    /// then.
    pub(crate) fn load(&self, draft: Option<Gguf>, options: &SessionOptions) -> Result<Option<Speculation>> {
        let Some(file) = &draft else { return Ok(self.lookup.then(Speculation::lookup)) };
        let model = Model::from_gguf(file).map_err(|error| in_file(file, error))?;
        let context = options.context.map(|context| context.min(model.context_length()));
        let options = options.clone().context(context).drafts(0);
        Ok(Some(Speculation::of(model.session(&options).map_err(|error| in_file(file, error))?)))
    }

    /// Has it guess for a session.
    ///
    /// # Errors
    /// A model that has other tokens.
    pub(crate) fn attach(&self, session: &mut Session, speculation: Option<Speculation>) -> Result<()> {
        let Some(speculation) = speculation else { return Ok(()) };
        let name = self.draft_model.iter().map(|path| path.display().to_string()).collect::<String>();
        session.speculate(speculation).context(name)
    }
}

/// Says how many guesses were right.
pub(crate) fn tell(session: &Session) {
    if let Some(Score { drafted, accepted, .. }) = session.score() {
        note(format_args!("drafted: {accepted} of {drafted} tokens accepted"));
    }
}
