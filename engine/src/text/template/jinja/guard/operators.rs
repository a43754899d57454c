//! Comparisons as calls, so that they see texts as they were given ([`super::super::provenance`]), and products, so that
//! what they repeat is bounded.
//!
//! `a == b` becomes `_siskin_compare(a, "==", b)`, also for `in`, `not in` and chains of them, and `a[b]` with a `b` that is
//! worked out becomes `a[_siskin_key(b)]`. What stands beside an operator is found without a grammar: of all operators,
//! only `and`, `or`, `not` and `if` bind looser than comparisons. Where this should read a tag otherwise than the engine
//! does, a template takes another turn than it would, and no text loses its origin.
//!
//! `a * b` becomes `_siskin_product(a, b)`. Between what binds looser, `+`, `-` and `~` too, it is one of a chain of products,
//! quotients and remainders, which are worked out from left to right.

use super::{COMPARED, KEY, PRODUCT, Tokens};

/// What no part of a comparison goes beyond.
const DELIMITERS: [&str; 8] = [",", ":", "=", "and", "or", "not", "if", "else"];
const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
/// What binds looser than a product, and what binds as it does.
const SUMS: [&str; 3] = ["+", "-", "~"];
const PRODUCTS: [&str; 4] = ["*", "/", "//", "%"];
/// Words behind which a bracket begins a list.
const BEFORE_VALUES: [&str; 8] = ["and", "or", "not", "if", "elif", "else", "in", "is"];

