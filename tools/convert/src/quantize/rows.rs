use crate::model::Tensor;
use anyhow::{Context, Error, Result, anyhow};
use rayon::ThreadPool;
use rayon::prelude::*;
use siskin_quant::{FormatError, TensorType, check_finite, decode, encode, encode_weighted};

/// Elements that one task converts at a time: enough to outweigh the cost of handing it out.
const TASK: u64 = 1 << 16;
/// Tasks of each thread for a slab. While one slab is given away, the next is converted: memory holds the bytes of two
/// for all threads, and for each thread a task's bytes read and a row's f32.
const TASKS: u64 = 8;

/// Converts the rows of `tensor` to `ty`, and gives them to `sink` in order, with the number of source bytes they were
/// made from. `importance` has a weight for each column, where they are known, of one or of one expert after the other.
/// The bytes do not depend on how many threads `pool` has.
///
/// # Errors
/// Names the tensor, and the first row with a value that is not finite or does not fit `ty`.
pub(crate) fn convert(
    tensor: &Tensor,
    ty: TensorType,
    importance: Option<&[f32]>,
    pool: &ThreadPool,
    mut sink: impl FnMut(&[u8], u64) -> Result<()>,
) -> Result<()> {
    let plan = Conversion::new(tensor, ty, importance).with_context(|| format!("tensor {}", tensor.name))?;
    let slab = rows_of(TASK * TASKS * pool.current_num_threads() as u64, plan.row_len);
    let (mut converted, mut next) = (Vec::new(), Vec::new());
    let mut first = 0;
    while first < plan.rows || !converted.is_empty() {
        let rows = slab.min(plan.rows - first);
        let mut failed = None;
        pool.in_place_scope(|scope| {
            scope.spawn(|_| failed = plan.slab(first, rows, &mut next));
            match converted.as_slice() {
                [] => Ok(()),
                bytes => sink(bytes, (bytes.len() / plan.to_bytes * plan.from_bytes) as u64),
            }
        })?;
        if let Some(failure) = failed {
            return Err(failure.error.context(format!("tensor {}, row {}", tensor.name, failure.row)));
        }
        std::mem::swap(&mut converted, &mut next);
        first += rows;
    }
    Ok(())
}

/// Elements of a tensor that [`squared_error`] looks at, about.
const SAMPLE: u64 = 1 << 20;

/// The squared error that `tensor` would have in `ty`, each column's weighted with its `importance` where they are
/// known. Of a large tensor it is that of some rows, evenly spaced, times the number of rows that they stand for. It
/// does not depend on how many threads `pool` has.
///
/// # Errors
/// As for [`convert`].
pub(crate) fn squared_error(
    tensor: &Tensor,
    ty: TensorType,
    importance: Option<&[f32]>,
    pool: &ThreadPool,
) -> Result<f64> {
    let plan = Conversion::new(tensor, ty, importance).with_context(|| format!("tensor {}", tensor.name))?;
    let spacing = plan.rows.div_ceil(rows_of(SAMPLE, plan.row_len)).max(1);
    let rows: Vec<u64> = (0..plan.rows).step_by(usize::try_from(spacing)?).collect();
    let per_row = |&row: &u64| {
        let error = plan.squared_error(row);
        error.with_context(|| format!("tensor {}, row {row}", tensor.name))
    };
    // One after the other, so that the sum is always rounded alike, and the first bad row is the one reported.
    let errors: Vec<Result<f64>> = pool.install(|| rows.par_iter().map(per_row).collect());
    let sum = errors.into_iter().sum::<Result<f64>>()?;
    Ok(sum * plan.rows as f64 / rows.len().max(1) as f64)
}

/// Rows that make about `elements`.
fn rows_of(elements: u64, row_len: u64) -> u64 {
    (elements / row_len.max(1)).max(1)
}

/// The conversion of one tensor.
struct Conversion<'a> {
    tensor: &'a Tensor,
    to: TensorType,
    rows: u64,
    row_len: u64,
    from_bytes: usize,
    to_bytes: usize,
    importance: Option<&'a [f32]>,
}

/// Why a row could not be converted.
struct Failure {
    row: u64,
    error: Error,
}

