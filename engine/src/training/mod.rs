//! Training of adapters on the device: LoRA (Hu et al. 2021, arXiv 2106.09685) over a model whose weights stay as they are.
//!
//! A [`Trainer`] runs examples forward, as a session would with the same bits, and back; [`Trainer::step`] changes the adapter by
//! the gradients. All memory is reserved when it is made, and said before by [`Outline`](crate::plan::Outline).

mod error;
mod random;
mod state;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

pub use crate::kernels::gradient::AdamW;
pub use error::TrainError;
pub use state::TRAINING_MAGIC;

use crate::arena::Arena;
use crate::kernels::Isa;
use crate::machine::default_threads;
use crate::model::{
    Adapter, AdapterChange, Attached, Backward, Context, ContextArena, ContextOptions, Learned, Lesson,
    Linear, Lora, Model, Network, Target,
};
use crate::state::{CacheTypes, Cut, PAGE, Segment};
use crate::team::Team;

/// What a [`Trainer`] is made for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainerOptions {
    /// Tokens of the longest example.
    pub length: usize,
    /// Examples that go through the model together, at most. The gradients do not depend on it.
    pub together: usize,
    /// Positions whose logits exist at a time. The gradients do not depend on it.
    pub slice: usize,
    /// Threads that share the work. None: as many as the machine has for it, see
    /// [`default_threads`]. The gradients do not depend on them.
    pub threads: Option<usize>,
    /// Instruction set of the kernels. None: what `SISKIN_ISA` names, else the best that the CPU has. The gradients do not depend
    /// on it.
    pub isa: Option<Isa>,
    /// What keys and values are kept in, as in the sessions that the adapter is for.
    pub cache: CacheTypes,
    /// The matrices that are changed.
    pub changes: Vec<Change>,
}

/// How an adapter changes a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The matrix's name in the model's file, such as `blk.0.attn_q.weight`.
    pub matrix: String,
    /// Rows of A, and numbers of B's rows: at least 1.
    pub rank: usize,
    /// What B's product with A's is multiplied by: alpha / rank, or alpha / √rank (rsLoRA: Kalajdzievski 2023, arXiv 2312.03732).
    pub scale: f32,
}

impl From<&AdapterChange> for Change {
    /// As an adapter changes it that there is.
    fn from(change: &AdapterChange) -> Self {
        Self { matrix: change.matrix.clone(), rank: change.rank, scale: change.scale }
    }
}

impl TrainerOptions {
    /// For examples of up to so many tokens, one at a time.
    pub fn new(length: usize, changes: Vec<Change>) -> Self {
        let cache = CacheTypes::default();
        Self { length, together: 1, slice: 64, threads: None, isa: None, cache, changes }
    }

    crate::setters! {
        together: usize,
        slice: usize,
        threads: impl Into<Option<usize>>,
        isa: impl Into<Option<Isa>>,
        cache: impl Into<CacheTypes>,
    }

    fn context(&self, longest: usize) -> Result<ContextOptions, TrainError> {
        const MOST: usize = 4096;
        let within = |option, value: usize, most: usize| match value {
            1.. if value <= most => Ok(value),
            _ => Err(TrainError::Option { option, expected: format!("1 to {most}"), found: value }),
        };
        let context = within("length", self.length, longest)?;
        let sequences = within("together", self.together, MOST)?;
        let logits = within("slice", self.slice, MOST)?;
        let threads = within("threads", self.threads.unwrap_or_else(default_threads), MOST)?;
        let isa = self.isa.map_or_else(Isa::choose, Ok)?;
        let pages = sequences.saturating_mul(context.div_ceil(PAGE));
        let pages = NonZeroUsize::new(pages).filter(|_| sequences > 1);
        let batch = sequences.saturating_mul(context);
        Ok(ContextOptions { context, threads, batch, cache: self.cache, isa, sequences, logits, pages })
    }

