//! The flags of chat templates: which one makes prompts, what it is told, and what becomes of thoughts and control tokens.

use super::InputPath;
use crate::terminal::note;
use anyhow::{Context, Error, Result, ensure};
use clap::{Args, ValueEnum};
use siskin::Model;
use siskin::template::{ChatTemplate, Json, Message, Rendering, TemplateError};
use siskin::tokenizer::Special;
#[cfg(feature = "long-work")]
use siskin_kit::hash;
use std::fs;

/// How a conversation becomes a prompt.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TemplateArguments {
    /// What a model that thinks before it answers does [default: as its chat template has it, and thoughts are told]
    #[arg(long, value_name = "HOW")]
    think: Option<Think>,
    /// Tell the chat template this, such as enable_thinking=false or 'date_string="1 May 2030"'; may be given several times
    #[arg(long = "template-var", value_name = "NAME=JSON", value_parser = variable)]
    template_vars: Vec<Variable>,
    /// A Jinja chat template to use instead of the one in the model's file
    #[arg(long, value_name = "FILE")]
    chat_template: Option<InputPath>,
    /// Have control tokens stand in answers by their own text, such as [TOOL_CALLS]; a text that is continued as it is may
    /// spell them too
    #[arg(long)]
    special: bool,
}

/// A value that the template knows by its name.
#[derive(Clone, Debug, PartialEq)]
struct Variable {
    /// As it was written.
    text: String,
    name: String,
    value: Json,
}

/// What becomes of thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Think {
    /// It thinks, where its chat template has a switch for that
    On,
    /// It does not think, where its chat template has a switch for that
    Off,
    /// Its thoughts are no part of the answer; how many tokens they took is said
    Hide,
}

impl Think {
    /// As the flag has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Think::On => "on",
            Think::Off => "off",
            Think::Hide => "hide",
        }
    }
}

impl TemplateArguments {
    /// Whether thoughts are left out of answers.
    pub(crate) fn hides_thoughts(&self) -> bool {
        self.think == Some(Think::Hide)
    }

    /// Whether the model may think before it answers.
    pub(crate) fn thinks(&self) -> bool {
        self.think != Some(Think::Off)
    }

    /// Whether control tokens stand in answers by their own text.
    pub(crate) fn shows_special(&self) -> bool {
        self.special
    }

    /// What becomes of a control token's text in a text that is continued as it is.
    pub(crate) fn special(&self) -> Special {
        if self.special { Special::Parse } else { Special::Text }
    }

    fn makes_prompts(&self) -> bool {
        self.chat_template.is_some() || !self.template_vars.is_empty()
    }

    /// The model with the template that was asked for, which nothing is asked of where texts are continued as they are
    /// (`raw`). Says on standard error what is not as it should be.
    ///
    /// # Errors
    /// A template that cannot be used: one that was named, or the model's own, with the remedies.
    pub(crate) fn apply(&self, model: Model, raw: bool) -> Result<Model> {
        tell_corrected(&model);
        if raw {
            ensure!(
                !self.makes_prompts(),
                "--chat-template and --template-var mean nothing to a text that is continued as it is"
            );
            return Ok(model);
        }
        let model = match &self.chat_template {
            Some(path) => {
                let name = path.display().to_string();
                let source = fs::read(&**path).map_err(Error::from).and_then(siskin_kit::text);
                let template = source.and_then(|source| compiled(&model, &source)).context(name)?;
                tell_text_marks(&model, template.source());
                model.with_chat_template(template)
            }
            None => model,
        };
        let template = model.chat_template();
        let probe = model.chat_tokens_with(&[Message::new("user", "")], &self.rendering(&model));
        if let Err(error) = probe
            && matches!(
                error,
                TemplateError::NoTemplate { .. }
                    | TemplateError::Unusable { .. }
                    | TemplateError::Unnamed { .. }
            )
        {
            let remedies = "--chat-template FILE gives it one, and run and batch continue texts with --raw";
            return Err(Error::msg(format!("{error}; {remedies}")));
        }
        if template.is_fallback() {
            note(format_args!("the model's file has no chat template: it is asked in ChatML"));
        }
        self.tell_think(&model);
        Ok(model)
    }

    /// Says on standard error that thinking cannot be switched, where it is to be.
    fn tell_think(&self, model: &Model) {
        if let Some(think @ (Think::On | Think::Off)) = self.think
            && model.chat_template().thinking_variable().is_none()
        {
            let think = think.name();
            note(format_args!(
                "the chat template has no switch for thinking, so --think {think} does nothing"
            ));
        }
    }

