use super::context::Context;
use super::hidden::Hidden;
use super::network::{Buffers, Network, Stream};
use super::observer::Observer;
use super::weights::{LinearId, RowsId};
use crate::arena::{Arena, OutOfMemory};
use crate::fingerprint::fingerprint;
use crate::kernels::{Activation, Output};

/// Several feed-forward networks, of which each token goes through the few that a router gives the highest scores (Shazeer
/// et al. 2017, arXiv 1701.06538). Their outputs are added up with weights that are the softmax of these scores.
#[derive(Clone, Debug)]
pub(crate) struct Experts {
    pub(crate) router: LinearId,
    /// For each expert its matrices.
    pub(crate) gates: Vec<RowsId>,
    pub(crate) ups: Vec<RowsId>,
    pub(crate) downs: Vec<RowsId>,
    /// Experts that a token goes through.
    pub(crate) used: usize,
    pub(crate) activation: Activation,
}

/// Buffers for the tokens of one expert at a time.
pub(crate) struct Routing {
    scores: Hidden,
    pub(super) routes: Vec<Route>,
    /// What goes into the expert, and what comes out.
    pub(super) rows: Hidden,
    pub(super) out: Hidden,
}

/// A token's way through an expert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) expert: usize,
    pub(crate) token: usize,
    pub(crate) weight: f32,
}

fingerprint!(Experts { router, gates, ups, downs, used, activation });

impl Experts {
    pub(crate) fn count(&self) -> usize {
        self.gates.len()
    }

    /// Buffers for batches of up to `batch` tokens.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn routing(
        &self,
        arena: &mut Arena,
        batch: usize,
        width: usize,
        quantized: bool,
    ) -> Result<Routing, OutOfMemory> {
        Ok(Routing {
            scores: Hidden::new(arena, batch, self.count(), false)?,
            routes: arena.list(batch.saturating_mul(self.used))?,
            rows: Hidden::new(arena, batch, width, quantized)?,
            out: Hidden::new(arena, batch, width, false)?,
        })
    }

    /// From `normed` to `branch`. Each token's experts are added up in the order of their numbers, whichever tokens are in
    /// the batch.
    pub(crate) fn forward(&self, network: &Network, context: &mut Context, observer: &mut dyn Observer) {
        let (weights, Context { ops, buffers, .. }) = (network.weights(), context);
        let Buffers { stream: Stream { normed, branch, .. }, gate, up, routing, .. } = buffers;
        let Some(Routing { scores, routes, rows, out }) = routing else { return };
        ops.multiply(normed, [weights.all(self.router)], [&mut *scores], Output::Replace, observer);
        let tokens = ops.tokens;
        routes.clear();
        for token in 0..tokens {
            branch.row_mut(token).fill(0.0);
            choose(&scores.row(token)[..self.count()], self.used, token, routes);
        }
        routes.sort_unstable_by_key(|route| (route.expert, route.token));
        for routes in routes.chunk_by(|a, b| a.expert == b.expert) {
            let expert = routes[0].expert;
            ops.tokens = routes.len();
            ops.gather(normed, routes, rows);
            let projections = [&self.gates[expert], &self.ups[expert]].map(|rows| weights.rows(rows));
            ops.multiply(rows, projections, [&mut *gate, &mut *up], Output::Replace, observer);
            ops.gated(self.activation, gate, up);
            let down = weights.rows(&self.downs[expert]);
            ops.multiply(gate, [down], [&mut *out], Output::Replace, observer);
            ops.scatter(out, routes, branch);
        }
        ops.tokens = tokens;
    }
}

/// Adds the routes of one token: those of the `used` highest scores, the first of equal ones.
fn choose(scores: &[f32], used: usize, token: usize, routes: &mut Vec<Route>) {
    let start = routes.len();
    for _ in 0..used.min(scores.len()) {
        let taken = |expert| routes[start..].iter().any(|route: &Route| route.expert == expert);
        let mut best: Option<(usize, f32)> = None;
        for (expert, &score) in scores.iter().enumerate() {
            if !taken(expert) && best.is_none_or(|(_, highest)| score > highest) {
                best = Some((expert, score));
            }
        }
        let Some((expert, weight)) = best else { break };
        routes.push(Route { expert, token, weight });
    }
    let chosen = &mut routes[start..];
    let highest = chosen.first().map_or(0.0, |route| route.weight);
    for route in &mut *chosen {
        route.weight = libm::exp(f64::from(route.weight - highest)) as f32;
    }
    let total: f32 = chosen.iter().map(|route| route.weight).sum();
    chosen.iter_mut().for_each(|route| route.weight /= total);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_scores_are_chosen_and_their_weights_add_up_to_one() {
        let mut routes = Vec::new();
        choose(&[0.5, 2.0, -1.0, 2.0, 1.0], 3, 7, &mut routes);
        assert_eq!(routes.iter().map(|route| route.expert).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(routes.iter().all(|route| route.token == 7));
        let total = 2.0 + (-1.0f32).exp();
        for (route, exact) in routes.iter().zip([1.0 / total, 1.0 / total, (-1.0f32).exp() / total]) {
            assert!((route.weight - exact).abs() < 1e-6, "{route:?}");
        }
    }

    #[test]
    fn scores_that_are_no_numbers_choose_as_many_experts() {
        let mut routes = Vec::new();
        choose(&[f32::NAN, f32::NAN, f32::NAN], 2, 0, &mut routes);
        assert_eq!(routes.len(), 2);
    }
}