    /// The changes, of matrices that the network has.
    fn targets(&self, network: &Network) -> Result<Vec<Target>, TrainError> {
        let target = |change: &Change| {
            let Change { matrix, rank, scale } = change;
            let found = network.layer_linears().find(|linear| linear.name == *matrix);
            let linear = found.ok_or_else(|| TrainError::Matrix { matrix: matrix.clone() })?;
            if linear.is_experts() || network.is_router(linear.id) {
                return Err(TrainError::Experts { matrix: matrix.clone() });
            }
            let most = linear.weight.k().min(linear.weight.rows());
            if !(1..=most).contains(rank) {
                return Err(TrainError::Rank { matrix: matrix.clone(), rank: *rank, most });
            }
            if !scale.is_finite() {
                return Err(TrainError::Scale { matrix: matrix.clone(), scale: *scale });
            }
            Ok(Target { linear: linear.id, rank: *rank, scale: *scale })
        };
        let targets: Vec<_> = self.changes.iter().map(target).collect::<Result<_, _>>()?;
        match targets.is_empty() {
            true => Err(TrainError::NoChanges),
            false => Ok(targets),
        }
    }

    fn rank(&self) -> usize {
        self.changes.iter().map(|change| change.rank).max().unwrap_or(0)
    }

    /// What a trainer of `network` reserves beside its [`Context`], out of this arena.
    fn reserve(
        &self,
        arena: &mut Arena,
        network: &Network,
        settings: &ContextOptions,
    ) -> Result<Parts, TrainError> {
        let mut lora = Lora::new(arena, network, &self.targets(network)?)?;
        if !arena.counts_only() {
            lora.renew();
        }
        let backward = Backward::new(arena, network, settings, self.rank())?;
        let batch = settings.batch;
        Ok(Parts {
            lora,
            backward,
            tokens: arena.list(batch)?,
            learned: arena.list(batch)?,
            of: arena.list(batch)?,
        })
    }

    /// Bytes that a trainer of `network` reserves: the context that it is made for, and what it has beside that.
    ///
    /// # Errors
    /// As for [`Model::trainer`].
    pub(crate) fn count(
        &self,
        network: &Network,
    ) -> Result<(ContextOptions, ContextArena, usize), TrainError> {
        let settings = self.context(network.config().context_length)?;
        let mut arena = Arena::counting();
        self.reserve(&mut arena, network, &settings)?;
        Ok((settings, settings.count(network, self.rank()), arena.bytes()))
    }
}

/// What a trainer has beside its context.
struct Parts {
    lora: Lora,
    backward: Backward,
    tokens: Vec<u32>,
    learned: Vec<Learned>,
    of: Vec<usize>,
}

/// Tokens of which some are to be learned.
#[derive(Clone, Copy, Debug)]
pub struct Example<'a> {
    /// The tokens, at least one and at most [`TrainerOptions::length`].
    pub tokens: &'a [u32],
    /// For each token whether it is to follow from those before it. The first one follows from none.
    pub learned: &'a [bool],
    /// What the losses of its tokens count in gradients: for the mean of some examples 1 by the number of all their learned tokens.
    /// It may be negative, of what is to become less likely.
    pub weight: f32,
}

/// A step of training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What becomes of the gradients. Its own number is that of the step since [`Trainer::begin`].
    pub optimizer: AdamW,
    /// How many times faster B learns than A (LoRA+: Hayou et al. 2024, arXiv 2402.12354).
    pub b_ratio: f32,
    /// The length that gradients are shortened to where they are longer, all of them together as one vector (Pascanu et al. 2013, arXiv
    /// 1211.5063).
    pub clip: Option<f32>,
}

impl Step {
    /// A step of this learning rate, as torch's AdamW takes it without decay.
    pub fn new(rate: f32) -> Self {
        Self { optimizer: AdamW { rate, ..AdamW::default() }, b_ratio: 1.0, clip: None }
    }

    crate::setters! {
        optimizer: AdamW,
        b_ratio: f32,
        clip: impl Into<Option<f32>>,
    }
}

/// What a pass over examples is for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    /// Losses of the model alone.
    Plain,
    /// Losses with the adapter.
    Adapted,
    /// Gradients too.
    Back { smoothing: f32 },
}

