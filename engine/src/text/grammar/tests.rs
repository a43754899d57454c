#![allow(clippy::unwrap_used)] // Helpers of tests may fail as tests do.

use std::sync::{Arc, LazyLock};

use super::{Constraint, Grammar, GrammarError, GrammarSource, GrammarStart, GrammarVocabulary};
use crate::gguf::Gguf;
use crate::text::sampler::{Breakers, Sampler, SamplerOptions};
use crate::text::tokenizer::{Special, Tokenizer};

struct Demo {
    tokenizer: Arc<Tokenizer>,
    vocabulary: GrammarVocabulary,
}

static DEMO: LazyLock<Demo> = LazyLock::new(|| {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tokenizer/demo.gguf");
    let tokenizer = Arc::new(Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap());
    Demo { vocabulary: GrammarVocabulary::new(Arc::clone(&tokenizer)).unwrap(), tokenizer }
});

fn compiled(source: &GrammarSource) -> Result<Grammar, GrammarError> {
    DEMO.vocabulary.compile(source)
}

fn schema(text: &str) -> GrammarSource {
    GrammarSource::JsonSchema(text.to_owned())
}

fn sampler() -> Sampler {
    let greedy = SamplerOptions::default().temperature(0.0);
    Sampler::new(&greedy, DEMO.tokenizer.len(), 512, &Breakers::default()).unwrap()
}

/// Has an answer say this, token by token; whether it may end then, or the text that it could not go on behind.
fn said(constraint: &mut Constraint, text: &str) -> Result<bool, String> {
    let mut sampler = sampler();
    let mut logits = vec![0.0; DEMO.tokenizer.len()];
    let mut tokens = Vec::new();
    DEMO.tokenizer.encode_continuing(text.as_bytes(), Special::Text, &mut tokens);
    for (at, &token) in tokens.iter().enumerate() {
        let before = || {
            let pieces = tokens[..at].iter().flat_map(|&token| DEMO.tokenizer.piece(token));
            String::from_utf8_lossy(&pieces.copied().collect::<Vec<u8>>()).into_owned()
        };
        if constraint.is_over() || constraint.allowed(&[token]) == 0 {
            return Err(before());
        }
        constraint.accept(token, 0, &mut Vec::new()).unwrap();
    }
    if constraint.is_over() {
        return Ok(true);
    }
    let end = DEMO.tokenizer.ends()[0];
    logits[end as usize] = 9.0;
    Ok(constraint.pick(&mut sampler, &logits).unwrap() == end)
}

fn says(source: &GrammarSource, text: &str) -> Result<bool, String> {
    said(&mut compiled(source).unwrap().begin(GrammarStart::Now), text)
}

const PERSON: &str = r#"{"type": "object", "properties": {"name": {"type": "string", "maxLength": 6},
    "age": {"type": "integer", "minimum": 0, "maximum": 130}}, "required": ["name", "age"], "additionalProperties": false}"#;