impl Tokens<'_> {
    /// Writes the tokens `first..end`, each with the white space behind it.
    pub(super) fn write(&self, out: &mut String, first: usize, end: usize) {
        let mut at = first;
        while at < end {
            let stop = self.steps(at, end).find(|&index| self.is_delimiter(index)).unwrap_or(end);
            self.write_clause(out, at, stop);
            if stop < end {
                out.push_str(self.raw(stop, stop + 1));
            }
            at = stop + 1;
        }
    }

    /// Writes what stands between two delimiters.
    fn write_clause(&self, out: &mut String, first: usize, end: usize) {
        let mut operand = first;
        let mut compares = false;
        let operators: Vec<usize> = self.steps(first, end).filter(|&index| self.is_operator(index)).collect();
        if !operators.is_empty() {
            compares = true;
            out.push_str(COMPARED);
            out.push('(');
        }
        for index in operators {
            self.write_plain(out, operand, index);
            let negated = self.text(index) == "not";
            out.push_str(&format!(", \"{}\", ", if negated { "not in" } else { self.text(index) }));
            operand = index + 1 + usize::from(negated);
            // Ends of lines that stand around the operator are counted too.
            out.push_str(&"\n".repeat(super::newlines(self.raw(index, operand))));
        }
        self.write_plain(out, operand, end);
        if compares {
            out.push_str(") ");
        }
    }

    /// Writes tokens without a comparison outside of brackets.
    fn write_plain(&self, out: &mut String, first: usize, end: usize) {
        let is_sum = |index: &usize| SUMS.contains(&self.text(*index)) && self.follows_operand(*index);
        let sums: Vec<usize> = self.steps(first, end).filter(is_sum).collect();
        let mut at = first;
        for sum in sums.into_iter().chain([end]) {
            self.write_chain(out, at, sum);
            if sum < end {
                out.push_str(self.raw(sum, sum + 1));
            }
            at = sum + 1;
        }
    }

    /// Whether what stands before a token is the end of a value, so that the token is an operator between two.
    pub(super) fn follows_operand(&self, index: usize) -> bool {
        let before = index.checked_sub(1).and_then(|before| self.tokens.get(before));
        let first = usize::from(self.open.starts_with("{%"));
        before.is_some_and(|(_, token)| {
            let is_word = token.text.starts_with(super::is_word) && !begins_exponent(token.text);
            let is_value = is_word && (!BEFORE_VALUES.contains(&token.text) || self.is_named(index - 1));
            index > first && (is_value || token.is_string() || matches!(token.text, ")" | "]" | "}"))
        })
    }

    /// Writes a chain of products, quotients and remainders.
    fn write_chain(&self, out: &mut String, first: usize, end: usize) {
        let is_product =
            |index: &usize| PRODUCTS.contains(&self.text(*index)) && self.follows_operand(*index);
        let operators: Vec<usize> = self.steps(first, end).filter(is_product).collect();
        if operators.iter().all(|&index| self.text(index) != "*") {
            return self.write_values(out, first, end);
        }
        let mut ends = operators.iter().skip(1).copied().chain([end]);
        let mut chain = String::new();
        self.write_values(&mut chain, first, operators.first().copied().unwrap_or(end));
        for &operator in &operators {
            let mut operand = String::new();
            self.write_values(&mut operand, operator + 1, ends.next().unwrap_or(end));
            // Ends of lines that stand behind the operator are counted too.
            let lines = "\n".repeat(super::newlines(self.raw(operator, operator + 1)));
            chain = match self.text(operator) {
                "*" => format!("{PRODUCT}({chain}, {lines}{operand}) "),
                other => format!("{chain}{other} {lines}{operand}"),
            };
        }
        out.push_str(&chain);
    }

    /// Writes tokens without an operator outside of brackets that becomes a call.
    fn write_values(&self, out: &mut String, first: usize, end: usize) {
        for index in self.steps(first, end) {
            out.push_str(self.raw(index, index + 1));
            if !is_opening(self.text(index)) {
                continue;
            }
            let close = self.close_of(index, end);
            let is_key = self.is_worked_out_key(index, close);
            if is_key {
                out.push_str(KEY);
                out.push('(');
            }
            self.write(out, index + 1, close);
            if is_key {
                out.push(')');
            }
            if close < end {
                out.push_str(self.raw(close, close + 1));
            }
        }
    }

    /// The tokens of `first..end` outside of the brackets that open among them.
    fn steps(&self, first: usize, end: usize) -> impl Iterator<Item = usize> {
        let mut at = first;
        std::iter::from_fn(move || {
            let index = at;
            at = if is_opening(self.text(index)) { self.close_of(index, end) } else { index };
            at += 1;
            (index < end).then_some(index)
        })
    }

    /// Where the bracket closes that opens at `open`; `end` if nowhere before.
    fn close_of(&self, open: usize, end: usize) -> usize {
        let mut depth = 0usize;
        for index in open..end {
            match self.text(index) {
                text if is_opening(text) => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return index;
            }
        }
        end
    }

    /// The source from one token to another.
    fn raw(&self, first: usize, end: usize) -> &str {
        let offset = |index: usize| self.tokens.get(index).map_or(self.inside.len(), |(at, _)| *at);
        self.inside.get(offset(first)..offset(end)).unwrap_or_default()
    }

    fn before(&self, index: usize) -> &str {
        index.checked_sub(1).map_or("", |index| self.text(index))
    }

    /// Whether the word at `index` is the name of an attribute, filter or test.
    fn is_named(&self, index: usize) -> bool {
        let is_not =
            self.before(index) == "not" && index.checked_sub(1).is_some_and(|at| self.before(at) == "is");
        is_not || matches!(self.before(index), "." | "|" | "is")
    }

    fn is_delimiter(&self, index: usize) -> bool {
        DELIMITERS.contains(&self.text(index)) && !self.is_named(index) && !self.is_operator(index)
    }

    fn is_operator(&self, index: usize) -> bool {
        match self.text(index) {
            "in" => !self.is_named(index) && self.before(index) != "not",
            "not" => !self.is_named(index) && self.text(index + 1) == "in",
            text => OPERATORS.contains(&text),
        }
    }

    /// Whether the bracket at `open` is a subscript, of one key that is more than a text or number.
    fn is_worked_out_key(&self, open: usize, close: usize) -> bool {
        let (before, statement) = (self.before(open), self.open.starts_with("{%"));
        let is_value = match open.checked_sub(1).and_then(|index| self.tokens.get(index)) {
            None => false,
            Some(_) if statement && open == 1 => false,
            Some(_) if matches!(before, ")" | "]" | "}") => true,
            Some((_, token)) if token.is_name() => match self.before(open - 1) {
                "." => true,
                _ => !self.is_named(open - 1) && !BEFORE_VALUES.contains(&before),
            },
            Some((_, token)) => token.is_string(),
        };
        let is_written = match self.tokens.get(open + 1) {
            Some((_, key)) => close == open + 2 && !key.is_name(),
            None => true,
        };
        let is_slice = self.steps(open + 1, close).any(|index| self.text(index) == ":");
        self.text(open) == "[" && is_value && !is_written && !is_slice && close > open + 1
    }
}

