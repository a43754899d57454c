/// Tokens at the end of a text that are looked for: the longest first, as fewer say less about what follows.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Appends `count` tokens that followed when the end of the text was there the last time, as often over as need be; none
/// where it never was.
pub(super) fn draft(tokens: &[u32], count: usize, drafts: &mut Vec<u32>) {
    for length in (SHORTEST..=LONGEST.min(tokens.len())).rev() {
        let end = &tokens[tokens.len() - length..];
        // The end itself is the last of these.
        let before = tokens.windows(length).rev().skip(1).position(|window| window == end);
        if let Some(before) = before {
            let followed = &tokens[tokens.len() - 1 - before..];
            drafts.extend(followed.iter().cycle().take(count));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    fn draft(tokens: &[u32], count: usize) -> Vec<u32> {
        let mut drafts = vec![77];
        super::draft(tokens, count, &mut drafts);
        drafts.split_off(1)
    }

    #[test]
    fn what_followed_the_last_time_follows_again() {
        assert_eq!(draft(&[1, 2, 3, 4, 5, 1, 2, 3], 2), [4, 5]);
        // The longer end counts, not the later place; of equal ends the later.
        assert_eq!(draft(&[1, 2, 3, 7, 9, 2, 3, 8, 1, 2, 3], 1), [7]);
        assert_eq!(draft(&[2, 3, 7, 9, 2, 3, 8, 1, 2, 3], 1), [8]);
        assert_eq!(draft(&[1, 2, 1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
        assert_eq!(draft(&[5, 5, 5], 4), [5; 4]);
    }

    #[test]
    fn without_an_example_nothing_is_drafted() {
        for tokens in [&[][..], &[1], &[1, 2], &[1, 2, 3], &[1, 2, 3, 4, 3], &[3, 1, 3, 2, 3]] {
            assert!(draft(tokens, 4).is_empty());
        }
    }
}
