//! What a model and its sessions will take of memory, said before anything is loaded.
//!
//! An [`Outline`] is what a file's header tells of its model. A [`Plan`] is worked out of it by the code that reserves
//! the buffers later, in an arena that only counts them. A [`Budget`] says what the process may use.

mod budget;
mod error;
mod fit;
mod memory;
mod reads;

pub use budget::Budget;
pub use error::PlanError;
pub use memory::Plan;
pub use reads::Reads;

use crate::gguf::{FAULT_AROUND, Footprint, Gguf, Value};
use crate::grammar::GrammarVocabulary;
use crate::machine::{Memory, Tree, mapped_programs};
use crate::model::AdapterOutline;
use crate::model::ContextOptions;
use crate::model::Network;
use crate::panel;
use crate::sampler;
use crate::sequences::{For, SequencesOptions, SessionOptions};
use crate::team::Team;
#[cfg(feature = "training")]
use crate::training::{TrainError, TrainerOptions};

/// A model as its file's header describes it: checked, but not loaded.
pub struct Outline {
    name: String,
    network: Network,
    /// Bytes of the weights' buffers.
    weights: usize,
    /// Bytes of adapters, and their largest rank.
    adapters: u64,
    rank: usize,
    /// A model that guesses ahead for each session.
    draft: Option<Box<Outline>>,
    file: Footprint,
    /// Bytes of the tokens' texts.
    texts: usize,
    /// Whether answers keep to grammars.
    grammars: bool,
    /// Bytes of the file's metadata, most of which are the vocabulary's.
    metadata: u64,
    /// Bytes that the process has and will have whatever it runs: memory of its own, and the program's code.
    present: u64,
}

impl Outline {
    /// Looks at the file's metadata and at the names, shapes and types of its tensors, not at their data.
    ///
    /// # Errors
    /// As for [`Model::from_gguf`](crate::Model::from_gguf), where names, shapes or types are wrong.
    pub fn of(file: &Gguf) -> Result<Self, PlanError> {
        let (network, weights) = Network::outline(file)?;
        let footprint = file.footprint();
        Ok(Self {
            name: file.name().to_owned(),
            network,
            weights,
            adapters: 0,
            rank: 0,
            draft: None,
            texts: texts(file),
            grammars: false,
            file: footprint,
            metadata: file.metadata_bytes(),
            present: present(footprint),
        })
    }

    /// Counts an adapter too, which all sessions will have.
    ///
    /// # Errors
    /// [`LoadError::Adapter`](crate::LoadError::Adapter) for one of another model.
    pub fn add_adapter(&mut self, adapter: &AdapterOutline) -> Result<(), PlanError> {
        adapter.check(&self.network)?;
        self.adapters = self.adapters.saturating_add(adapter.bytes());
        self.rank = self.rank.max(adapter.rank());
        Ok(())
    }

    /// Counts a model too that guesses ahead for each session, with a session of its own whose context is as long as the
    /// other's or as its model allows: see [`Speculation::of`](crate::Speculation::of). The models are loaded one after the
    /// other, before there is a session.
    pub fn add_draft(&mut self, draft: Outline) {
        self.draft = Some(Box::new(draft));
    }

    /// Counts grammars too: the vocabulary as they want it ([`Model::grammar`](crate::Model::grammar)), which is estimated from
    /// the tokens' texts, and what a grammar and an answer that keeps to it take, which depends on the grammar and is taken to
    /// be 2 MiB for each answer at a time.
    pub fn add_grammars(&mut self) {
        self.grammars = true;
    }

    /// Bytes that the program takes beside the model: what it had when the file was looked at, and what was
    /// [added](Self::add_program) or [set](Self::set_program) since.
    pub fn program(&self) -> u64 {
        self.present
    }

    /// Sets what the program takes beside the model, for who knows more of it than the system: other models that are in memory, and
    /// have not touched all of what they may take.
    pub fn set_program(&mut self, bytes: u64) {
        self.present = bytes;
    }

    /// Counts memory too that the program will take for other things than models.
    pub fn add_program(&mut self, bytes: u64) {
        self.present = self.present.saturating_add(bytes);
    }

    /// Whether all matrices could be of this type: their rows are whole blocks of it.
    pub fn can_be(&self, ty: siskin_quant::TensorType) -> bool {
        self.network.linears().all(|linear| linear.weight.k().is_multiple_of(ty.block_len()))
    }

