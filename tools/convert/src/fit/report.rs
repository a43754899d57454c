use super::budget::Budget;
use super::candidates::Matrix;
use super::room::choices;
use crate::model::{Model, Tensor};
use crate::quantize::importance::Importance;
use crate::quantize::mix::Choice;
use crate::quantize::plan::{Plan, bytes_of};
use anyhow::Result;
use serde_json::{Value, json};
use siskin_quant::TensorType;
use std::io::Write;

/// Types that were chosen for a budget, and why.
pub struct Fitted {
    /// The type of each of the model's tensors.
    pub choices: Vec<Choice>,
    /// What the columns were weighted with.
    pub importance: Importance,
    budget: Budget,
    weights: u64,
    lines: Vec<Line>,
}

/// What is told of a matrix.
struct Line {
    name: String,
    shape: Vec<u64>,
    from: TensorType,
    to: TensorType,
    bytes: u64,
    alone: Option<(TensorType, f64)>,
    cost: f64,
}

impl Fitted {
    /// `chosen` has the number of each matrix's type, among its types.
    pub(super) fn new(
        model: &Model,
        matrices: &[Matrix<'_>],
        chosen: &[usize],
        budget: Budget,
        importance: Importance,
    ) -> Fitted {
        let line = |(matrix, &chosen): (&Matrix<'_>, &usize)| {
            let (&to, &cost) = (matrix.types.get(chosen)?, matrix.costs.get(chosen)?);
            let Tensor { name, shape, ty: from, .. } = matrix.tensor;
            let (name, shape, bytes) = (name.clone(), shape.clone(), bytes_of(matrix.tensor, to));
            Some(Line { name, shape, from: *from, to, bytes, alone: matrix.alone, cost })
        };
        let lines: Vec<Line> = matrices.iter().zip(chosen).filter_map(line).collect();
        let types: Vec<_> = lines.iter().map(|line| line.to).collect();
        let weights = model.tensors.iter().map(Tensor::elements).sum();
        Fitted { choices: choices(model, matrices, &types), importance, budget, weights, lines }
    }

    /// The budget and what the choice is expected to cost, as `siskin quantize --json` prints it.
    pub fn json(&self, plan: &Plan<'_>) -> Value {
        let matrix = |line: &Line| {
            json!({
                "name": line.name,
                "to": line.to.name(),
                "kl_alone": line.alone.map(|(ty, divergence)| json!({"type": ty.name(), "kl": divergence})),
                "expected_kl": line.cost,
            })
        };
        json!({
            "budget_bytes": self.budget.bytes(self.weights),
            "used_bytes": self.used(plan),
            "expected_kl": self.lines.iter().map(|line| line.cost).sum::<f64>(),
            "matrices": self.lines.iter().map(matrix).collect::<Vec<_>>(),
        })
    }

    /// Bytes of what the budget is for.
    fn used(&self, plan: &Plan<'_>) -> u64 {
        match self.budget {
            Budget::File(_) => plan.file_len(),
            Budget::BitsPerWeight(_) => plan.tensor_bytes(),
        }
    }

    /// Writes a line about each matrix with its type, what was measured of it and what it is expected to cost, and the sums.
    pub fn print(&self, plan: &Plan<'_>, out: &mut impl Write) -> Result<()> {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        let total: f64 = self.lines.iter().map(|line| line.cost).sum();
        writeln!(
            out,
            "{:width$}  {:>15}  {:>6}    {:<6}  {:>12}  {:>17}  {:>12}  {:>6}",
            "matrix", "shape", "from", "to", "bytes", "KL alone", "expected KL", "share"
        )?;
        for Line { name, shape, from, to, bytes, alone, cost } in &self.lines {
            let shape = format!("{shape:?}");
            let (from, to) = (from.name(), to.name());
            let alone =
                alone.map_or(String::new(), |(ty, divergence)| format!("{}: {divergence:.6}", ty.name()));
            let share = if total > 0.0 { 100.0 * cost / total } else { 0.0 };
            writeln!(
                out,
                "{name:width$}  {shape:>15}  {from:>6} -> {to:<6}  {bytes:>12}  {alone:>17}  {cost:>12.6}  {share:>4.1} %"
            )?;
        }
        let kept = plan.tensor_bytes() - self.lines.iter().map(|line| line.bytes).sum::<u64>();
        writeln!(
            out,
            "{} other tensors keep every bit: {kept} bytes",
            self.choices.len() - self.lines.len()
        )?;
        writeln!(
            out,
            "expected KL divergence from the full model: {total:.6} nats, on the text it was measured with"
        )?;
        let used = self.used(plan);
        let most = self.budget.bytes(self.weights);
        let part = 100.0 * used as f64 / most.max(1) as f64;
        writeln!(out, "{}: {used} of {most} bytes used, {part:.2} %", self.budget)?;
        Ok(out.flush()?)
    }
}
