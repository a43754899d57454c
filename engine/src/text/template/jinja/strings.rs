//! What Python and Jinja2 do with strings. What a text says decides; what is given is cut out of the text as it is carried
//! ([`super::provenance`]).

use std::borrow::Cow;

use minijinja::value::{Kwargs, StringInput, Tuple, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::MAX_CARRIED;
use super::provenance::{Traced, plain, plain_value};

/// Methods that give a number or a truth.
const QUESTIONS: [&str; 14] = [
    "count",
    "endswith",
    "find",
    "isalnum",
    "isalpha",
    "isascii",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "isupper",
    "rfind",
    "startswith",
    "isdecimal",
];

/// Calls a method of strings; `None` for those that are left to the engine, which do not ask what the text says.
pub(super) fn method(
    state: &mut State<'_, '_>,
    text: &str,
    name: &str,
    args: &[Value],
) -> Option<Result<Value, Error>> {
    let args = match positional(name, args) {
        Ok(args) => args,
        Err(error) => return Some(Err(error)),
    };
    let args = args.as_ref();
    let traced = Traced::new(text);
    let says = traced.plain();
    if QUESTIONS.contains(&name) {
        let args: Vec<Value> = args.iter().map(plain_value).collect();
        return Some(unknown_method_callback(state, &Value::from(says), name, &args));
    }
    if let Some(parts) = parts_of(says, name, args) {
        let carried = |part: &str| Value::from(traced.part(part));
        return Some(parts.map(|parts| match parts {
            Parts::One(part) => carried(part),
            Parts::List(parts) => parts.into_iter().map(carried).collect(),
            Parts::Three(before, separator, after) => {
                Value::from(Tuple::from([carried(before), carried(separator), carried(after)]))
            }
        }));
    }
    let changed =
        |change: fn(&str) -> String| from_args::<()>(args).map(|()| Value::from(traced.map(change)));
    Some(match name {
        "lower" => changed(str::to_lowercase),
        "upper" => changed(str::to_uppercase),
        "title" => changed(title),
        "swapcase" => changed(swap_case),
        "capitalize" => from_args::<()>(args).and_then(|()| capitalize(state, text)),
        "replace" => from_args::<(&str, &str, Option<i64>)>(args)
            .and_then(|(old, new, count)| replaced(&traced, old, new, count)),
        "index" | "rindex" => from_args::<(&str,)>(args).and_then(|(what,)| {
            let what = plain(what);
            let place = if name == "index" { says.find(what.as_ref()) } else { says.rfind(what.as_ref()) };
            let place = place.ok_or_else(|| invalid("substring not found"))?;
            Ok(Value::from(says.get(..place).unwrap_or_default().chars().count()))
        }),
        _ => return None,
    })
}

/// The arguments with those given by name in their places.
fn positional<'a>(method: &str, args: &'a [Value]) -> Result<Cow<'a, [Value]>, Error> {
    let names: &[&str] = match method {
        "replace" => &["old", "new", "count"],
        "split" | "rsplit" => &["sep", "maxsplit"],
        "splitlines" => &["keepends"],
        "strip" => &["chars"],
        _ => return Ok(args.into()),
    };
    let Some((last, before)) = args.split_last().filter(|(last, _)| last.is_kwargs()) else {
        return Ok(args.into());
    };
    let named = Kwargs::try_from(last.clone())?;
    let mut placed = before.to_vec();
    for name in names.get(before.len()..).unwrap_or_default() {
        placed.push(named.get::<Option<Value>>(name)?.unwrap_or_default());
    }
    named.assert_all_used()?;
    Ok(placed.into())
}

