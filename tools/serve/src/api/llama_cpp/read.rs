//! What a request for a completion says.

use crate::api::logprobs::MOST_OF_LLAMA_CPP;
use crate::api::sampling::sampling;
use crate::api::{fields, format};
use crate::ask::{Ask, Infill, Part, Prompt};
use crate::refusal::Refusal;
use anyhow::{Result, bail};
use siskin::AnswerLimits;
use siskin::sampler::{SamplerKind, SamplerOverrides};
use siskin::template::Json;
use siskin::tokenizer::Tokenizer;
use siskin_kit::json::{Kind, Object, single};
use siskin_kit::openai::{self, Tokens};
use std::path::PathBuf;

/// Bytes of a text whose tokens are made more or less probable, at most.
const LONGEST_BIASED: usize = 1 << 10;

/// Reads all but the prompt. `tokenizer` is that of the model which is asked, `adapters` are those of the server.
pub(super) fn ask(
    fields: &mut Object,
    prompt: Prompt,
    tokenizer: &Tokenizer,
    adapters: &[(String, PathBuf)],
) -> Result<Ask, Refusal> {
    fields::refuse(
        fields,
        &["image_data", "multimodal_data", "post_sampling_probs", "n_indent", "t_max_predict_ms"],
    )?;
    let stop = fields.take("stop").filter(|stop| *stop != Json::Array(Vec::new()));
    let stop = stop.map(|stop| openai::stops("stop", &stop)).transpose()?;
    let tokens = match openai::tokens(fields)? {
        Some(Tokens::Most(tokens)) => Some(tokens),
        Some(Tokens::Unlimited) | None => None,
    };
    const PROBABILITIES: &str = "a whole number from 0 to 100";
    let probabilities = fields.typed("n_probs", PROBABILITIES, |value| match value {
        Json::Integer(most) => usize::try_from(*most).ok().filter(|most| *most <= MOST_OF_LLAMA_CPP),
        _ => None,
    })?;
    let probabilities = probabilities.unwrap_or(0);
    let with_tokens = fields.flag("return_tokens")?.unwrap_or(false);
    Ok(Ask {
        prompt,
        adapters: fields::adapters(fields, adapters)?,
        sampling: sampling_of(fields, tokenizer)?,
        format: format::llama_cpp(fields)?,
        limits: AnswerLimits::default().tokens(tokens).stop(stop.unwrap_or_default()),
        logprobs: (probabilities > 0 || with_tokens).then_some(probabilities),
        ..Ask::default()
    })
}

/// The prompt of `/completion`.
pub(super) fn prompt(fields: &mut Object) -> Result<Prompt, Refusal> {
    let mut prompts = crate::api::prompts::prompts("prompt", fields.take("prompt"))?;
    match (prompts.pop(), prompts.len()) {
        (Some(prompt), 0) => Ok(prompt),
        _ => Err(Refusal::invalid("prompt: several prompts in a request are not supported")),
    }
}

/// The prompt of `/infill`, whose own field `prompt` goes behind the text before the gap.
pub(super) fn infill(fields: &mut Object) -> Result<Prompt, Refusal> {
    let mut text = |name: &str| fields.text(name).map(Option::unwrap_or_default);
    let (prefix, suffix, prompt) = (text("input_prefix")?, text("input_suffix")?, text("prompt")?);
    let files = match fields.take("input_extra") {
        Some(Json::Array(files)) => files,
        None => Vec::new(),
        Some(other) => {
            let said = format!("input_extra: expected an array, found {}", Kind(&other));
            return Err(Refusal::invalid(said));
        }
    };
    let file = |(index, file)| {
        let mut fields = Object::of(&format!("input_extra[{index}]"), file)?;
        let name = fields.text("filename")?.unwrap_or_else(|| "file".to_owned());
        Ok((name, fields.require_text("text")?))
    };
    let files = files.into_iter().enumerate().map(file).collect::<Result<_>>()?;
    Ok(Prompt::Infill(Infill { prefix: prefix + &prompt, suffix, files }))
}

fn sampling_of(fields: &mut Object, tokenizer: &Tokenizer) -> Result<SamplerOverrides> {
    let mut biases = fields.take("logit_bias").map(|bias| biases(bias, tokenizer)).transpose()?;
    if fields.flag("ignore_eos")?.unwrap_or(false) {
        let ends = tokenizer.ends().iter().map(|&token| (token, f32::NEG_INFINITY));
        biases.get_or_insert_default().extend(ends);
    }
    let samplers = fields.take("samplers").map(samplers).transpose()?;
    Ok(sampling(fields)?.samplers(samplers).logit_bias(biases))
}

/// The samplers in their order: an array of names, or a text of letters.
fn samplers(value: Json) -> Result<Vec<SamplerKind>> {
    const EXPECTED: &str = "samplers: expected an array of names or a text of letters";
    match value {
        Json::String(letters) => Ok(SamplerKind::parse_letters(&letters)?),
        Json::Array(names) => {
            let name = |name: &Json| match name {
                Json::String(name) => Ok(name.parse::<SamplerKind>()?),
                other => bail!("{EXPECTED}, found {} in it", Kind(other)),
            };
            names.iter().map(name).collect()
        }
        other => bail!("{EXPECTED}, found {}", Kind(&other)),
    }
}

/// Biases: pairs of a token or a text, and a number or false, which bans; or an object of them.
fn biases(value: Json, tokenizer: &Tokenizer) -> Result<Vec<(u32, f32)>> {
    const EXPECTED: &str =
        "logit_bias: expected an array of pairs of a token, or a text, and a number or false";
    let pairs = match value {
        Json::Array(pairs) => pairs,
        Json::Object(entries) => {
            let pair = |(token, bias): (String, Json)| {
                let token = token.parse::<u32>().map_or(Json::String(token), |id| Json::Integer(id.into()));
                Json::Array(vec![token, bias])
            };
            entries.into_iter().map(pair).collect()
        }
        other => bail!("{EXPECTED}, found {}", Kind(&other)),
    };
    let mut biases = Vec::new();
    for pair in pairs {
        let Json::Array(pair) = pair else { bail!("{EXPECTED}") };
        let [of, bias] = pair.as_slice() else { bail!("{EXPECTED}") };
        let bias = match (bias, single(bias)) {
            (Json::Bool(false), _) => f32::NEG_INFINITY,
            (_, Some(bias)) => bias,
            (other, None) => bail!("{EXPECTED}, found {}", Kind(other)),
        };
        match of {
            Json::Integer(token) => match u32::try_from(*token) {
                Ok(token) => biases.push((token, bias)),
                Err(_) => bail!("logit_bias: {token} is no token"),
            },
            Json::String(text) if text.len() > LONGEST_BIASED => {
                bail!("logit_bias: a text has {} bytes, expected at most {LONGEST_BIASED}", text.len())
            }
            Json::String(text) => {
                let mut tokens = Vec::new();
                tokenizer.encode(text.as_bytes(), siskin::tokenizer::Special::Text, &mut tokens);
                biases.extend(tokens.into_iter().map(|token| (token, bias)));
            }
            other => bail!("{EXPECTED}, found {}", Kind(other)),
        }
    }
    Ok(biases)
}

/// The text of a prompt, as far as it is one.
pub(super) fn text_of(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Parts(parts) => parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Token(_) => None,
        }),
        Prompt::Given(text) => return text.clone(),
        Prompt::Chat(_) | Prompt::Infill(_) => return String::new(),
    }
    .collect()
}
