//! What an answer with calls keeps to, as a grammar: each tool's schema for its arguments.

use std::fmt::Write as _;

use super::super::grammar::GrammarSource;
use super::super::template::Json;
use super::super::tokenizer::Tokenizer;
use super::syntax::{Arguments, Form};
use super::{Tool, ToolSyntax, field, written};

/// Whether tools are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolChoice {
    /// The model may answer, and call tools as well.
    Auto,
    /// It calls a tool, and says nothing else.
    Required,
}

/// Why there are no such tools. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsError {
    /// A tool is none.
    #[error("expected {expected}")]
    Tool {
        /// What was expected.
        expected: &'static str,
    },
    /// There is no tool to be called.
    #[error("expected one or more tools")]
    None,
    /// Two have the same name.
    #[error("two tools are called {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// A tool's schema brings options of the compiler.
    #[error("{name}: x-guidance: options of the compiler are not taken from schemas")]
    Options {
        /// The tool.
        name: String,
    },
}

impl ToolSyntax {
    /// The grammar of answers that call these tools: text, as long as none is called, and behind it calls whose arguments keep to
    /// the tools' schemas. `parallel` allows several calls, where the syntax has a way to write them.
    ///
    /// Arguments that a schema does not name are not written unless it says so (`additionalProperties`).
    ///
    /// # Errors
    /// No tools, two of the same name.
    pub fn grammar(
        self,
        tokenizer: &Tokenizer,
        tools: &[Tool],
        choice: ToolChoice,
        parallel: bool,
    ) -> Result<GrammarSource, ToolsError> {
        if tools.is_empty() {
            return Err(ToolsError::None);
        }
        let named = |(at, tool): (usize, &Tool)| {
            tools.iter().take(at).any(|other| other.name == tool.name).then(|| tool.name.clone())
        };
        if let Some(name) = tools.iter().enumerate().find_map(named) {
            return Err(ToolsError::Twice { name });
        }
        let form = self.form();
        let mut lark = Lark { tokenizer, text: String::new() };
        lark.start(&form, choice);
        lark.calls(&form, parallel);
        let names: Vec<String> = (0..tools.len()).map(|index| format!("tool_{index}")).collect();
        lark.rule("call", &names.join(" | "));
        for (index, tool) in tools.iter().enumerate() {
            let head = lark.literal(&format!("{}{}", form.call, tool.name));
            // The mark between name and arguments may be a control token.
            let (middle, end) = (lark.literal(form.middle), lark.literal(form.call_end));
            lark.rule(&format!("tool_{index}"), &format!("{head} {middle} arguments_{index} {end}"));
            let schema = schema(tool)?;
            match form.arguments {
                Arguments::Json => {
                    lark.rule(&format!("arguments_{index}"), &format!("%json {}", written(&schema)))
                }
                Arguments::Python => lark.python(index, &schema),
            }
        }
        Ok(GrammarSource::Lark(lark.text))
    }
}

/// The schema of a tool's arguments.
fn schema(tool: &Tool) -> Result<Json, ToolsError> {
    let Json::Object(mut fields) = tool.parameters.clone() else {
        return Err(ToolsError::Tool { expected: "parameters that are a schema" });
    };
    let has = |fields: &[(String, Json)], name: &str| fields.iter().any(|(field, _)| field == name);
    if has(&fields, "x-guidance") {
        return Err(ToolsError::Options { name: tool.name.clone() });
    }
    if !has(&fields, "type") {
        fields.push(("type".to_owned(), Json::from("object")));
    }
    let is_plain =
        ["$ref", "anyOf", "oneOf", "allOf", "patternProperties"].iter().all(|name| !has(&fields, name));
    if is_plain && !has(&fields, "additionalProperties") {
        fields.push(("additionalProperties".to_owned(), Json::from(false)));
    }
    Ok(Json::Object(with_options(fields)))
}

/// A schema with the white space that its JSON may have: one space, as templates write calls.
fn with_options(mut fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let pair = |name: &str, value: Json| (name.to_owned(), value);
    let options = vec![
        pair("item_separator", Json::from(", ")),
        pair("key_separator", Json::from(": ")),
        pair("whitespace_flexible", Json::from(false)),
    ];
    fields.push(pair("x-guidance", Json::Object(options)));
    fields
}

/// A grammar in Lark as it is written.
struct Lark<'t> {
    tokenizer: &'t Tokenizer,
    text: String,
}

