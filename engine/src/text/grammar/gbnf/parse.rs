use std::collections::HashMap;

use super::{Element, GrammarError, Rule};

/// The most often that something is repeated, as llama.cpp has it.
const MOST: u32 = 2000;

/// The rules of a grammar, and the number of the one that it begins with.
///
/// # Errors
/// [`GrammarError::Gbnf`].
pub(super) fn rules(text: &str) -> Result<(Vec<Rule>, usize), GrammarError> {
    let mut reader = Reader { rest: text, line: 1, names: Names::default() };
    let mut rules: HashMap<usize, Rule> = HashMap::new();
    loop {
        reader.space(true);
        if reader.rest.is_empty() {
            break;
        }
        let rule = reader.rule()?;
        let line = rule.line;
        let number = reader.names.number(&rule.name, line);
        if let Some(first) = rules.get(&number) {
            let (name, first) = (&rule.name, first.line);
            return Err(wrong(line, format!("rule {name} is defined twice, first in line {first}")));
        }
        rules.insert(number, rule);
    }
    let Some(&root) = reader.names.numbers.get("root").filter(|root| rules.contains_key(root)) else {
        return Err(wrong(1, "expected a rule named root".to_owned()));
    };
    let all = reader.names.first_used.into_iter().enumerate();
    let all = all.map(|(number, (name, line))| {
        rules.remove(&number).ok_or_else(|| wrong(line, format!("rule {name} is not defined")))
    });
    Ok((all.collect::<Result<_, _>>()?, root))
}

/// The names of rules, numbered as they come.
#[derive(Default)]
struct Names {
    numbers: HashMap<String, usize>,
    /// Each with the line that has it first.
    first_used: Vec<(String, usize)>,
}

impl Names {
    fn number(&mut self, name: &str, line: usize) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.numbers.insert(name.to_owned(), self.first_used.len());
        self.first_used.push((name.to_owned(), line));
        self.first_used.len() - 1
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    names: Names,
}

