//! llama.cpp's GBNF, written as llguidance's Lark.
//!
//! GBNF has rules alone, down to single characters; Lark's rules are made of *terminals*, which are regular expressions and
//! are matched as far as they go. Where a rule leads back to itself it stays a rule; all that stands between such rules
//! becomes a terminal, so that a text of a thousand characters is one step of the parser, not a thousand.
//!
//! A terminal that is matched as far as it goes may take what GBNF would have left to what follows it: such texts are never
//! written. Whatever is written, GBNF allows.

mod lark;
mod parse;

use super::GrammarError;

/// A rule: a name, and where it was defined.
struct Rule {
    name: String,
    line: usize,
    body: Element,
}

/// What a rule is made of.
enum Element {
    /// Text as it stands; empty, it matches nothing.
    Literal(String),
    /// One of these characters, or one of all others.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// Any character.
    Any,
    /// A control token by its text, `<|im_end|>`, or a token by its number, `<[15]>`.
    Token(String),
    /// A rule by its number.
    Rule(usize),
    Sequence(Vec<Element>),
    Choice(Vec<Element>),
    Repeat {
        element: Box<Element>,
        least: u32,
        most: Option<u32>,
    },
}

/// The same grammar in Lark.
///
/// # Errors
/// [`GrammarError::Gbnf`].
pub(super) fn to_lark(text: &str) -> Result<String, GrammarError> {
    let (rules, root) = parse::rules(text)?;
    Ok(lark::write(&rules, root))
}

#[cfg(test)]
mod tests {
    use super::to_lark;

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("", "line 1: expected a rule named root"),
            ("a ::= \"b\"", "line 1: expected a rule named root"),
            ("root ::= \"a\"\nroot ::= \"b\"", "line 2: rule root is defined twice, first in line 1"),
            ("root ::= a\n\na ::= c", "line 3: rule c is not defined"),
            ("root = \"a\"", "line 1: expected ::= behind root"),
            ("root ::= \"a", "line 1: a text has no end"),
            ("root ::= []", "line 1: a class of characters has none"),
            ("root ::= [a", "line 1: a class of characters has no end"),
            ("root ::= [z-a]", "line 1: the range z-a is the wrong way round"),
            ("root ::= (\"a\"", "line 1: expected ) for a ( in line 1"),
            ("root ::= \"a\")", "line 1: expected an end of the rule, found \")\""),
            ("root ::= *", "line 1: expected something before *"),
            ("root ::= \"\\q\"", "line 1: there is no escape \\q"),
            ("root ::= \"\\xZ1\"", "line 1: expected 2 hexadecimal digits behind \\x"),
            ("root ::= \"\\uD800\"", "line 1: \\uD800 is no character"),
            ("root ::= \"a\"{3,2}", "line 1: the repetition {3,2} is the wrong way round"),
            ("root ::= \"a\"{99999}", "line 1: a repetition of 99999, expected at most 2000"),
            ("root ::= \"a\"{x}", "line 1: expected a number in a repetition"),
            ("root ::= !<[5]>", "line 1: all tokens but one (!) are not supported"),
            ("root ::= <[5]", "line 1: a token has no end"),
            ("1 2", "line 1: expected ::= behind 1"),
            ("\n\n ? ", "line 3: expected the name of a rule, found \"?\""),
        ] {
            let error = to_lark(text).unwrap_err().to_string();
            assert_eq!(error, format!("GBNF grammar, {expected}"), "{text:?}");
        }
    }

    #[test]
    fn rules_that_lead_back_to_themselves_stay_rules_and_all_else_is_terminals() {
        let lark = |text: &str| to_lark(text).unwrap();
        assert_eq!(lark("root ::= \"yes\" | \"no\""), "start: T0\nT0: /yes/ | /no/\n");
        assert_eq!(
            lark("root ::= word (\" \" word){0,3} # some\nword ::= [a-z]+ | [^\\n\"]"),
            "start: T0\nT0: T1 (/\\x{20}/ T1){0,3}\nT1: (/[a-z]/)+ | /[^\\x{A}\\x{22}]/\n"
        );
        assert_eq!(
            lark("root ::= \"(\" root \")\" |\n  ws [0-9] ws | \"\"\nws ::= \" \"?"),
            "start: r0\nr0: A0 r0 A1 | A2 | \nA0: /\\x{28}/\nA1: /\\x{29}/\nA2: T1 /[0-9]/ T1\nT1: (/\\x{20}/)?\n"
        );
        // Left recursion is fine; a token is no text.
        assert_eq!(lark("root ::= root <|x|> | ."), "start: r0\nr0: r0 <|x|> | A0\nA0: /(?s:.)/\n");
    }

    #[test]
    fn escapes_are_characters() {
        let lark = to_lark("root ::= \"\\x41\\u00e9\\U0001F600\\t\\\"\\\\\" [\\]\\-a\\x5a-\\u0100]").unwrap();
        let expected = "T0: /A\\x{E9}\\x{1F600}\\x{9}\\x{22}\\x{5C}/ /[\\x{5D}\\x{2D}aZ-\\x{100}]/\n";
        assert_eq!(lark, format!("start: T0\n{expected}"));
    }
}
