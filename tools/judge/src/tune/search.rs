//! Which settings are tried next.

use super::space::{Dimension, Values};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tpe::density_estimation::DefaultEstimatorBuilder;
use tpe::{TpeOptimizer, categorical_range, histogram_estimator, parzen_estimator, range};

/// How settings are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// All combinations of evenly spaced values, as many as the trials allow
    Grid,
    /// By chance
    Random,
    /// Where a tree-structured Parzen estimator (TPE) expects the best, after some by chance
    Bayes,
}

/// A search through a space. It gives a point, is told how good that was, and gives the next.
pub(super) struct Search<'s> {
    space: &'s [Dimension],
    random: StdRng,
    state: State,
}

enum State {
    Grid { points: Vec<Vec<f64>>, next: usize },
    Random,
    Bayes { estimators: Vec<TpeOptimizer<DefaultEstimatorBuilder>>, asked: Vec<f64>, by_chance: usize },
}

impl<'s> Search<'s> {
    /// A search of at most `trials` points; the same for the same seed.
    ///
    /// # Errors
    /// A grid that takes more trials than that.
    pub(super) fn new(
        method: Method,
        space: &'s [Dimension],
        trials: usize,
        seed: u64,
    ) -> Result<Search<'s>> {
        let state = match method {
            Method::Grid => State::Grid { points: grid(space, trials)?, next: 0 },
            Method::Random => State::Random,
            Method::Bayes => {
                // The estimator knows nothing before it has seen some points.
                let by_chance = (trials / 4).clamp(3, 10);
                let estimators = space.iter().map(estimator).collect::<Result<_>>()?;
                State::Bayes { estimators, asked: Vec::new(), by_chance }
            }
        };
        Ok(Search { space, random: StdRng::seed_from_u64(seed), state })
    }

    /// The next point, a value for each dimension; None when all were tried.
    pub(super) fn next(&mut self) -> Result<Option<Vec<f64>>> {
        let Search { space, random, state } = self;
        match state {
            State::Grid { points, next } => {
                *next += 1;
                Ok(points.get(*next - 1).cloned())
            }
            State::Random => Ok(Some(space.iter().map(|d| value(d, coordinate(d, random))).collect())),
            State::Bayes { estimators, asked, by_chance } => {
                *asked = if *by_chance > 0 {
                    *by_chance -= 1;
                    space.iter().map(|dimension| coordinate(dimension, random)).collect()
                } else {
                    let ask = |estimator: &mut TpeOptimizer<_>| estimator.ask(random);
                    estimators.iter_mut().map(ask).collect::<Result<_, _>>().context("the estimator")?
                };
                Ok(Some(space.iter().zip(asked).map(|(dimension, at)| value(dimension, *at)).collect()))
            }
        }
    }

    /// Takes how good the last point was; more is better.
    pub(super) fn learn(&mut self, score: f64) -> Result<()> {
        if let State::Bayes { estimators, asked, .. } = &mut self.state {
            for (estimator, at) in estimators.iter_mut().zip(asked) {
                // The estimator seeks the least.
                estimator.tell(*at, -score).context("the estimator")?;
            }
        }
        Ok(())
    }
}

/// Where a dimension's coordinates end, which begin at 0 for choices and at the lowest value otherwise.
fn bounds(dimension: &Dimension) -> (f64, f64) {
    match &dimension.values {
        Values::Choices(choices) => (0.0, choices.len() as f64),
        // Each whole number has a unit of its own around it.
        Values::Range(low, high) if dimension.whole() => (low - 0.5, high + 0.5),
        Values::Range(low, high) => (*low, *high),
    }
}

fn estimator(dimension: &Dimension) -> Result<TpeOptimizer<DefaultEstimatorBuilder>> {
    Ok(match &dimension.values {
        Values::Choices(choices) => {
            TpeOptimizer::new(histogram_estimator(), categorical_range(choices.len())?)
        }
        Values::Range(..) => {
            let (low, high) = bounds(dimension);
            TpeOptimizer::new(parzen_estimator(), range(low, high)?)
        }
    })
}

/// A coordinate by chance.
fn coordinate(dimension: &Dimension, random: &mut StdRng) -> f64 {
    let (low, high) = bounds(dimension);
    random.random_range(low..high)
}