impl Reader<'_> {
    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T, GrammarError> {
        Err(wrong(self.line, reason.into()))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.rest.strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    /// Passes over white space and comments, and over ends of lines where `lines`.
    fn space(&mut self, lines: bool) {
        while let Some(next) = self.peek() {
            match next {
                '#' => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.next();
                    }
                }
                ' ' | '\t' => {}
                '\r' | '\n' if lines => {}
                _ => break,
            }
            if next != '#' {
                self.next();
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(name.to_owned()).filter(|name| !name.is_empty())
    }

    fn rule(&mut self) -> Result<Rule, GrammarError> {
        let line = self.line;
        let Some(name) = self.name() else {
            let found = self.peek().unwrap_or_default();
            return self.wrong(format!("expected the name of a rule, found {:?}", found.to_string()));
        };
        // Numbered in the order of definition, as far as they come before their use.
        self.names.number(&name, line);
        self.space(false);
        if !self.take("::=") {
            return self.wrong(format!("expected ::= behind {name}"));
        }
        self.space(true);
        let body = self.choice(false)?;
        self.space(false);
        match self.peek() {
            None | Some('\n' | '\r') => Ok(Rule { name, line, body }),
            Some(other) => self.wrong(format!("expected an end of the rule, found {:?}", other.to_string())),
        }
    }

    /// Alternatives, over several lines where they are `nested` in brackets.
    fn choice(&mut self, nested: bool) -> Result<Element, GrammarError> {
        let mut alternatives = vec![self.sequence(nested)?];
        while self.take("|") {
            self.space(true);
            alternatives.push(self.sequence(nested)?);
        }
        Ok(single(alternatives, Element::Choice))
    }

    fn sequence(&mut self, nested: bool) -> Result<Element, GrammarError> {
        let mut elements = Vec::new();
        loop {
            self.space(nested);
            let Some(mut element) = self.element(elements.is_empty())? else { break };
            self.space(nested);
            while let Some((least, most)) = self.repetition()? {
                element = Element::Repeat { element: Box::new(element), least, most };
                self.space(nested);
            }
            elements.push(element);
        }
        Ok(single(elements, Element::Sequence))
    }

    /// The next element of a sequence; None at its end.
    fn element(&mut self, is_first: bool) -> Result<Option<Element>, GrammarError> {
        let line = self.line;
        Ok(Some(match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('<') => self.token()?,
            Some('.') => {
                self.next();
                Element::Any
            }
            Some('(') => {
                self.next();
                self.space(true);
                let inside = self.choice(true)?;
                if !self.take(")") {
                    return self.wrong(format!("expected ) for a ( in line {line}"));
                }
                inside
            }
            Some(sign @ ('*' | '+' | '?' | '{')) if is_first => {
                return self.wrong(format!("expected something before {sign}"));
            }
            Some('!') => return self.wrong("all tokens but one (!) are not supported"),
            Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                let name = self.name().unwrap_or_default();
                Element::Rule(self.names.number(&name, line))
            }
            _ => return Ok(None),
        }))
    }

    fn literal(&mut self) -> Result<Element, GrammarError> {
        let line = self.line;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(Element::Literal(text)),
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => return Err(wrong(line, "a text has no end".to_owned())),
                Some(other) => text.push(other),
            }
        }
    }

    fn class(&mut self) -> Result<Element, GrammarError> {
        self.next();
        let negated = self.take("^");
        let mut ranges = Vec::new();
        loop {
            let first = match self.next() {
                Some(']') if ranges.is_empty() && !negated => {
                    return self.wrong("a class of characters has none");
                }
                Some(']') => return Ok(Element::Class { negated, ranges }),
                Some('\\') => self.escape()?,
                Some(other) => other,
                None => return self.wrong("a class of characters has no end"),
            };
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            if !is_range {
                ranges.push((first, first));
                continue;
            }
            self.next();
            let last = match self.next() {
                Some('\\') => self.escape()?,
                Some(other) => other,
                None => return self.wrong("a class of characters has no end"),
            };
            if last < first {
                return self.wrong(format!("the range {first}-{last} is the wrong way round"));
            }
            ranges.push((first, last));
        }
    }

    fn escape(&mut self) -> Result<char, GrammarError> {
        let letter = self.next().unwrap_or_default();
        let digits = match letter {
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            '"' | '\\' | '[' | ']' | '-' | '^' => return Ok(letter),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => return self.wrong(format!("there is no escape \\{other}")),
        };
        let number = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(number) = number else {
            return self.wrong(format!("expected {digits} hexadecimal digits behind \\{letter}"));
        };
        self.rest = &self.rest[digits..];
        let found = u32::from_str_radix(number, 16).ok().and_then(char::from_u32);
        found.map_or_else(|| self.wrong(format!("\\{letter}{number} is no character")), Ok)
    }

    fn token(&mut self) -> Result<Element, GrammarError> {
        let end = self.rest.find(['>', '\n']).filter(|&end| self.rest[end..].starts_with('>'));
        let Some(end) = end else { return self.wrong("a token has no end") };
        let (token, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Ok(Element::Token(token.to_owned()))
    }

    /// How often the element before is there, if that is said.
    fn repetition(&mut self) -> Result<Option<(u32, Option<u32>)>, GrammarError> {
        let times = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.next();
                self.space(true);
                let least = self.number()?;
                self.space(true);
                let most = match self.take(",") {
                    false => Some(least),
                    true => {
                        self.space(true);
                        let is_open = self.rest.starts_with('}');
                        if is_open { None } else { Some(self.number()?) }
                    }
                };
                self.space(true);
                if !self.rest.starts_with('}') {
                    return self.wrong("expected } behind a repetition");
                }
                if let Some(most) = most.filter(|&most| most < least) {
                    return self.wrong(format!("the repetition {{{least},{most}}} is the wrong way round"));
                }
                (least, most)
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(times))
    }

    fn number(&mut self) -> Result<u32, GrammarError> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        if digits.is_empty() {
            return self.wrong("expected a number in a repetition");
        }
        self.rest = rest;
        let number = digits.parse().ok().filter(|&number: &u32| number <= MOST);
        number.map_or_else(|| self.wrong(format!("a repetition of {digits}, expected at most {MOST}")), Ok)
    }
}

fn single(mut elements: Vec<Element>, several: fn(Vec<Element>) -> Element) -> Element {
    match elements.len() {
        0 => Element::Literal(String::new()),
        1 => elements.remove(0),
        _ => several(elements),
    }
}

fn wrong(line: usize, reason: String) -> GrammarError {
    GrammarError::Gbnf { line, reason }
}
