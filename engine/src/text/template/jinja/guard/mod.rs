//! Reads a template before the engine does, and makes it safe to compile and run.
//!
//! minijinja counts steps, but not all that a hostile template can grow. Its parser and compiler recurse along chains such
//! as `a.a.a...` and `{% elif %}{% elif %}...` until the stack overflows; so tags and chains are limited here. And
//! a value nested in itself (`{% set x = [x, x] %}`, forty times) is walked in exponential time, or too deep, when it
//! is printed, compared or dropped; so every expression that gets a name is passed through the function [`BOUNDED`], which
//! refuses such values ([`super::bounds`]). Statements that could name a value otherwise are refused: chat templates
//! do not use them. Comparisons and products become calls, too (`operators`). Templates of real models pass unchanged but
//! for these functions.

mod operators;

use super::TemplateError;
use super::provenance::is_carrier;

/// The function that bounds values.
pub(super) const BOUNDED: &str = "_siskin_bounded";
/// The function that compares values.
pub(super) const COMPARED: &str = "_siskin_compare";
/// The function that gives a key as it is looked up.
pub(super) const KEY: &str = "_siskin_key";
/// The function that multiplies.
pub(super) const PRODUCT: &str = "_siskin_product";
/// Names that templates must not use.
const RESERVED: [&str; 4] = [BOUNDED, COMPARED, KEY, PRODUCT];

/// The longest source in bytes. Those of real models stay below 30 KiB.
const MAX_SOURCE: usize = 256 << 10;
/// The most tokens in a tag, the depth of what a parser could recurse along.
const MAX_TOKENS: usize = 1000;
/// The most `elif`, each of which nests in the one before.
const MAX_ELIF: usize = 200;

const REFUSED: [&str; 7] = ["include", "import", "from", "extends", "block", "autoescape", "trans"];

/// Checks the source and returns what to compile in its place, line by line the same.
pub(super) fn guard(source: &str) -> Result<String, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::SourceTooLong { bytes: source.len(), limit: MAX_SOURCE });
    }
    if let Some(at) = source.find(is_carrier) {
        let line = 1 + newlines(source.get(..at).unwrap_or_default());
        let problem = "a code point without a character, from U+D0000 to U+DFFFF".to_owned();
        return Err(TemplateError::Refused { line, problem });
    }
    let mut guarded = String::with_capacity(source.len() + source.len() / 4);
    let mut rest = source;
    let mut line = 1;
    let mut elifs = 0;
    while let Some(start) = start_of_tag(rest) {
        let (before, from) = rest.split_at_checked(start).unwrap_or((rest, ""));
        guarded.push_str(before);
        line += newlines(before);
        let refused = |problem: String| TemplateError::Refused { line, problem };
        // Nothing that the engine could read otherwise may pass unread.
        let tag = Tag::read(from).ok_or_else(|| refused("a tag that does not end".to_owned()))?;
        let text = from.get(..tag.length).unwrap_or_default();
        match tag.kind {
            Kind::Verbatim => guarded.push_str(text),
            Kind::Expression => {
                let tokens = Tokens::read(text).map_err(&refused)?;
                tokens.check().map_err(&refused)?;
                tokens.copy(&mut guarded);
            }
            Kind::Statement => {
                let tokens = Tokens::read(text).map_err(&refused)?;
                tokens.check().map_err(&refused)?;
                elifs += usize::from(tokens.keyword() == "elif");
                if elifs > MAX_ELIF {
                    return Err(refused(format!("more than {MAX_ELIF} elif")));
                }
                tokens.rewrite(&mut guarded).map_err(&refused)?;
            }
        }
        line += newlines(text);
        rest = from.get(tag.length..).unwrap_or_default();
    }
    guarded.push_str(rest);
    Ok(guarded)
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|&byte| byte == b'\n').count()
}

/// Where the next tag begins.
fn start_of_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))
}

enum Kind {
    /// A comment, or a raw block with its text.
    Verbatim,
    Expression,
    Statement,
}

/// A tag at the beginning of a text.
struct Tag {
    kind: Kind,
    /// In bytes, with the delimiters.
    length: usize,
}

impl Tag {
    /// `None` when it does not end.
    fn read(text: &str) -> Option<Tag> {
        let inside = text.get(2..)?;
        if text.starts_with("{#") {
            return Some(Tag { kind: Kind::Verbatim, length: 2 + inside.find("#}")? + 2 });
        }
        if text.starts_with("{{") {
            return Some(Tag { kind: Kind::Expression, length: 2 + end_of_tag(inside, "}}")? });
        }
        let length = 2 + end_of_tag(inside, "%}")?;
        if is_tag_of(text.get(..length)?, "raw") {
            return Some(Tag { kind: Kind::Verbatim, length: end_of_raw(text, length)? });
        }
        Some(Tag { kind: Kind::Statement, length })
    }
}

/// Where a tag ends: behind its delimiter, which does not count within strings and brackets.
fn end_of_tag(inside: &str, delimiter: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(rest) = inside.get(at..).filter(|rest| !rest.is_empty()) {
        if depth == 0 && rest.starts_with(delimiter) {
            return Some(at + delimiter.len());
        }
        let token = Token::first(rest);
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += token.text.len();
    }
    None
}

