/// Numbers with a bell-shaped distribution around 0 and a standard deviation of 1, the same on every machine.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of numbers that is the same for the same seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number from 0 to 2^32 - 1.
    pub fn bits(&mut self) -> u32 {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 32) as u32
    }

    /// The next of them.
    pub fn normal(&mut self) -> f32 {
        let mut uniform = || (self.bits() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        // The sum of four has a variance of 4/3.
        (uniform() + uniform() + uniform() + uniform()) * 0.75f32.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_their_mean_and_deviation() {
        let mut random = Random::new(1);
        let numbers: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|x| x * x).sum::<f64>() / numbers.len() as f64;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
    }
}
