use super::*;
use crate::gguf::Gguf;
use crate::text::template::{ChatTemplate, Message};
use crate::text::tokenizer::Tokenizer;
use std::path::Path;

fn tokenizer() -> Tokenizer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizer/demo.gguf");
    Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap()
}

fn tool(name: &str, parameters: &str) -> Tool {
    Tool { name: name.to_owned(), parameters: parameters.parse().unwrap() }
}

/// What an answer comes to that is cut into these pieces: its text, and its calls.
fn read<'t>(
    syntax: ToolSyntax,
    pieces: impl IntoIterator<Item = &'t str>,
) -> (String, Vec<(String, String)>) {
    let (mut text, mut calls): (String, Vec<(String, String)>) = Default::default();
    let mut take_up = |piece| match piece {
        ToolPiece::Text(more) => text.push_str(&more),
        ToolPiece::Call { number, name, id } => {
            assert_eq!(number, calls.len());
            assert_eq!(id.is_some(), syntax == ToolSyntax::MistralIds);
            calls.push((name, String::new()));
        }
        ToolPiece::Arguments(index, more) => calls[index].1.push_str(&more),
    };
    let mut reader = ToolReader::new(syntax, &[tool("f", OF_F)]);
    pieces.into_iter().for_each(|piece| reader.push(piece, &mut take_up));
    reader.finish(&mut take_up);
    let is_cut = calls.last().is_some_and(|(_, arguments)| serde_json::from_str::<Json>(arguments).is_err());
    assert_eq!(reader.is_cut(), is_cut, "{calls:?}");
    (text, calls)
}

/// What the tool `f` takes, of which `a` and `t` are texts.
const OF_F: &str = r#"{"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "boolean"},
    "c": {"type": "integer", "minimum": 3}, "t": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
    "d": {"type": "string", "format": "date"}, "l": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}}}"#;