/// Where a raw block ends: behind the next `{% endraw %}`.
fn end_of_raw(text: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let start = at + text.get(at..)?.find("{%")?;
        let length = 2 + text.get(start + 2..)?.find("%}")? + 2;
        if is_tag_of(text.get(start..start + length)?, "endraw") {
            return Some(start + length);
        }
        at = start + 2;
    }
}

/// Whether the engine takes the tag for this one: it reads `raw` and `endraw` apart from all others.
fn is_tag_of(tag: &str, keyword: &str) -> bool {
    let inside = tag.strip_prefix("{%").and_then(|tag| tag.strip_suffix("%}")).unwrap_or_default();
    let name = inside.strip_prefix(['-', '+']).unwrap_or(inside).trim_ascii_start();
    name.strip_prefix(keyword).is_some_and(|rest| matches!(rest.trim_ascii_start(), "" | "-" | "+"))
}

/// A word, number, string, operator, or run of white space.
#[derive(Clone, Copy)]
struct Token<'s> {
    text: &'s str,
}

impl<'s> Token<'s> {
    /// The first token of a text that is not empty.
    fn first(text: &'s str) -> Self {
        let while_all = |accept: fn(char) -> bool| text.find(|c: char| !accept(c)).unwrap_or(text.len());
        let length = match text.chars().next().unwrap_or(' ') {
            c if c.is_whitespace() => while_all(char::is_whitespace),
            c if is_word(c) => while_all(is_word),
            quote @ ('"' | '\'') => string_length(text, quote),
            first => {
                let pair = ["**", "//", "==", "!=", "<=", ">="].iter().any(|pair| text.starts_with(pair));
                if pair { 2 } else { first.len_utf8() }
            }
        };
        Token { text: text.get(..length).unwrap_or(text) }
    }

    fn is_space(self) -> bool {
        self.text.starts_with(char::is_whitespace)
    }

    fn is_name(self) -> bool {
        self.text.starts_with(|c: char| is_word(c) && !c.is_ascii_digit())
    }

    fn is_string(self) -> bool {
        self.text.starts_with(['"', '\''])
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a string with its quotes; a backslash escapes the character after it.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A tag in parts: `{%-`, its tokens, `-%}`.
struct Tokens<'s> {
    open: &'s str,
    inside: &'s str,
    close: &'s str,
    /// All but white space, with their offsets into `inside`.
    tokens: Vec<(usize, Token<'s>)>,
}

impl<'s> Tokens<'s> {
    fn read(tag: &'s str) -> Result<Self, String> {
        let signs = |byte: Option<&u8>| usize::from(matches!(byte, Some(b'-' | b'+')));
        let bytes = tag.as_bytes();
        let opens = 2 + signs(bytes.get(2));
        let closes =
            tag.len() - 2 - signs(bytes.get(tag.len().wrapping_sub(3)).filter(|_| tag.len() >= opens + 3));
        let part = |from: usize, to: usize| tag.get(from..to.max(from)).unwrap_or_default();
        let inside = part(opens, closes);
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(rest) = inside.get(at..).filter(|rest| !rest.is_empty()) {
            let token = Token::first(rest);
            if !token.is_space() {
                tokens.push((at, token));
            }
            if tokens.len() > MAX_TOKENS {
                return Err(format!("a tag of more than {MAX_TOKENS} tokens"));
            }
            at += token.text.len();
        }
        Ok(Tokens { open: part(0, opens), inside, close: part(closes.max(opens), tag.len()), tokens })
    }

    fn text(&self, index: usize) -> &'s str {
        self.tokens.get(index).map_or("", |(_, token)| token.text)
    }

    fn keyword(&self) -> &'s str {
        self.text(0)
    }

    fn check(&self) -> Result<(), String> {
        let keyword = self.keyword();
        if self.open.starts_with("{%") && REFUSED.contains(&keyword) {
            return Err(format!("statement {keyword:?} has no use in a chat template"));
        }
        if let Some((_, token)) = self.tokens.iter().find(|(_, token)| RESERVED.contains(&token.text)) {
            return Err(format!("the name {:?} is reserved", token.text));
        }
        let is_product = |&index: &usize| self.text(index) == "*";
        if !(0..self.tokens.len()).filter(is_product).all(|index| self.follows_operand(index)) {
            return Err("a product without a first factor".to_owned());
        }
        Ok(())
    }

    /// Writes the statement with the values that it names bounded.
    fn rewrite(&self, out: &mut String) -> Result<(), String> {
        match self.keyword() {
            "set" => match self.find(|text| text == "=") {
                Some(assign) => self.wrap(out, assign + 1, self.tokens.len(), ""),
                None => self.copy(out),
            },
            "for" => {
                let end = self.find(|text| text == "if" || text == "recursive").unwrap_or(self.tokens.len());
                let Some(within) = self.find(|text| text == "in") else {
                    self.copy(out);
                    return Ok(());
                };
                self.wrap(out, within + 1, end, ", true");
                if self.find(|text| text == "recursive").is_some() {
                    // What `loop` is called with gets these names, too.
                    self.bound(out, self.names(1, within));
                }
            }
            "with" => self.rewrite_with(out),
            "macro" => {
                self.copy(out);
                self.bound(out, self.parameters(2));
            }
            "call" => {
                self.copy(out);
                self.bound(out, self.parameters(1));
            }
            // Marks in which part of the output a model is trained; it does not change the text.
            "generation" => out.push_str(&format!("{} if true {}", self.open, self.close)),
            "endgeneration" => out.push_str(&format!("{} endif {}", self.open, self.close)),
            _ => self.copy(out),
        }
        Ok(())
    }

