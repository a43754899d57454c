//! The `replay` command: an answer of the server, made again from its line in the audit log.

use crate::arguments::{AdapterArguments, InputPath, MemoryArguments, ModelFlag, SessionArguments};
use crate::terminal::note;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use siskin::grammar::GrammarSource;
use siskin::plan::Outline;
use siskin::sampler::{SamplerOptions, SamplerOverrides};
use siskin::template::Json;
use siskin::{Answer, AnswerLimits, CacheType, CacheTypes, Model};
use siskin_kit::json::{Kind, Object, single};
use siskin_kit::{hash, read_text, tell};

/// Make an answer of the server again, from its line in the audit log, and say whether it is the same.
///
/// It is, to the last bit, on any machine and with any number of threads: the line has all that it depends on, if the log was
/// written with --audit-texts. The answer goes to standard output.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The audit log, or a part of it
    log: InputPath,
    /// Which line of it, from 1 on [default: the last]
    #[arg(long, value_name = "N", value_parser = crate::arguments::numbers::count)]
    line: Option<usize>,
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    adapters: AdapterArguments,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    session: SessionArguments,
}

/// Makes the answer again.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (number, text) = line(&read_text(&arguments.log)?, arguments.line)?;
    let place = format!("{}: line {number}", arguments.log.display());
    let line = Line::read(&text).with_context(|| place.clone())?;
    let options = arguments.session.options(Some(line.context)).cache(line.cache);
    line.check_adapters(&arguments.adapters).with_context(|| place.clone())?;
    let longest = Outline::of(&arguments.model.file()?)?.context_length();
    ensure!(
        line.context <= longest,
        "{place}: the answer is of a model with a context of {} tokens or more, this one has {longest}",
        line.context
    );
    let (model, options, adapters) =
        arguments.model.open_within(&arguments.memory, options, &arguments.adapters)?;
    ensure!(
        options.context == Some(line.context) && options.cache == line.cache,
        "{place}: the answer needs a context of {} tokens, for which there is too little memory",
        line.context
    );
    line.check(&model).with_context(|| place.clone())?;
    let mut session = model.session(&options)?;
    adapters.attach(&mut session)?;
    let sampler = session.sampler(&line.sampling)?;
    let mut answer = Answer::with_sampler(session, sampler);
    answer.set_limits(line.limits.clone());
    answer.show_special(line.special);
    if let Some((source, thinks)) = &line.grammar {
        let grammar = answer.session().model().grammar(source).with_context(|| place.clone())?;
        answer.set_grammar(Some(if *thinks { grammar } else { grammar.without_thoughts() }));
    }
    answer.ask_tokens(&line.prompt)?;
    let mut said = String::new();
    while let Some(piece) = answer.next_piece()? {
        said.push_str(piece.text);
    }
    tell(format_args!("{said}"))?;
    let (count, found) = (answer.tokens().len(), of_tokens(answer.tokens()));
    ensure!(found == line.answer_hash, "{place}: the answer is another one: {count} tokens, of hash {found}");
    note(format_args!("the same {count} tokens"));
    Ok(())
}

/// A line of a text with its number: the one that is asked for, or the last that is not empty.
fn line(text: &str, number: Option<usize>) -> Result<(usize, String)> {
    let mut lines =
        text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty());
    let found = match number {
        Some(number) => lines.find(|(index, _)| *index == number),
        None => lines.last(),
    };
    let (number, line) = found.ok_or_else(|| match number {
        Some(number) => anyhow!("there is no line {number}"),
        None => anyhow!("there is no line"),
    })?;
    Ok((number, line.to_owned()))
}

/// What an answer depends on.
#[derive(Debug)]
struct Line {
    weights: String,
    context: usize,
    cache: CacheTypes,
    prompt: Vec<u32>,
    sampling: SamplerOptions,
    limits: AnswerLimits,
    special: bool,
    /// The adapters by name, and what their changes are multiplied by.
    adapters: Vec<(String, f32)>,
    /// What the answer keeps to, and whether it may think before.
    grammar: Option<(GrammarSource, bool)>,
    answer_hash: String,
}