impl Example<'_> {
    /// How many tokens are learned.
    pub fn learned(&self) -> usize {
        self.learned.iter().skip(1).filter(|learned| **learned).count()
    }
}

/// Trains an adapter of a model, which stays as it is and may be in use elsewhere meanwhile.
///
/// The forward pass is that of a [`Session`](crate::Session), with the same bits. Gradients and the adapter have the same bits on every
/// instruction set, with any number of threads, however examples are cut into passes.
///
/// ```no_run
/// # use siskin::training::{Change, Example, Step, Trainer, TrainerOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = siskin::Model::open("model.gguf")?;
/// let change = |matrix: String| Change { matrix, rank: 8, scale: 2.0 };
/// let changes = Trainer::matrices(&model).map(change).collect();
/// let mut trainer = model.trainer(&TrainerOptions::new(256, changes))?;
/// trainer.begin(1);
/// let tokens = model.text_tokens("A siskin is a small green finch");
/// let learned = vec![true; tokens.len()];
/// let example = Example { tokens: &tokens, learned: &learned, weight: 1.0 / tokens.len() as f32 };
/// trainer.learn(&[example], 0.0, &mut |_, _| ())?;
/// trainer.step(&Step::new(1e-3).clip(1.0));
/// # Ok(())
/// # }
/// ```
pub struct Trainer {
    model: Model,
    context: Context,
    backward: Backward,
    lora: Lora,
    /// The pages of all sequences, one sequence's after the other's.
    pages: Vec<u32>,
    /// Of a pass: its tokens, those of them that are learned, and of which example each is.
    tokens: Vec<u32>,
    learned: Vec<Learned>,
    of: Vec<usize>,
    bytes: usize,
}

impl Model {
    /// A trainer of an adapter that changes these matrices, all numbers 0, with all the memory that it will ever use.
    ///
    /// # Errors
    /// An option without meaning, a matrix that the model lacks or whose changes cannot be trained, too little memory, no threads.
    pub fn trainer(&self, options: &TrainerOptions) -> Result<Trainer, TrainError> {
        Trainer::new(self.clone(), options)
    }
}

impl Trainer {
    fn new(model: Model, options: &TrainerOptions) -> Result<Self, TrainError> {
        let network = model.network();
        let settings = options.context(model.context_length())?;
        let threads = settings.threads;
        let team = Team::new(threads).map_err(|source| TrainError::Threads { threads, source })?;
        let mut context = Context::new(network, settings, team)?;
        let mut arena = Arena::reserving();
        let Parts { lora, backward, tokens, learned, of } =
            options.reserve(&mut arena, network, &settings)?;
        context.take_up(network, lora.adapter(), 1.0, settings.sequences)?;
        let bytes = context.bytes().saturating_add(arena.bytes());
        let pages = (0..settings.pages() as u32).collect();
        Ok(Self { model, context, backward, lora, pages, tokens, learned, of, bytes })
    }

    /// The names of a model's matrices that an adapter may change, in the order in which it uses them.
    pub fn matrices(model: &Model) -> impl Iterator<Item = String> {
        let network = model.network();
        let linears = network.layer_linears();
        let linears = linears.filter(|linear| !linear.is_experts() && !network.is_router(linear.id));
        linears.map(|linear| linear.name.clone())
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Bytes that were reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokens of the longest example.
    pub fn length(&self) -> usize {
        self.context.options().context
    }

    /// The flag that ends work when it is set, and the limit of threads that may work: see
    /// [`Session::limit_threads`](crate::Session::limit_threads).
    pub fn control(&self) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        self.context.ops.control()
    }

    /// Begins anew: A's numbers are drawn evenly between ±1/√(numbers of a row), as PEFT does, and B's are 0, so that the adapter changes
    /// nothing yet. The same seed gives the same numbers.
    pub fn begin(&mut self, seed: u64) {
        self.lora.begin(seed, random::unit);
    }