    /// As [`Model::notes`](crate::Model::notes).
    pub fn notes(&self) -> &[String] {
        self.network.notes()
    }

    /// The longest sequence that the model was made for, in tokens.
    pub fn context_length(&self) -> usize {
        self.network.config().context_length
    }

    /// What the model and `sessions` sessions of it will take, with a sampler for each, in this process.
    ///
    /// # Errors
    /// An option without meaning.
    pub fn plan(&self, options: &SessionOptions, sessions: usize) -> Result<Plan, PlanError> {
        Ok(self.plan_for(&options.resolve(self.context_length(), For::One)?, sessions, 1))
    }

    /// What the model and sequences of it that are worked on together will take, with a sampler for each, in this process.
    ///
    /// # Errors
    /// An option without meaning.
    pub fn plan_sequences(&self, options: &SequencesOptions) -> Result<Plan, PlanError> {
        let settings = options.session.resolve(self.context_length(), options.made_for())?;
        Ok(self.plan_for(&settings, 1, options.most))
    }

    /// What the model and a trainer of an adapter will take, in this process.
    ///
    /// # Errors
    /// As for [`Model::trainer`](crate::Model::trainer).
    #[cfg(feature = "training")]
    pub fn plan_training(&self, options: &TrainerOptions) -> Result<Plan, TrainError> {
        let (settings, context, beside) = options.count(&self.network)?;
        let alone = self.plan_alone(&settings, 0);
        Ok(Plan {
            sessions: 1,
            cache: context.cache.bytes() as u64,
            scratch: (context.buffers.bytes() as u64).saturating_add(beside as u64),
            program: [self.present, SMALL, Team::worker_bytes(settings.threads) as u64]
                .into_iter()
                .fold(alone.program, u64::saturating_add),
            ..alone
        })
    }

    /// The plan of sessions with so many answers at a time each, which have a sampler.
    fn plan_for(&self, settings: &ContextOptions, sessions: usize, answers: usize) -> Plan {
        let plan = self.plan_alone(settings, sessions);
        let sampler = sampler::bytes_for(self.network.config().vocabulary) as u64;
        let samplers = sampler.saturating_mul(answers as u64);
        let draft = self.draft.as_ref().map(|draft| {
            let context = settings.context.min(draft.context_length());
            let batch = settings.batch.min(context);
            draft.plan_alone(&ContextOptions { context, batch, logits: 1, ..*settings }, sessions)
        });
        // What the first one's tokenizer was built with, the allocator may keep from the second.
        let kept = self.draft.as_ref().map_or(0, |draft| draft.tokenizer());
        let both = |part: fn(&Plan) -> u64| draft.as_ref().map_or(0, part).saturating_add(part(&plan));
        Plan {
            weights: both(|plan| plan.weights),
            adapters: both(|plan| plan.adapters),
            in_place: both(|plan| plan.in_place),
            cache: both(|plan| plan.cache),
            grammars: self.grammars((answers as u64).saturating_mul(sessions as u64)),
            scratch: both(|plan| plan.scratch).saturating_add(samplers.saturating_mul(sessions as u64)),
            program: [kept, self.present, SMALL]
                .into_iter()
                .fold(both(|plan| plan.program), u64::saturating_add),
            // One after the other.
            loading: draft.as_ref().map_or(0, |draft| draft.loading).max(plan.loading),
            ..plan
        }
    }

    /// A plan of this model without samplers and without what the process has whatever it runs.
    fn plan_alone(&self, settings: &ContextOptions, sessions: usize) -> Plan {
        let times = |bytes: usize| (bytes as u64).saturating_mul(sessions as u64);
        let session = settings.count(&self.network, self.rank);
        let in_place = self.network.bytes_in_file() as u64;
        let (in_place, passing) = match self.file {
            Footprint::Mapped { metadata } => (in_place, metadata + self.in_work()),
            Footprint::Read { bytes } if in_place == 0 => (0, bytes),
            Footprint::Read { bytes } | Footprint::Static { bytes, .. } => (bytes, 0),
        };
        Plan {
            context: settings.context,
            threads: settings.threads,
            batch: settings.batch,
            cache_types: settings.cache,
            sessions,
            sequences: settings.sequences,
            pages: settings.pages(),
            weights: self.weights as u64,
            adapters: self.adapters,
            grammars: 0,
            in_place,
            cache: times(session.cache.bytes()),
            scratch: times(session.buffers.bytes()),
            program: self.tokenizer().saturating_add(times(Team::worker_bytes(settings.threads))),
            loading: passing.saturating_add(self.tokenizer()),
        }
    }

