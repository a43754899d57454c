//! What memory a model and its sessions will take, before anything is loaded.

use std::mem::offset_of;

use siskin::SequencesOptions;
use siskin::plan::{Budget, Outline, Plan};

use crate::file::siskin_file;
use crate::input;
use crate::session::{siskin_cache, siskin_session_options};
use crate::status::siskin_status::SISKIN_MEMORY;
use crate::status::{Failure, call, siskin_status};

/// Bytes that a model and what is made of it will take, in this process. The caller sets `size`, and the library the rest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct siskin_plan {
    /// `sizeof(siskin_plan)`.
    pub size: usize,
    /// The most memory that the process will have at once, pages of mapped files included.
    pub peak: u64,
    /// Weights in memory of their own.
    pub weights: u64,
    /// Weights that are used where the file is: if it is mapped, all processes that run it share them.
    pub in_place: u64,
    /// Keys and values of all tokens.
    pub cache: u64,
    /// Activations, scratch and samplers.
    pub scratch: u64,
    /// The program: what the process has already, code, tokenizer, stacks. Estimated.
    pub program: u64,
    /// What is given back once the model is loaded.
    pub loading: u64,
    /// Tokens that a sequence holds at most.
    pub context: u64,
    /// Threads that share the work.
    pub threads: u64,
}

/// Plans for the model of a file and one session of it, or with `sequences` above 1 for a batch of so many, without idle ones and with as
/// many pages as they fill. Options that a session would refuse are refused.
///
/// Where `memory` is not 0 and the plan is beyond so many bytes the call fails with `SISKIN_MEMORY`, and the message has the figures.
/// What is planned is kept: a process that loads the model and makes what was planned does not take more.
///
/// # Safety
/// `file` was not freed, `options` is NULL or points to options, and `plan` to a plan whose `size` is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_plan(
    file: *const siskin_file,
    options: *const siskin_session_options,
    sequences: usize,
    memory: u64,
    plan: *mut siskin_plan,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let outline = Outline::of(&input::shared(file, "file")?.0)?;
            let session = siskin_session_options::read(options)?;
            let planned = match sequences {
                0 | 1 => outline.plan(&session, 1)?,
                most => outline.plan_sequences(&SequencesOptions::default().most(most).session(session))?,
            };
            input::options(options)?.when_full()?.check(planned.context)?;
            if memory != 0 && planned.peak() > memory {
                let budget = Budget::of(memory);
                return Err(Failure::new(SISKIN_MEMORY, format!("memory: it takes {planned}, of {budget}")));
            }
            tell(planned, plan)
        }
    })
}

/// Chooses what of the options must give way for one session to fit `memory` bytes, 0 for what the machine has left: a shorter
/// context, then a narrower cache. Writes what fits to `options`, and its plan to `plan`, which may be NULL.
///
/// # Safety
/// `file` was not freed, `options` points to options whose `size` is set, and `plan` is NULL or points to such a plan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn siskin_file_fit(
    file: *const siskin_file,
    options: *mut siskin_session_options,
    memory: u64,
    plan: *mut siskin_plan,
) -> siskin_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let outline = Outline::of(&input::shared(file, "file")?.0)?;
            let session = siskin_session_options::read(options)?;
            let unknown =
                || Failure::argument("memory: expected a number of bytes, as this machine does not tell");
            let budget = match memory {
                0 => Budget::here().ok_or_else(unknown)?,
                bytes => Budget::of(bytes),
            };
            // What is chosen must find its place in the caller's struct.
            let needed = offset_of!(siskin_session_options, when_full);
            let given = input::options(options)?.size;
            if given < needed {
                return Err(Failure::argument(format!(
                    "siskin_session_options: expected its field `size` to be {needed} or more, found {given}"
                )));
            }
            let (fitted, planned) = outline.fit(&session, 1, &budget)?;
            (&raw mut (*options).context).write(planned.context);
            if fitted.cache != session.cache {
                (&raw mut (*options).cache_keys).write(siskin_cache::SISKIN_CACHE_Q8_0 as u32);
                (&raw mut (*options).cache_values).write(siskin_cache::SISKIN_CACHE_Q8_0 as u32);
            }
            if plan.is_null() { Ok(()) } else { tell(planned, plan) }
        }
    })
}

/// Writes a plan to the caller's struct, as much of it as that has.
///
/// # Safety
/// `to` is NULL or points to a plan whose `size` is set.
unsafe fn tell(plan: Plan, to: *mut siskin_plan) -> Result<(), Failure> {
    if to.is_null() {
        return Err(Failure::argument("plan: expected a pointer, found NULL"));
    }
    // SAFETY: the caller's promise. What was there is read only for its size.
    let size = unsafe { to.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() {
        let message =
            format!("siskin_plan: expected its field `size` to be sizeof(siskin_plan), found {size}");
        return Err(Failure::argument(message));
    }
    let told = siskin_plan {
        size,
        peak: plan.peak(),
        weights: plan.weights,
        in_place: plan.in_place,
        cache: plan.cache,
        scratch: plan.scratch,
        program: plan.program,
        loading: plan.loading,
        context: plan.context as u64,
        threads: plan.threads as u64,
    };
    let known = size.min(size_of::<siskin_plan>());
    // SAFETY: both have so many bytes.
    unsafe { (&raw const told).cast::<u8>().copy_to_nonoverlapping(to.cast(), known) };
    Ok(())
}