impl Line {
    fn read(text: &str) -> Result<Self> {
        const COUNT: &str = "a whole number";
        let mut fields = Object::parse(text)?;
        let prompt = fields.typed("prompt", "an array of tokens", tokens)?;
        let prompt = prompt.context("there is no prompt: the log was written without --audit-texts")?;
        let finish = fields.require_text("finish")?;
        let answer_hash = fields.text("answer_hash")?;
        let answer_hash =
            answer_hash.with_context(|| format!("there is no answer to compare with: it was {finish}"))?;
        let Some(Json::Object(options)) = fields.take("sampling") else {
            bail!("sampling: expected an object");
        };
        let mut sampling = SamplerOverrides::default();
        for (name, value) in &options {
            match sampling.set(name, value) {
                Some(true) => {}
                Some(false) => bail!("sampling.{name}: found {}", Kind(value)),
                None => bail!("sampling.{name}: there is no such option"),
            }
        }
        let seed = fields.whole::<u64>("seed", COUNT)?.context("seed is missing")?;
        let stop = fields.typed("stop", "an array of texts", texts)?.unwrap_or_default();
        let tokens = fields.whole::<usize>("max_tokens", COUNT)?;
        Ok(Self {
            weights: fields.require_text("weights")?,
            context: fields.whole("context", COUNT)?.context("context is missing")?,
            cache: fields
                .typed("cache", "the types of keys and values", types)?
                .context("cache is missing")?,
            prompt,
            sampling: SamplerOptions::default().overlay(&sampling).seed(seed),
            limits: AnswerLimits::default().tokens(tokens).stop(stop),
            special: fields.flag("special")?.unwrap_or(false),
            adapters: fields.typed("adapters", "an array of names with scales", scales)?.unwrap_or_default(),
            grammar: fields.take("grammar").map(grammar).transpose()?,
            answer_hash,
        })
    }

    /// Refuses other adapters, as far as they can be told apart before they are read.
    fn check_adapters(&self, given: &AdapterArguments) -> Result<()> {
        let scales = given.adapters.iter().map(|adapter| adapter.scale);
        let wanted: Vec<String> =
            self.adapters.iter().map(|(name, scale)| format!("{name}.gguf={scale}")).collect();
        let wanted = if wanted.is_empty() {
            "none".to_owned()
        } else {
            format!("--adapter {}", wanted.join(" --adapter "))
        };
        ensure!(
            scales.eq(self.adapters.iter().map(|(_, scale)| *scale)),
            "the answer has other adapters: {wanted}"
        );
        Ok(())
    }

    /// Refuses a model of other weights.
    fn check(&self, model: &Model) -> Result<()> {
        let found = format!("{:032x}", model.fingerprint());
        ensure!(found == self.weights, "the answer is of weights {}, the model has {found}", self.weights);
        Ok(())
    }
}

/// What an answer keeps to, and whether it may think before.
fn grammar(value: Json) -> Result<(GrammarSource, bool)> {
    let mut fields = Object::of("grammar", value)?;
    let (kind, text) = (fields.require_text("kind")?, fields.require_text("text")?);
    let thinks = fields.flag("thinks")?.unwrap_or(true);
    let source = GrammarSource::from_named(&kind, text);
    Ok((source.with_context(|| format!("grammar.kind: there is no {kind:?}"))?, thinks))
}

fn tokens(value: &Json) -> Option<Vec<u32>> {
    let Json::Array(tokens) = value else { return None };
    let token = |token: &Json| match token {
        Json::Integer(token) => u32::try_from(*token).ok(),
        _ => None,
    };
    tokens.iter().map(token).collect()
}

fn texts(value: &Json) -> Option<Vec<String>> {
    let Json::Array(texts) = value else { return None };
    let text = |text: &Json| match text {
        Json::String(text) => Some(text.clone()),
        _ => None,
    };
    texts.iter().map(text).collect()
}

fn scales(value: &Json) -> Option<Vec<(String, f32)>> {
    let Json::Array(adapters) = value else { return None };
    let adapter = |adapter: &Json| {
        let Json::Array(pair) = adapter else { return None };
        match pair.as_slice() {
            [Json::String(name), scale] => Some((name.clone(), single(scale)?)),
            _ => None,
        }
    };
    adapters.iter().map(adapter).collect()
}

fn types(value: &Json) -> Option<CacheTypes> {
    let named = |name: &String| {
        [CacheType::F16, CacheType::F32, CacheType::Q8_0].into_iter().find(|ty| ty.name() == name)
    };
    match texts(value)?.as_slice() {
        [keys, values] => Some(CacheTypes { keys: named(keys)?, values: named(values)? }),
        _ => None,
    }
}

fn of_tokens(tokens: &[u32]) -> String {
    hash::of(&tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_the_answer_keeps_to() {
        let line = |grammar: &str| {
            let text = format!(
                r#"{{"weights": "0", "context": 8, "cache": ["f16", "f16"], "prompt": [1], "sampling": {{}}, "seed": 1,
                    "finish": "stop", "answer_hash": "0", "grammar": {grammar}}}"#
            );
            Line::read(&text).map(|line| line.grammar).map_err(|error| error.to_string())
        };
        let schema = GrammarSource::JsonSchema("{}".to_owned());
        assert_eq!(
            line(r#"{"kind": "json_schema", "text": "{}", "thinks": false}"#),
            Ok(Some((schema, false)))
        );
        assert_eq!(line("null"), Ok(None));
        assert_eq!(line(r#"{"kind": "xml", "text": ""}"#).unwrap_err(), "grammar.kind: there is no \"xml\"");
        assert_eq!(line(r#"{"kind": "lark"}"#).unwrap_err(), "grammar.text is missing, expected a text");
    }
}
