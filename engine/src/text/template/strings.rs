//! What Python and Jinja2 do with strings, where the engine does it otherwise or not at all.

use minijinja::value::{Kwargs, Tuple, from_args};
use minijinja::{Error, ErrorKind, Value};

use super::MAX_OUTPUT;

/// Calls a method of strings; `None` for those that are left to the engine.
pub(super) fn method(text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let one = || from_args::<(&str,)>(args).map(|(arg,)| arg);
    Some(match name {
        "splitlines" => from_args::<(Option<bool>,)>(args).map(|(keep_ends,)| {
            let keep_ends = keep_ends.unwrap_or(false);
            lines(text).map(|(line, end)| if keep_ends { part_of(text, line, end) } else { line }).collect()
        }),
        "title" => from_args::<()>(args).map(|()| Value::from(title(text))),
        "swapcase" => from_args::<()>(args).map(|()| Value::from(swap_case(text))),
        "removeprefix" => one().map(|prefix| Value::from(text.strip_prefix(prefix).unwrap_or(text))),
        "removesuffix" => one().map(|suffix| Value::from(text.strip_suffix(suffix).unwrap_or(text))),
        "partition" => one().map(|separator| match text.split_once(separator) {
            Some((before, after)) => triple(before, separator, after),
            None => triple(text, "", ""),
        }),
        "rpartition" => one().map(|separator| match text.rsplit_once(separator) {
            Some((before, after)) => triple(before, separator, after),
            None => triple("", "", text),
        }),
        "rsplit" => right_split(text, args),
        "index" | "rindex" => one().and_then(|what| {
            let place = if name == "index" { text.find(what) } else { text.rfind(what) };
            let place = place.ok_or_else(|| invalid("substring not found"))?;
            Ok(Value::from(part(0, place).chars().count()))
        }),
        _ => return None,
    })
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

fn triple(before: &str, separator: &str, after: &str) -> Value {
    Value::from(Tuple::from([before, separator, after].map(Value::from)))
}

/// The lines of a text, each with what ends it, as `str.splitlines` finds them.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let ends =
            |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let (line, behind) = rest.split_at_checked(rest.find(ends).unwrap_or(rest.len()))?;
        let length =
            if behind.starts_with("\r\n") { 2 } else { behind.chars().next().map_or(0, char::len_utf8) };
        let (end, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some((line, end))
    })
}

/// A line of the text with its end, which follows it there.
fn part_of<'t>(text: &'t str, line: &'t str, end: &'t str) -> &'t str {
    let start = line.as_ptr() as usize - text.as_ptr() as usize;
    text.get(start..start + line.len() + end.len()).unwrap_or(line)
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        match within {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        within = c.is_alphabetic();
    }
    out
}

fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_uppercase() {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
    }
    out
}

fn right_split(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = match separator {
        Some("") => return Err(invalid("empty separator")),
        Some(separator) => text.rsplitn(most.saturating_add(1), separator).collect(),
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end();
            while parts.len() < most
                && let Some((before, last)) = rest.rsplit_once(char::is_whitespace)
            {
                parts.push(last);
                rest = before.trim_end();
            }
            parts.extend(Some(rest).filter(|rest| !rest.trim().is_empty()));
            parts
        }
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

/// The filter `indent(width=4, first=False, blank=False)`. The width may be the text that is put before lines.
pub(super) fn indent(
    text: &str,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    const MAX_WIDTH: usize = 1000;
    let width = width.map_or_else(|| options.get::<Option<Value>>("width"), |width| Ok(Some(width)))?;
    let first = first.map_or_else(|| options.get::<Option<bool>>("first"), |first| Ok(Some(first)))?;
    let blank = blank.map_or_else(|| options.get::<Option<bool>>("blank"), |blank| Ok(Some(blank)))?;
    options.assert_all_used()?;
    let indention = match width.as_ref().and_then(Value::as_str) {
        Some(indention) => indention.to_owned(),
        None => match width.map_or(Some(4), |width| width.as_usize()) {
            Some(width) if width <= MAX_WIDTH => " ".repeat(width),
            _ => return Err(invalid("an indent, expected a text or a number up to 1000")),
        },
    };
    let mut out = String::new();
    // Jinja2 adds an end of line first, so that a text which ends with one has an empty line behind it.
    let ended = format!("{text}\n");
    for (index, (line, _)) in lines(&ended).enumerate() {
        let (before, indented) = match index {
            0 => ("", first == Some(true)),
            _ => ("\n", blank == Some(true) || !line.is_empty()),
        };
        let indention = if indented { indention.as_str() } else { "" };
        if out.len() + indention.len() + line.len() >= MAX_OUTPUT {
            return Err(invalid("an indented text that is too long"));
        }
        for part in [before, indention, line] {
            out.push_str(part);
        }
    }
    Ok(Value::from(out))
}
