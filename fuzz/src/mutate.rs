//! Inputs made of seeds: each follows from its number alone, so that a number is all that a finding needs.

/// The numbers of xorshift64*.
struct Random(u64);

impl Random {
    /// A stream of its own for each number.
    fn new(number: u64) -> Self {
        // SplitMix64's finalizer: neighbours begin far from each other, and none at 0.
        let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((z ^ (z >> 31)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { ((self.next() >> 16) % end as u64) as usize }
    }

    /// The same, small numbers as often as large ones: files have their headers in front.
    fn near_the_front(&mut self, end: usize) -> usize {
        let bits = usize::BITS - end.leading_zeros();
        let most = 1usize << self.below(bits as usize + 1);
        self.below(most.min(end))
    }
}

/// Numbers at which something ends.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    31,
    32,
    255,
    256,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];

/// Bytes at most, whatever is put in.
const LONGEST: usize = 1 << 20;

/// The input of a number: a seed, changed in one to eight places. The first numbers are the seeds as they are.
pub fn input(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    if let Some(seed) = usize::try_from(number).ok().and_then(|number| seeds.get(number)) {
        return seed.clone();
    }
    let mut random = Random::new(number);
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.near_the_front(8) {
        change(&mut bytes, seeds, &mut random);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Changes one place.
fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.near_the_front(bytes.len());
    let rest = bytes.len() - at;
    match random.below(10) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next() as u8),
        2 => bytes.truncate(at),
        // Numbers of one to eight bytes, at an edge or beside it.
        3 | 4 => {
            let number =
                EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64).wrapping_sub(1);
            let len = (1 << random.below(4)).min(rest);
            bytes[at..at + len].copy_from_slice(&number.to_le_bytes()[..len]);
        }
        5 => {
            let len = random.near_the_front(rest + 1);
            bytes.drain(at..at + len);
        }
        // A stretch once more, as often as not in its own place.
        6 => {
            let len = random.near_the_front(rest.min(4096) + 1);
            let stretch = bytes[at..at + len].to_vec();
            let to = if random.below(2) == 0 { at } else { random.near_the_front(bytes.len()) };
            bytes.splice(to..to, stretch);
        }
        7 => {
            let count = 1 + random.near_the_front(16);
            let byte = random.next() as u8;
            bytes.splice(at..at, std::iter::repeat_n(byte, count));
        }
        // A stretch of another seed, over what is there or before it.
        8 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.near_the_front(other.len());
            let len = random.near_the_front((other.len() - from).min(4096) + 1);
            let end = if random.below(2) == 0 { at } else { (at + len).min(bytes.len()) };
            bytes.splice(at..end, other[from..from + len].iter().copied());
        }
        // Two bytes change places.
        _ => {
            let other = random.near_the_front(bytes.len());
            if rest > 0 {
                bytes.swap(at, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_follows_from_its_number_and_hardly_any_is_a_seed_again() {
        let seeds = [vec![7; 1000], (0..=255).collect(), Vec::new()];
        let same = (3..2000).filter(|&number| {
            let made = input(&seeds, number);
            assert_eq!(made, input(&seeds, number));
            seeds.contains(&made)
        });
        assert!(same.count() < 900);
        assert_eq!(input(&seeds, 1), seeds[1]);
    }
}
