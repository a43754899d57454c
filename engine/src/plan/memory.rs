use std::fmt;

use crate::state::CacheTypes;

/// Bytes that a model and its sessions will take, and what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Tokens that each session holds at most.
    pub context: usize,
    /// Threads of each session.
    pub threads: usize,
    /// Tokens of a prompt that are worked on together.
    pub batch: usize,
    /// What the caches are kept in.
    pub cache_types: CacheTypes,
    /// How many sessions there will be.
    pub sessions: usize,
    /// How many sequences there may be at once: 1 of a session.
    pub sequences: usize,
    /// Pages of 256 positions that the cache has for these.
    pub pages: usize,
    /// Weights in memory of their own: matrices in panels, vectors.
    pub weights: u64,
    /// The numbers of adapters; what sessions work with for them is in `scratch`.
    pub adapters: u64,
    /// Grammars and what answers keep of them. Estimated.
    pub grammars: u64,
    /// Weights that are used where the file is, as those of a packed file are. If it is mapped they are in memory as
    /// long as the system has no better use for it, and shared by all processes that run the file.
    pub in_place: u64,
    /// The KV caches of all sessions.
    pub cache: u64,
    /// Activations, scratch and samplers of all sessions.
    pub scratch: u64,
    /// The program: what the process has when it is asked, code, tokenizer, stacks. Estimated.
    pub program: u64,
    /// What is given back once the model is loaded: the file's metadata, the part of it that is being packed, what the
    /// tokenizer is built with.
    pub loading: u64,
}

impl Plan {
    /// The most memory that the process will have at once, pages of mapped files included (`VmHWM`): either while the
    /// model is loaded, or once its sessions are there and their contexts are full.
    pub fn peak(&self) -> u64 {
        let sessions = self.cache.saturating_add(self.scratch);
        [self.weights, self.adapters, self.grammars, self.in_place, self.program, sessions.max(self.loading)]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

impl fmt::Display for Plan {
    /// Such as `30.3 MiB (weights 7.5, cache 10.0, scratch 6.2, program 6.6)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = self.weights.saturating_add(self.in_place);
        let [peak, weights, cache, scratch, program] =
            [self.peak(), weights, self.cache, self.scratch, self.program].map(mebibytes);
        write!(
            f,
            "{peak:.1} MiB (weights {weights:.1}, cache {cache:.1}, scratch {scratch:.1}, program {program:.1}"
        )?;
        if self.adapters > 0 {
            write!(f, ", adapters {:.1}", mebibytes(self.adapters))?;
        }
        if self.grammars > 0 {
            write!(f, ", grammars {:.1}", mebibytes(self.grammars))?;
        }
        match self.loading > self.cache.saturating_add(self.scratch) {
            true => write!(f, "; {:.1} while loading)", mebibytes(self.loading)),
            false => f.write_str(")"),
        }
    }
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(loading: u64) -> Plan {
        Plan {
            context: 1,
            threads: 1,
            batch: 1,
            cache_types: CacheTypes::default(),
            sessions: 1,
            sequences: 1,
            pages: 1,
            weights: 5 << 20,
            adapters: 0,
            grammars: 0,
            in_place: 1 << 20,
            cache: 2 << 20,
            scratch: 3 << 19,
            program: 5 << 20,
            loading,
        }
    }

    #[test]
    fn the_peak_is_in_loading_or_in_sessions() {
        let said = plan(1 << 20).to_string();
        assert_eq!(said, "14.5 MiB (weights 6.0, cache 2.0, scratch 1.5, program 5.0)");
        let said = plan(10 << 20).to_string();
        assert_eq!(said, "21.0 MiB (weights 6.0, cache 2.0, scratch 1.5, program 5.0; 10.0 while loading)");
        assert_eq!(plan(u64::MAX).peak(), u64::MAX);
        let said = Plan { adapters: 1 << 20, ..plan(0) }.to_string();
        assert_eq!(said, "15.5 MiB (weights 6.0, cache 2.0, scratch 1.5, program 5.0, adapters 1.0)");
        let said = Plan { grammars: 1 << 20, ..plan(0) }.to_string();
        assert_eq!(said, "15.5 MiB (weights 6.0, cache 2.0, scratch 1.5, program 5.0, grammars 1.0)");
    }
}
