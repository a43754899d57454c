/// The numbers from 0 up to `count` in an order that looks like chance: the same for the same seed and epoch, on every machine (Fisher and
/// Yates's shuffle; numbers by SplitMix64).
pub(super) fn shuffled(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    let mut state = mix(seed ^ mix(epoch as u64 + 1));
    for last in (1..count).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The high bits of a product are below the factor, and evenly so for all that fit in memory.
        let below = (u128::from(mix(state)) * (last as u128 + 1)) >> 64;
        numbers.swap(last, below as usize);
    }
    numbers
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once_and_orders_differ() {
        for count in [0, 1, 2, 100] {
            let mut order = shuffled(count, 7, 3);
            assert_eq!(order, shuffled(count, 7, 3));
            order.sort_unstable();
            assert!(order.into_iter().eq(0..count));
        }
        let orders = [(7, 0), (7, 1), (8, 0)].map(|(seed, epoch)| shuffled(50, seed, epoch));
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        // Every number comes first about as often.
        let mut first = [0; 4];
        (0..4000).for_each(|epoch| first[shuffled(4, 1, epoch)[0]] += 1);
        assert!(first.iter().all(|count| (850..1150).contains(count)), "{first:?}");
    }
}