/// The value at a coordinate.
fn value(dimension: &Dimension, at: f64) -> f64 {
    match &dimension.values {
        Values::Choices(choices) => choices.get(at as usize).or(choices.last()).copied().unwrap_or(at),
        Values::Range(low, high) => dimension.rounded(at).clamp(*low, *high),
    }
}

/// All points of the finest grid of no more than `trials` points, the last dimension changing first.
fn grid(space: &[Dimension], trials: usize) -> Result<Vec<Vec<f64>>> {
    let size = |steps| -> usize {
        let counts = space.iter().map(|dimension| ladder(dimension, steps).len());
        counts.fold(1, usize::saturating_mul)
    };
    ensure!(size(2) <= trials, "a grid of this space has {} points at least, found {trials} trials", size(2));
    // More steps than trials never fit, but where a dimension has few whole numbers they change nothing.
    let steps = (2..=trials.max(2)).take_while(|&steps| size(steps) <= trials).last().unwrap_or(2);
    let mut points = vec![Vec::new()];
    for dimension in space {
        let ladder = ladder(dimension, steps);
        points = points
            .into_iter()
            .flat_map(|point: Vec<f64>| {
                ladder.iter().map(move |&value| [point.as_slice(), &[value]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    Ok(points)
}

/// The choices, or so many values from one end of a range to the other.
fn ladder(dimension: &Dimension, steps: usize) -> Vec<f64> {
    match &dimension.values {
        Values::Choices(choices) => choices.clone(),
        Values::Range(low, high) => {
            let step = (high - low) / (steps.max(2) - 1) as f64;
            let mut values: Vec<_> =
                (0..steps).map(|n| dimension.rounded(low + n as f64 * step).clamp(*low, *high)).collect();
            values.dedup();
            values
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::parse;
    use super::*;

    /// The points that a search gives for a score, and the best score.
    fn points(
        method: Method,
        space: &str,
        trials: usize,
        seed: u64,
        score: fn(&[f64]) -> f64,
    ) -> Vec<Vec<f64>> {
        let space = parse(space).unwrap();
        let mut search = Search::new(method, &space, trials, seed).unwrap();
        let mut points = Vec::new();
        for _ in 0..trials {
            let Some(point) = search.next().unwrap() else { break };
            search.learn(score(&point)).unwrap();
            points.push(point);
        }
        points
    }

    #[test]
    fn a_grid_is_as_fine_as_the_trials_allow() {
        let grid = |space, trials| points(Method::Grid, space, trials, 0, |_| 0.0);
        assert_eq!(grid("temperature=0..1", 3), [[0.0], [0.5], [1.0]]);
        let corners = [[0.0, 1.0], [0.0, 2.0], [1.0, 1.0], [1.0, 2.0]];
        assert_eq!(grid("temperature=0..1,top_k=1|2", 5), corners);
        // Three whole numbers are no more than three.
        assert_eq!(grid("top_k=1..3", 100), [[1.0], [2.0], [3.0]]);
        let space = parse("temperature=0..1,top_p=0..1").unwrap();
        let error = Search::new(Method::Grid, &space, 3, 0).err().unwrap().to_string();
        assert!(error.contains("4 points at least, found 3"), "{error}");
    }

    #[test]
    fn searches_stay_within_the_space_and_repeat_for_a_seed() {
        for method in [Method::Random, Method::Bayes] {
            let run =
                |seed| points(method, "temperature=0..1.5,top_k=1..4,top_p=0.5|0.9", 40, seed, |p| p[0]);
            let found = run(1);
            assert!(found.iter().all(|p| (0.0..=1.5).contains(&p[0])
                && [1.0, 2.0, 3.0, 4.0].contains(&p[1])
                && [0.5, 0.9].contains(&p[2])));
            assert_eq!(found, run(1));
            assert_ne!(found, run(2));
        }
    }

    #[test]
    fn the_estimator_learns_where_the_best_is() {
        let score = |p: &[f64]| -(p[0] - 0.3).abs() - if p[1] == 20.0 { 0.0 } else { 1.0 };
        let space = "temperature=0..2,top_k=1|20|40";
        let good = |method| {
            let found = points(method, space, 80, 5, score);
            found.iter().skip(40).filter(|p| score(p) > -0.2).count()
        };
        let (bayes, random) = (good(Method::Bayes), good(Method::Random));
        assert!(bayes > 2 * random, "{bayes} and {random} of 40");
    }
}