impl Lark<'_> {
    fn rule(&mut self, name: &str, body: &str) {
        // A String takes all that is written.
        let _ = writeln!(self.text, "{name}: {body}");
    }

    /// A text that is in the answer as it is: a control token where it is the text of one.
    fn literal(&self, text: &str) -> String {
        match self.control(text) {
            Some(id) => format!("<[{id}]>"),
            None if text.is_empty() => String::new(),
            None => quoted(text),
        }
    }

    fn control(&self, text: &str) -> Option<u32> {
        self.tokenizer.find(text.as_bytes()).filter(|&id| self.tokenizer.is_special(id))
    }

    /// What the answer is: text up to the first call, and from there on calls alone.
    fn start(&mut self, form: &Form, choice: ToolChoice) {
        let open = self.literal(form.open);
        match (choice, form.open.is_empty(), self.control(form.open).is_some()) {
            (ToolChoice::Required, ..) => self.rule("start", &format!("{open} calls")),
            (ToolChoice::Auto, true, _) => {
                self.rule("start", "TEXT | calls");
                self.rule("TEXT", r"/[ \n]*[^{ \n](.|\n)*/");
            }
            (ToolChoice::Auto, _, true) => {
                self.rule("start", &format!("TEXT | TEXT? {open} calls"));
                self.rule("TEXT", r"/(.|\n)+/");
            }
            (ToolChoice::Auto, ..) => {
                // The mark is spelled as text is: where it comes first, the text before is over.
                let mark = regex(form.open);
                self.rule("start", "TEXT | opened calls");
                self.rule("opened[lazy]", &format!(r"/(.|\n)*{mark}/"));
                self.rule("TEXT", &format!(r"/(.|\n)+/ & ~/(.|\n)*{mark}(.|\n)*/"));
            }
        }
    }

    fn calls(&mut self, form: &Form, parallel: bool) {
        let marked = |lark: &Self, calls: &str| {
            let (start, end, close) =
                (lark.literal(form.start), lark.literal(form.end), lark.literal(form.close));
            format!("{start} {calls} {end} {close}")
        };
        match (form.next, form.again) {
            (Some(next), _) if parallel => {
                let next = self.literal(next);
                let calls = marked(self, &format!("call ({next} call)*"));
                self.rule("calls", &calls);
            }
            (None, Some(again)) if parallel => {
                let (again, open, one) = (self.literal(again), self.literal(form.open), marked(self, "call"));
                self.rule("calls", &format!("one ({again} {open} one)*"));
                self.rule("one", &one);
            }
            _ => {
                let calls = marked(self, "call");
                self.rule("calls", &calls);
            }
        }
    }

    /// Arguments as Python writes them: those that the schema names, in its order, those not required left out or not.
    fn python(&mut self, tool: usize, schema: &Json) {
        let properties = match field(schema, "properties") {
            Some(Json::Object(properties)) => properties.as_slice(),
            _ => &[],
        };
        let is_required = |name: &str| matches!(field(schema, "required"), Some(Json::Array(names)) if names.contains(&Json::from(name)));
        self.rule(&format!("arguments_{tool}"), &format!("first_{tool}_0"));
        for (index, (name, of)) in properties.iter().enumerate() {
            let value = format!("value_{tool}_{index}");
            let given = quoted(&format!("{name}="));
            let following = quoted(&format!(", {name}="));
            let next = index + 1;
            let (mut first, mut more) = (
                format!("{given} {value} more_{tool}_{next}"),
                format!("{following} {value} more_{tool}_{next}"),
            );
            if !is_required(name) {
                first.push_str(&format!(" | first_{tool}_{next}"));
                more.push_str(&format!(" | more_{tool}_{next}"));
            }
            self.rule(&format!("first_{tool}_{index}"), &first);
            self.rule(&format!("more_{tool}_{index}"), &more);
            let is_truth = field(of, "type") == Some(&Json::from("boolean"));
            let body = if is_truth {
                "\"True\" | \"False\"".to_owned()
            } else {
                format!("%json {}", written(&of_property(of, schema)))
            };
            self.rule(&value, &body);
        }
        let last = properties.len();
        self.rule(&format!("first_{tool}_{last}"), "\"\"");
        self.rule(&format!("more_{tool}_{last}"), "\"\"");
    }
}

/// The schema of a property by itself, with the definitions that it may name.
fn of_property(property: &Json, schema: &Json) -> Json {
    let mut fields = match property {
        Json::Object(fields) => fields.iter().filter(|(name, _)| name != "x-guidance").cloned().collect(),
        _ => Vec::new(),
    };
    for name in ["$defs", "definitions"] {
        let missing = fields.iter().all(|(field, _)| field != name);
        fields.extend(field(schema, name).filter(|_| missing).map(|of| (name.to_owned(), of.clone())));
    }
    Json::Object(with_options(fields))
}

/// A text as Lark writes it.
fn quoted(text: &str) -> String {
    // JSON's escapes are Lark's.
    serde_json::to_string(text).unwrap_or_default()
}

/// A text as a regular expression.
fn regex(text: &str) -> String {
    let escaped = |character: char| match character.is_ascii_alphanumeric() || "_<>".contains(character) {
        true => character.to_string(),
        false => format!("\\{character}"),
    };
    text.chars().map(escaped).collect()
}