    /// Sets the numbers of a change, rows one after the other, as those of an adapter that there is.
    ///
    /// # Errors
    /// A matrix that is not changed, or other numbers than as many as it takes.
    pub fn set(&mut self, matrix: &str, a: &[f32], b: &[f32]) -> Result<(), TrainError> {
        let linear = self.linear(matrix)?.id;
        let (pair, to_a, to_b) = self.lora.numbers_mut(linear).ok_or_else(|| TrainError::unknown(matrix))?;
        let (pair, rank) = (pair.clone(), pair.rank);
        if (a.len(), b.len()) != (rank * pair.row_len, pair.rows * rank) {
            return Err(TrainError::Numbers {
                matrix: matrix.to_owned(),
                expected: (rank * pair.row_len, pair.rows * rank),
                found: (a.len(), b.len()),
            });
        }
        pair.set_rows((a, b), (to_a, to_b));
        self.lora.renew();
        Ok(())
    }

    /// The numbers of a change, A's and B's, rows one after the other.
    ///
    /// # Errors
    /// A matrix that is not changed.
    pub fn numbers(&self, matrix: &str) -> Result<[Vec<f32>; 2], TrainError> {
        let pair = self.lora.pair(self.linear(matrix)?.id).ok_or_else(|| TrainError::unknown(matrix))?;
        Ok(pair.to_rows(self.lora.a(pair), self.lora.b(pair)))
    }

    /// The gradients by a change's numbers since the last step, as [`Trainer::numbers`].
    ///
    /// # Errors
    /// A matrix that is not changed.
    pub fn gradients(&mut self, matrix: &str) -> Result<[Vec<f32>; 2], TrainError> {
        let linear = self.linear(matrix)?.id;
        let pair = self.lora.pair(linear).cloned().ok_or_else(|| TrainError::unknown(matrix))?;
        let (a, b) = self.lora.gradients_mut(linear).ok_or_else(|| TrainError::unknown(matrix))?;
        Ok(pair.to_rows(a, b))
    }

    fn linear(&self, matrix: &str) -> Result<&Linear, TrainError> {
        let linear = self.model.network().linears().find(|linear| linear.name == matrix);
        linear.ok_or_else(|| TrainError::unknown(matrix))
    }

