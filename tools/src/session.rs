//! The flags that say how a session works.

use clap::{Args, ValueEnum};
use siskin::{Isa, SessionOptions};

/// Reads a number of at least 1.
pub(crate) fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|&number| number > 0).ok_or("expected a number of at least 1")
}

/// The flags of every command that runs a model. None of them but the cache's type changes a bit of the result.
#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    /// Threads to work with [default: as many as the system gives the process]
    #[arg(short, long, value_name = "N", value_parser = count)]
    threads: Option<usize>,
    /// Instruction set of the kernels [default: what SISKIN_ISA names, else the best that the CPU has]
    #[arg(long, value_name = "NAME")]
    isa: Option<Isa>,
    /// Tokens of a prompt that are worked on together [default: 256]
    #[arg(short, long, visible_alias = "batch", value_name = "N", value_parser = count)]
    batch_size: Option<usize>,
    /// The numbers that the KV cache is kept in
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    cache_type: CacheType,
}

impl SessionArguments {
    /// The options of a session of `context` tokens.
    pub(crate) fn options(&self, context: Option<usize>) -> SessionOptions {
        let cache = match self.cache_type {
            CacheType::F32 => siskin::CacheType::F32,
            CacheType::F16 => siskin::CacheType::F16,
        };
        SessionOptions { context, threads: self.threads, isa: self.isa, cache, batch: self.batch_size }
    }
}

/// [`siskin::CacheType`] as a flag has it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CacheType {
    /// Half precision
    F16,
    /// Single precision: twice the memory
    F32,
}
