use super::{Totals, type_name};
use siskin::gguf::{Gguf, TensorInfo, Value};
use std::fmt::{self, Write};

/// Longest string shown in full, and most elements of an array, before the rest is left out.
const SHOWN_CHARACTERS: usize = 60;
const SHOWN_ELEMENTS: usize = 4;

/// A page for people: long values are cut, control characters are escaped.
pub(super) fn report(file: &Gguf, second: Option<&str>) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut page, file, second);
    page
}

fn write_report(page: &mut String, file: &Gguf, second: Option<&str>) -> fmt::Result {
    let (name, version, bytes) = (file.name(), file.version(), file.file_len());
    let shards = match file.files().count() {
        1 => String::new(),
        count => format!("{count} files, "),
    };
    writeln!(page, "{name}: GGUF version {version}, {shards}{bytes} bytes, alignment {}", file.alignment())?;
    if let Some(second) = second {
        writeln!(page, "gguf-rs {second}")?;
    }
    let keys: Vec<_> = file.metadata().collect();
    writeln!(page, "\nmetadata ({} keys)", keys.len())?;
    let width = keys.iter().map(|(key, _)| key.len()).max().unwrap_or(0).min(48);
    for (key, value) in keys {
        let kind = value.kind().name();
        writeln!(page, "  {:width$}  {kind:6}  {}", escape(key.as_bytes()), Shown(value))?;
    }
    write_tensors(page, file.tensors())
}

fn write_tensors(page: &mut String, tensors: &[TensorInfo]) -> fmt::Result {
    writeln!(page, "\ntensors ({})", tensors.len())?;
    let width = tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    let types = tensors.iter().map(|tensor| type_name(tensor).len()).max().unwrap_or(0).max(8);
    for tensor in tensors {
        let (name, shape, bytes) =
            (escape(tensor.name.as_bytes()), format!("{:?}", tensor.shape), tensor.bytes);
        let ty = type_name(tensor);
        writeln!(page, "  {name:width$}  {ty:types$}  {shape:>20}  {bytes:>13}")?;
    }
    let totals = Totals::of(tensors);
    writeln!(
        page,
        "\n{} weights in {} bytes: {:.2} bits per weight",
        totals.elements,
        totals.bytes,
        totals.bits()
    )?;
    for (name, (count, bytes)) in &totals.types {
        writeln!(page, "  {name:types$}  {count:>5} tensors  {bytes:>13} bytes")?;
    }
    Ok(())
}

/// A value on one line.
struct Shown<'a>(Value<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Str(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
                write!(f, "\"{}\"", escape(cut.as_bytes()))?;
                if cut.len() < text.len() { write!(f, "... {} bytes", bytes.len()) } else { Ok(()) }
            }
            Value::Array(array) => {
                write!(f, "{} {} [", array.len(), array.kind())?;
                for (index, element) in array.iter().take(SHOWN_ELEMENTS).enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", Shown(element))?;
                }
                f.write_str(if array.len() > SHOWN_ELEMENTS { ", ...]" } else { "]" })
            }
            Value::Bool(value) => write!(f, "{value}"),
            Value::F32(value) => write!(f, "{value:?}"),
            Value::F64(value) => write!(f, "{value:?}"),
            integer => write!(f, "{}", integer.as_integer().unwrap_or_default()),
        }
    }
}

/// Text that cannot move a terminal's cursor or change its colors.
fn escape(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_strings_are_cut_and_control_characters_escaped() {
        assert_eq!(Shown(Value::Str(b"a\x1b[31m\n")).to_string(), "\"a\\u{1b}[31m\\n\"");
        let long = "x".repeat(100);
        assert_eq!(
            Shown(Value::Str(long.as_bytes())).to_string(),
            format!("\"{}\"... 100 bytes", "x".repeat(60))
        );
        assert_eq!(Shown(Value::Str(b"\xff")).to_string(), "\"\u{fffd}\"");
    }
}