impl<'a> Conversion<'a> {
    fn new(tensor: &'a Tensor, to: TensorType, importance: Option<&'a [f32]>) -> Result<Conversion<'a>> {
        if tensor.ty != to && !tensor.ty.can_decode() {
            return Err(FormatError::CannotDecode(tensor.ty).into());
        }
        let row_len = tensor.row_len();
        let bytes = |ty: TensorType| -> Result<usize> {
            let bytes = ty
                .row_bytes(row_len)
                .ok_or_else(|| anyhow!("rows of {row_len} are not whole blocks of {ty}"))?;
            Ok(usize::try_from(bytes)?)
        };
        Ok(Conversion {
            tensor,
            to,
            rows: tensor.rows(),
            row_len,
            from_bytes: bytes(tensor.ty)?,
            to_bytes: bytes(to)?,
            importance,
        })
    }

    /// Fills `out` with `rows` rows from row `first` on, in tasks of all threads; what keeps the first bad row from it.
    fn slab(&self, first: u64, rows: u64, out: &mut Vec<u8>) -> Option<Failure> {
        out.resize(rows as usize * self.to_bytes, 0);
        let task = rows_of(TASK, self.row_len);
        let tasks = out.par_chunks_mut(task as usize * self.to_bytes).enumerate();
        // All tasks run, so that the first bad row is the one reported, whichever thread meets it.
        let failures = tasks.map_init(Vec::new, |buffer, (index, out)| {
            self.task(first + index as u64 * task, out, buffer).err()
        });
        failures.flatten().min_by_key(|failure| failure.row)
    }

    /// Fills `out`, which is whole rows, from row `first` on; what it has to read first goes through `buffer`.
    fn task(&self, first: u64, out: &mut [u8], buffer: &mut Vec<u8>) -> Result<(), Failure> {
        let rows = out.len() / self.to_bytes;
        let at = |row: usize| move |error: Error| Failure { row: first + row as u64, error };
        let bytes = self.tensor.read(first, rows, self.from_bytes, buffer).map_err(at(0))?;
        if !self.tensor.ty.can_decode() {
            // The same type again, of a kind nobody computes with: integers.
            out.copy_from_slice(bytes);
            return Ok(());
        }
        let mut values = vec![0.0; self.row_len as usize];
        let pairs = bytes.chunks_exact(self.from_bytes).zip(out.chunks_exact_mut(self.to_bytes));
        for (row, (from, to)) in pairs.enumerate() {
            self.row(first + row as u64, from, &mut values, to).map_err(at(row))?;
        }
        Ok(())
    }

    /// The weighted squared error of row `row`.
    fn squared_error(&self, row: u64) -> Result<f64> {
        let (mut buffer, mut to) = (Vec::new(), vec![0; self.to_bytes]);
        let from = self.tensor.read(row, 1, self.from_bytes, &mut buffer)?;
        let row_len = self.row_len as usize;
        let (mut values, mut decoded) = (vec![0.0; row_len], vec![0.0; row_len]);
        self.row(row, from, &mut values, &mut to)?;
        decode(self.to, &to, &mut decoded)?;
        let square = |(&x, &y): (&f32, &f32)| (f64::from(x) - f64::from(y)).powi(2);
        let squares = values.iter().zip(&decoded).map(square);
        Ok(match self.importance_of(row) {
            Some(importance) => {
                squares.zip(importance).map(|(square, &weight)| square * f64::from(weight)).sum()
            }
            None => squares.sum(),
        })
    }

    /// The weights of the columns of row `row`.
    fn importance_of(&self, row: u64) -> Option<&'a [f32]> {
        let all = self.importance?;
        let width = (self.row_len as usize).max(1);
        let experts = (all.len() / width).max(1) as u64;
        let expert = row / self.rows.div_ceil(experts).max(1);
        all.chunks(width).nth(usize::try_from(expert).ok()?)
    }

    fn row(&self, row: u64, from: &[u8], values: &mut [f32], to: &mut [u8]) -> Result<()> {
        decode(self.tensor.ty, from, values)?;
        match self.importance_of(row) {
            _ if self.tensor.ty == self.to => {
                check_finite(values)?;
                to.copy_from_slice(from);
            }
            Some(importance) => encode_weighted(self.to, values, importance, to)?,
            None => encode(self.to, values, to)?,
        }
        Ok(())
    }
}
