//! The flags that say how a session works.

use super::numbers::{count, threads};
use clap::{Args, ValueEnum};
use siskin::{CacheTypes, Isa, SessionOptions};

/// The flags of every command that runs a model. None of them but the cache's types changes a bit of the result.
#[derive(Debug, Args)]
pub(crate) struct SessionArguments {
    /// Threads to work with, 0 for all that the process may use [default: as many as there are physical cores for it,
    /// little ones aside]
    #[arg(short, long, value_name = "N", value_parser = threads)]
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
    /// The same for keys alone
    #[arg(long, value_name = "TYPE", hide_possible_values = true)]
    cache_type_k: Option<CacheType>,
    /// The same for values alone
    #[arg(long, value_name = "TYPE", hide_possible_values = true)]
    cache_type_v: Option<CacheType>,
}

impl SessionArguments {
    /// The options of a session of `context` tokens.
    pub(crate) fn options(&self, context: Option<usize>) -> SessionOptions {
        let cache = CacheTypes {
            keys: self.cache_type_k.unwrap_or(self.cache_type).into(),
            values: self.cache_type_v.unwrap_or(self.cache_type).into(),
        };
        SessionOptions::default()
            .context(context)
            .threads(self.threads)
            .isa(self.isa)
            .cache(cache)
            .batch(self.batch_size)
    }
}

/// [`siskin::CacheType`] as a flag has it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CacheType {
    /// Half precision
    F16,
    /// Single precision: twice the memory
    F32,
    /// Bytes with a scale for each 32: about half the memory
    #[value(name = "q8_0")]
    Q8_0,
}

impl From<CacheType> for siskin::CacheType {
    fn from(ty: CacheType) -> Self {
        match ty {
            CacheType::F16 => siskin::CacheType::F16,
            CacheType::F32 => siskin::CacheType::F32,
            CacheType::Q8_0 => siskin::CacheType::Q8_0,
        }
    }
}