/// Parts of a text.
enum Parts<'t> {
    One(&'t str),
    List(Vec<&'t str>),
    /// What is before and behind a separator, which may be empty.
    Three(&'t str, &'t str, &'t str),
}

/// What a method that cuts a text gives; `None` for other methods.
fn parts_of<'t>(text: &'t str, name: &str, args: &[Value]) -> Option<Result<Parts<'t>, Error>> {
    let one = |part: fn(&'t str, &str) -> &'t str| {
        from_args::<(&str,)>(args).map(|(arg,)| Parts::One(part(text, &plain(arg))))
    };
    let strip = |chars: fn(&'t str, &[char]) -> &'t str, spaces: fn(&'t str) -> &'t str| {
        from_args::<(Option<&str>,)>(args).map(|(set,)| Parts::One(stripped(text, set, chars, spaces)))
    };
    Some(match name {
        "strip" => strip(|text, set| text.trim_matches(set), str::trim),
        "lstrip" => strip(|text, set| text.trim_start_matches(set), str::trim_start),
        "rstrip" => strip(|text, set| text.trim_end_matches(set), str::trim_end),
        "removeprefix" => one(|text, prefix| text.strip_prefix(prefix).unwrap_or(text)),
        "removesuffix" => one(|text, suffix| text.strip_suffix(suffix).unwrap_or(text)),
        "split" => from_args::<(Option<&str>, Option<i64>)>(args)
            .and_then(|(separator, most)| split(text, separator, most).map(Parts::List)),
        "rsplit" => from_args::<(Option<&str>, Option<i64>)>(args)
            .and_then(|(separator, most)| right_split(text, separator, most).map(Parts::List)),
        "splitlines" => from_args::<(Option<bool>,)>(args).map(|(keep_ends,)| {
            let keep_ends = keep_ends.unwrap_or(false);
            let line = |(line, end)| if keep_ends { part_of(text, line, end) } else { line };
            Parts::List(lines(text).map(line).collect())
        }),
        "partition" => from_args::<(&str,)>(args).map(|(separator,)| {
            let place = text.find(plain(separator).as_ref());
            three(text, place, &plain(separator), text.len())
        }),
        "rpartition" => from_args::<(&str,)>(args).map(|(separator,)| {
            let place = text.rfind(plain(separator).as_ref());
            three(text, place, &plain(separator), 0)
        }),
        _ => return None,
    })
}

/// The text without what is at its ends: characters of a set, or white space.
fn stripped<'t>(
    text: &'t str,
    set: Option<&str>,
    chars: fn(&'t str, &[char]) -> &'t str,
    spaces: fn(&'t str) -> &'t str,
) -> &'t str {
    match set {
        Some(set) => chars(text, &plain(set).chars().collect::<Vec<_>>()),
        None => spaces(text),
    }
}

/// The three parts around a separator at `place`; all of the text on one side of `otherwise` if it is nowhere.
fn three<'t>(text: &'t str, place: Option<usize>, separator: &str, otherwise: usize) -> Parts<'t> {
    let (from, to) = place.map_or((otherwise, otherwise), |place| (place, place + separator.len()));
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    Parts::Three(part(0..from), part(from..to), part(to..text.len()))
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a string of more than {MAX_CARRIED} bytes"))
}

/// A text whose characters become others, as the engine's filter has it.
fn capitalize(state: &State<'_, '_>, text: &str) -> Result<Value, Error> {
    // The engine asks for a state and gives a value; what fails changes nothing.
    let change = |says: &str| {
        let value = Value::from(says);
        let changed = StringInput::new(state, &value).map(minijinja::filters::capitalize);
        changed.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_else(|| says.to_owned())
    };
    Ok(Value::from(Traced::new(text).map(change)))
}

/// The text with `new` at each place that says what `old` does, or the first `count` of them.
fn replaced(text: &Traced<'_>, old: &str, new: &str, count: Option<i64>) -> Result<Value, Error> {
    let (says, old) = (text.plain(), plain(old));
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let places = says.matches(old.as_ref()).take(count).count();
    let length = places.checked_mul(new.len()).and_then(|more| more.checked_add(text.part(says).len()));
    if length.is_none_or(|length| length > MAX_CARRIED) {
        return Err(too_long());
    }
    let mut out = String::new();
    let mut from = 0;
    for (place, found) in says.match_indices(old.as_ref()).take(count) {
        out.push_str(text.part(says.get(from..place).unwrap_or_default()));
        out.push_str(new);
        from = place + found.len();
    }
    out.push_str(text.part(says.get(from..).unwrap_or_default()));
    Ok(Value::from(out))
}

fn split<'t>(text: &'t str, separator: Option<&str>, most: Option<i64>) -> Result<Vec<&'t str>, Error> {
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    match separator.map(plain) {
        Some(separator) if separator.is_empty() => Err(invalid("empty separator")),
        Some(separator) => Ok(text.splitn(most.saturating_add(1), separator.as_ref()).collect()),
        None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start();
            while parts.len() < most
                && let Some((first, behind)) = rest.split_once(char::is_whitespace)
            {
                parts.push(first);
                rest = behind.trim_start();
            }
            parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
            Ok(parts)
        }
    }
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

fn right_split<'t>(text: &'t str, separator: Option<&str>, most: Option<i64>) -> Result<Vec<&'t str>, Error> {
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = match separator.map(plain) {
        Some(separator) if separator.is_empty() => return Err(invalid("empty separator")),
        Some(separator) => text.rsplitn(most.saturating_add(1), separator.as_ref()).collect(),
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
    Ok(parts)
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
    let traced = Traced::new(&ended);
    for (index, (line, _)) in lines(traced.plain()).enumerate() {
        let line = traced.part(line);
        let (before, indented) = match index {
            0 => ("", first == Some(true)),
            _ => ("\n", blank == Some(true) || !line.is_empty()),
        };
        let indention = if indented { indention.as_str() } else { "" };
        if out.len() + indention.len() + line.len() >= MAX_CARRIED {
            return Err(invalid("an indented text that is too long"));
        }
        for part in [before, indention, line] {
            out.push_str(part);
        }
    }
    Ok(Value::from(out))
}
