use std::fmt::Write as _;

use super::{Element, Rule};

/// Writes rules as Lark.
///
/// Those that lead back to themselves are rules there, `r0`; all others are terminals, `T1`. What stands between rules is a
/// terminal too, `A2`.
pub(super) fn write(rules: &[Rule], root: usize) -> String {
    let mut writer = Writer { terminal: terminals(rules), lark: String::new(), made: Vec::new() };
    let _ = writeln!(writer.lark, "start: {}", writer.name(root));
    let in_order = std::iter::once(root).chain((0..rules.len()).filter(|&number| number != root));
    let (terminals, others): (Vec<usize>, Vec<usize>) = in_order.partition(|&number| writer.terminal[number]);
    for number in others {
        let mut body = String::new();
        writer.rule(&rules[number].body, &mut body);
        let _ = writeln!(writer.lark, "r{number}: {body}");
    }
    for (number, made) in std::mem::take(&mut writer.made).into_iter().enumerate() {
        let _ = writeln!(writer.lark, "A{number}: {made}");
    }
    for number in terminals {
        let mut body = String::new();
        writer.terminal(&rules[number].body, &mut body);
        let _ = writeln!(writer.lark, "T{number}: {body}");
    }
    writer.lark
}

/// Which rules are regular expressions: those that lead to none that leads back to itself, and to no token.
fn terminals(rules: &[Rule]) -> Vec<bool> {
    // From below: a rule is one once all that it names are.
    let mut terminal = vec![false; rules.len()];
    let mut named_by = vec![Vec::new(); rules.len()];
    let mut open = vec![0usize; rules.len()];
    for (number, rule) in rules.iter().enumerate() {
        each_name(&rule.body, &mut |name| {
            open[number] += 1;
            if let Some(name) = name {
                named_by[name].push(number);
            }
        });
    }
    let mut done: Vec<usize> = (0..rules.len()).filter(|&number| open[number] == 0).collect();
    while let Some(number) = done.pop() {
        terminal[number] = true;
        for &user in &named_by[number] {
            open[user] -= 1;
            if open[user] == 0 {
                done.push(user);
            }
        }
    }
    terminal
}

/// Calls `each` with every rule that an element names, as often as it does, and with None for each token.
fn each_name(element: &Element, each: &mut impl FnMut(Option<usize>)) {
    match element {
        Element::Literal(_) | Element::Class { .. } | Element::Any => {}
        Element::Token(_) => each(None),
        Element::Rule(number) => each(Some(*number)),
        Element::Sequence(elements) | Element::Choice(elements) => {
            elements.iter().for_each(|element| each_name(element, each));
        }
        Element::Repeat { element, .. } => each_name(element, each),
    }
}

fn is_terminal(element: &Element, terminal: &[bool]) -> bool {
    match element {
        Element::Literal(_) | Element::Class { .. } | Element::Any => true,
        Element::Token(_) => false,
        Element::Rule(number) => terminal[*number],
        Element::Sequence(elements) | Element::Choice(elements) => {
            elements.iter().all(|element| is_terminal(element, terminal))
        }
        Element::Repeat { element, .. } => is_terminal(element, terminal),
    }
}

struct Writer {
    terminal: Vec<bool>,
    lark: String,
    /// Terminals between rules.
    made: Vec<String>,
}

impl Writer {
    fn name(&self, rule: usize) -> String {
        format!("{}{rule}", if self.terminal[rule] { 'T' } else { 'r' })
    }

    /// Writes an element of a rule.
    fn rule(&mut self, element: &Element, out: &mut String) {
        if is_terminal(element, &self.terminal) {
            return self.between(std::slice::from_ref(element), out);
        }
        match element {
            Element::Token(token) => out.push_str(token),
            Element::Rule(number) => out.push_str(&self.name(*number)),
            Element::Choice(alternatives) => {
                for (index, alternative) in alternatives.iter().enumerate() {
                    out.push_str(if index > 0 { " | " } else { "" });
                    self.within(alternative, matches!(alternative, Element::Choice(_)), out);
                }
            }
            Element::Sequence(elements) => {
                let mut rest = elements.as_slice();
                while let Some(first) = rest.first() {
                    out.push_str(if rest.len() < elements.len() { " " } else { "" });
                    let run = rest.iter().take_while(|element| is_terminal(element, &self.terminal)).count();
                    match run {
                        0 => self.within(first, matches!(first, Element::Choice(_)), out),
                        run => self.between(&rest[..run], out),
                    }
                    rest = &rest[run.max(1)..];
                }
            }
            Element::Repeat { element, least, most } => {
                self.within(element, true, out);
                out.push_str(&times(*least, *most));
            }
            // These are terminals.
            Element::Literal(_) | Element::Class { .. } | Element::Any => {}
        }
    }

    fn within(&mut self, element: &Element, brackets: bool, out: &mut String) {
        out.push_str(if brackets { "(" } else { "" });
        self.rule(element, out);
        out.push_str(if brackets { ")" } else { "" });
    }

    /// Writes the name of the terminal that these are, one behind the other, and makes it.
    fn between(&mut self, elements: &[Element], out: &mut String) {
        match elements {
            [Element::Literal(text)] if text.is_empty() => {}
            [Element::Rule(number)] => out.push_str(&self.name(*number)),
            _ => {
                let mut body = String::new();
                self.sequence(elements, &mut body);
                let known = self.made.iter().position(|made| *made == body);
                let number = known.unwrap_or(self.made.len());
                if known.is_none() {
                    self.made.push(body);
                }
                let _ = write!(out, "A{number}");
            }
        }
    }

    fn sequence(&self, elements: &[Element], out: &mut String) {
        for (index, element) in elements.iter().enumerate() {
            out.push_str(if index > 0 { " " } else { "" });
            let brackets = elements.len() > 1 && matches!(element, Element::Choice(_));
            out.push_str(if brackets { "(" } else { "" });
            self.terminal(element, out);
            out.push_str(if brackets { ")" } else { "" });
        }
    }

    /// Writes an element of a terminal.
    fn terminal(&self, element: &Element, out: &mut String) {
        match element {
            Element::Literal(text) if text.is_empty() => out.push_str("\"\""),
            Element::Literal(text) => {
                out.push('/');
                text.chars().for_each(|c| character(c, out));
                out.push('/');
            }
            // Neither has characters to be one of.
            Element::Class { negated: true, ranges } if ranges.is_empty() => out.push_str("/(?s:.)/"),
            Element::Class { negated, ranges } => {
                out.push_str(if *negated { "/[^" } else { "/[" });
                for &(first, last) in ranges {
                    character(first, out);
                    if first != last {
                        out.push('-');
                        character(last, out);
                    }
                }
                out.push_str("]/");
            }
            Element::Any => out.push_str("/(?s:.)/"),
            Element::Rule(number) => out.push_str(&self.name(*number)),
            Element::Sequence(elements) => self.sequence(elements, out),
            Element::Choice(alternatives) => {
                for (index, alternative) in alternatives.iter().enumerate() {
                    out.push_str(if index > 0 { " | " } else { "" });
                    self.terminal(alternative, out);
                }
            }
            Element::Repeat { element, least, most } => {
                out.push('(');
                self.terminal(element, out);
                out.push(')');
                out.push_str(&times(*least, *most));
            }
            Element::Token(_) => {}
        }
    }
}

fn times(least: u32, most: Option<u32>) -> String {
    match (least, most) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    }
}

/// Writes a character of a regular expression.
fn character(c: char, out: &mut String) {
    match c.is_ascii_alphanumeric() {
        true => out.push(c),
        false => {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
}
