//! The sentences of a text, and those that say most of it.

use std::collections::{BTreeSet, HashSet};
use unicode_segmentation::UnicodeSegmentation;

/// Where sentences begin, in bytes: by the Unicode standard (UAX #29), but for lines that go on in lower case, which were
/// only broken to be short.
pub fn starts(text: &str) -> impl Iterator<Item = usize> {
    let mut broken = false;
    text.split_sentence_bound_indices().filter_map(move |(start, sentence)| {
        let goes_on = broken && sentence.trim_start().starts_with(char::is_lowercase);
        broken = sentence.ends_with('\n') && !sentence.trim_end().ends_with(['.', '!', '?', ':']);
        (!goes_on).then_some(start)
    })
}

/// The sentences, without white space around them.
pub fn of(text: &str) -> impl Iterator<Item = &str> {
    let starts: Vec<usize> = starts(text).collect();
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([text.len()]).collect();
    let sentences = starts.into_iter().zip(ends).filter_map(|(start, end)| text.get(start..end));
    sentences.map(str::trim).filter(|sentence| !sentence.is_empty())
}

/// Whether a sentence ends as one does; headings, entries of lists and what was broken off do not.
pub fn is_whole(sentence: &str) -> bool {
    sentence.trim_end().ends_with(['.', '!', '?', '。', '！', '？', '"', '”'])
}

/// The most central sentences of a text, at most `count` different ones, in their order: those whose words the others share most, by
/// TextRank (Mihalcea and Tarau, 2004) with a bias to the beginning, where most texts say what they are about. The first
/// sentences of a long text are looked at alone, as time grows with the square of their number.
///
/// Only sums, products and square roots are taken, in one order, so that every machine chooses the same.
pub fn central(text: &str, count: usize) -> Vec<&str> {
    /// Sentences that are compared.
    const MOST: usize = 400;
    /// Words of one that is worth quoting; headings are shorter, and what is longer is seldom a sentence.
    const WORDS: std::ops::RangeInclusive<usize> = 5..=60;
    let mut seen = HashSet::new();
    let all: Vec<&str> = of(text).filter(|sentence| seen.insert(*sentence)).collect();
    let is_worth = |sentence: &&str| is_whole(sentence) && WORDS.contains(&sentence.unicode_words().count());
    let mut sentences: Vec<&str> = all.iter().copied().filter(is_worth).take(MOST).collect();
    if sentences.is_empty() {
        sentences = all.into_iter().take(MOST).collect();
    }
    let ranks = ranks(&sentences);
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    // Of equals the first.
    order.sort_by(|&a, &b| ranks[b].total_cmp(&ranks[a]).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order.into_iter().filter_map(|at| sentences.get(at).copied()).collect()
}

/// How central each sentence is among these. Jumps of the random walk lead to the sentence at `i` with a probability that is
/// proportional to 1 / (1 + i).
fn ranks(sentences: &[&str]) -> Vec<f64> {
    const DAMPING: f64 = 0.85;
    const ROUNDS: usize = 30;
    let words: Vec<BTreeSet<String>> = sentences.iter().map(|sentence| stems(sentence)).collect();
    let likeness = |a: &BTreeSet<String>, b: &BTreeSet<String>| match a.len() * b.len() {
        0 => 0.0,
        size => a.intersection(b).count() as f64 / (size as f64).sqrt(),
    };
    let likenesses: Vec<Vec<f64>> = (0..words.len())
        .map(|i| {
            (0..words.len()).map(|j| if i == j { 0.0 } else { likeness(&words[i], &words[j]) }).collect()
        })
        .collect();
    let sums: Vec<f64> = likenesses.iter().map(|row| row.iter().sum()).collect();
    let bias: Vec<f64> = (1..=words.len()).map(|place| 1.0 / place as f64).collect();
    let mean = bias.iter().sum::<f64>() / words.len().max(1) as f64;
    let mut ranks = vec![1.0; words.len()];
    for _ in 0..ROUNDS {
        ranks = (0..words.len())
            .map(|i| {
                let shares = (0..words.len()).filter(|&j| sums[j] > 0.0);
                let given: f64 = shares.map(|j| ranks[j] * likenesses[j][i] / sums[j]).sum();
                (1.0 - DAMPING) * bias[i] / mean + DAMPING * given
            })
            .collect();
    }
    ranks
}

/// The words of a sentence that say something, in lower case.
fn stems(sentence: &str) -> BTreeSet<String> {
    /// Shorter ones are mostly articles and the like; other scripts have whole words of one character.
    const SHORTEST: usize = 4;
    let tells = |word: &&str| word.chars().count() >= SHORTEST || !word.is_ascii();
    sentence.unicode_words().filter(tells).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_they_do_and_broken_lines_go_on() {
        let text = "He said:\n\"Stay.\" The pump\nran all night. これは。それは。 ";
        assert_eq!(
            of(text).collect::<Vec<_>>(),
            ["He said:", "\"Stay.\"", "The pump\nran all night.", "これは。", "それは。"]
        );
        assert_eq!(of(" \n").count(), 0);
    }

    #[test]
    fn the_sentences_that_others_speak_of_are_central() {
        let text = "The pump in the cellar moves water to the tank. A cat slept on the warm wooden stairs. When the pump \
                    stops the tank runs empty of water. Nobody had painted the door since spring. A filter keeps sand \
                    out of the pump and the water clean.";
        let found = central(text, 2);
        assert!(found.iter().all(|sentence| sentence.contains("pump")), "{found:?}");
        assert_eq!(central(text, 9).len(), 5);
        assert_eq!(central("Short.", 2), ["Short."]);
        assert!(central("", 2).is_empty());
        assert_eq!(
            central("News of the town's old library\n\nIt opens on Sundays from now on.", 1),
            ["It opens on Sundays from now on."]
        );
    }

    #[test]
    fn of_sentences_that_are_as_central_the_first_are_quoted() {
        let text = "The library opens later on Tuesdays now. A van brings books to hamlets above town. Anyone may lend us \
                    old family photographs. New desks were made from local cedar wood.";
        assert_eq!(central(text, 2), of(text).take(2).collect::<Vec<_>>());
        // Not where others speak of one that stands behind them.
        let late = format!("{text} The library van brings books and the cedar desks hold old photographs.");
        assert!(central(&late, 2).iter().any(|sentence| sentence.starts_with("The library van")));
    }

    #[test]
    fn long_texts_take_no_longer_than_what_is_compared() {
        let sentence = |at| format!("The river number {at} rises in the hills and falls to the sea. ");
        let text: String = (0..20_000).map(sentence).collect();
        assert_eq!(central(&text, 3).len(), 3);
        assert_eq!(central(&sentence(1).repeat(9), 3).len(), 1);
    }
}
