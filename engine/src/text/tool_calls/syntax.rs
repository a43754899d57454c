//! How calls are spelled: the marks of each family of templates, and how it is known which of them a template has.

use super::super::template::{ChatTemplate, Json, Message, Rendering};
use super::super::tokenizer::Tokenizer;

/// How a model writes calls of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ToolSyntax {
    /// `<tool_call>`, JSON with `name` and `arguments`, `</tool_call>`: Hermes, Qwen 2.5 and 3, SmolLM3, Granite 4; and all
    /// models whose template tells of no tools, which [`told`](super::told) tells of them.
    Hermes,
    /// JSON with `name` and `parameters`, which is all of the answer, but for a `<|python_tag|>` before it: Llama 3.
    Llama3,
    /// `[TOOL_CALLS]` and an array of JSON: Mistral's first models with tools.
    MistralArray,
    /// `[TOOL_CALLS]`, the name, `[ARGS]`, JSON: Mistral's later ones.
    Mistral,
    /// The same with `[CALL_ID]` and nine letters and digits behind the name: Mistral Small 3.2.
    MistralIds,
    /// `<|tool_call_start|>`, an array of calls as Python writes them, `<|tool_call_end|>`: LFM2.
    Lfm2,
    /// `<|tool_call|>` and an array of JSON: Granite 3.
    Granite,
    /// The same, and behind it `<|/tool_call|>`: Phi-4-mini.
    Phi4,
    /// `<tool_call>`, `<function=NAME>`, arguments as they are between `<parameter=KEY>` and `</parameter>`: Qwen3-Coder,
    /// Qwen 3.5, Nemotron 3.
    Qwen3Coder,
    /// `<start_function_call>call:NAME{key:value}<end_function_call>`, texts between two `<escape>`: FunctionGemma.
    FunctionGemma,
}

/// What a syntax is made of: `open start CALL (next CALL)* end close`, again behind `again`, where a call is
/// `call name middle arguments call_end`, with `id` and the call's own name before `middle` where there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// What only a call begins with; empty where a call is the whole answer.
    pub(super) open: &'static str,
    pub(super) start: &'static str,
    /// What may come before the only call.
    pub(super) lead: Option<&'static str>,
    pub(super) call: &'static str,
    pub(super) id: Option<&'static str>,
    pub(super) middle: &'static str,
    pub(super) arguments: Arguments,
    pub(super) call_end: &'static str,
    /// Between two calls of one array.
    pub(super) next: Option<&'static str>,
    pub(super) end: &'static str,
    pub(super) close: &'static str,
    /// Between two that each have their own marks.
    pub(super) again: Option<&'static str>,
}

/// How arguments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arguments {
    /// As a JSON object.
    Json,
    /// As `name=value`, with commas between.
    Python,
    /// As `<parameter=name>`, the value in lines of its own, and `</parameter>`. Texts are as they are; which those are, the
    /// tool's schema says.
    Tags,
    /// As `name:value`, with commas between, sorted by name.
    Escapes,
}

impl ToolSyntax {
    /// All of them.
    pub const ALL: [ToolSyntax; 10] = [
        ToolSyntax::Hermes,
        ToolSyntax::Llama3,
        ToolSyntax::MistralArray,
        ToolSyntax::Mistral,
        ToolSyntax::MistralIds,
        ToolSyntax::Lfm2,
        ToolSyntax::Granite,
        ToolSyntax::Phi4,
        ToolSyntax::Qwen3Coder,
        ToolSyntax::FunctionGemma,
    ];