    /// Has thoughts handled in another way from now on.
    pub(crate) fn set_think(&mut self, think: Think, model: &Model) {
        self.think = Some(think);
        self.tell_think(model);
    }

    /// Says on standard error that a system message goes another way than the template's, where it does.
    pub(crate) fn tell_system(model: &Model) {
        if !model.chat_template().takes_system() {
            note(format_args!(
                "the chat template takes no system message: its text goes before the first message of the user"
            ));
        }
    }

    /// What the template is told.
    pub(crate) fn rendering(&self, model: &Model) -> Rendering {
        let switched = match self.think {
            Some(Think::On) => Some(true),
            Some(Think::Off) => Some(false),
            Some(Think::Hide) | None => None,
        };
        let switch = model.chat_template().thinking_variable().zip(switched);
        let switch = switch.map(|(name, on)| (name.to_owned(), Json::from(on)));
        let variables = switch
            .into_iter()
            .chain(self.template_vars.iter().map(|variable| (variable.name.clone(), variable.value.clone())))
            .collect();
        Rendering::default().variables(variables)
    }

    /// What answers depend on, as journals write it: names and values of what is not as it is without these flags.
    #[cfg(feature = "long-work")]
    pub(crate) fn settings(&self, model: &Model) -> Vec<(&'static str, String)> {
        let template = self.chat_template.as_ref();
        let template =
            template.map(|_| ("chat-template", hash::of(model.chat_template().source().as_bytes())));
        let think = self.think.map(|think| ("think", think.name().to_owned()));
        let texts: Vec<&str> = self.template_vars.iter().map(|variable| variable.text.as_str()).collect();
        let variables = Some(("template-var", texts.join(" "))).filter(|_| !texts.is_empty());
        let special = Some(("special", String::new())).filter(|_| self.special);
        [template, think, variables, special].into_iter().flatten().collect()
    }
}

/// The template of a source, with the model's tokens.
fn compiled(model: &Model, source: &str) -> Result<ChatTemplate> {
    let tokenizer = model.tokenizer();
    let text = |id: Option<u32>| id.map(|id| String::from_utf8_lossy(tokenizer.text(id)).into_owned());
    let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos()));
    Ok(ChatTemplate::new(source, bos.as_deref(), eos.as_deref())?)
}

/// A name and its value, which is JSON.
fn variable(text: &str) -> Result<Variable, String> {
    let is_word = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty() && is_word(name))
        .ok_or("expected a name, = and a value, such as enable_thinking=false")?;
    let value = value.parse().map_err(|error: TemplateError| format!("{error}; a text needs quotes"))?;
    Ok(Variable { text: text.to_owned(), name: name.to_owned(), value })
}

/// Says which tokens the model's file has wrong.
fn tell_corrected(model: &Model) {
    if let Some(texts) = texts_of(model, model.tokenizer().corrected()) {
        note(format_args!(
            "{texts} in the model's file are no control tokens, but its chat template spells them: taken as such"
        ));
    }
}

/// Says which marks of another template than the model's own are text to the model.
fn tell_text_marks(model: &Model, template: &str) {
    if let Some(texts) = texts_of(model, &model.tokenizer().text_marks(template)) {
        note(format_args!(
            "{texts} of the chat template are text in the model's vocabulary, not control tokens"
        ));
    }
}

/// What some tokens are spelled; None where there are none.
fn texts_of(model: &Model, tokens: &[u32]) -> Option<String> {
    let texts = tokens.iter().map(|&id| String::from_utf8_lossy(model.tokenizer().text(id)));
    let texts: Vec<_> = texts.collect();
    Some(texts.join(" ")).filter(|_| !texts.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_name_and_json() {
        for (text, name, value) in [
            ("enable_thinking=false", "enable_thinking", Json::from(false)),
            ("a=\"b=c\"", "a", Json::from("b=c")),
            ("n1=[1]", "n1", Json::from(vec![Json::from(1)])),
        ] {
            let read = variable(text).map(|variable| (variable.name, variable.value));
            assert_eq!(read, Ok((name.to_owned(), value)));
        }
        for (text, expected) in [
            ("a", "expected a name, = and a value"),
            ("=1", "expected a name"),
            ("a b=1", "expected a name"),
            ("1a=1", "expected a name"),
            ("a=", "EOF while parsing"),
            ("a=off", "a text needs quotes"),
        ] {
            assert!(variable(text).is_err_and(|error| error.contains(expected)), "{text}");
        }
    }
}
