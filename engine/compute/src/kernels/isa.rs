use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::lanes::{AnyTier, Op};

/// The environment's choice of an instruction set.
const VARIABLE: &str = "SISKIN_ISA";

/// An instruction set that this CPU has and that there are kernels for. Its name is as `SISKIN_ISA` spells it.
#[derive(Clone, Copy)]
pub struct Isa(AnyTier);

/// `SISKIN_ISA` or a caller names an instruction set that is unknown or that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction set {name:?} is not available {}: expected one of {}", lacking(name), available.join(", "))]
pub struct UnknownIsa {
    name: String,
    available: Vec<&'static str>,
}

/// Those that a build may leave out, by the names of its features, and whether this one has them.
const TIERS: &[(&str, bool)] = &[
    ("avx512-vnni", cfg!(feature = "avx512-vnni")),
    ("avx-vnni", cfg!(feature = "avx-vnni")),
    ("avx2", cfg!(feature = "avx2")),
    ("ssse3", cfg!(feature = "ssse3")),
    ("neon-i8mm", cfg!(feature = "neon-i8mm")),
    ("neon-dotprod", cfg!(feature = "neon-dotprod")),
    ("scalar", cfg!(feature = "scalar")),
];

/// Where an instruction set is not available.
fn lacking(name: &str) -> String {
    match TIERS.iter().find(|(tier, there)| name.eq_ignore_ascii_case(tier) && !there) {
        Some((tier, _)) => format!("in this build, which lacks the feature `{tier}`"),
        None => "here".to_owned(),
    }
}

impl Isa {
    /// The instruction sets that this CPU has, the best first; `scalar` is the last, which only builds for AArch64
    /// may leave out.
    pub fn available() -> impl Iterator<Item = Isa> {
        AnyTier::available().map(Isa)
    }

    /// The process's choice: what `SISKIN_ISA` names, else the best.
    ///
    /// # Errors
    /// [`UnknownIsa`] where the variable names none of [`Isa::available`].
    pub fn choose() -> Result<Isa, UnknownIsa> {
        static CHOICE: OnceLock<Result<Isa, UnknownIsa>> = OnceLock::new();
        let choose = || match std::env::var_os(VARIABLE) {
            Some(name) if !name.is_empty() => name.to_string_lossy().parse(),
            _ => Ok(Isa(AnyTier::best())),
        };
        CHOICE.get_or_init(choose).clone()
    }

    /// The instruction set's name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Its kernels.
    #[doc(hidden)]
    pub fn kernels(self) -> Kernels {
        Kernels(self.0)
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    /// Finds an instruction set by its name, in any case.
    fn from_str(name: &str) -> Result<Isa, UnknownIsa> {
        Self::available().find(|isa| isa.name().eq_ignore_ascii_case(name)).ok_or_else(|| UnknownIsa {
            name: name.to_owned(),
            available: Self::available().map(Isa::name).collect(),
        })
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({self})")
    }
}

impl PartialEq for Isa {
    fn eq(&self, other: &Isa) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Isa {}

/// The kernels of one instruction set, which this CPU has. Each is a method, beside its algorithm.
#[derive(Clone, Copy)]
pub struct Kernels(AnyTier);

impl Kernels {
    /// The instruction set's name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Runs a kernel with the instruction set's instructions: the one place where a tier is chosen, once for each task.
    #[inline]
    pub(super) fn run<O: Op>(self, op: O) -> O::Out {
        self.0.run(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_instruction_set_is_refused_by_name() {
        let error = "avx1024".parse::<Isa>().unwrap_err().to_string();
        assert!(error.contains("\"avx1024\"") && error.contains("scalar"), "{error}");
        assert_eq!("Scalar".parse::<Isa>().unwrap().name(), "scalar");
    }
}