/// An answer in a syntax, and what it comes to: its text, and the names and arguments of its calls.
type Read = (ToolSyntax, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const ANSWERS: [Read; 26] = [
    (ToolSyntax::Hermes, "Hello <tool", "Hello <tool", &[]),
    (
        ToolSyntax::Hermes,
        "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"é\", \"b\": [1, {}]}}\n</tool_call>",
        "Let me see.\n",
        &[("f", "{\"a\": \"}\\\"é\", \"b\": [1, {}]}")],
    ),
    (
        ToolSyntax::Hermes,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"g.h\", \"arguments\": {\"x\": 1}}\n</tool_call>",
        "",
        &[("f", "{}"), ("g.h", "{\"x\": 1}")],
    ),
    // One that was cut, and one that is none.
    (
        ToolSyntax::Hermes,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"b",
        "",
        &[("f", "{\"a\": \"b")],
    ),
    (ToolSyntax::Hermes, "a <tool_call>{\"name\"", "a {\"name\"", &[]),
    (ToolSyntax::Llama3, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "", &[("f", "{\"a\": 1}")]),
    (ToolSyntax::Llama3, "A {\"name\": \"f\"", "A {\"name\": \"f\"", &[]),
    (ToolSyntax::Llama3, "{\"na", "{\"na", &[]),
    (
        ToolSyntax::MistralArray,
        "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"a\": null}}]",
        "",
        &[("f", "{}"), ("g", "{\"a\": null}")],
    ),
    (
        ToolSyntax::Mistral,
        "Well[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}",
        "Well",
        &[("f", "{\"a\": 1}"), ("g", "{}")],
    ),
    (
        ToolSyntax::Lfm2,
        "<|tool_call_start|>[f(a=1, b=\"x, y)\", c=True), g(), h(l=[1, \"(\"], n=None)]<|tool_call_end|>",
        "",
        &[
            ("f", "{\"a\": 1, \"b\": \"x, y)\", \"c\": true}"),
            ("g", "{}"),
            ("h", "{\"l\": [1, \"(\"], \"n\": null}"),
        ],
    ),
    (ToolSyntax::Lfm2, "<|tool_call_start|>[f(a=1, b=\"x", "", &[("f", "{\"a\": 1")]),
    (
        ToolSyntax::Lfm2,
        "So.<|tool_call_start|>[f(a=-1.5e3)]<|tool_call_end|>",
        "So.",
        &[("f", "{\"a\": -1.5e3}")],
    ),
    (ToolSyntax::Granite, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]", "", &[("f", "{}")]),
    (
        ToolSyntax::Phi4,
        "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]<|/tool_call|>",
        "",
        &[("f", "{}")],
    ),
    (ToolSyntax::Granite, "<|tool_call|", "<|tool_call|", &[]),
    (
        ToolSyntax::Llama3,
        "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
        "",
        &[("f", "{\"a\": 1}")],
    ),
    (ToolSyntax::Llama3, "<|python_tag|>print(1)", "<|python_tag|>print(1)", &[]),
    (
        ToolSyntax::MistralIds,
        "[TOOL_CALLS]f[CALL_ID]abcdefgh1[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]abcdefgh2[ARGS]{}",
        "",
        &[("f", "{\"a\": 1}"), ("g", "{}")],
    ),
    (
        ToolSyntax::Qwen3Coder,
        "Let me see.\n\n<tool_call>\n<function=f>\n<parameter=a>\n1 <b>\n\"é\"\n</parameter>\n<parameter=b>\nTrue\n\
         </parameter>\n<parameter=l>\n[1, 2]\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n\
         </tool_call>",
        "Let me see.\n\n",
        &[("f", "{\"a\": \"1 <b>\\n\\\"é\\\"\", \"b\": true, \"l\": [1, 2]}"), ("g", "{}")],
    ),
    // Texts come as they are written, but for what may be the beginning of their end.
    (
        ToolSyntax::Qwen3Coder,
        "<tool_call>\n<function=f>\n<parameter=c>\n7\n</parameter>\n<parameter=t>\nab\n</para",
        "",
        &[("f", "{\"c\": 7, \"t\": \"ab")],
    ),
    (
        ToolSyntax::Qwen3Coder,
        "<tool_call>\n<function=f>\n<parameter=d>\n\"2020-02-29\"\n</parameter>\n<parameter=c>\n12",
        "",
        &[("f", "{\"d\": \"2020-02-29\"")],
    ),
    (ToolSyntax::Qwen3Coder, "<tool_call>\n<fun", "", &[]),
    (
        ToolSyntax::FunctionGemma,
        "<start_function_call>call:f{a:<escape>x, {y}: \"é\"<escape>,b:true,n:{k:-1.5,m:None,z:[1,<escape><escape>]}}\
         <end_function_call><start_function_call>call:g{}<end_function_call>",
        "",
        &[
            (
                "f",
                "{\"a\": \"x, {y}: \\\"é\\\"\", \"b\": true, \"n\": {\"k\": -1.5, \"m\": null, \"z\": [1, \"\"]}}",
            ),
            ("g", "{}"),
        ],
    ),
    (
        ToolSyntax::FunctionGemma,
        "<start_function_call>call:f{a:<escape>Bern<esc",
        "",
        &[("f", "{\"a\": \"Bern")],
    ),
    (ToolSyntax::FunctionGemma, "Well <start_function_cal", "Well <start_function_cal", &[]),
];

#[test]
fn calls_are_read_however_the_answer_is_cut() {
    for (syntax, answer, text, calls) in ANSWERS {
        let calls: Vec<(String, String)> =
            calls.iter().map(|(name, arguments)| ((*name).to_owned(), (*arguments).to_owned())).collect();
        let expected = (text.to_owned(), calls);
        assert_eq!(read(syntax, [answer]), expected, "{answer}");
        let places = || answer.char_indices().map(|(at, _)| at);
        for at in places() {
            let (one, other) = answer.split_at(at);
            assert_eq!(read(syntax, [one, other]), expected, "{one:?} {other:?}");
        }
        let each = places().map(|at| {
            let length = answer[at..].chars().next().map_or(0, char::len_utf8);
            &answer[at..at + length]
        });
        assert_eq!(read(syntax, each), expected, "{answer}");
    }
}

#[test]
fn tools_are_told_and_calls_and_results_are_text_where_a_template_has_no_place_for_them() {
    let tool: Json = r#"{"type": "function", "function": {"name": "f", "parameters": {}}}"#.parse().unwrap();
    let calls: Json = r#"[{"function": {"name": "f", "arguments": {"a": 1}}}]"#.parse().unwrap();
    let messages = [
        Message::new("system", "Be kind."),
        Message::new("user", "a"),
        Message::new("assistant", "").with("tool_calls", calls),
        Message::new("tool", "2"),
    ];
    let told = told(&messages, &[tool]);
    assert_eq!(told.len(), 4);
    assert!(told[0].content.starts_with("Be kind.\n\nYou may call"), "{told:?}");
    assert!(told[0].content.contains("<tools>\n{\"name\":\"f\",\"parameters\":{}}\n</tools>"), "{told:?}");
    assert_eq!(told[1], messages[1]);
    let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\":1}}\n</tool_call>";
    assert_eq!(told[2], Message::new("assistant", call));
    assert_eq!(told[3], Message::new("user", "<tool_response>\n2\n</tool_response>"));
}

#[test]
fn what_is_no_tool_is_said() {
    for (text, expected) in [
        ("{}", "an object with a function"),
        (r#"{"function": {}}"#, "a function.name that is a text"),
        (r#"{"function": {"name": "a b"}}"#, "a function.name of up to 128"),
        (r#"{"function": {"name": "a", "parameters": []}}"#, "function.parameters that are a schema"),
    ] {
        let error = Tool::read(&text.parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("expected {expected}")), "{text}: {error}");
    }
    let grammar = |tools: &[Tool]| {
        let made = ToolSyntax::Hermes.grammar(&tokenizer(), tools, ToolChoice::Auto, true);
        made.unwrap_err().to_string()
    };
    assert_eq!(grammar(&[]), "expected one or more tools");
    assert_eq!(grammar(&[tool("f", "{}"), tool("f", "{}")]), "two tools are called \"f\"");
    let options = grammar(&[tool("f", r#"{"x-guidance": {"lenient": true}}"#)]);
    assert!(options.starts_with("f: JSON schema: x-guidance"), "{options}");
    for (syntax, parameters, expected) in [
        (ToolSyntax::Hermes, r#"{"properties": {"a": {"multipleOf": 12345}}}"#, "multipleOf: 12345"),
        (ToolSyntax::Lfm2, r#"{"required": ["a"]}"#, "required: \"a\" is no property"),
        (ToolSyntax::Qwen3Coder, r#"{"anyOf": [{}]}"#, "anyOf: the model's syntax"),
        (ToolSyntax::Qwen3Coder, r#"{"properties": {"a>": {}}}"#, "properties: \"a>\" cannot be written"),
        (
            ToolSyntax::FunctionGemma,
            r#"{"properties": {"a": {"type": "string", "format": "uuid"}}}"#,
            "format: the",
        ),
        (
            ToolSyntax::FunctionGemma,
            r##"{"properties": {"a": {"$ref": "#/properties/a"}}}"##,
            "$ref: it leads back",
        ),
        (ToolSyntax::FunctionGemma, r#"{"properties": {"a": {}}}"#, "type: expected one"),
    ] {
        let made = syntax.grammar(&tokenizer(), &[tool("f", parameters)], ToolChoice::Auto, true);
        let error = made.unwrap_err().to_string();
        assert!(error.starts_with(&format!("f: JSON schema: {expected}")), "{error}");
    }
}

#[test]
fn a_template_s_syntax_is_what_it_spells() {
    let tokenizer = tokenizer();
    let of = |source: &str| ToolSyntax::of(&ChatTemplate::new(source, None, None).unwrap(), &tokenizer);
    let tools = "{{ tools | tojson }}{{ messages }}";
    for (source, expected) in [
        ("<tool_call>", Some(ToolSyntax::Hermes)),
        ("[TOOL_CALLS]", Some(ToolSyntax::MistralArray)),
        ("[TOOL_CALLS] [ARGS]", Some(ToolSyntax::Mistral)),
        ("<|tool_list_start|>", Some(ToolSyntax::Lfm2)),
        ("<|tool_call|>", Some(ToolSyntax::Granite)),
        ("<|tool|> <|/tool|>", Some(ToolSyntax::Phi4)),
        ("ipython \"parameters\": ", Some(ToolSyntax::Llama3)),
        ("[TOOL_CALLS] [CALL_ID] [ARGS]", Some(ToolSyntax::MistralIds)),
        ("<tool_call> <function= <parameter=", Some(ToolSyntax::Qwen3Coder)),
        ("<start_function_call>", Some(ToolSyntax::FunctionGemma)),
        ("<tool_call> <function=", None),
        ("", None),
    ] {
        assert_eq!(of(&format!("{source}{tools}")), expected, "{source}");
        // Marks alone are no tools.
        assert_eq!(of(&format!("{source}{{{{ messages }}}}")), None, "{source}");
    }
}

#[cfg(feature = "grammar")]
mod grammars {
    use super::*;
    use crate::text::grammar::{GrammarStart, GrammarVocabulary};
    use crate::text::tokenizer::Special;
    use std::sync::Arc;

    fn tools() -> Vec<Tool> {
        let of_f = r#"{"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}, "b": {"type": "boolean"}, "c": {"type": "integer", "minimum": 3}}}"#;
        vec![tool("f", of_f), tool("g", "{}")]
    }

    /// Whether a grammar allows a text to its end, and may end there.
    fn allows(
        vocabulary: &GrammarVocabulary,
        source: &crate::text::grammar::GrammarSource,
        text: &str,
    ) -> bool {
        let mut constraint = vocabulary.compile(source).unwrap().begin(GrammarStart::Now);
        let tokenizer = tokenizer();
        let mut tokens = Vec::new();
        tokenizer.encode(text.as_bytes(), Special::Parse, &mut tokens);
        for token in tokens {
            if constraint.allowed(&[token]) == 0 || constraint.accept(token, 0, &mut Vec::new()).is_err() {
                return false;
            }
        }
        constraint.is_over() || constraint.allowed(&[tokenizer.ends()[0]]) == 1
    }

    #[test]
    fn an_answer_is_text_or_calls_whose_arguments_keep_to_the_schema() {
        let vocabulary = GrammarVocabulary::new(Arc::new(tokenizer())).unwrap();
        let text = |syntax: ToolSyntax, choice, parallel, text: &str| {
            let source = syntax.grammar(&tokenizer(), &tools(), choice, parallel).unwrap();
            allows(&vocabulary, &source, text)
        };
        // A date is text with a pattern, for which the one syntax has no place.
        let with_f = |syntax: ToolSyntax, text: &str| {
            let of_f = match syntax {
                ToolSyntax::FunctionGemma => OF_F.replace(r#""format": "date""#, r#""maxLength": 9"#),
                _ => OF_F.to_owned(),
            };
            let tools = [tool("f", &of_f), tool("g", "{}")];
            let source = syntax.grammar(&tokenizer(), &tools, ToolChoice::Auto, true).unwrap();
            allows(&vocabulary, &source, text)
        };
        let hermes = |arguments: &str| {
            format!("<tool_call>\n{{\"name\": \"f\", \"arguments\": {arguments}}}\n</tool_call>")
        };
        let one = hermes(r#"{"a": "x", "b": true}"#);
        let two = format!("{one}\n<tool_call>\n{{\"name\": \"g\", \"arguments\": {{}}}}\n</tool_call>");
        let (auto, required) = (ToolChoice::Auto, ToolChoice::Required);
        for (choice, parallel, answer, expected) in [
            (auto, true, "Hello there <tool", true),
            (auto, true, one.as_str(), true),
            (auto, true, &format!("Well.\n{one}"), true),
            (auto, true, &two, true),
            (auto, false, &one, true),
            (auto, false, &two, false),
            (required, true, &two, true),
            (required, true, "Hello", false),
            (required, true, &format!("Well.\n{one}"), false),
            (auto, true, &format!("{one} and"), false),
            (auto, true, &hermes("{}"), false),
            (auto, true, &hermes(r#"{"a": 1}"#), false),
            (auto, true, &hermes(r#"{"a": "x", "c": 2}"#), false),
            (auto, true, &hermes(r#"{"a": "x", "d": 2}"#), false),
            (auto, true, "<tool_call>\n{\"name\": \"h\"", false),
            (auto, true, "<tool_call>", false),
        ] {
            assert_eq!(text(ToolSyntax::Hermes, choice, parallel, answer), expected, "{choice:?} {answer}");
        }
        for (answer, expected) in [
            (r#"[f(a="x", b=True, c=3), g()]"#, true),
            (r#"[f(a="x", c=12)]"#, true),
            (r#"[f(b=True)]"#, false),
            (r#"[f(a="x", b=true)]"#, false),
            (r#"[f(c=3, a="x")]"#, false),
        ] {
            let answer = format!("<|tool_call_start|>{answer}<|tool_call_end|>");
            assert_eq!(text(ToolSyntax::Lfm2, auto, true, &answer), expected, "{answer}");
        }
        for (answer, expected) in [
            (r#"{"name": "g", "parameters": {}}"#, true),
            ("A {", true),
            ("{", false),
            (r#"{"name": "g", "parameters": {}} a"#, false),
        ] {
            assert_eq!(text(ToolSyntax::Llama3, auto, true, answer), expected, "{answer}");
        }
        let tags =
            |arguments: &str| format!("<tool_call>\n<function=f>\n{arguments}</function>\n</tool_call>");
        let tag = |name: &str, value: &str| format!("<parameter={name}>\n{value}\n</parameter>\n");
        let a = tag("a", "12 {\n\n} é");
        for (answer, expected) in [
            (tags(&a), true),
            (format!("So.\n\n{}\n{}", tags(&a), tags(&tag("a", ""))), true),
            (tags(&format!("{a}{}{}", tag("b", "False"), tag("c", "3"))), true),
            (tags(&format!("{a}{}{}", tag("t", "abc"), tag("d", "\"2024-02-29\""))), true),
            (tags(&format!("{a}{}", tag("l", "[1, 2]"))), true),
            (tags(""), false),
            (tags(&format!("{a}{}", tag("b", "false"))), false),
            (tags(&format!("{a}{}", tag("c", "2"))), false),
            (tags(&format!("{a}{}", tag("t", "abcd"))), false),
            (tags(&format!("{a}{}", tag("d", "\"2023-02-29\""))), false),
            (tags(&format!("{a}{}", tag("l", "[1,2]"))), false),
            (tags(&format!("{}{a}", tag("b", "True"))), false),
            (tags(&a).replace("=f>", "=h>"), false),
        ] {
            assert_eq!(with_f(ToolSyntax::Qwen3Coder, &answer), expected, "{answer}");
        }
        for (arguments, expected) in [
            ("a:<escape>x}, y<escape>", true),
            ("a:<escape><escape>,b:true,c:3,l:[1,2],t:None", true),
            ("a:<escape><escape>,l:[],t:<escape>abc<escape>", true),
            ("a:<escape><escape>,t:<escape>abcd<escape>", false),
            ("a:<escape><escape>,c:2", false),
            ("a:<escape><escape>,l:[1,2,3]", false),
            ("b:true", false),
            ("b:true,a:<escape><escape>", false),
            ("a:x", false),
        ] {
            let answer = format!("<start_function_call>call:f{{{arguments}}}<end_function_call>");
            assert_eq!(with_f(ToolSyntax::FunctionGemma, &answer), expected, "{answer}");
        }
        for (id, expected) in [("abcdefgh1", true), ("abcdefgh", false), ("abcdefg-1", false)] {
            let answer = format!("[TOOL_CALLS]g[CALL_ID]{id}[ARGS]{{}}");
            assert_eq!(text(ToolSyntax::MistralIds, auto, true, &answer), expected, "{answer}");
        }
        // What each syntax reads, its grammar writes.
        for (syntax, answer, said, calls) in ANSWERS {
            let tools: Vec<Tool> =
                calls.iter().map(|(name, _)| tool(name, "{\"additionalProperties\": true}")).collect();
            let is_whole = answer.ends_with(['>', ']', '}']) && !tools.is_empty();
            // Arguments that no schema names are written as JSON alone.
            let is_json = syntax.form().arguments == syntax::Arguments::Json;
            // The vocabulary has no such control token.
            let has_lead = answer.starts_with("<|python_tag|>");
            if is_whole && is_json && !has_lead {
                let source = syntax.grammar(&tokenizer(), &tools, auto, true).unwrap();
                assert!(allows(&vocabulary, &source, answer), "{said} {answer}");
            }
        }
    }
}
