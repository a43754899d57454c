use siskin::gguf::write::{Builder, OwnedArray, WriteError};

pub(crate) use siskin::gguf::write::OwnedValue as Value;

/// Keys and values in the order in which they will be written.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    entries: Vec<(String, Value)>,
}

impl Metadata {
    /// Adds a key, or gives it another value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value.into(),
            None => self.entries.push((key.into(), value.into())),
        }
    }

    /// All keys and values.
    pub(crate) fn into_entries(self) -> Vec<(String, Value)> {
        self.entries
    }

    /// A file with this metadata and no tensors yet.
    pub(crate) fn into_builder(self) -> Result<Builder, WriteError> {
        let mut builder = Builder::new();
        for (key, value) in self.into_entries() {
            builder.set(&key, value)?;
        }
        Ok(builder)
    }
}

/// An array of strings.
pub(crate) fn strings(values: impl IntoIterator<Item = String>) -> Value {
    Value::Array(OwnedArray::Str(values.into_iter().map(String::into_bytes).collect()))
}

/// An array of f32.
pub(crate) fn floats(values: impl IntoIterator<Item = f32>) -> Value {
    Value::Array(OwnedArray::F32(values.into_iter().collect()))
}

/// An array of i32.
pub(crate) fn integers(values: impl IntoIterator<Item = i32>) -> Value {
    Value::Array(OwnedArray::I32(values.into_iter().collect()))
}

/// An array of truth values.
pub(crate) fn booleans(values: impl IntoIterator<Item = bool>) -> Value {
    Value::Array(OwnedArray::Bool(values.into_iter().collect()))
}

/// A model's name from its folder's, as llama.cpp writes it: words apart, each with a capital unless it has one or is
/// a version or a number.
pub(crate) fn title(folder: &str) -> String {
    let word = |word: &str| {
        let versioned = word.strip_prefix('v').unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
        let lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
        let mut rest = word.chars();
        match rest.next() {
            Some(first) if lower && !versioned => first.to_uppercase().chain(rest).collect(),
            _ => word.to_string(),
        }
    };
    folder
        .split(|c: char| c == '-' || c.is_whitespace())
        .filter(|w| !w.is_empty())
        .map(word)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The number of parameters in two digits or more, as llama.cpp writes it: `135M`, `1.2B`, `7.3M`.
pub(crate) fn size_label(parameters: u64) -> String {
    let (scaled, suffix) = match parameters as f64 {
        count if count > 1e12 => (count * 1e-12, "T"),
        count if count > 1e9 => (count * 1e-9, "B"),
        count if count > 1e6 => (count * 1e-6, "M"),
        count => (count * 1e-3, "K"),
    };
    let digits = match scaled.round_ties_even() {
        whole if whole < 1.0 => 2,
        whole if whole < 10.0 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_titles() {
        assert_eq!(title("SmolLM2-135M-Instruct"), "SmolLM2 135M Instruct");
        assert_eq!(title("tiny-llama-1.1b-v1.0"), "Tiny Llama 1.1b v1.0");
        assert_eq!(title("demo"), "Demo");
    }

    #[test]
    fn sizes_have_two_digits() {
        let labels = [
            (134_515_008, "135M"),
            (1_235_814_400, "1.2B"),
            (7_344_384, "7.3M"),
            (27_488, "27K"),
            (500, "0.50K"),
        ];
        for (parameters, label) in labels {
            assert_eq!(size_label(parameters), label);
        }
    }
}