    /// Adds the gradients of the learned tokens' losses, each times its example's weight, and tells `each` the loss of every one of
    /// them with the number of its example, in their order. `smoothing` is that of the targets' probabilities, 0 for none.
    ///
    /// # Errors
    /// An example without tokens or longer than what there is room for, tokens that the model lacks; [`TrainError::Cancelled`],
    /// after which [`Trainer::forget_gradients`] is called for.
    pub fn learn(
        &mut self,
        examples: &[Example<'_>],
        smoothing: f32,
        each: &mut dyn FnMut(usize, f64),
    ) -> Result<(), TrainError> {
        self.run(examples, Pass::Back { smoothing }, each)
    }

    /// The losses without gradients: how well the adapter does.
    ///
    /// # Errors
    /// As for [`Trainer::learn`].
    pub fn losses(
        &mut self,
        examples: &[Example<'_>],
        each: &mut dyn FnMut(usize, f64),
    ) -> Result<(), TrainError> {
        self.run(examples, Pass::Adapted, each)
    }

    /// The losses of the model without the adapter, which preferences are learned against.
    ///
    /// # Errors
    /// As for [`Trainer::learn`].
    pub fn losses_of_model(
        &mut self,
        examples: &[Example<'_>],
        each: &mut dyn FnMut(usize, f64),
    ) -> Result<(), TrainError> {
        self.run(examples, Pass::Plain, each)
    }

    /// A step by the gradients, which begin anew. Returns their length, all of them together as one vector, before it was clipped.
    pub fn step(&mut self, step: &Step) -> f64 {
        let length = self.lora.gradient_norm();
        let scale = step.clip.map_or(1.0, |clip| (f64::from(clip) / (length + 1e-6)).min(1.0));
        // Nobody else has the adapter while it changes.
        self.context.ops.batch.clear();
        self.lora.step(self.context.ops.kernels(), (&step.optimizer, step.b_ratio), scale as f32);
        length
    }

    /// Steps that were taken since [`Trainer::begin`].
    pub fn steps(&self) -> u32 {
        self.lora.steps()
    }

    /// Forgets the gradients since the last step.
    pub fn forget_gradients(&mut self) {
        self.lora.forget_gradients();
    }

    fn run(
        &mut self,
        examples: &[Example<'_>],
        pass: Pass,
        each: &mut dyn FnMut(usize, f64),
    ) -> Result<(), TrainError> {
        let &ContextOptions { context: length, batch, sequences, .. } = self.context.options();
        let vocabulary = self.model.vocabulary();
        for (number, Example { tokens, learned, .. }) in examples.iter().enumerate() {
            if tokens.is_empty() || tokens.len() > length || learned.len() != tokens.len() {
                let (tokens, learned) = (tokens.len(), learned.len());
                return Err(TrainError::Length { example: number, tokens, learned, most: length });
            }
            if let Some(&token) = tokens.iter().find(|token| **token as usize >= vocabulary) {
                return Err(TrainError::Token { example: number, token, vocabulary });
            }
        }
        let mut first = 0;
        while first < examples.len() {
            let mut rows = 0;
            let fits = |example: &&Example<'_>| {
                rows += example.tokens.len();
                rows <= batch
            };
            let count = examples[first..].iter().take(sequences).take_while(fits).count();
            self.pass(&examples[first..first + count], first, pass, each)?;
            first += count;
        }
        Ok(())
    }

    /// Runs some examples together, the first of which has this number.
    fn pass(
        &mut self,
        examples: &[Example<'_>],
        first: usize,
        pass: Pass,
        each: &mut dyn FnMut(usize, f64),
    ) -> Result<(), TrainError> {
        let Self { model, context, backward, lora, pages, tokens, learned, of, .. } = self;
        let of_each = context.options().context.div_ceil(PAGE);
        // One of no effect is left out of the batch.
        let scale = if pass == Pass::Plain { 0.0 } else { 1.0 };
        let attached = [Attached { adapter: lora.adapter().clone(), scale }];
        let batch = &mut context.ops.batch;
        batch.clear();
        tokens.clear();
        learned.clear();
        of.clear();
        for (sequence, example) in examples.iter().enumerate() {
            let row = tokens.len();
            let pages = &pages[sequence * of_each..][..of_each];
            let segment = Segment { sequence, start: 0, tokens: example.tokens.len(), pages };
            batch.push(segment, &attached);
            tokens.extend_from_slice(example.tokens);
            let learns = example.tokens.iter().zip(example.learned).enumerate().skip(1);
            for (at, (&token, _)) in learns.filter(|(_, (_, learned))| **learned) {
                learned.push(Learned { row: row + at - 1, token, weight: example.weight });
                of.push(first + sequence);
            }
        }
        let mut examples_of = of.iter();
        let mut tell = |loss| each(examples_of.next().copied().unwrap_or(first), loss);
        let (lora, smoothing) = match pass {
            Pass::Back { smoothing } => (Some(lora), smoothing),
            Pass::Adapted | Pass::Plain => (None, 0.0),
        };
        let lesson = Lesson { tokens, learned, smoothing };
        let done = backward.run(model.network(), context, &lesson, lora, &mut tell);
        context.ops.finish();
        for (sequence, example) in examples.iter().enumerate() {
            let fed = example.tokens.len();
            let cut = Cut { fed, pristine: fed, len: 0 };
            context.ops.states.iter_mut().for_each(|state| state.truncate(sequence, &cut));
        }
        context.ops.batch.clear();
        Ok(done?)
    }

    /// The adapter as it is now, for sessions of the model; it does not change with later steps.
    ///
    /// # Errors
    /// Too little memory.
    pub fn adapter(&self, name: &str) -> Result<Adapter, TrainError> {
        Ok(self.lora.copy(self.model.network(), name)?)
    }
}
