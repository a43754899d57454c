//! The thread that works on a model's answers, all at once.
//!
//! It takes jobs from a channel and tells of them through channels that never make it wait: what an answer can say is bounded
//! by the context, so a client that reads slowly holds back nobody, and one that went away is noticed before the next step.

mod changes;
mod events;
mod prefixes;
mod queue;

pub(crate) use events::{Event, EventReceiver, EventSender, Over, event_channel};
pub(crate) use prefixes::Prefixes;

use crate::http::ToldRoom;
use crate::options::{LogFormat, ServeOptions};
use crate::refusal::{Reason, Refusal};
use changes::{Change, Changes};
use queue::Queue;
use serde_json::json;
use siskin::tokenizer::Detokenizer;
use siskin::{Adapter, AnswerEvent, AnswerId, AnswerRequest, Ending, Logprobs, Scheduler, SessionError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(crate) use crate::keys::Client;

/// A request for one answer, or for what one text comes to.
pub(crate) struct Job {
    pub(crate) client: Client,
    pub(crate) task: Task,
    /// Its number among those of one request.
    pub(crate) index: usize,
    pub(crate) asked: Instant,
    /// When it is broken off.
    pub(crate) deadline: Instant,
    pub(crate) events: EventSender,
    /// Where its tokens' probabilities have room.
    pub(crate) told: ToldRoom,
}

/// What is asked for.
pub(crate) enum Task {
    /// An answer.
    Answer(Box<AnswerRequest>),
    /// The embedding of these tokens, with these adapters.
    Embed { tokens: Vec<u32>, adapters: Vec<(Adapter, f32)> },
}

/// What the thread tells of itself.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Answers that wait for a place.
    pub(crate) waiting: AtomicUsize,
    /// Answers that are worked on.
    pub(crate) at_work: AtomicUsize,
    /// Of all answers so far: how many there were, tokens of their prompts, those of them that were there already, tokens
    /// that were answered, and the microseconds that waiting, reading and answering took.
    pub(crate) answers: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) answer_tokens: AtomicU64,
    pub(crate) queue_time: AtomicU64,
    pub(crate) prompt_time: AtomicU64,
    pub(crate) answer_time: AtomicU64,
    /// Prompts that differ from one before near their beginnings and go on as it does.
    pub(crate) changed_prompts: AtomicU64,
}

/// The thread, as others see it. Dropping it ends the work.
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    figures: Arc<Figures>,
    /// Ends what is under way.
    cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    places: usize,
    queue: usize,
}

impl Worker {
    /// A thread that works with this scheduler of the model `name`, and with these beginnings of prompts on the disk.
    /// `figures` go on from what they are.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(crate) fn start(
        name: &str,
        mut scheduler: Scheduler,
        prefixes: Option<Prefixes>,
        options: &ServeOptions,
        figures: Arc<Figures>,
    ) -> std::io::Result<Self> {
        let (jobs, receiver) = mpsc::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        scheduler.cancel_when(Arc::clone(&cancelled));
        let places = scheduler.places();
        let work = Work {
            name: name.to_owned(),
            log: options.log,
            scheduler,
            prefixes,
            changes: Changes::default(),
            jobs: receiver,
            queue: Queue::default(),
            at_work: HashMap::new(),
            figures: Arc::clone(&figures),
        };
        let thread = thread::Builder::new().name("answers".into()).spawn(move || work.run())?;
        Ok(Self { jobs: Some(jobs), figures, cancelled, thread: Some(thread), places, queue: options.queue })
    }

    /// Whether the thread still works.
    pub(crate) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Answers that are worked on at once, at most.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Whether `count` more jobs may wait. Where none does they may, however many a request has: asking again would not help.
    ///
    /// # Errors
    /// [`Reason::Busy`], with when to try again.
    pub(crate) fn check_room(&self, count: usize) -> Result<(), Refusal> {
        let waiting = self.figures.waiting.load(Ordering::Relaxed);
        let free = self.places.saturating_sub(self.figures.at_work.load(Ordering::Relaxed));
        if waiting == 0 || waiting + count <= self.queue + free {
            return Ok(());
        }
        let said = format!("{waiting} requests wait already, of {} that may", self.queue);
        Err(Refusal { retry_after: Some(self.wait(waiting)), ..Refusal::new(Reason::Busy, said) })
    }

    /// About how long so many that wait will take.
    fn wait(&self, waiting: usize) -> Duration {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let Figures { answers, prompt_time, answer_time, .. } = &*self.figures;
        let each = (load(prompt_time) + load(answer_time)) / load(answers).max(1);
        let rounds = (waiting / self.places.max(1) + 1) as u64;
        Duration::from_micros(each * rounds).clamp(Duration::from_secs(1), Duration::from_mins(2))
    }

    /// Has the thread work on a job.
    ///
    /// # Errors
    /// A thread that has ended.
    pub(crate) fn ask(&self, job: Job) -> Result<(), Refusal> {
        self.figures.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            self.figures.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::internal("the model's thread has ended"));
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was told already.
            let _ = thread.join();
        }
        self.figures.waiting.store(0, Ordering::Relaxed);
        self.figures.at_work.store(0, Ordering::Relaxed);
    }
}

