//! Prompts answered one after the other, each as if it were the first.

use super::journal::Settings;
use super::repetition;
use crate::arguments::{AdapterArguments, MemoryArguments, ModelFlag, NeighbourArguments, TemplateArguments};
use crate::terminal::{Interrupt, Reply};
use anyhow::Result;
use serde_json::json;
use siskin::sampler::SamplerOptions;
use siskin::{Answer, AnswerLimits, CacheTypes, Ending, Model, SessionOptions};
use siskin_kit::hash::hex;

/// A model and a session. An answer depends on the prompt's tokens, the model and the settings alone: not on prompts
/// before it, threads or the hour.
pub(crate) struct Assistant {
    answer: Answer,
    basis: Basis,
}

/// What all answers depend on, whoever works them out.
pub(crate) struct Basis {
    /// The hash of the model's file.
    pub(crate) model: String,
    /// Hashes of the adapters, and their scales.
    pub(crate) adapters: Vec<(u128, f32)>,
    /// Tokens that a prompt and its answer have at most.
    pub(crate) context: usize,
    pub(crate) cache: CacheTypes,
}

/// What the model wrote.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The text, up to where it begins to repeat itself.
    pub(crate) text: String,
    /// Why there is no more; None where it went in circles.
    pub(crate) ending: Option<Ending>,
    /// Tokens of thoughts, which are no part of the text.
    pub(crate) thought_tokens: usize,
}

impl Basis {
    /// What answers with these options depend on.
    pub(crate) fn settings(&self, sampling: &SamplerOptions, limits: &AnswerLimits) -> Settings {
        let mut settings = Settings::default();
        settings.set("version", env!("CARGO_PKG_VERSION"));
        settings.set("model", self.model.as_str());
        if !self.adapters.is_empty() {
            let adapter = |&(hash, scale): &(u128, f32)| json!([hex(hash), scale]);
            settings.set("adapters", self.adapters.iter().map(adapter).collect::<Vec<_>>());
        }
        settings.set("context", self.context);
        settings.set("cache type", vec![self.cache.keys.name(), self.cache.values.name()]);
        settings.set("sampling", hex(sampling.fingerprint()));
        settings.set("n-predict", limits.tokens);
        settings.set("stop", limits.stop.as_slice());
        settings
    }
}

impl Assistant {
    /// Opens the model and makes the session.
    pub(crate) fn open(
        model: &ModelFlag,
        adapters: &AdapterArguments,
        memory: &MemoryArguments,
        neighbour: &NeighbourArguments,
        template: &TemplateArguments,
        options: SessionOptions,
    ) -> Result<Assistant> {
        let (opened, options, adapters) = model.open_within(memory, neighbour.begin(options)?, adapters)?;
        let opened = template.apply(opened, false)?;
        let hash = model.hash()?;
        let mut session = opened.session(&options)?;
        neighbour.watch(session.threads(), |limit| session.limit_threads(limit))?;
        adapters.attach(&mut session)?;
        let (adapters, context) = (adapters.identity(), session.context());
        let basis = Basis { model: hash, adapters, context, cache: options.cache };
        Ok(Assistant { answer: Answer::new(session)?, basis })
    }

    /// Has control tokens stand in answers by their own text.
    pub(crate) fn show_special(&mut self, special: bool) {
        self.answer.show_special(special);
    }

    /// Ends what it is at when the program is interrupted.
    pub(crate) fn cancel_when(&mut self, interrupt: &Interrupt) {
        self.answer.cancel_when(interrupt.flag());
    }

    /// The model.
    pub(crate) fn model(&self) -> &Model {
        self.answer.model()
    }

    /// Tokens that a prompt and its answer have at most.
    pub(crate) fn context(&self) -> usize {
        self.answer.session().context()
    }

    /// What answers with these options depend on.
    ///
    /// # Errors
    /// Sampler options without meaning.
    pub(crate) fn settings(&self, sampling: &SamplerOptions, limits: &AnswerLimits) -> Result<Settings> {
        self.answer.session().sampler(sampling)?;
        Ok(self.basis.settings(sampling, limits))
    }

    /// Answers a prompt, until the answer ends, is interrupted, or goes in circles. Thoughts are no part of it.
    pub(crate) fn answer(
        &mut self,
        prompt: &[u32],
        sampling: &SamplerOptions,
        limits: &AnswerLimits,
    ) -> Result<Written> {
        self.answer.set_sampler(self.answer.session().sampler(sampling)?);
        self.answer.set_limits(limits.clone());
        self.answer.ask_tokens(prompt)?;
        let mut reply = Reply::none(Ending::Failed);
        // How long the text was with so many tokens.
        let mut lengths = Vec::new();
        while let Some(piece) = self.answer.next_piece()? {
            reply.push(piece, true);
            let tokens = self.answer.tokens();
            lengths.push((tokens.len(), reply.said.len()));
            if let Some(begin) = repetition::begins(tokens) {
                let known = lengths.iter().take_while(|(tokens, _)| *tokens <= begin).last();
                reply.said.truncate(known.map_or(0, |(_, length)| *length));
                return Ok(Written {
                    text: reply.said,
                    ending: None,
                    thought_tokens: self.answer.thought_tokens(),
                });
            }
        }
        let ending = Some(self.answer.ending().unwrap_or(Ending::Failed));
        Ok(Written { text: reply.said, ending, thought_tokens: self.answer.thought_tokens() })
    }
}

#[cfg(test)]
#[cfg(feature = "demo")]
mod tests {
    use super::*;
    use crate::arguments::AnswerArguments;
    use clap::Parser;
    use siskin::template::Message;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        model: ModelFlag,
        #[command(flatten)]
        adapters: AdapterArguments,
        #[command(flatten)]
        memory: MemoryArguments,
        #[command(flatten)]
        neighbour: NeighbourArguments,
        #[command(flatten)]
        answer: AnswerArguments,
    }

    #[test]
    fn an_answer_does_not_depend_on_those_before_it() {
        let flags = Flags::parse_from(["siskin", "-n", "12"]);
        let fresh = || {
            let Flags { model, adapters, memory, neighbour, .. } = &flags;
            let template = TemplateArguments::default();
            Assistant::open(model, adapters, memory, neighbour, &template, SessionOptions::default()).unwrap()
        };
        let ask = |assistant: &mut Assistant, prompt: &str| {
            let tokens = assistant.model().chat_tokens(&[Message::new("user", prompt)]).unwrap();
            let sampling = SamplerOptions::default().seed(7).repeat_penalty(1.3);
            assistant.answer(&tokens, &sampling, &flags.answer.limits()).unwrap()
        };
        let mut assistant = fresh();
        for prompt in ["tell me a story about a wolf", "tell me a story about a fox", "hello", "hello"] {
            assert_eq!(ask(&mut assistant, prompt), ask(&mut fresh(), prompt), "{prompt}");
        }
    }
}