    /// Bytes of a tokenizer, and about as many again of what it is built with: tokens' texts, what they stand for, an
    /// index of them and the merges take 1.1 to 1.6 times the file's metadata.
    fn tokenizer(&self) -> u64 {
        self.metadata.saturating_add(self.metadata / 2)
    }

    /// Bytes of grammars for so many answers at a time.
    fn grammars(&self, answers: u64) -> u64 {
        if !self.grammars {
            return 0;
        }
        let shared = GrammarVocabulary::bytes_for(self.network.config().vocabulary, self.texts) as u64;
        if shared == 0 {
            // A build without them.
            return 0;
        }
        shared.saturating_add(answers.saturating_mul(GRAMMAR))
    }

    /// Bytes of a mapped file that are there while it is packed.
    fn in_work(&self) -> u64 {
        panel::bytes_in_work() as u64 + FAULT_AROUND
    }
}

/// The bytes of the tokens' texts.
fn texts(file: &Gguf) -> usize {
    let tokens = file.get("tokenizer.ggml.tokens");
    let Some(Value::Array(tokens)) = tokens else { return 0 };
    tokens.iter().filter_map(|token| token.as_str().map(str::len)).sum()
}

/// Bytes that a grammar and an answer that keeps to it are taken to have.
const GRAMMAR: u64 = 2 << 20;

/// Bytes of small things that come into memory with a model, such as its chat template.
const SMALL: u64 = 1 << 19;

/// Bytes of a large program that come into memory while a model is run: 10 to 14 MiB of `siskin` and its libraries, by
/// how it was built.
const CODE: u64 = 14 << 20;

