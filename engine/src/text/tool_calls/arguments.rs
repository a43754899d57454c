//! Arguments of a call, read as far as they are there.

/// How far something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes, all of it.
    Whole(usize),
    /// All that is there, and more is to come.
    Open,
}

/// How far a JSON value goes that a text begins with. What is behind a number decides whether it is all of it.
pub(super) fn json_extent(text: &str) -> Extent {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return Extent::Whole(at + 1);
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b')' if depth == 0 => return Extent::Whole(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Extent::Whole(at + 1);
                }
            }
            _ => {}
        }
    }
    Extent::Open
}

/// What stands before and behind an argument between tags.
pub(super) const TAG: (&str, &str, &str) = ("<parameter=", ">\n", "\n</parameter>\n");

/// What stands before and behind a text in [`escapes`].
pub(super) const ESCAPE: &str = "<escape>";

/// Arguments between tags, made JSON, and how far all go, up to the tag that ends the call. Those of `texts` are texts as they
/// are, told as they come; others are told once they are whole.
pub(super) fn tags(text: &str, texts: &[String]) -> (String, Extent) {
    let (open, behind_name, close) = TAG;
    let mut json = String::from("{");
    let mut rest = text;
    loop {
        let Some(behind) = rest.strip_prefix(open) else {
            if open.starts_with(rest) {
                return (json, Extent::Open);
            }
            json.push('}');
            return (json, Extent::Whole(text.len() - rest.len()));
        };
        let Some((name, value)) = behind.split_once(behind_name) else { return (json, Extent::Open) };
        let found = value.split_once(close);
        let is_text = texts.iter().any(|text| text == name);
        let comma = if json.len() > 1 { ", " } else { "" };
        let key = format!("{comma}{}: ", quoted(name));
        match found {
            Some((value, behind)) => {
                let value = if is_text { quoted(value) } else { of_python(value).to_owned() };
                json.push_str(&key);
                json.push_str(&value);
                rest = behind;
            }
            None if is_text => {
                let value = without_beginning_of(value, close);
                json.push_str(&key);
                json.push_str(unclosed(&quoted(value)));
                return (json, Extent::Open);
            }
            None => return (json, Extent::Open),
        }
    }
}

/// Arguments whose texts are between two [`ESCAPE`]s, made JSON, and how far all go, up to the bracket that closes them.
pub(super) fn escapes(text: &str) -> (String, Extent) {
    let mut json = String::from("{");
    let mut rest = text;
    let is_whole = escaped_fields(&mut rest, &mut json, 0).is_some();
    match is_whole {
        true => (json, Extent::Whole(text.len() - rest.len())),
        false => (json, Extent::Open),
    }
}

/// How deeply values nest that are read.
const DEPTH: usize = 64;

/// Fields up to the bracket that closes them, which is left; none where they are not all there.
fn escaped_fields(rest: &mut &str, json: &mut String, depth: usize) -> Option<()> {
    let mut is_first = true;
    while !rest.starts_with('}') {
        let (name, value) = rest.split_once(':')?;
        let name = if is_first { name } else { name.strip_prefix(',')? };
        if !is_first {
            json.push_str(", ");
        }
        json.push_str(&format!("{}: ", quoted(name)));
        *rest = value;
        escaped_value(rest, json, depth)?;
        is_first = false;
    }
    json.push('}');
    Some(())
}

fn escaped_value(rest: &mut &str, json: &mut String, depth: usize) -> Option<()> {
    if depth > DEPTH {
        return None;
    }
    if let Some(text) = rest.strip_prefix(ESCAPE) {
        let Some((value, behind)) = text.split_once(ESCAPE) else {
            json.push_str(unclosed(&quoted(without_beginning_of(text, ESCAPE))));
            return None;
        };
        json.push_str(&quoted(value));
        *rest = behind;
    } else if let Some(fields) = rest.strip_prefix('{') {
        json.push('{');
        *rest = fields;
        escaped_fields(rest, json, depth + 1)?;
        *rest = rest.strip_prefix('}')?;
    } else if let Some(items) = rest.strip_prefix('[') {
        json.push('[');
        *rest = items;
        let mut is_first = true;
        while !rest.starts_with(']') {
            if !is_first {
                *rest = rest.strip_prefix(',')?;
                json.push_str(", ");
            }
            escaped_value(rest, json, depth + 1)?;
            is_first = false;
        }
        *rest = rest.strip_prefix(']')?;
        json.push(']');
    } else {
        // What is behind a number decides whether it is all of it; a text may begin here.
        let end = rest.find([',', '}', ']'])?;
        let (value, behind) = rest.split_at(end);
        json.push_str(of_python(value));
        *rest = behind;
    }
    Some(())
}

/// A text as JSON.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A text as JSON that may go on.
fn unclosed(quoted: &str) -> &str {
    quoted.strip_suffix('"').unwrap_or(quoted)
}

/// A text without what may be the beginning of this mark at its end.
fn without_beginning_of<'t>(text: &'t str, mark: &str) -> &'t str {
    let is_begun = |length: &usize| mark.get(..*length).is_some_and(|begun| text.ends_with(begun));
    let held = (1..mark.len()).rev().find(is_begun).unwrap_or(0);
    text.get(..text.len() - held).unwrap_or(text)
}

/// A value as JSON has it.
fn of_python(value: &str) -> &str {
    match value {
        "True" => "true",
        "False" => "false",
        "None" => "null",
        value => value,
    }
}

/// Arguments as Python writes them, made JSON: of those that are whole, and how far all go, up to the bracket that closes them.
pub(super) fn python(text: &str) -> (String, Extent) {
    let mut json = String::from("{");
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(')') {
            json.push('}');
            return (json, Extent::Whole(at));
        }
        let Some((name, value)) = rest.split_once('=') else { return (json, Extent::Open) };
        let Extent::Whole(length) = json_extent(value) else { return (json, Extent::Open) };
        let value = value.get(..length).unwrap_or_default();
        let behind = at + name.len() + 1 + length;
        // Whether there are more decides how this one is followed; it is itself whole.
        json.push_str(if json.len() > 1 { ", " } else { "" });
        json.push_str(&format!("{}: {}", quoted(name), of_python(value)));
        let behind_comma = text.get(behind..).and_then(|rest| rest.strip_prefix(", "));
        match behind_comma {
            Some(_) => at = behind + 2,
            None if text.get(behind..).is_some_and(|rest| rest.starts_with(')')) => at = behind,
            None => return (json, Extent::Open),
        }
    }
}