    /// The syntax of a model, by what its template spells and its vocabulary has; None where the template tells of no tools, or
    /// expects calls in a syntax that is not known.
    pub fn of(template: &ChatTemplate, tokenizer: &Tokenizer) -> Option<Self> {
        if !template.takes_tools() {
            return None;
        }
        let source = template.source_with_tools();
        let spells = |text: &str| source.contains(text);
        let has = |text: &str| tokenizer.find(text.as_bytes()).is_some_and(|id| tokenizer.is_special(id));
        Some(if spells("[TOOL_CALLS]") {
            match (spells("[ARGS]"), spells("[CALL_ID]")) {
                (true, true) => ToolSyntax::MistralIds,
                (true, false) => ToolSyntax::Mistral,
                (false, _) => ToolSyntax::MistralArray,
            }
        } else if spells("<start_function_call>") {
            ToolSyntax::FunctionGemma
        } else if spells("<|tool_call_start|>") || spells("<|tool_list_start|>") || has("<|tool_call_start|>")
        {
            ToolSyntax::Lfm2
        } else if spells("<|/tool|>") {
            ToolSyntax::Phi4
        } else if spells("<|tool_call|>") {
            ToolSyntax::Granite
        } else if spells("<tool_call>") && spells("<function=") && spells("<parameter=") {
            ToolSyntax::Qwen3Coder
        } else if spells("<tool_call>") && !spells("<function=") {
            ToolSyntax::Hermes
        } else if spells("\"parameters\": ") && spells("ipython") {
            ToolSyntax::Llama3
        } else {
            return None;
        })
    }

    pub(super) fn form(self) -> Form {
        /// JSON with a name and arguments between marks.
        const JSON: Form = Form {
            open: "<tool_call>",
            start: "\n",
            lead: None,
            call: "{\"name\": \"",
            id: None,
            middle: "\", \"arguments\": ",
            arguments: Arguments::Json,
            call_end: "}",
            next: None,
            end: "\n",
            close: "</tool_call>",
            again: Some("\n"),
        };
        /// An array of it behind a mark.
        const ARRAY: Form = Form {
            open: "<|tool_call|>",
            start: "[",
            next: Some(", "),
            end: "]",
            close: "",
            again: None,
            ..JSON
        };
        /// JSON behind a name.
        const MISTRAL: Form = Form {
            open: "[TOOL_CALLS]",
            start: "",
            call: "",
            middle: "[ARGS]",
            call_end: "",
            end: "",
            close: "",
            again: Some(""),
            ..JSON
        };
        match self {
            ToolSyntax::Hermes => JSON,
            ToolSyntax::Llama3 => Form {
                open: "",
                start: "",
                lead: Some("<|python_tag|>"),
                middle: "\", \"parameters\": ",
                end: "",
                close: "",
                again: None,
                ..JSON
            },
            ToolSyntax::MistralArray => Form { open: "[TOOL_CALLS]", ..ARRAY },
            ToolSyntax::Mistral => MISTRAL,
            ToolSyntax::MistralIds => Form { id: Some("[CALL_ID]"), ..MISTRAL },
            ToolSyntax::Lfm2 => Form {
                open: "<|tool_call_start|>",
                call: "",
                middle: "(",
                arguments: Arguments::Python,
                call_end: ")",
                close: "<|tool_call_end|>",
                ..ARRAY
            },
            ToolSyntax::Granite => ARRAY,
            ToolSyntax::Phi4 => Form { close: "<|/tool_call|>", ..ARRAY },
            ToolSyntax::Qwen3Coder => Form {
                call: "<function=",
                middle: ">\n",
                arguments: Arguments::Tags,
                call_end: "</function>",
                ..JSON
            },
            ToolSyntax::FunctionGemma => Form {
                open: "<start_function_call>",
                start: "",
                call: "call:",
                middle: "{",
                arguments: Arguments::Escapes,
                call_end: "}",
                end: "",
                close: "<end_function_call>",
                again: Some(""),
                ..JSON
            },
        }
    }
}

impl ChatTemplate {
    /// Whether the template tells the model which tools there are.
    pub fn takes_tools(&self) -> bool {
        const NAME: &str = "siskin_tool";
        let pair = |name: &str, value: Json| (name.to_owned(), value);
        let function = vec![
            pair("name", Json::from(NAME)),
            pair("description", Json::from("")),
            pair(
                "parameters",
                Json::Object(vec![
                    pair("type", Json::from("object")),
                    pair("properties", Json::Object(Vec::new())),
                    pair("required", Json::Array(Vec::new())),
                ]),
            ),
        ];
        let tool = Json::Object(vec![
            pair("type", Json::from("function")),
            pair("function", Json::Object(function)),
        ]);
        let rendering = Rendering::default().tools(vec![tool]).seconds(0);
        self.render_with(&[Message::new("user", "")], &rendering).is_ok_and(|text| text.contains(NAME))
    }
}
