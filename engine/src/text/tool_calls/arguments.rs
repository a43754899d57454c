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
        let name = serde_json::to_string(name).unwrap_or_default();
        let value = match value {
            "True" => "true",
            "False" => "false",
            "None" => "null",
            value => value,
        };
        json.push_str(&format!("{name}: {value}"));
        let behind_comma = text.get(behind..).and_then(|rest| rest.strip_prefix(", "));
        match behind_comma {
            Some(_) => at = behind + 2,
            None if text.get(behind..).is_some_and(|rest| rest.starts_with(')')) => at = behind,
            None => return (json, Extent::Open),
        }
    }
}
