//! What a model is asked.

use siskin::sampler::SamplerOverrides;
use siskin::template::Message;
use siskin_kit::hash::Fields;

/// The words around a text that is to be summarized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instructions {
    /// What is asked of a part of a text.
    part: String,
    /// What is asked of the summaries of parts; None where they are only put one after the other.
    merge: Option<String>,
    /// Whether the task stands before the text. Small models heed what they read last.
    before: bool,
    /// Tokens of a part that the model does best with, where that is known.
    part_size: Option<usize>,
}

/// What stands for the text's title in a task.
const TITLE: &str = "{title}";

impl Instructions {
    /// Those that suit a model, by the name that its file gives.
    pub(super) fn of(model: &str) -> Instructions {
        match model {
            // Trained to sum up a few lines of a machine's log after these very words, and not to merge anything:
            // tools/demo/make/assistant_data.py.
            "Siskin Demo" => Instructions {
                part: "Summarize this log:".into(),
                merge: None,
                before: true,
                part_size: Some(120),
            },
            _ => Instructions {
                part: "Summarize the text above in a few sentences.".into(),
                merge: Some(format!(
                    "The paragraphs above sum up the parts of {TITLE}, in order. Write one summary of the whole, in a \
                     few sentences."
                )),
                before: false,
                part_size: None,
            },
        }
    }

    /// The same words for both.
    pub(super) fn given(text: &str) -> Instructions {
        let text = text.trim_end().to_owned();
        Instructions { part: text.clone(), merge: Some(text), before: false, part_size: None }
    }

    /// The same without merging.
    pub(super) fn parts_only(self) -> Instructions {
        Instructions { merge: None, ..self }
    }

    /// Adds them to what is hashed.
    pub(super) fn hash(&self, fields: Fields) -> Fields {
        let Instructions { part, merge, before, part_size } = self;
        let fields = fields.text(part).optional(merge.as_deref(), Fields::text).number(u64::from(*before));
        fields.optional(*part_size, |fields, size| fields.number(size as u64))
    }

    /// Whether summaries are merged.
    pub(super) fn merges(&self) -> bool {
        self.merge.is_some()
    }

    /// How tokens are chosen, unless the flags say otherwise: the likeliest, which invents least. A penalty for what was
    /// there before would keep the text's own words and numbers down as well.
    pub(super) fn sampling() -> SamplerOverrides {
        SamplerOverrides::default().temperature(Some(0.0))
    }

    /// Whether the model was trained for the task, and its numbers may be what it counted. Those of others are invented.
    pub(super) fn may_count(&self) -> bool {
        self.before
    }

    /// Tokens of a part that the model does best with, where that is known.
    pub(super) fn part_size(&self) -> Option<usize> {
        self.part_size
    }

    /// Asks for the summary of a part, which stands under `headings`.
    pub(super) fn part(&self, headings: &str, text: &str) -> [Message; 1] {
        let between = if headings.is_empty() { "" } else { "\n\n" };
        self.ask(&self.part, format!("{headings}{between}{text}"))
    }

    /// Asks to merge summaries of parts of a text with this title.
    pub(super) fn merge(&self, title: Option<&str>, summaries: &[String]) -> [Message; 1] {
        let title = title.map_or_else(|| "a text".to_owned(), |title| format!("\"{title}\""));
        let task = self.merge.as_deref().unwrap_or_default().replace(TITLE, &title);
        self.ask(&task, summaries.join("\n\n"))
    }

    fn ask(&self, task: &str, text: String) -> [Message; 1] {
        let content = if self.before { format!("{task}\n{text}") } else { format!("{text}\n\n{task}") };
        [Message::new("user", content)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_stand_behind_texts_unless_a_model_was_trained_otherwise() {
        let content = |[message]: [Message; 1]| message.content;
        let given = Instructions::given("Sum up.\n");
        assert_eq!(content(given.part("", "text")), "text\n\nSum up.");
        assert_eq!(content(given.part("A > B", "text")), "A > B\n\ntext\n\nSum up.");
        assert_eq!(content(given.merge(Some("T"), &["a".into(), "b".into()])), "a\n\nb\n\nSum up.");
        assert!(given.merges() && !given.parts_only().merges());
        let merged = |title| content(Instructions::of("A model").merge(title, &["a".into()]));
        assert!(merged(Some("Song")).contains(" the parts of \"Song\", in order"));
        assert!(merged(None).contains(" the parts of a text, in order"));
        assert_eq!(
            content(Instructions::of("Siskin Demo").part("", "11:30 ok")),
            "Summarize this log:\n11:30 ok"
        );
    }
}
