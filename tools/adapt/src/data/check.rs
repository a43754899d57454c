use std::collections::HashMap;

use super::encode::Sample;
use super::private::{Hint, hints};
use super::row::Row;

/// What was found in the data, by lines. Nothing of it is an error: whoever has the data decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// Lines that say what an earlier one says, and that one.
    pub duplicates: Vec<(usize, usize)>,
    /// Lines that answer the same prompt otherwise than an earlier one, and that one.
    pub conflicts: Vec<(usize, usize)>,
    /// Lines with nothing to learn but an end.
    pub empty: Vec<usize>,
    /// Lines that are longer than the longest example may be, and how many tokens they have: they are left out.
    pub too_long: Vec<(usize, usize)>,
    /// What looks private.
    pub private: Vec<Hint>,
}

/// Looks at rows and their samples. Those that are longer than `length` tokens are taken out.
pub fn check(rows: &[Row], samples: &mut Vec<Sample>, length: usize) -> Findings {
    let mut findings = Findings { private: hints(rows), ..Findings::default() };
    let mut seen: HashMap<&[u32], (usize, &[u32])> = HashMap::new();
    for sample in &*samples {
        if sample.answer().len() <= 1 {
            findings.empty.push(sample.line);
        }
        if sample.tokens.len() > length {
            findings.too_long.push((sample.line, sample.tokens.len()));
        }
        // Of texts all is learned: those that say the same are duplicates, and none conflict.
        let key = if sample.prompt().is_empty() { sample.answer() } else { sample.prompt() };
        match seen.get(key) {
            None => {
                seen.insert(key, (sample.line, sample.answer()));
            }
            Some(&(line, answer)) if answer == sample.answer() => {
                findings.duplicates.push((sample.line, line))
            }
            Some(&(line, _)) => findings.conflicts.push((sample.line, line)),
        }
    }
    samples.retain(|sample| sample.tokens.len() <= length);
    findings
}