    /// Writes statements that bound what these names stand for.
    fn bound(&self, out: &mut String, names: Vec<&str>) {
        for name in names {
            out.push_str(&format!("{{% set {name} = {BOUNDED}({name}) {}", self.close));
        }
    }

    /// Writes a `with` whose values are bounded, and all known before any gets its name, as Jinja2 has it.
    fn rewrite_with(&self, out: &mut String) {
        let mut pairs = Vec::new();
        let mut first = 1;
        while let Some(assign) = self.next_outside(first, "=") {
            let end = self.next_outside(assign, ",").unwrap_or(self.tokens.len());
            pairs.push((first..assign, assign + 1..end));
            first = end + 1;
        }
        if pairs.is_empty() {
            return self.copy(out);
        }
        out.push_str(self.open);
        out.push_str(self.before_token(1));
        let (open, close) = if pairs.len() > 1 { ("(", ")") } else { ("", "") };
        let separator = |index: usize| if index > 0 { ", " } else { open };
        for (index, (target, _)) in pairs.iter().enumerate() {
            out.push_str(separator(index));
            self.write(out, target.start, target.end);
        }
        out.push_str(&format!("{close} = "));
        for (index, (_, value)) in pairs.iter().enumerate() {
            out.push_str(&format!("{}{BOUNDED}((", separator(index)));
            self.write(out, value.start, value.end);
            out.push_str(")) ");
        }
        out.push_str(close);
        out.push_str(self.close);
    }

    /// The first token from `first` on that is this text, outside of brackets.
    fn next_outside(&self, first: usize, text: &str) -> Option<usize> {
        let mut outside = self
            .with_depth()
            .filter(|(index, found, depth)| *index >= first && *depth == 0 && *found == text);
        outside.next().map(|(index, ..)| index)
    }

    /// The names among some tokens.
    fn names(&self, first: usize, end: usize) -> Vec<&'s str> {
        let tokens = self.tokens.get(first..end).unwrap_or_default().iter();
        tokens.filter(|(_, token)| token.is_name()).map(|(_, token)| token.text).collect()
    }

    /// Writes the tag with its comparisons as calls.
    fn copy(&self, out: &mut String) {
        let first = usize::from(self.open.starts_with("{%"));
        out.push_str(self.open);
        out.push_str(self.before_token(first));
        self.write(out, first, self.tokens.len());
        out.push_str(self.close);
    }

    /// All before a token.
    fn before_token(&self, index: usize) -> &'s str {
        let offset = self.tokens.get(index).map_or(self.inside.len(), |(at, _)| *at);
        self.inside.get(..offset).unwrap_or_default()
    }

    /// As [`copy`](Self::copy), with the tokens `first..end` as the argument of the bounding function, in parentheses of
    /// their own because they may be a tuple, with `more` arguments behind them.
    fn wrap(&self, out: &mut String, first: usize, end: usize, more: &str) {
        if first >= end {
            return self.copy(out);
        }
        for text in [self.open, self.before_token(first), BOUNDED, "(("] {
            out.push_str(text);
        }
        self.write(out, first, end);
        out.push(')');
        out.push_str(more);
        out.push_str(") ");
        self.write(out, end, self.tokens.len());
        out.push_str(self.close);
    }

    /// The first token outside all brackets that `matches`.
    fn find(&self, matches: impl Fn(&str) -> bool) -> Option<usize> {
        self.with_depth().find(|(_, text, depth)| *depth == 0 && matches(text)).map(|(index, ..)| index)
    }

    /// The names of parameters: those that begin the list in the parentheses which open at `open`, or follow a comma of it.
    fn parameters(&self, open: usize) -> Vec<&'s str> {
        if self.text(open) != "(" {
            return Vec::new();
        }
        let begins = |index: &usize| matches!(self.text(index.wrapping_sub(1)), "(" | ",");
        let list = self.with_depth().skip(open + 1).take_while(|(.., depth)| *depth > 0);
        let listed = list.filter(|(index, _, depth)| *depth == 1 && begins(index));
        let names = listed.filter_map(|(index, text, _)| {
            self.tokens.get(index).filter(|(_, token)| token.is_name()).map(|_| text)
        });
        names.collect()
    }

    /// Every token with its index and how many brackets are open before it.
    fn with_depth(&self) -> impl Iterator<Item = (usize, &'s str, usize)> {
        let mut depth = 0usize;
        self.tokens.iter().enumerate().map(move |(index, (_, token))| {
            let before = depth;
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            (index, token.text, before)
        })
    }
}