/// What the thread works with.
struct Work {
    name: String,
    log: LogFormat,
    scheduler: Scheduler,
    prefixes: Option<Prefixes>,
    changes: Changes,
    jobs: mpsc::Receiver<Job>,
    queue: Queue,
    at_work: HashMap<AnswerId, AtWork>,
    figures: Arc<Figures>,
}

/// An answer that is worked on.
struct AtWork {
    job: Job,
    prompt_tokens: usize,
    begun: Instant,
    /// When the prompt was read, and how much of it was there already.
    read: Option<(Instant, usize)>,
}

impl Work {
    /// Works until nobody can ask any more.
    fn run(mut self) {
        while self.take_jobs() {
            self.drop_abandoned();
            self.begin();
            self.figures.at_work.store(self.at_work.len(), Ordering::Relaxed);
            if self.at_work.is_empty() {
                continue;
            }
            if !self.step() {
                break;
            }
        }
        self.write_rest();
    }

    /// Writes down what prompts came to, as far as there is time before the end.
    fn write_rest(&mut self) {
        const TIME: Duration = Duration::from_secs(2);
        let end = Instant::now() + TIME;
        let Some(prefixes) = &mut self.prefixes else { return };
        while prefixes.has_new(&self.scheduler) && Instant::now() < end {
            // Nobody hears of it any more.
            let _ = prefixes.write_one(&self.scheduler, &|| Instant::now() < end);
        }
    }