/// Bytes that the process has and will have whatever it runs, the model aside. How many pages of the program are there at
/// a moment depends on what the system has in its cache, and whoever starts a model with the memory that an earlier
/// process planned must not be refused: so it is not this that is counted, but what a program comes to, or all of a small one.
fn present(model: Footprint) -> u64 {
    let memory = Memory::here();
    let files = memory.resident_of_files.unwrap_or(0);
    let own = memory.resident.unwrap_or(0).saturating_sub(files);
    let programs = mapped_programs(&Tree::here()).unwrap_or(CODE);
    let (own, files, programs) = match model {
        Footprint::Mapped { metadata } => (own, files.saturating_sub(metadata), programs),
        Footprint::Read { bytes } => (own.saturating_sub(bytes), files, programs),
        Footprint::Static { metadata, bytes } => {
            (own, files.saturating_sub(metadata), programs.saturating_sub(bytes))
        }
    };
    own.saturating_add(files.max(programs.min(CODE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CacheType, CacheTypes, Model};
    use std::path::{Path, PathBuf};

    const NAMES: [&str; 5] = ["llama/gqa", "llama/tied", "llama/bias", "llama_cpp/q4_k_m", "families/lfm2"];

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(format!("{name}.gguf"))
    }

    fn opened(name: &str) -> (Gguf, Outline) {
        let file = Gguf::open(&golden(name)).unwrap();
        let outline = Outline::of(&file).unwrap();
        (file, outline)
    }

    #[test]
    fn sessions_take_what_the_plan_says() {
        for name in NAMES {
            let (file, outline) = opened(name);
            let model = Model::from_gguf(&file).unwrap();
            let sampler = sampler::bytes_for(model.vocabulary()) as u64;
            let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F32 };
            for (context, batch, threads) in [(1, None, 1), (33, Some(1), 2), (64, Some(7), 3), (50, None, 5)]
            {
                for cache in [CacheTypes::default(), mixed] {
                    let options = SessionOptions {
                        context: Some(context),
                        batch,
                        threads: Some(threads),
                        cache,
                        ..Default::default()
                    };
                    let (one, two) = (outline.plan(&options, 1).unwrap(), outline.plan(&options, 2).unwrap());
                    let session = model.session(&options).unwrap();
                    assert_eq!(
                        one.cache + one.scratch,
                        session.bytes() as u64 + sampler,
                        "{name} {options:?}"
                    );
                    assert_eq!((two.cache, two.scratch), (2 * one.cache, 2 * one.scratch));
                    assert_eq!((one.weights, one.in_place), (two.weights, two.in_place));
                }
            }
        }
    }

    #[test]
    fn sequences_take_what_the_plan_says() {
        for name in NAMES {
            let (file, outline) = opened(name);
            let model = Model::from_gguf(&file).unwrap();
            let sampler = sampler::bytes_for(model.vocabulary()) as u64;
            let session = SessionOptions { context: Some(64), threads: Some(2), ..Default::default() };
            for (most, pages) in [(1, None), (3, None), (3, Some(2))] {
                let options =
                    SequencesOptions { most, pages, session: session.clone(), ..Default::default() };
                let plan = outline.plan_sequences(&options).unwrap();
                assert_eq!((plan.sequences, plan.pages), (most, pages.unwrap_or(most)));
                let sequences = model.sequences(&options).unwrap();
                let expected = sequences.bytes() as u64 + most as u64 * sampler;
                assert_eq!(plan.cache + plan.scratch, expected, "{name}: {most} in {pages:?}");
            }
            let one = SequencesOptions { most: 1, session, ..Default::default() };
            let alone = outline.plan(&one.session, 1).unwrap();
            assert_eq!(outline.plan_sequences(&one).unwrap(), alone, "{name}: one is a session");
        }
    }

    #[test]
    fn as_many_sequences_and_pages_as_there_is_room_for() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/demo/siskin-demo.gguf");
        let outline = Outline::of(&Gguf::open(&demo).unwrap()).unwrap();
        let session = SessionOptions { context: Some(1024), threads: Some(1), ..Default::default() };
        let options =
            |most, pages| SequencesOptions { most, pages, session: session.clone(), ..Default::default() };
        let peak = |most, pages| outline.plan_sequences(&options(most, pages)).unwrap().peak();
        let fit = |least, bytes| {
            let (found, plan) = outline.fit_sequences(&options(4, None), least, &Budget::of(bytes))?;
            assert!(plan.peak() <= bytes);
            Ok::<_, PlanError>((found.most, found.pages))
        };
        assert_eq!(fit(1, peak(4, None)).unwrap(), (4, None));
        assert_eq!(fit(1, peak(4, Some(10))).unwrap(), (4, Some(10)));
        assert_eq!(fit(1, peak(4, Some(8))).unwrap(), (4, Some(8)));
        // Fewer pages would have some of four wait for long.
        let (most, _) = fit(1, peak(4, Some(8)) - 1).unwrap();
        assert_eq!(most, 2);
        assert_eq!(fit(1, peak(1, None)).unwrap(), (1, None));
        for (least, bytes) in [(4, peak(4, Some(8)) - 1), (1, peak(1, None) - 1)] {
            assert!(matches!(fit(least, bytes).unwrap_err(), PlanError::Memory { .. }));
        }
    }

    #[test]
    fn more_sequences_than_a_few_have_caches_in_proportion_to_the_weights() {
        let demo = "../../../tools/demo/siskin-demo";
        let session = |cache: CacheType| SessionOptions {
            context: Some(64),
            threads: Some(1),
            cache: cache.into(),
            ..Default::default()
        };
        for (name, cache, expected) in [
            ("llama/kquant", CacheType::Q8_0, 32),
            ("llama/kquant", CacheType::F16, 24),
            ("llama/kquant", CacheType::F32, 12),
            (demo, CacheType::F16, 8),
        ] {
            let (_, outline) = opened(name);
            let (options, plan) = outline.default_sequences(&session(cache), None).unwrap();
            assert_eq!((options.most, options.pages), (expected, None), "{name} {cache:?}");
            assert_eq!(options.session.context, Some(64));
            assert_eq!(outline.plan_sequences(&options).unwrap(), plan);
            let room = 2 * (plan.weights + plan.in_place);
            assert!(expected == 8 || plan.cache <= room, "{name} {cache:?}: {plan}");
            assert!(expected == 32 || plan.cache / 8 * 9 > room, "{name} {cache:?}: {plan}");
        }
        // All the room that these need is enough, and with less they are fewer.
        let (_, outline) = opened(demo);
        let within = |bytes| outline.default_sequences(&session(CacheType::F16), Some(&Budget::of(bytes)));
        let whole = outline.default_sequences(&session(CacheType::F16), None).unwrap().1.peak();
        assert_eq!(within(whole).unwrap().0.most, 8);
        assert_eq!(within(whole - 1).unwrap().0.most, 4);
        assert!(matches!(within(1), Err(PlanError::Memory { .. })));
        let nonsense = SessionOptions { context: Some(0), ..Default::default() };
        assert!(outline.default_sequences(&nonsense, None).is_err());
    }

    #[test]
    fn weights_are_the_matrices_and_vectors_padded() {
        for name in NAMES {
            let (file, outline) = opened(name);
            let plan = outline.plan(&SessionOptions::default(), 1).unwrap();
            let padded = |n: u64, to: u64| n.next_multiple_of(to);
            let expected = file.tensors().iter().map(|tensor| match *tensor.shape.as_slice() {
                [n] => 4 * padded(n, 32),
                [k, rows] => tensor.ty.row_bytes(k).unwrap() * padded(rows, 16),
                _ => panic!("{}", tensor.name),
            });
            assert_eq!((plan.weights, plan.in_place), (expected.sum(), 0), "{name}");
        }
    }

    #[test]
    fn a_file_in_memory_counts_as_long_as_it_is_used() {
        let bytes = std::fs::read(golden("llama/gqa")).unwrap();
        let len = bytes.len() as u64;
        let plan = |file: &Gguf| Outline::of(file).unwrap().plan(&SessionOptions::default(), 1).unwrap();
        let read = plan(&Gguf::from_bytes("gqa", bytes.clone()).unwrap());
        assert!(read.in_place == 0 && read.loading > len, "{read:?}");
        let built_in = plan(&Gguf::from_static("a", bytes.leak()).unwrap());
        assert!(built_in.in_place == len && built_in.loading < len, "{built_in:?}");
    }

    #[test]
    fn too_much_is_refused_with_the_figures() {
        let (_, outline) = opened("llama/gqa");
        let options = SessionOptions { context: Some(64), threads: Some(1), ..Default::default() };
        let plan = outline.plan(&options, 1).unwrap();
        assert_eq!(outline.within(&options, 1, &Budget::of(plan.peak())).unwrap(), plan);
        let refused = outline.within(&options, 1, &Budget::of(plan.peak() - 1)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "{}: needs {plan}, there is room for {}",
                golden("llama/gqa").display(),
                Budget::of(plan.peak() - 1)
            )
        );
    }

    #[test]
    fn what_fits_is_a_shorter_context_then_a_narrower_cache() {
        let (_, outline) = opened("llama/gqa");
        let longest = outline.context_length();
        // So many sessions that it is they that count, and not the program or loading.
        let sessions = 1000;
        let options = SessionOptions {
            threads: Some(1),
            batch: Some(8),
            cache: CacheType::F32.into(),
            ..Default::default()
        };
        let fit = |budget: u64| outline.fit(&options, sessions, &Budget::of(budget));
        let whole = outline.plan(&options, sessions).unwrap();
        let (fitted, plan) = fit(whole.peak()).unwrap();
        assert_eq!((fitted.context, fitted.cache, plan), (Some(longest), options.cache, whole));
        let mut before = longest;
        let mut narrowed = false;
        for less in 1..64 {
            let budget = whole.peak() - (whole.cache + whole.scratch) / 64 * less;
            let Ok((fitted, plan)) = fit(budget) else { break };
            let context = fitted.context.unwrap();
            assert!(plan.peak() <= budget, "{plan:?} for {budget}");
            assert_eq!(outline.plan(&fitted, sessions).unwrap(), plan);
            narrowed |= fitted.cache == CacheType::Q8_0.into();
            assert!(narrowed || context <= before);
            before = context;
        }
        assert!(narrowed);
    }

    #[test]
    fn nonsense_is_refused() {
        let (_, outline) = opened("llama/gqa");
        for context in [0, 1 << 40, usize::MAX] {
            let options = SessionOptions { context: Some(context), ..Default::default() };
            let error = outline.plan(&options, 1).unwrap_err().to_string();
            assert!(error.contains("context") && !error.contains('\n'), "{error}");
        }
        let plan = outline.plan(&SessionOptions::default(), usize::MAX).unwrap();
        assert_eq!(plan.peak(), u64::MAX);
        assert!(outline.within(&SessionOptions::default(), usize::MAX, &Budget::of(1 << 40)).is_err());
    }
}