/// Whether a word is a float's digits up to its exponent's sign, as those of `1.5e-3`.
fn begins_exponent(text: &str) -> bool {
    let digits = text.strip_suffix(['e', 'E']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

fn is_opening(text: &str) -> bool {
    matches!(text, "(" | "[" | "{")
}

#[cfg(test)]
mod tests {
    use super::super::guard;

    #[track_caller]
    fn becomes(source: &str, expected: &str) {
        // Spaces are of no account.
        let guarded = guard(source).map(|guarded| guarded.replace("_siskin_", "_").replace(' ', ""));
        assert_eq!(guarded.as_deref().ok(), Some(expected.replace(' ', "").as_str()));
    }

    #[test]
    fn comparisons_become_calls() {
        becomes("{{ a == b }}", "{{ _compare(a , \"==\", b ) }}");
        becomes("{{- a<b<=c -}}", "{{- _compare(a, \"<\", b, \"<=\", c)  -}}");
        becomes("{% if not a in b and c %}", "{% if not _compare(a , \"in\", b ) and c %}");
        becomes("{% if a not in b %}", "{% if _compare(a , \"not in\", b ) %}");
        becomes("{{ f(x=a + 1 == b|c, d) }}", "{{ f(x=_compare(a + 1 , \"==\", b|c) , d) }}");
        becomes("{{ {'a': b == c}['a'] }}", "{{ {'a': _compare(b , \"==\", c) }['a'] }}");
        becomes(
            "{{ a if (b == c) == d else e }}",
            "{{ a if _compare((_compare(b , \"==\", c) ) , \"==\", d ) else e }}",
        );
        becomes(
            "{% for x in y if x == z %}",
            "{% for x in _bounded((y ), true) if _compare(x , \"==\", z ) %}",
        );
        becomes("{% set a = b == c %}", "{% set a = _bounded((_compare(b , \"==\", c ) ))  %}");
        becomes("{{ a\n==\nb }}", "{{ _compare(a\n, \"==\", \nb ) }}");
    }

    #[test]
    fn products_become_calls() {
        becomes("{{ a * b }}", "{{ _product(a, b) }}");
        becomes("{{ a + b * c - d }}", "{{ a + _product(b, c) - d }}");
        becomes("{{ a / b * c % d * e }}", "{{ _product(_product(a / b, c) % d, e) }}");
        becomes("{{ -a * -b ~ '*' }}", "{{ _product(-a, -b) ~ '*' }}");
        becomes("{{ '-' * n|int(2) is x }}", "{{ _product('-', n|int(2) is x) }}");
        becomes("{{ f(a * b, c) == 2 * d }}", "{{ _compare(f(_product(a, b), c), \"==\", _product(2, d)) }}");
        becomes("{{ a[n * 2] ** 2 * b }}", "{{ _product(a[_key(_product(n, 2))] ** 2, b) }}");
        becomes("{{ a if b * c else d }}", "{{ a if _product(b, c) else d }}");
        becomes("{{ a\n*\nb }}", "{{ _product(a\n, \nb) }}");
        becomes("{{ 1.5e-3 * a - 2E+1*b }}", "{{ _product(1.5e-3, a) - _product(2E+1, b) }}");
        becomes("{{ 0x1e - 1 * a }}", "{{ 0x1e - _product(1, a) }}");
        becomes("{% set a = b * (c + d) %}", "{% set a = _bounded((_product(b, (c + d)))) %}");
        for refused in ["{{ * a }}", "{{ f(*a) }}", "{{ a + * b }}", "{% for * in a %}"] {
            assert!(guard(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn what_gets_a_name_is_bounded() {
        becomes("{% with a = b %}", "{% with a = _bounded((b)) %}");
        becomes(
            "{% with a = b == c, d = [a, e] %}",
            "{% with (a, d) = (_bounded((_compare(b, \"==\", c))), _bounded(([a, e]))) %}",
        );
        becomes("{% with %}", "{% with %}");
        becomes(
            "{% call(a, b=1) m(c) -%}",
            "{% call(a, b=1) m(c) -%}{% set a = _bounded(a) -%}{% set b = _bounded(b) -%}",
        );
        becomes("{% call m(c) %}", "{% call m(c) %}");
        becomes(
            "{% for a, b in c recursive %}",
            "{% for a, b in _bounded((c), true) recursive %}{% set a = _bounded(a) %}{% set b = _bounded(b) %}",
        );
    }

    #[test]
    fn what_only_looks_like_a_comparison_stays() {
        for same in [
            "{{ a is in b }}",
            "{{ a is not in b }}",
            "{{ a is not none and not b }}",
            "{{ a.in | in }}",
            "{{ '==' ~ f(a=1) }}",
            "{% for a, b in [1]|list %}",
        ] {
            let guarded = guard(same).unwrap_or_default();
            assert!(!guarded.contains("_siskin_compare"), "{guarded}");
        }
    }

    #[test]
    fn keys_that_are_worked_out_are_looked_up_by_what_they_say() {
        becomes("{{ a[b] }}", "{{ a[_key(b)] }}");
        becomes("{{ a['b'][0][1:n] }}", "{{ a['b'][0][1:n] }}");
        becomes("{{ a[b['c']].d()[e ~ 'f'] }}", "{{ a[_key(b['c'])].d()[_key(e ~ 'f')] }}");
        for list in [
            "{{ [a] }}",
            "{{ a in [b] }}",
            "{{ a is in [b, c] }}",
            "{{ a is not in [b] }}",
            "{% if [a] %}",
            "{{ a if b else [c] }}",
            "{{ f([a], [b]) }}",
            "{{ not [a] }}",
        ] {
            let guarded = guard(list).unwrap_or_default();
            assert!(!guarded.contains("_siskin_key") && !guarded.is_empty(), "{guarded}");
        }
    }
}
