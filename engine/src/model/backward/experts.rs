use super::Backward;
use super::layer::{each_row, gate_back};
use crate::arena::{Arena, OutOfMemory};
use crate::kernels::Output;
use crate::model::context::Context;
use crate::model::experts::{Experts, Routing};
use crate::model::hidden::Hidden;
use crate::model::network::{Buffers, Network, Stream};

/// Buffers for the tokens of one expert at a time.
pub(super) struct ExpertsGradient {
    /// The gate before its activation, and gradients by what comes out of an expert and by what goes into it.
    gate: Hidden,
    by_out: Hidden,
    by_rows: Hidden,
    by_product: Hidden,
    /// Gradients by the router's scores, and by the weights of a token's experts.
    by_scores: Hidden,
    by_router: Hidden,
    /// `[route]`, as the routes are ordered.
    by_weights: Vec<f32>,
}

impl ExpertsGradient {
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(
        arena: &mut Arena,
        network: &Network,
        batch: usize,
        (experts, used): (usize, usize),
    ) -> Result<Self, OutOfMemory> {
        let config = network.config();
        let mut hidden = |width| Hidden::new(arena, batch, width, false);
        Ok(Self {
            gate: hidden(config.feed_forward)?,
            by_out: hidden(config.width)?,
            by_rows: hidden(config.width)?,
            by_product: hidden(config.feed_forward)?,
            by_scores: hidden(experts)?,
            by_router: hidden(config.width)?,
            by_weights: arena.list(batch.saturating_mul(used))?,
        })
    }
}

impl Experts {
    /// From `branch` to `normed`: through the experts, and through the weights that the router gives them. The routes are those of the
    /// forward pass.
    pub(super) fn backward(&self, network: &Network, context: &mut Context, back: &mut Backward) {
        let (weights, Context { ops, buffers, .. }) = (network.weights(), context);
        let Buffers { stream: Stream { normed, .. }, gate, up, routing, .. } = buffers;
        let Backward { products, experts, by, .. } = back;
        let (Some(Routing { routes, rows, out, .. }), Some(of)) = (routing, experts) else { return };
        let ExpertsGradient { gate: inner, by_out, by_rows, by_product, by_scores, by_router, by_weights } =
            of;
        let (tokens, kernels) = (ops.tokens, ops.kernels());
        each_row(ops, &mut by.normed, |_, row| row.fill(0.0));
        by_weights.clear();
        for routes in routes.chunk_by(|a, b| a.expert == b.expert) {
            let expert = routes[0].expert;
            ops.tokens = routes.len();
            ops.gather(normed, routes, rows);
            let projections = || [&self.gates[expert], &self.ups[expert]].map(|rows| weights.rows(rows));
            ops.multiply(rows, projections(), [&mut *gate, &mut *up], Output::Replace, &mut ());
            each_row(ops, inner, |row, to| to.copy_from_slice(gate.row(row)));
            ops.gated(self.activation, gate, up);
            let down = || [weights.rows(&self.downs[expert])];
            ops.multiply(gate, down(), [&mut *out], Output::Replace, &mut ());
            for (row, route) in routes.iter().enumerate() {
                let by_token = by.branch.row(route.token);
                by_weights.push(kernels.dot(by_token, out.row(row)));
                by_out.row_mut(row).iter_mut().zip(by_token).for_each(|(to, from)| *to = from * route.weight);
            }
            products.back(ops, None, gate, down(), [&*by_out], Some(&mut *by_product));
            gate_back(ops, self.activation, [&mut *inner, &mut *up], by_product);
            products.back(ops, None, rows, projections(), [&*inner, &*up], Some(&mut *by_rows));
            for (row, route) in routes.iter().enumerate() {
                kernels.add_scaled(by.normed.row_mut(route.token), by_rows.row(row), 1.0);
            }
        }
        ops.tokens = tokens;
        // The weights are a softmax of the chosen scores.
        each_row(ops, by_scores, |token, row| {
            row.fill(0.0);
            let chosen = || routes.iter().zip(&*by_weights).filter(|(route, _)| route.token == token);
            let mean: f32 = chosen().map(|(route, by)| route.weight * by).sum();
            for (route, by) in chosen() {
                row[route.expert] = route.weight * (by - mean);
            }
        });
        products.back(ops, None, normed, [weights.all(self.router)], [&*by_scores], Some(&mut *by_router));
        each_row(ops, &mut by.normed, |row, to| {
            to.iter_mut().zip(by_router.row(row)).for_each(|(to, from)| *to += from);
        });
    }
}
