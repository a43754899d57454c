//! What a model is asked.

use siskin::template::Message;
use siskin_kit::hash::Fields;

/// The words around a text that is to be summarized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instructions {
    /// Before a part of a text.
    part: String,
    /// Before the summaries of parts; None where they are only put one after the other.
    merge: Option<String>,
    /// Tokens of a part that the model does best with, where that is known.
    part_size: Option<usize>,
}

impl Instructions {
    /// Those that suit a model, by the name that its file gives.
    pub(super) fn of(model: &str) -> Instructions {
        match model {
            // Trained to sum up a few lines of a machine's log after these very words, and not to merge anything:
            // tools/demo/make/assistant_data.py.
            "Siskin Demo" => Instructions {
                part: "Summarize this log:\n".into(),
                merge: None,
                part_size: Some(120),
            },
            _ => Instructions {
                part: "Summarize the following text in a few sentences.\n\n".into(),
                merge: Some(
                    "These are summaries of the parts of a text, in order. Merge them into one summary of the \
                     whole, in a few sentences.\n\n"
                        .into(),
                ),
                part_size: None,
            },
        }
    }

    /// The same words for both.
    pub(super) fn given(text: &str) -> Instructions {
        let text = format!("{}\n\n", text.trim_end());
        Instructions { part: text.clone(), merge: Some(text), part_size: None }
    }

    /// The same without merging.
    pub(super) fn parts_only(self) -> Instructions {
        Instructions { merge: None, ..self }
    }

    /// Adds them to what is hashed.
    pub(super) fn hash(&self, fields: Fields) -> Fields {
        let Instructions { part, merge, part_size } = self;
        let fields = fields.text(part).optional(merge.as_deref(), Fields::text);
        fields.optional(*part_size, |fields, size| fields.number(size as u64))
    }

    /// Whether summaries are merged.
    pub(super) fn merges(&self) -> bool {
        self.merge.is_some()
    }

    /// Tokens of a part that the model does best with, where that is known.
    pub(super) fn part_size(&self) -> Option<usize> {
        self.part_size
    }

    /// Asks for the summary of a part, which stands under `headings`.
    pub(super) fn part(&self, headings: &str, text: &str) -> [Message; 1] {
        let between = if headings.is_empty() { "" } else { "\n\n" };
        [Message::new("user", format!("{}{headings}{between}{text}", self.part))]
    }

    /// Asks to merge summaries.
    pub(super) fn merge(&self, summaries: &[String]) -> [Message; 1] {
        let instruction = self.merge.as_deref().unwrap_or_default();
        [Message::new("user", format!("{instruction}{}", summaries.join("\n\n")))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_stand_before_texts() {
        let content = |[message]: [Message; 1]| message.content;
        let given = Instructions::given("Sum up.\n");
        assert_eq!(content(given.part("", "text")), "Sum up.\n\ntext");
        assert_eq!(content(given.part("A > B", "text")), "Sum up.\n\nA > B\n\ntext");
        assert_eq!(content(given.merge(&["a".into(), "b".into()])), "Sum up.\n\na\n\nb");
        assert!(given.merges() && !given.parts_only().merges());
        assert_eq!(
            content(Instructions::of("Siskin Demo").part("", "11:30 ok")),
            "Summarize this log:\n11:30 ok"
        );
    }
}
