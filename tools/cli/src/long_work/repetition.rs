//! Noticing that an answer goes in circles.

use std::collections::HashMap;

/// Tokens of a text that comes again are at most so many.
const LONGEST_PERIOD: usize = 64;
/// How often it has to be there, and how many tokens together.
const TIMES: usize = 3;
const LEAST: usize = 24;
/// Tokens that are looked at for texts that come again with small changes, and how many of them are one of the pieces.
const WINDOW: usize = 96;
const PIECE: usize = 4;

/// Where the last tokens of an answer begin to repeat what is before them; None where they do not.
///
/// Two things are circles. The same tokens time and again, three times and 24 tokens at least: this is noticed soonest.
/// And, for those that count or vary a word each time, a window of 96 tokens in which less than half of all runs of four
/// tokens are different ones. Texts of people have nine tenths and more, lists of like sentences some two thirds. A ratio
/// of compression would tell the same of bytes, later and at more cost.
pub(crate) fn begins(tokens: &[u32]) -> Option<usize> {
    period(tokens).or_else(|| variation(tokens))
}

fn period(tokens: &[u32]) -> Option<usize> {
    let repeats = |&period: &usize| {
        let needed = (TIMES * period).max(LEAST);
        tokens.len() >= needed && alike(tokens, period) + period >= needed
    };
    let period = (1..=LONGEST_PERIOD).find(repeats)?;
    // The first time it is no repetition.
    Some(tokens.len() - alike(tokens, period))
}

/// How many of the last tokens are those that stand `period` before them.
fn alike(tokens: &[u32], period: usize) -> usize {
    let before = tokens.iter().rev().skip(period);
    tokens.iter().rev().zip(before).take_while(|(a, b)| a == b).count()
}

fn variation(tokens: &[u32]) -> Option<usize> {
    let start = tokens.len().checked_sub(WINDOW)?;
    let window = tokens.get(start..)?;
    let mut first = HashMap::new();
    let mut repeated = None;
    for (at, piece) in window.windows(PIECE).enumerate() {
        if first.insert(piece, at).is_some() {
            repeated = repeated.or(Some(start + at));
        }
    }
    repeated.filter(|_| 2 * first.len() < WINDOW - PIECE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens that look like those of a text.
    fn text(length: u32) -> Vec<u32> {
        (0..length).map(|at| at.wrapping_mul(2_654_435_761) >> 20).collect()
    }

    /// Where a circle is noticed, token by token, and where it begins.
    fn noticed(tokens: &[u32]) -> Option<(usize, usize)> {
        (0..=tokens.len()).find_map(|end| Some((end, begins(&tokens[..end])?)))
    }

    #[test]
    fn texts_and_lists_are_no_circles() {
        assert_eq!(noticed(&text(500)), None);
        // "The pump N is ok." is seven tokens, of which one is another each time.
        let list: Vec<u32> = (0..40).flat_map(|n| [1, 2, 100 + n, 3, 4, 5, 6]).collect();
        assert_eq!(noticed(&list), None);
        // A refrain after each verse.
        let song: Vec<u32> =
            (0..9).flat_map(|n| [&text(600)[n * 60..n * 60 + 40], &[1; 12]].concat()).collect();
        assert_eq!(noticed(&song), None);
    }

    #[test]
    fn the_same_again_is_noticed_and_the_first_time_stays() {
        for period in [1, 2, 7, 30, 64] {
            let circle: Vec<u32> = text(period).into_iter().cycle().take(400).collect();
            let tokens = [vec![7, 8, 9, 10, 11], circle].concat();
            let (end, begin) = noticed(&tokens).unwrap();
            assert_eq!(end, 5 + (3 * period as usize).max(24), "{period}");
            assert_eq!(begin, 5 + period as usize, "{period}");
        }
    }

    #[test]
    fn the_same_with_small_changes_is_noticed() {
        let counted: Vec<u32> =
            (0..40).flat_map(|n| [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].as_slice(), &[100 + n]].concat()).collect();
        let tokens = [text(50), counted].concat();
        let (end, begin) = noticed(&tokens).unwrap();
        assert!((100..160).contains(&end) && (50..90).contains(&begin), "{end} {begin}");
    }
}
