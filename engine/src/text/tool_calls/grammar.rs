//! What an answer with calls keeps to, as a grammar: each tool's schema for its arguments.

use std::fmt::Write as _;

use super::super::grammar::{GrammarSource, OPTIONS, prepare};
use super::super::template::Json;
use super::super::tokenizer::Tokenizer;
use super::arguments::{ESCAPE, TAG};
use super::parameters::{Parameter, Value};
use super::syntax::{Arguments, Form};
use super::{Tool, ToolSyntax, written};

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
    /// A tool's schema asks for what cannot be kept to.
    #[error("{name}: JSON schema: {reason}")]
    Schema {
        /// The tool.
        name: String,
        /// What of it, and why.
        reason: String,
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
        let mut lark = Lark { tokenizer, text: String::new(), objects: tools.len() };
        lark.start(&form, choice);
        lark.calls(&form, parallel);
        let names: Vec<String> = (0..tools.len()).map(|index| format!("tool_{index}")).collect();
        lark.rule("call", &names.join(" | "));
        for (index, tool) in tools.iter().enumerate() {
            let mut head = lark.literal(&format!("{}{}", form.call, tool.name));
            if let Some(mark) = form.id {
                head = format!("{head} {} ID", lark.literal(mark));
            }
            // The mark between name and arguments may be a control token.
            let (middle, end) = (lark.literal(form.middle), lark.literal(form.call_end));
            lark.rule(&format!("tool_{index}"), &format!("{head} {middle} arguments_{index} {end}"));
            let schema = schema(tool)?;
            match form.arguments {
                Arguments::Json => {
                    lark.rule(&format!("arguments_{index}"), &format!("%json {}", written(&schema)))
                }
                Arguments::Python | Arguments::Tags | Arguments::Escapes => {
                    let wrong = |reason| ToolsError::Schema { name: tool.name.clone(), reason };
                    let parameters = Parameter::all(&schema, form.arguments).map_err(wrong)?;
                    lark.named(index, &parameters, form.arguments);
                }
            }
        }
        if form.id.is_some() {
            lark.rule("ID", "/[a-zA-Z0-9]{9}/");
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
    if !has(&fields, "type") {
        fields.push(("type".to_owned(), Json::from("object")));
    }
    let is_plain =
        ["$ref", "anyOf", "oneOf", "allOf", "patternProperties"].iter().all(|name| !has(&fields, name));
    if is_plain && !has(&fields, "additionalProperties") {
        fields.push(("additionalProperties".to_owned(), Json::from(false)));
    }
    let wrong = |reason: String| ToolsError::Schema { name: tool.name.clone(), reason };
    let unread = |error: serde_json::Error| wrong(error.to_string());
    let mut schema = serde_json::to_value(Json::Object(fields)).map_err(unread)?;
    prepare(&mut schema).map_err(wrong)?;
    match serde_json::from_value(schema).map_err(unread)? {
        Json::Object(fields) => Ok(Json::Object(with_options(fields))),
        _ => Err(ToolsError::Tool { expected: "parameters that are a schema" }),
    }
}

/// A schema with the white space that its JSON may have: one space, as templates write calls.
fn with_options(mut fields: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let pair = |name: &str, value: Json| (name.to_owned(), value);
    let options = vec![
        pair("item_separator", Json::from(", ")),
        pair("key_separator", Json::from(": ")),
        pair("whitespace_flexible", Json::from(false)),
    ];
    fields.push(pair(OPTIONS, Json::Object(options)));
    fields
}

/// A grammar in Lark as it is written.
struct Lark<'t> {
    tokenizer: &'t Tokenizer,
    text: String,
    /// How many rules there are for arguments by name: a number for each tool, and for each object within.
    objects: usize,
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
            let lead = form.lead.and_then(|lead| lark.control(lead));
            let lead = lead.map(|id| format!("<[{id}]>?")).unwrap_or_default();
            format!("{lead} {start} {calls} {end} {close}")
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

    /// Arguments by name: those that the schema names, those not required left out or not.
    fn named(&mut self, tool: usize, parameters: &[Parameter], style: Arguments) {
        self.rule(&format!("arguments_{tool}"), &format!("first_{tool}_0"));
        for (index, parameter) in parameters.iter().enumerate() {
            let value = format!("value_{tool}_{index}");
            let (given, following) = parameter.heads(style);
            let (given, following) = (quoted(&given), quoted(&following));
            let next = index + 1;
            let (mut first, mut more) = (
                format!("{given} {value} more_{tool}_{next}"),
                format!("{following} {value} more_{tool}_{next}"),
            );
            if !parameter.is_required {
                first.push_str(&format!(" | first_{tool}_{next}"));
                more.push_str(&format!(" | more_{tool}_{next}"));
            }
            self.rule(&format!("first_{tool}_{index}"), &first);
            self.rule(&format!("more_{tool}_{index}"), &more);
            let body = self.value(&value, &parameter.value, style);
            self.rule(&value, &body);
        }
        let last = parameters.len();
        self.rule(&format!("first_{tool}_{last}"), "\"\"");
        self.rule(&format!("more_{tool}_{last}"), "\"\"");
    }

    /// What a value is, with the mark behind it. Rules that it needs have names that begin with `name`.
    fn value(&mut self, name: &str, value: &Value, style: Arguments) -> String {
        let (before, behind) = match (style, value) {
            (Arguments::Tags, _) => ("", TAG.2),
            (Arguments::Escapes, Value::Text { .. } | Value::Texts(_)) => (ESCAPE, ESCAPE),
            _ => ("", ""),
        };
        let (before, end) = (self.literal(before), self.literal(behind));
        match value {
            Value::Truth => {
                let (yes, no) =
                    if style == Arguments::Escapes { ("true", "false") } else { ("True", "False") };
                format!("({} | {}) {end}", quoted(yes), quoted(no))
            }
            Value::Json(schema) => {
                let mut schema = schema.clone();
                schema.retain(|(field, _)| field != OPTIONS);
                let rule = format!("{name}_json");
                self.rule(&rule, &format!("%json {}", written(&Json::Object(with_options(schema)))));
                format!("{rule} {end}")
            }
            Value::Exactly(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("({}) {end}", texts.join(" | "))
            }
            Value::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                format!("{before} ({}) {end}", texts.join(" | "))
            }
            Value::Text { least, most } => {
                let most = most.map(|most| most.to_string()).unwrap_or_default();
                let (any, mark) = (format!("(?s:.){{{least},{most}}}"), regex(behind));
                let terminal = name.to_uppercase();
                // The mark ends the text, wherever it comes: no text has it in it. A control token is told from its text.
                if self.control(behind).is_some() {
                    self.rule(&terminal, &format!("/{any}/ & ~/(?s:.*){mark}(?s:.*)/"));
                    format!("{before} {terminal} {end}")
                } else {
                    self.rule(&terminal, &format!("/{any}{mark}/ & ~/(?s:.*){mark}(?s:.+)/"));
                    format!("{before} {terminal}")
                }
            }
            Value::OneOf(values) => {
                let of =
                    |(index, value): (usize, &Value)| self.value(&format!("{name}_{index}"), value, style);
                let values: Vec<String> = values.iter().enumerate().map(of).collect();
                format!("({})", values.join(" | "))
            }
            Value::Array { items, least, most } => {
                let item = format!("{name}_item");
                let body = self.value(&item, items, style);
                self.rule(&item, &body);
                let (fewer, more) = (least.saturating_sub(1), most.map(|most| most.saturating_sub(1)));
                let more = more.map(|more| more.to_string()).unwrap_or_default();
                let some = format!("{item} (\",\" {item}){{{fewer},{more}}}");
                match (least, most) {
                    (_, Some(0)) => "\"[]\"".to_owned(),
                    (0, _) => format!("\"[\" ({some})? \"]\""),
                    _ => format!("\"[\" {some} \"]\""),
                }
            }
            Value::Object(parameters) => {
                let tool = self.objects;
                self.objects += 1;
                self.named(tool, parameters, style);
                format!("\"{{\" arguments_{tool} \"}}\"")
            }
        }
    }
}

/// A text as Lark writes it.
fn quoted(text: &str) -> String {
    // JSON's escapes are Lark's.
    serde_json::to_string(text).unwrap_or_default()
}

/// A text as a regular expression.
fn regex(text: &str) -> String {
    let escaped = |character: char| match character {
        '\n' => "\\n".to_owned(),
        '_' | '<' | '>' => character.to_string(),
        _ if character.is_ascii_alphanumeric() => character.to_string(),
        _ => format!("\\{character}"),
    };
    text.chars().map(escaped).collect()
}
