//! The multiple-choice knapsack: of each item exactly one option, at the least total cost within a budget of bytes.

/// One way to have an item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Bytes that it takes.
    pub(super) bytes: u64,
    /// What it costs; finite and not negative.
    pub(super) cost: f64,
}

/// Most steps that the budget is divided into: sizes are exact where their differences are multiples of a number that
/// is large enough for that, and rounded up otherwise, by less than this part of what there is to share out.
const MOST_STEPS: u64 = 1 << 17;

/// The candidate of each item with which the costs add up to the least that `budget` bytes allow; None where the
/// smallest ones are larger than that. Of equal costs, fewer bytes are better.
///
/// Dynamic programming over sizes (Dudzinski and Walukiewicz 1987, Exact methods for the knapsack problem and its
/// generalizations): the least cost within every size is that without the last item, less the sizes of its candidates.
/// It takes time for all candidates, and a byte for each item, times 2^17 at most.
pub(super) fn solve(items: &[Vec<Candidate>], budget: u64) -> Option<Vec<usize>> {
    let least: Vec<u64> = items.iter().map(|item| smallest(item)).collect::<Option<_>>()?;
    let spare = budget.checked_sub(least.iter().sum())?;
    let extra = |item: usize, candidate: &Candidate| candidate.bytes - least[item];
    let most_extra = |(index, item): (usize, &Vec<Candidate>)| item.iter().map(|c| extra(index, c)).max();
    let spare = spare.min(items.iter().enumerate().filter_map(most_extra).sum());
    let all = items.iter().enumerate().flat_map(|(index, item)| item.iter().map(move |c| extra(index, c)));
    let step = all.fold(0, gcd).max(spare.div_ceil(MOST_STEPS)).max(1);
    let steps = usize::try_from(spare / step).ok()?;

    // The least cost within so many steps, of the items so far.
    let mut costs = vec![0.0; steps + 1];
    // Of each item, the candidate that it has within so many steps.
    let mut taken = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let (next, chosen) = with_item(&costs, item, |candidate| extra(index, candidate).div_ceil(step));
        costs = next;
        taken.push(chosen);
    }
    // Fewer steps may have been enough.
    let last = *costs.last()?;
    let mut left = costs.iter().position(|&cost| cost <= last)?;
    let mut choices = vec![0; items.len()];
    for (index, item) in items.iter().enumerate().rev() {
        let choice = usize::from(*taken.get(index)?.get(left)?);
        left = left.checked_sub(usize::try_from(extra(index, item.get(choice)?).div_ceil(step)).ok()?)?;
        choices[index] = choice;
    }
    Some(choices)
}

/// Bytes of the smallest candidate.
pub(super) fn smallest(item: &[Candidate]) -> Option<u64> {
    item.iter().map(|candidate| candidate.bytes).min()
}

/// The least costs with one item more, and which of its candidates they are reached with.
fn with_item(costs: &[f64], item: &[Candidate], steps: impl Fn(&Candidate) -> u64) -> (Vec<f64>, Vec<u8>) {
    let mut next = vec![f64::INFINITY; costs.len()];
    let mut chosen = vec![0; costs.len()];
    let mut order: Vec<_> = (0..=u8::MAX).zip(item).map(|(number, c)| (steps(c), number, c.cost)).collect();
    // Where costs are equal, the first one stays: the smallest.
    order.sort_by_key(|&(steps, number, _)| (steps, number));
    for (steps, number, cost) in order {
        let from = usize::try_from(steps).unwrap_or(usize::MAX).min(costs.len());
        let places = next.iter_mut().zip(&mut chosen).skip(from);
        for ((next, chosen), before) in places.zip(costs) {
            if before + cost < *next {
                (*next, *chosen) = (before + cost, number);
            }
        }
    }
    (next, chosen)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn total(items: &[Vec<Candidate>], choices: &[usize]) -> (u64, f64) {
        let chosen = items.iter().zip(choices).map(|(item, &choice)| item[choice]);
        chosen.fold((0, 0.0), |(bytes, cost), c| (bytes + c.bytes, cost + c.cost))
    }

    /// Tries everything.
    fn least_cost(items: &[Vec<Candidate>], budget: u64) -> Option<f64> {
        let Some((first, rest)) = items.split_first() else { return Some(0.0) };
        let with = |c: &Candidate| Some(c.cost + least_cost(rest, budget.checked_sub(c.bytes)?)?);
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    fn candidates(most_bytes: u64) -> impl Strategy<Value = Vec<Vec<Candidate>>> {
        // Costs that add up without rounding, and ties among them.
        let candidate =
            (1..most_bytes, 0u8..40).prop_map(|(bytes, cost)| Candidate { bytes, cost: cost.into() });
        prop::collection::vec(prop::collection::vec(candidate, 1..5), 0..6)
    }

    proptest! {
        #[test]
        fn no_choice_within_the_budget_costs_less(items in candidates(30), budget in 0u64..120) {
            match solve(&items, budget) {
                None => prop_assert_eq!(least_cost(&items, budget), None),
                Some(choices) => {
                    let (bytes, cost) = total(&items, &choices);
                    prop_assert!(bytes <= budget);
                    prop_assert_eq!(Some(cost), least_cost(&items, budget));
                }
            }
        }

        #[test]
        fn large_sizes_cost_no_more_than_a_slightly_smaller_budget_would(
            items in candidates(1 << 40), part in 0.0f64..1.0
        ) {
            let sum = |pick: fn(u64, u64) -> u64| -> u64 {
                items.iter().filter_map(|item| item.iter().map(|c| c.bytes).reduce(pick)).sum()
            };
            let (least, most) = (sum(u64::min), sum(u64::max));
            let budget = least + ((most - least) as f64 * part) as u64;
            let (bytes, cost) = total(&items, &solve(&items, budget).unwrap());
            prop_assert!(bytes <= budget);
            let rounding = (items.len() as u64 + 1) * (budget - least).div_ceil(MOST_STEPS);
            if let Some(bound) = budget.checked_sub(rounding).and_then(|less| least_cost(&items, less)) {
                prop_assert!(cost <= bound);
            }
        }
    }

    #[test]
    fn of_equal_costs_the_smallest_is_chosen() {
        let candidate = |bytes| Candidate { bytes, cost: 0.0 };
        assert_eq!(solve(&[vec![candidate(3), candidate(2)], vec![candidate(1)]], 9), Some(vec![1, 0]));
    }

    #[test]
    fn a_budget_below_the_smallest_is_none() {
        let item = vec![Candidate { bytes: 5, cost: 0.0 }];
        assert_eq!(solve(&[item.clone(), item.clone()], 9), None);
        assert_eq!(solve(&[item.clone(), item], 10), Some(vec![0, 0]));
        assert_eq!(solve(&[], 0), Some(vec![]));
    }
}
