//! The `tojson` filter, as Python's `json.dumps` writes it.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::provenance::{Origin, carried, give, read};
use super::{MAX_CARRIED, compare, repr};

const MAX_INDENT: usize = 16;

/// Hugging Face's `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, the last two by name.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    ensure_ascii: Option<bool>,
    indent: Option<usize>,
    options: Kwargs,
) -> Result<Value, Error> {
    let indent = indent.map_or_else(|| options.get("indent"), |indent| Ok(Some(indent)))?;
    if indent.is_some_and(|indent| indent > MAX_INDENT) {
        return Err(error(format!("an indent of more than {MAX_INDENT}")));
    }
    let ensure_ascii = ensure_ascii.map_or_else(|| options.get("ensure_ascii"), |ascii| Ok(Some(ascii)))?;
    let separators: Option<Value> = options.get("separators")?;
    let separator = |index: usize, default: &str| -> Result<String, Error> {
        let Some(given) = &separators else { return Ok(default.to_owned()) };
        Ok(given.get_item_by_index(index)?.as_str().unwrap_or(default).to_owned())
    };
    let mut writer = Writer {
        out: String::new(),
        ensure_ascii: ensure_ascii.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        item: separator(0, if indent.is_some() { "," } else { ", " })?,
        key: separator(1, ": ")?,
        indent,
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    state.consume_fuel(writer.out.len() as u64 / 16)?;
    Ok(Value::from(writer.out))
}

struct Writer {
    out: String,
    ensure_ascii: bool,
    sort_keys: bool,
    item: String,
    key: String,
    indent: Option<usize>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.container('[', ']', &items, depth, |writer, item| writer.value(item, depth + 1))
            }
            ValueKind::Map => {
                let keys = value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?)));
                let mut pairs: Vec<(Value, Value)> = keys.collect::<Result<_, Error>>()?;
                if self.sort_keys {
                    pairs.sort_by(|(a, _), (b, _)| compare::order(a, b));
                }
                self.container('{', '}', &pairs, depth, |writer, (key, value)| {
                    writer.object_key(key)?;
                    writer.value(value, depth + 1)
                })
            }
            kind => Err(error(format!("a value of type {kind} has no JSON form"))),
        }
    }

    fn container<T>(
        &mut self,
        open: char,
        close: char,
        items: &[T],
        depth: usize,
        write: impl Fn(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        const MAX_DEPTH: usize = 100;
        if depth > MAX_DEPTH {
            return Err(error(format!("a value nests deeper than {MAX_DEPTH}")));
        }
        self.out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                let separator = self.item.clone();
                self.push(&separator)?;
            }
            self.new_line(depth + 1)?;
            write(self, item)?;
        }
        if !items.is_empty() {
            self.new_line(depth)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn object_key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default())?,
            ValueKind::None => self.push("\"null\"")?,
            ValueKind::Bool => self.push(if key.is_true() { "\"true\"" } else { "\"false\"" })?,
            ValueKind::Number => self.push(&format!("\"{}\"", number(key)))?,
            kind => return Err(error(format!("a key of type {kind} has no JSON form"))),
        }
        let separator = self.key.clone();
        self.push(&separator)
    }

    fn new_line(&mut self, depth: usize) -> Result<(), Error> {
        let Some(indent) = self.indent else { return Ok(()) };
        self.push("\n")?;
        (0..indent.saturating_mul(depth)).try_for_each(|_| self.push(" "))
    }

    /// Quotes are the template's; what stands for a given character is given.
    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.push("\"")?;
        for (_, Origin { c, given }) in read(text) {
            let escaped = match c {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\u{c}' => "\\f".to_owned(),
                c if u32::from(c) < 0x20 || (self.ensure_ascii && !(' '..='~').contains(&c)) => {
                    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                }
                c if given => {
                    carried(c).try_for_each(|c| self.push(c.encode_utf8(&mut [0; 4])))?;
                    continue;
                }
                c => {
                    self.push(c.encode_utf8(&mut [0; 4]))?;
                    continue;
                }
            };
            self.push(&if given { give(&escaped) } else { escaped })?;
        }
        self.push("\"")
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        if self.out.len() + text.len() > MAX_CARRIED {
            return Err(error(format!("JSON of more than {MAX_CARRIED} bytes")));
        }
        self.out.push_str(text);
        Ok(())
    }
}

fn error(problem: String) -> Error {
    Error::new(ErrorKind::BadSerialization, problem)
}

/// A number as Python's `json` writes it.
fn number(value: &Value) -> String {
    match repr::as_float(value) {
        Some(number) if number.is_nan() => "NaN".to_owned(),
        Some(number) if number.is_infinite() => {
            if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        Some(number) => repr::float(number),
        None => value.to_string(),
    }
}