#[test]
fn an_answer_is_what_its_grammar_allows() {
    let whole = Ok(true);
    let person = schema(PERSON);
    assert_eq!(says(&person, r#"{"name": "Ada", "age": 36}"#), whole);
    assert_eq!(says(&person, r#"{"name":"é😀","age":0}"#), whole);
    assert_eq!(says(&person, r#"{"name": "Ada", "age": 36"#), Ok(false));
    assert!(says(&person, r#"{"name": "Ada", "age": 131}"#).is_err());
    assert!(says(&person, r#"{"name": "Grace Hopper", "age": 36}"#).is_err());
    assert!(says(&person, r#"{"age": 36}"#).is_err());
    assert!(says(&person, "Certainly!").is_err());
    // White space has an end.
    assert!(says(&person, "{\n          \"name\": \"Ada\", \"age\": 36}").is_ok());
    assert!(says(&person, &format!("{{{}\"name\"", " \n".repeat(30))).is_err());

    assert_eq!(says(&GrammarSource::JsonObject, r#"{"a": [1, {"b": null}]}"#), whole);
    assert!(says(&GrammarSource::JsonObject, "[1]").is_err());
    let regex = GrammarSource::Regex("(yes|no)( maybe)?[.!]".to_owned());
    for (text, expected) in [("yes.", whole.clone()), ("no maybe!", whole.clone()), ("yes", Ok(false))] {
        assert_eq!(says(&regex, text), expected);
    }
    assert!(says(&regex, "yes no").is_err());
    let lark = GrammarSource::Lark("start: \"(\" start \")\" | NUMBER\nNUMBER: /[0-9]+/".to_owned());
    assert_eq!(says(&lark, "((12))"), whole);
    assert_eq!(says(&lark, "((12)"), Ok(false));
    assert!(says(&lark, "(12))").is_err());
}

#[test]
fn exclusive_bounds_are_kept_out() {
    for (bounds, within, without) in [
        (r#""exclusiveMinimum": 0, "maximum": 0.5"#, &["0.1", "0.5", "0.001"][..], &["0", "0.0", "0.6"][..]),
        (r#""minimum": -0.5, "exclusiveMaximum": 0"#, &["-0.1", "-0.5"], &["-0", "0", "-0.0"]),
        (r#""exclusiveMinimum": 1, "exclusiveMaximum": 1.5"#, &["1.2"], &["1", "1.0", "1.5"]),
        (r#""exclusiveMinimum": 0"#, &["0.5", "7"], &["0", "-1"]),
        (r#""exclusiveMinimum": 2, "exclusiveMaximum": 9"#, &["2.5", "3", "8.99"], &["2", "9", "9.0"]),
    ] {
        for schema_of in [
            format!(r#"{{"type": "number", {bounds}}}"#),
            format!(
                r##"{{"$ref": "#/$defs/n", "$defs": {{"n": {{"anyOf": [{{"type": "number", {bounds}}}]}}}}}}"##
            ),
        ] {
            let source = schema(&schema_of);
            for text in within {
                assert_eq!(says(&source, text), Ok(true), "{text} in {schema_of}");
            }
            for text in without {
                assert_ne!(says(&source, text), Ok(true), "{text} in {schema_of}");
            }
        }
    }
    let whole = schema(r#"{"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6}"#);
    assert_eq!((says(&whole, "5"), says(&whole, "4").is_err()), (Ok(true), true));
    // What is data stays as it is, and a property may have any name.
    let data = r#"{"type": "object", "properties": {"const": {"const": {"exclusiveMinimum": 0}}, "exclusiveMinimum":
        {"type": "null"}}, "required": ["const", "exclusiveMinimum"], "additionalProperties": false}"#;
    assert_eq!(
        says(&schema(data), r#"{"const": {"exclusiveMinimum":0}, "exclusiveMinimum": null}"#),
        Ok(true)
    );
}

/// The grammar of JSON that llama.cpp comes with, in its own words.
const JSON: &str = r#"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
# Not without an end.
ws ::= | " " | "\n" [ \t]{0,20}
"#;

#[test]
fn gbnf_is_read_as_llama_cpp_reads_it() {
    let json = GrammarSource::Gbnf(JSON.to_owned());
    for text in ["{}", r#"{"a": [1, -2.5e+3, "x\né\u00e9", {"b": null}], "c": true}"#, "{\n  \"a\": 1}"] {
        assert_eq!(says(&json, text), Ok(true), "{text}");
    }
    assert_eq!(says(&json, r#"{"a": [1, 2]"#), Ok(false));
    for text in ["[]", "{1: 2}", "{\"a\": 01}", "{\"a\": tru }"] {
        assert!(says(&json, text).is_err(), "{text}");
    }
    let moves = GrammarSource::Gbnf(
        "root ::= (\"1. \" move \" \" move \"\\n\"){2}\nmove ::= [a-h] [1-8] [+#]?".into(),
    );
    assert_eq!(says(&moves, "1. e4 e5\n1. d4 d5+\n"), Ok(true));
    assert!(says(&moves, "1. e4 e9").is_err());
    let empty = GrammarSource::Gbnf("root ::= \"a\"* \"b\"? root2\nroot2 ::= | \"(\" root2 \")\"".to_owned());
    for text in ["", "aab", "(())", "b()"] {
        assert_eq!(says(&empty, text), Ok(true), "{text}");
    }
}

#[test]
fn what_can_only_go_on_in_one_way_is_forced_and_each_token_of_it_is_all_that_is_allowed() {
    let grammar = compiled(&schema(PERSON)).unwrap();
    let (mut sampler, logits) = (sampler(), vec![0.0; DEMO.tokenizer.len()]);
    let text = |tokens: &[u32]| {
        String::from_utf8(tokens.iter().flat_map(|&token| DEMO.tokenizer.piece(token)).copied().collect())
            .unwrap()
    };
    let mut constraint = grammar.begin(GrammarStart::Now);
    let first = constraint.pick(&mut sampler, &logits).unwrap();
    let mut run = Vec::new();
    constraint.accept(first, usize::MAX, &mut run).unwrap();
    // Behind what is picked, so far as white space leaves no choice.
    while text(&run).len() < r#"{"name"#.len() {
        let token = constraint.pick(&mut sampler, &logits).unwrap();
        let mut more = Vec::new();
        constraint.accept(token, usize::MAX, &mut more).unwrap();
        run.extend(more);
    }
    // The same, one by one, and with a limit.
    for most in [0, 1] {
        let mut constraint = grammar.begin(GrammarStart::Now);
        let mut again = Vec::new();
        while again.len() < run.len() {
            let token = constraint.pick(&mut sampler, &logits).unwrap();
            let before = again.len();
            constraint.accept(token, most, &mut again).unwrap();
            assert!(again.len() <= before + 1 + most);
        }
        assert_eq!(again[..run.len()], run);
    }
    let word = compiled(&GrammarSource::Regex("unconstitutional|no".to_owned())).unwrap();
    let mut constraint = word.begin(GrammarStart::Now);
    let mut run = Vec::new();
    let u = DEMO.tokenizer.find(b"u").unwrap();
    assert_eq!(constraint.allowed(&[u]), 1);
    constraint.accept(u, usize::MAX, &mut run).unwrap();
    assert_eq!(text(&run), "unconstitutional");
    assert!(run.len() > 2 && constraint.is_over());
}

#[test]
fn drafts_are_right_as_far_as_the_grammar_allows_them() {
    let mut constraint = compiled(&GrammarSource::Regex("ab+c".to_owned())).unwrap().begin(GrammarStart::Now);
    let token = |text: &str| DEMO.tokenizer.find(text.as_bytes()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(token);
    assert_eq!(constraint.allowed(&[a, b, b, c, c]), 4);
    assert_eq!(constraint.allowed(&[b, a]), 0);
    assert_eq!(constraint.allowed(&[a, u32::MAX]), 1);
    // Nothing was taken up.
    assert_eq!(said(&mut constraint, "abbc"), Ok(true));
    assert_eq!(constraint.allowed(&[a]), 0);
}

#[test]
fn a_grammar_waits_for_the_end_of_thoughts() {
    let grammar = compiled(&GrammarSource::Regex("yes".to_owned())).unwrap();
    let opening = vec![DEMO.tokenizer.ends()[0], 77, 78];
    let mut sampler = sampler();
    let mut logits = vec![0.0; DEMO.tokenizer.len()];
    // Whatever is likeliest, and never an end.
    let end = DEMO.tokenizer.ends()[0];
    logits[end as usize] = 9.0;
    logits[300] = 8.0;
    let mut within = grammar.begin(GrammarStart::WithinThoughts);
    assert_eq!(within.pick(&mut sampler, &logits).unwrap(), 300);
    let mut run = Vec::new();
    within.accept(300, 9, &mut run).unwrap();
    assert_eq!(run, [300]);
    within.wake();
    assert_eq!(said(&mut within, "yes"), Ok(true));
    // What opens thoughts may come first, and brings the rest of the mark with it.
    let mut before = grammar.begin(GrammarStart::AfterThoughts(vec![opening.clone()]));
    assert_eq!(before.pick(&mut sampler, &logits).unwrap(), opening[0]);
    let mut run = Vec::new();
    before.accept(opening[0], 9, &mut run).unwrap();
    assert_eq!(run, opening);
    assert_eq!(before.pick(&mut sampler, &logits).unwrap(), 300);
    // Or the answer does.
    let mut at_once = grammar.begin(GrammarStart::AfterThoughts(vec![opening]));
    assert_eq!(said(&mut at_once, "yes"), Ok(true));
}

#[test]
fn what_cannot_be_kept_to_is_refused_by_name() {
    for (source, expected) in [
        ("{", "it is no JSON"),
        ("3", "expected an object or a truth value, found a number"),
        ("false", "false allows nothing"),
        (r#"{"x-guidance": {"lenient": true}}"#, "x-guidance"),
        (r#"{"not": {"type": "string"}}"#, "not"),
        (r#"{"type": "array", "uniqueItems": true}"#, "uniqueItems"),
        (r#"{"if": {}, "then": {}}"#, "if"),
        (r#"{"type": "strin"}"#, "strin"),
        (r#"{"type": "string", "format": "no-such"}"#, "no-such"),
        (r#"{"$ref": "http://example.com/x"}"#, "http://example.com/x"),
        (r##"{"$ref": "#/$defs/none"}"##, "none"),
        (r#"{"oneOf": [{"type": "string"}, {"minLength": 2, "type": "string"}]}"#, "oneOf"),
        (r#"{"type": "integer", "minimum": 5, "maximum": 3}"#, "5"),
        (r#"{"enum": []}"#, "empty"),
    ] {
        let error = compiled(&schema(source)).expect_err(source).to_string();
        assert!(error.starts_with("JSON schema: ") && error.contains(expected), "{source}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for (source, expected) in [
        (GrammarSource::Regex("(a".to_owned()), "regular expression: "),
        (GrammarSource::Regex(r"(a)\1".to_owned()), "regular expression: "),
        (GrammarSource::Regex("(?=a)b".to_owned()), "regular expression: "),
        (GrammarSource::Lark("start: nothing".to_owned()), "Lark grammar: "),
        (GrammarSource::Lark(String::new()), "Lark grammar: "),
        (GrammarSource::Gbnf("root ::= <|no-such-token|>".to_owned()), "GBNF grammar: "),
    ] {
        let error = compiled(&source).expect_err(expected).to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{source:?}: {error}");
    }
}

/// Whether it is refused, or an answer to it goes on for some tokens or ends with an error.
fn bounded(source: &GrammarSource) -> Result<(), GrammarError> {
    let grammar = compiled(source)?;
    let sampling = SamplerOptions::default().seed(1).temperature(1.0);
    let mut sampler = Sampler::new(&sampling, DEMO.tokenizer.len(), 512, &Breakers::default()).unwrap();
    let mut constraint = grammar.begin(GrammarStart::Now);
    let logits = vec![0.0; DEMO.tokenizer.len()];
    let mut run = Vec::new();
    for _ in 0..30 {
        if constraint.is_over() {
            break;
        }
        let token = constraint.pick(&mut sampler, &logits)?;
        if DEMO.tokenizer.is_end(token) {
            break;
        }
        run.clear();
        constraint.accept(token, 100, &mut run)?;
    }
    Ok(())
}

#[test]
fn an_object_with_more_properties_than_may_be_looked_at_is_refused_before_the_first_token() {
    let properties = |count: usize| {
        let each: Vec<String> = (0..count).map(|at| format!("\"p{at}\":{{\"type\":\"integer\"}}")).collect();
        schema(&format!("{{\"type\":\"object\",\"properties\":{{{}}}}}", each.join(",")))
    };
    compiled(&properties(100)).unwrap();
    for (count, expected) in
        [(1000, "max is 2000"), (1001, "an object has 1001 properties, expected at most 1000")]
    {
        let error = compiled(&properties(count)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn hostile_sources_are_refused_or_stay_within_bounds() {
    let nested = |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let too_deep = [
        schema(&nested(r#"{"items": "#, "}", 1000)),
        GrammarSource::Regex(nested("(", ")", 10_000)),
        GrammarSource::Lark(format!("start: {}\"a\"{}", "(".repeat(10_000), ")".repeat(10_000))),
        GrammarSource::Gbnf(format!("root ::= {}\"a\"{}", "(".repeat(10_000), ")".repeat(10_000))),
    ];
    for source in too_deep {
        assert!(matches!(bounded(&source), Err(GrammarError::TooDeep { .. })), "{}", source.kind());
    }
    let too_long = [
        schema(&" ".repeat(1 << 19)),
        GrammarSource::Regex("a".repeat(1 << 17)),
        GrammarSource::Lark("\n".repeat(1 << 17)),
        GrammarSource::Gbnf("\n".repeat(1 << 17)),
    ];
    for source in too_long {
        assert!(matches!(bounded(&source), Err(GrammarError::TooLong { .. })), "{}", source.kind());
    }
    let names = |n: usize, line: fn(usize) -> String| (0..n).map(line).collect::<String>();
    let properties = |n: usize| {
        let all: Vec<String> = (0..n).map(|i| format!(r#""p{i}": {{"type": "integer"}}"#)).collect();
        format!(r#"{{"properties": {{{}}}}}"#, all.join(","))
    };
    let refs = |n: usize| {
        let all: Vec<String> = (0..n)
            .map(|i| {
                format!(
                    r##""d{i}": {{"anyOf": [{{"$ref": "#/$defs/d{}"}}, {{"$ref": "#/$defs/d{}"}}]}}"##,
                    i + 1,
                    i + 1
                )
            })
            .collect();
        format!(r##"{{"$ref": "#/$defs/d0", "$defs": {{{}, "d{n}": {{"type": "null"}}}}}}"##, all.join(","))
    };
    let sources = [
        // Nesting as deep as may be.
        schema(&nested(r#"{"items": "#, "}", 60).replace('1', "true")),
        GrammarSource::Regex(format!("{}a{}", "(".repeat(64), ")*".repeat(64))),
        GrammarSource::Regex(format!("{}a{}", "(".repeat(60), "){100}".repeat(60))),
        // Repetition.
        GrammarSource::Regex("a{1000000}".to_owned()),
        GrammarSource::Regex("((a{1000}){1000}){1000}".to_owned()),
        GrammarSource::Regex("(.{0,60000}x){0,60000}".to_owned()),
        schema(r#"{"type": "string", "minLength": 4000000000, "maxLength": 4000000001}"#),
        schema(r#"{"type": "array", "minItems": 100000000, "items": {"type": "integer"}}"#),
        schema(r#"{"type": "array", "minItems": 18446744073709551615}"#),
        GrammarSource::Lark("start: a{100000000}\na: \"x\" | \"(\" a \")\"".to_owned()),
        GrammarSource::Gbnf("root ::= ((([a-z] root?){0,2000}){0,2000}){0,2000}".to_owned()),
        // What takes a backtracking matcher for ever.
        GrammarSource::Regex("(a+)+$".to_owned()),
        GrammarSource::Regex("(a|aa)+b".to_owned()),
        GrammarSource::Regex("(x+x+)+y".to_owned()),
        GrammarSource::Regex("(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^x]{200}".to_owned()),
        // And a deterministic one.
        GrammarSource::Regex("(a|b)*a(a|b){60}".to_owned()),
        GrammarSource::Regex("[^x]*x.{500}".to_owned()),
        schema(r#"{"type": "string", "pattern": "^(a|b)*a(a|b){40}$", "maxLength": 4000}"#),
        // Ambiguity without end.
        GrammarSource::Lark("start: start start | start | \"a\"".to_owned()),
        GrammarSource::Lark("start: start start start | \"a\" | ".to_owned()),
        GrammarSource::Gbnf("root ::= root root | \"a\" | root".to_owned()),
        GrammarSource::Gbnf("root ::= root".to_owned()),
        GrammarSource::Lark("start: a\na: b\nb: a".to_owned()),
        // Names that lead to names: as long as a source may be, and doubled each time.
        GrammarSource::Lark(names(4000, |i| format!("a{i}: a{}\n", i + 1)) + "a4000: \"x\"\nstart: a0"),
        GrammarSource::Lark(names(4000, |i| format!("A{i}: A{}\n", i + 1)) + "A4000: \"x\"\nstart: A0"),
        GrammarSource::Lark(
            names(60, |i| format!("A{i}: A{} A{}\n", i + 1, i + 1)) + "A60: \"x\"\nstart: A0",
        ),
        GrammarSource::Gbnf(
            names(3000, |i| format!("a{i} ::= a{}\n", i + 1)) + "a3000 ::= \"x\"\nroot ::= a0",
        ),
        GrammarSource::Gbnf(
            names(60, |i| format!("a{i} ::= a{} a{}\n", i + 1, i + 1)) + "a60 ::= \"x\"\nroot ::= a0",
        ),
        schema(&refs(40)),
        schema(&refs(1500)),
        schema(r##"{"$ref": "#"}"##),
        schema(r##"{"allOf": [{"$ref": "#"}, {"$ref": "#"}]}"##),
        schema(r##"{"anyOf": [{"$ref": "#"}, {"type": "null"}]}"##),
        // Width.
        schema(&properties(1000)),
        schema(&format!(
            r#"{{"enum": [{}]}}"#,
            (0..20_000).map(|i| format!("\"w{i}\"")).collect::<Vec<_>>().join(",")
        )),
        GrammarSource::Regex((0..8000).map(|i| format!("w{i}|")).collect::<String>() + "x"),
        GrammarSource::Regex("ab".repeat(30_000)),
        GrammarSource::Lark(format!("start: {}", "\"a\" ".repeat(15_000))),
        GrammarSource::Lark(format!("start: {}\"b\"", "\"a\" | ".repeat(9_000))),
        schema(&format!(r#"{{"allOf": [{}]}}"#, vec![r#"{"pattern": "^.{0,50}a.{0,50}$"}"#; 60].join(","))),
        schema(r#"{"type": "number", "multipleOf": 1e-300, "minimum": 1e300}"#),
        schema(
            r#"{"type": "integer", "multipleOf": 7919, "minimum": 999999999999, "maximum": 1999999999999}"#,
        ),
    ];
    for source in sources {
        let text = format!("{source:?}");
        if let Err(error) = bounded(&source) {
            let error = error.to_string();
            assert!(!error.contains('\n') && !error.contains("panic"), "{:.200}: {error}", text);
        }
    }
}