    /// Takes what was asked meanwhile, and waits for it where there is nothing to do. Returns whether there may be more.
    fn take_jobs(&mut self) -> bool {
        if self.at_work.is_empty() && self.queue.is_empty() {
            match self.wait() {
                Some(job) => self.queue.push(job),
                None => return false,
            }
        }
        loop {
            match self.jobs.try_recv() {
                Ok(job) => self.queue.push(job),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// The next job; None once there can be no more. What prompts came to is written down where there is time for it.
    fn wait(&mut self) -> Option<Job> {
        /// How long nothing is asked before something is written.
        const QUIET: Duration = Duration::from_secs(1);
        let Self { name, log, scheduler, prefixes, jobs, figures, .. } = self;
        loop {
            let Some(prefixes) = prefixes.as_mut().filter(|prefixes| prefixes.has_new(scheduler)) else {
                return jobs.recv().ok();
            };
            match jobs.recv_timeout(QUIET) {
                Ok(job) => return Some(job),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let is_quiet = || figures.waiting.load(Ordering::Relaxed) == 0;
                    if let Some(said) = prefixes.write_one(scheduler, &is_quiet) {
                        log.warn("prefixes-unavailable", said, json!({"model": name}));
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Drops what nobody waits for any more, and what took too long.
    fn drop_abandoned(&mut self) {
        let now = Instant::now();
        let waiting = self.queue.len();
        self.queue.retain(|job| keep(job, now));
        self.figures.waiting.fetch_sub(waiting - self.queue.len(), Ordering::Relaxed);
        let scheduler = &mut self.scheduler;
        self.at_work.retain(|&id, at_work| {
            let kept = keep(&at_work.job, now);
            if !kept {
                scheduler.drop_answer(id);
            }
            kept
        });
    }

    /// Begins answers where there are places.
    fn begin(&mut self) {
        while self.at_work.len() < self.scheduler.places()
            && let Some(job) = self.queue.pop()
        {
            self.figures.waiting.fetch_sub(1, Ordering::Relaxed);
            let prompt_tokens = job.task.tokens().len();
            let asked = match &job.task {
                Task::Answer(request) => {
                    if let Some(change) = self.changes.look_at(&request.prompt) {
                        self.figures.changed_prompts.fetch_add(1, Ordering::Relaxed);
                        if change.is_new {
                            self.tell_of(change, &request.prompt);
                        }
                    }
                    if let Some(prefixes) = &mut self.prefixes {
                        prefixes.restore(&mut self.scheduler, &request.prompt, &request.adapters);
                    }
                    self.scheduler.ask(AnswerRequest::clone(request))
                }
                Task::Embed { tokens, adapters } => self.scheduler.embed(tokens.clone(), adapters.clone()),
            };
            match asked {
                Ok(id) => {
                    let at_work = AtWork { job, prompt_tokens, begun: Instant::now(), read: None };
                    self.at_work.insert(id, at_work);
                }
                Err(error) => job.tell(Event::Refused(Refusal::invalid(error))),
            }
        }
    }

    /// Tells of a prompt that was changed near its beginning. Of its text nothing is told: it is nobody's but who asked.
    fn tell_of(&self, change: Change, prompt: &[u32]) {
        let tokenizer = self.scheduler.model().tokenizer();
        let mut detokenizer = Detokenizer::continuing(tokenizer);
        let texts = change.beginning(prompt).iter().filter(|&&token| !tokenizer.is_special(token));
        let characters: usize = texts.map(|&token| detokenizer.push(tokenizer, token).chars().count()).sum();
        let name = &self.name;
        let said = format!(
            "{name}: a prompt differs from one before behind character {characters}, {change}: \
             what changes, such as the time, belongs behind what stays"
        );
        self.log.warn("prompt-changes", said, json!({"model": name, "character": characters}));
    }

    /// Takes a step. Returns whether there may be another.
    fn step(&mut self) -> bool {
        let Self { scheduler, at_work, figures, .. } = self;
        let step = scheduler.step(|id, event| {
            let Some(work) = at_work.get_mut(&id) else { return };
            match event {
                AnswerEvent::Read { reused } => work.read = Some((Instant::now(), reused)),
                AnswerEvent::Token { token, logprobs: Some(logprobs) } => {
                    work.job.tell_token(token, logprobs);
                }
                AnswerEvent::Token { logprobs: None, .. } => {}
                AnswerEvent::Piece(piece) => {
                    work.job.tell(Event::Piece(piece.channel, piece.text.to_owned()));
                }
                AnswerEvent::Embedded { mean, .. } => {
                    let over = work.over(Ending::Complete, Vec::new(), 0, None);
                    figures.add(work.prompt_tokens, &over);
                    end(at_work, figures, id, Event::Embedded(mean.to_vec()));
                }
                AnswerEvent::Over { ending, tokens, thought_tokens, stop, error } => {
                    let is_wrong = matches!(error, Some(SessionError::Grammar(_)));
                    let error = error.map(|error| error.to_string());
                    let over = work.over(ending, tokens.to_vec(), thought_tokens, error);
                    let over = Over { stop: stop.map(str::to_owned), is_wrong, ..over };
                    figures.add(work.prompt_tokens, &over);
                    end(at_work, figures, id, Event::Over(over));
                }
            }
        });
        step.is_ok()
    }
}

/// Tells that an answer is over. Whoever hears of it may look at the figures, which count it no more.
fn end(at_work: &mut HashMap<AnswerId, AtWork>, figures: &Figures, id: AnswerId, event: Event) {
    let Some(done) = at_work.remove(&id) else { return };
    figures.at_work.store(at_work.len(), Ordering::Relaxed);
    done.job.tell(event);
}

impl AtWork {
    fn over(&self, ending: Ending, tokens: Vec<u32>, thought_tokens: usize, error: Option<String>) -> Over {
        let now = Instant::now();
        let (read, reused) = self.read.unwrap_or((now, 0));
        let times = crate::answers::Times {
            queued: self.begun - self.job.asked,
            prompt: read - self.begun,
            answer: now - read,
        };
        Over { ending, error, is_wrong: false, stop: None, tokens, thought_tokens, reused, times }
    }
}

impl Task {
    /// The tokens that it begins with.
    pub(crate) fn tokens(&self) -> &[u32] {
        match self {
            Task::Answer(request) => &request.prompt,
            Task::Embed { tokens, .. } => tokens,
        }
    }
}

impl Job {
    /// Tells who asked, if they are still there.
    fn tell(&self, event: Event) {
        self.events.send(self.index, event);
    }

    /// Tells how probable a token was, where there is room for that. An answer that has none is over for who asked.
    fn tell_token(&self, token: u32, logprobs: &Logprobs) {
        const SAID: &str = "the tokens' probabilities take more memory than there is for what nobody has read yet: \
            ask for fewer of them, for fewer tokens, or for a stream, and read it faster";
        self.tell(match self.told.keep(logprobs) {
            Some(told) => Event::Token(token, told),
            None => Event::Refused(Refusal::new(Reason::Unavailable, SAID)),
        });
    }
}

/// Whether somebody still waits for a job. Who waited too long is told.
fn keep(job: &Job, now: Instant) -> bool {
    if job.events.is_closed() {
        return false;
    }
    if now >= job.deadline {
        job.tell(Event::Refused(Refusal::new(Reason::Unavailable, "the answer took longer than it may")));
        return false;
    }
    true
}

impl Figures {
    fn add(&self, prompt_tokens: usize, over: &Over) {
        let add = |figure: &AtomicU64, more: u64| figure.fetch_add(more, Ordering::Relaxed);
        add(&self.answers, 1);
        add(&self.prompt_tokens, prompt_tokens as u64);
        add(&self.reused_tokens, over.reused as u64);
        add(&self.answer_tokens, over.tokens.len() as u64);
        add(&self.queue_time, over.times.queued.as_micros() as u64);
        add(&self.prompt_time, over.times.prompt.as_micros() as u64);
        add(&self.answer_time, over.times.answer.as_micros() as u64);
    }
}
