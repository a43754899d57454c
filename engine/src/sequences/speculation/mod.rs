mod lookup;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use super::Session;
use crate::model::Model;
use crate::sequences::SessionError;
pub(crate) use pace::MOST;
use pace::Pace;

/// Drafts at the tokens that an answer goes on with, which a session works on together with the last one (speculative
/// decoding: Leviathan et al. 2023, arXiv 2211.17192).
///
/// The sampler picks each token from the logits that it would have had without drafts; a draft saves a pass through the
/// model where it is what was picked. So the answer is the same, to the bit, sampled ones too. What passes with drafts
/// take, and how many drafts are right, is measured all the while: as many are made as pay, or none.
pub struct Speculation {
    source: Source,
    pace: Pace,
    /// As many each time; None: as many as pay.
    fixed: Option<usize>,
    score: Score,
    /// Seconds of the current pass that went into tokens that had gone by without drafts.
    prepared: f64,
}

enum Source {
    Lookup,
    Model {
        session: Box<Session>,
        /// The tokens that both models have.
        tokens: usize,
    },
}

/// How many drafts were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Score {
    /// Drafts that were made.
    pub drafted: u64,
    /// Those that the sampler picked.
    pub accepted: u64,
}

impl Speculation {
    /// Drafts that what follows is what followed when the text's last tokens stood in it before (prompt lookup: Saxena
    /// 2023), as answers do that quote, correct or summarize.
    pub fn lookup() -> Self {
        Self::new(Source::Lookup)
    }

    /// Asks a session of a smaller model with the same tokens what it would say. Its context should be as long as that of
    /// the session that it drafts for: beyond, nothing is drafted.
    pub fn of(session: Session) -> Self {
        Self::new(Source::Model { session: Box::new(session), tokens: 0 })
    }

    fn new(source: Source) -> Self {
        Self { source, pace: Pace::new(), fixed: None, score: Score::default(), prepared: 0.0 }
    }

    /// Makes so many drafts each time, whether they pay or not: for measuring.
    pub fn fixed(self, drafts: usize) -> Self {
        Self { fixed: Some(drafts), ..self }
    }

    /// How many drafts were right so far.
    pub fn score(&self) -> Score {
        self.score
    }

    /// Whether tokens mean the same to `model` and to what drafts.
    ///
    /// # Errors
    /// [`SessionError::DraftVocabulary`].
    pub(crate) fn check(&mut self, model: &Model) -> Result<(), SessionError> {
        let Source::Model { session, tokens } = &mut self.source else { return Ok(()) };
        let (ours, theirs) = (model.tokenizer(), session.model().tokenizer());
        // Vocabularies are padded to different lengths: what both name is compared, and nothing else is ever a draft.
        *tokens = ours.len().min(theirs.len());
        match (0..*tokens as u32).find(|&token| ours.text(token) != theirs.text(token)) {
            Some(token) => Err(SessionError::DraftVocabulary { token }),
            None => Ok(()),
        }
    }

    /// Appends up to `most` drafts at what follows a text.
    pub(crate) fn draft(&mut self, tokens: &[u32], most: usize, drafts: &mut Vec<u32>) {
        let count = self.fixed.unwrap_or_else(|| self.pace.choose(most)).min(most);
        if count == 0 {
            return;
        }
        match &mut self.source {
            Source::Lookup => lookup::draft(tokens, count, drafts),
            Source::Model { session, tokens: known } => {
                self.prepared = catch_up(session, tokens);
                self.pace.prepared(self.prepared);
                // Whatever keeps the smaller model from drafting, the larger one goes on alone.
                drop(ask(session, tokens, (count, *known), drafts));
            }
        }
    }

    /// Has the model that drafts end, and rest, when the other one does.
    pub(crate) fn obey(&mut self, cancel: Arc<AtomicBool>, limit: Arc<AtomicUsize>) {
        if let Source::Model { session, .. } = &mut self.source {
            session.cancel_when(cancel);
            session.limit_threads(limit);
        }
    }

    /// Learns what a pass with so many drafts took, what made them included.
    pub(crate) fn took(&mut self, drafts: usize, seconds: f64) {
        self.pace.took(drafts, seconds - std::mem::take(&mut self.prepared));
    }

    /// Learns how many of its drafts were right before one was not, or all of them.
    pub(crate) fn learn(&mut self, drafts: usize, right: usize) {
        self.score.drafted += drafts as u64;
        self.score.accepted += right as u64;
        self.pace.learn(drafts, right);
    }
}

/// Has a session of another model read a text but for its last tokens, where it lacks many. Returns the seconds that it took.
fn catch_up(session: &mut Session, tokens: &[u32]) -> f64 {
    let start = Instant::now();
    let common = common(session, tokens);
    let few = tokens.len().saturating_sub(MOST);
    if common < few {
        session.truncate(common);
        // It is asked after this, and says nothing where that failed.
        drop(session.feed(tokens.get(common..few).unwrap_or_default()));
        return start.elapsed().as_secs_f64();
    }
    0.0
}

/// How many tokens of a text a session holds.
fn common(session: &Session, tokens: &[u32]) -> usize {
    let held = session.tokens().iter().take(session.pristine());
    held.zip(tokens).take_while(|(held, token)| held == token).count()
}

/// Appends the tokens that a session of another model finds likeliest, one after the other.
fn ask(
    session: &mut Session,
    tokens: &[u32],
    (count, known): (usize, usize),
    drafts: &mut Vec<u32>,
) -> Result<(), SessionError> {
    // The last token is fed in any case, as its logits are needed.
    let common = common(session, tokens).min(tokens.len().saturating_sub(1));
    session.truncate(common);
    session.feed(tokens.get(common..).unwrap_or_default())?;
    for left in (0..count).rev() {
        let logits = session.logits()?;
        let best = likeliest(logits.get(..known).unwrap_or(logits));
        drafts.push(best);
        if left > 0 {
            session.feed(&[best])?;
        }
    }
    Ok(())
}

fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (token, &logit)| {
        match logit > best.1 {
            true => (token, logit),
            false => best,
        }
    });
    best.0 as u32
}
