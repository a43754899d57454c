use siskin_kit::hash::Fields;

use super::encode::Sample;

/// Samples that are learned from, and those that are held out to see whether what was learned holds for others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Those to learn from.
    pub training: Vec<Sample>,
    /// Those that are held out.
    pub held_out: Vec<Sample>,
}

/// Holds out a share of the samples, 0 to 1, by the hashes of their prompts: whatever else is in the data, and in whatever order, a prompt is
/// always on the same side, and so are all samples with the same one. With more than one prompt neither part is empty,
/// unless the share is 0 or 1.
pub fn split(samples: Vec<Sample>, share: f64) -> Parts {
    let mut hashed: Vec<_> = samples.into_iter().map(|sample| (place(&sample), sample)).collect();
    let is_held_out = |place: f64| place < share;
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    for (place, _) in &hashed {
        low = low.min(*place);
        high = high.max(*place);
    }
    // Where chance has put all on one side.
    let inside = share > 0.0 && share < 1.0 && low < high;
    let (all_in, all_out) = (inside && !is_held_out(low), inside && is_held_out(high));
    let mut parts = Parts::default();
    for (place, sample) in hashed.drain(..) {
        let held_out = (is_held_out(place) || (all_in && place == low)) && !(all_out && place == high);
        if held_out { &mut parts.held_out } else { &mut parts.training }.push(sample);
    }
    parts
}

/// From 0 to 1, evenly, by the prompt's hash; of a text by all of it.
fn place(sample: &Sample) -> f64 {
    let key = if sample.prompt().is_empty() { sample.answer() } else { sample.prompt() };
    let fields = key.iter().fold(Fields::new(), |fields, &token| fields.number(token.into()));
    let hash = fields.finish();
    // 13 hexadecimal digits are as many as an f64 holds.
    let digits = hash.get(..13).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    digits as f64 / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(prompt: u32, answer: u32) -> Sample {
        Sample { line: 1, tokens: vec![prompt, answer], learned: vec![false, true] }
    }

    #[test]
    fn a_prompt_is_on_the_same_side_whatever_else_there_is() {
        let all: Vec<_> = (0..1000).map(|prompt| sample(prompt, 0)).collect();
        let parts = split(all.clone(), 0.2);
        assert!((150..250).contains(&parts.held_out.len()), "{}", parts.held_out.len());
        assert_eq!(parts.training.len() + parts.held_out.len(), 1000);
        let few: Vec<_> = all.into_iter().rev().step_by(3).collect();
        let again = split(few, 0.2);
        assert!(again.held_out.iter().all(|sample| parts.held_out.contains(sample)));
        assert!(again.training.iter().all(|sample| parts.training.contains(sample)));
    }

    #[test]
    fn equal_prompts_stay_together_and_no_part_is_empty() {
        let together = split((0..20).map(|answer| sample(7, answer)).collect(), 0.5);
        assert!(together.training.is_empty() || together.held_out.is_empty());
        for share in [0.001, 0.5, 0.999] {
            let parts = split(vec![sample(1, 0), sample(2, 0), sample(3, 0)], share);
            assert!(!parts.training.is_empty() && !parts.held_out.is_empty(), "{share}");
        }
        assert_eq!(split(vec![sample(1, 0), sample(2, 0)], 0.0).held_out, []);
        assert_eq!(split(vec![sample(1, 0), sample(2, 0)], 1.0).training, []);
    }
}
