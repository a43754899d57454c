/// What learning rates are like over the steps of training, behind those in which they rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// The same.
    Constant,
    /// They fall to 0 evenly.
    Linear,
    /// They fall to 0 as a half wave of the cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).
    Cosine,
}

impl Schedule {
    /// What the highest rate is multiplied by for the step behind so many, of so many, of whose first share it rises.
    pub fn rate(self, taken: usize, steps: usize, warm_up: f32) -> f32 {
        let rises = (f64::from(warm_up.clamp(0.0, 1.0)) * steps as f64).round();
        let step = taken as f64 + 1.0;
        if step <= rises {
            return (step / rises) as f32;
        }
        // From the highest on; the last step is not quite 0.
        let behind = ((step - rises) / (steps as f64 - rises + 1.0).max(1.0)).min(1.0);
        let rate = match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - behind,
            Schedule::Cosine => f64::midpoint(1.0, cosine(behind)),
        };
        rate as f32
    }
}

/// The cosine of so many half turns, 0 to 1, in plain arithmetic, so that it is the same on every machine: the Taylor series of the angle from a
/// quarter turn, to within 1e-9.
fn cosine(half_turns: f64) -> f64 {
    let angle = (0.5 - half_turns) * std::f64::consts::PI;
    let squared = angle * angle;
    let terms = (1..=8).rev().map(|n| f64::from(2 * n) * f64::from(2 * n + 1));
    angle * terms.fold(1.0, |sum, term| 1.0 - squared / term * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall() {
        let of =
            |schedule: Schedule| (0..100).map(|taken| schedule.rate(taken, 100, 0.1)).collect::<Vec<_>>();
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
            let rates = of(schedule);
            assert!(rates[..10].is_sorted() && rates[0] == 0.1 && rates[9] == 1.0, "{rates:?}");
            assert!(rates[9..].is_sorted_by(|a, b| a >= b) && rates[99] > 0.0, "{rates:?}");
        }
        assert!(of(Schedule::Constant)[10..].iter().all(|&rate| rate == 1.0));
        assert!((of(Schedule::Linear)[54] - 0.5).abs() < 0.01 && of(Schedule::Linear)[99] < 0.02);
        assert!((of(Schedule::Cosine)[54] - 0.5).abs() < 0.02 && of(Schedule::Cosine)[99] < 0.001);
        assert_eq!(Schedule::Cosine.rate(0, 1, 0.0), f64::midpoint(1.0, cosine(0.5)) as f32);
    }

    #[test]
    fn the_cosine_is_one() {
        for i in 0..=100 {
            let half_turns = f64::from(i) / 100.0;
            assert!((cosine(half_turns) - (half_turns * std::f64::consts::PI).cos()).abs() < 1e-9);
        }
    }
}
