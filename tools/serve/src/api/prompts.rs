//! Texts that are continued as they are, in the forms that OpenAI and llama.cpp have for them.

use crate::ask::{Part, Prompt};
use crate::refusal::Refusal;
use siskin::template::Json;

/// One prompt or several: a text, an array of tokens, one of texts and tokens that are one prompt, or an array of texts or of
/// such arrays, each of them a prompt.
///
/// # Errors
/// Other values, and none at all.
pub(super) fn prompts(name: &str, value: Option<Json>) -> Result<Vec<Prompt>, Refusal> {
    let expected = || {
        Refusal::invalid(format_args!(
            "{name}: expected a text, an array of tokens, or an array of such prompts"
        ))
    };
    let items = match value {
        Some(Json::String(text)) => return Ok(vec![Prompt::Parts(vec![Part::Text(text)])]),
        Some(Json::Array(items)) => items,
        _ => return Err(expected()),
    };
    if items.is_empty() {
        return Err(expected());
    }
    if items.iter().any(|item| matches!(item, Json::Integer(_))) {
        let parts: Option<_> = items.into_iter().map(part).collect();
        return Ok(vec![Prompt::Parts(parts.ok_or_else(expected)?)]);
    }
    let prompt = |item| match item {
        Json::String(text) => Some(Prompt::Parts(vec![Part::Text(text)])),
        Json::Array(items) => items.into_iter().map(part).collect::<Option<_>>().map(Prompt::Parts),
        _ => None,
    };
    items.into_iter().map(prompt).collect::<Option<_>>().ok_or_else(expected)
}

fn part(value: Json) -> Option<Part> {
    match value {
        Json::String(text) => Some(Part::Text(text)),
        Json::Integer(token) => u32::try_from(token).ok().map(Part::Token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<Vec<Part>>> {
        let parts = |prompt| match prompt {
            Prompt::Parts(parts) => parts,
            other => panic!("{other:?}"),
        };
        let prompts = prompts("prompt", Some(text.parse().unwrap())).ok()?;
        Some(prompts.into_iter().map(parts).collect())
    }

    #[test]
    fn prompts_have_many_forms() {
        let text = |text: &str| Part::Text(text.to_owned());
        let (one, two) = (Part::Token(1), Part::Token(2));
        assert_eq!(read("\"a\"").unwrap(), [[text("a")]]);
        assert_eq!(read("[1, 2]").unwrap(), [[one.clone(), two.clone()]]);
        assert_eq!(read("[\"a\", 1]").unwrap(), [[text("a"), one.clone()]]);
        assert_eq!(read("[\"a\", \"b\"]").unwrap(), [[text("a")], [text("b")]]);
        assert_eq!(read("[[1], [\"a\", 2]]").unwrap(), [vec![one], vec![text("a"), two]]);
        for other in ["1", "{}", "[]", "[1.5]", "[-1]", "[[1], 2]", "[{}]", "[4294967296]"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
