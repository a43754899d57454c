use siskin_quant::TensorType;

use super::ByteLanes;
use crate::q8::{Fours, Q8Block};

/// A computation that is written once for all instruction sets.
pub(crate) trait Op {
    type Out;

    /// Does it. Always inlined, with all that it calls for each vector: only what is inlined into [`Tier::enter`] is
    /// compiled for the tier's instructions, which `ci/inlined` checks.
    fn run<L: Tier>(self, l: L) -> Self::Out;
}

/// An instruction set that there is code for. A value proves that the CPU has it.
///
/// [`tier!`] implements it, with the ways of its own that a tier has beside the lanes'.
pub(crate) trait Tier: ByteLanes {
    /// As `SISKIN_ISA` spells it.
    const NAME: &'static str;
    /// Whether four tokens' activations stand together, for [`Tier::fours`].
    const FOURS: bool = false;

    /// The proof, where this CPU has the instructions.
    fn detect() -> Option<Self>;

    /// Runs `op` with the tier's instructions enabled.
    fn enter<O: Op>(self, op: O) -> O::Out;

    /// The sums of an unpacked panel's rows with four tokens, where [`Tier::FOURS`] says that it forms them by itself.
    ///
    /// `weights` holds, for each 32 of a row, eight lines that [`ByteLanes::arrange`] has ordered, as many f32 scales as
    /// there are `GRAINS`, and as many minimums where there are `MINS`.
    #[inline(always)]
    fn fours<const GRAINS: usize, const MINS: bool>(
        self,
        _weights: &[[u8; 64]],
        _x: Fours<'_>,
    ) -> [Self::F; 4] {
        [self.splat(0.0); 4]
    }

    /// A panel's product with one token's activations, where the tier forms that of the format in a way of its own.
    /// `blocks` are the panel's bytes.
    #[inline(always)]
    fn panel_sum(self, _format: TensorType, _blocks: &[u8], _x: &[Q8Block]) -> Option<Self::F> {
        None
    }
}

/// Whether this CPU has a feature.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($feature:tt) => {
        is_x86_feature_detected!($feature)
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! detected {
    ($feature:tt) => {
        std::arch::is_aarch64_feature_detected!($feature)
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use detected;

/// Makes lanes a tier: its name, the features that a value proves, the value, and what it does in ways of its own.
///
/// What is compiled for it is in the module of that name: the compiler then works on tiers side by side.
macro_rules! tier {
    ($module:ident: $lanes:ty, $name:literal, [$($feature:tt)+], $proof:expr $(, { $($own:tt)* })?) => {
        impl $crate::lanes::Tier for $lanes {
            const NAME: &'static str = $name;

            fn detect() -> Option<Self> {
                let all = true $(&& $crate::lanes::tier::detected!($feature))+;
                all.then_some($proof)
            }

            #[inline]
            fn enter<O: $crate::lanes::Op>(self, op: O) -> O::Out {
                // SAFETY: `self` proves that the CPU has these features.
                unsafe { $module::enter(self, op) }
            }

            $($($own)*)?
        }

        mod $module {
            use super::*;

            $(#[target_feature(enable = $feature)])+
            pub(super) fn enter<O: $crate::lanes::Op>(l: $lanes, op: O) -> O::Out {
                op.run(l)
            }
        }
    };
}
pub(super) use tier;

/// Declares the list of all tiers.
macro_rules! tiers {
    ($($(#[$cfg:meta])* $name:ident: $lanes:ty,)*) => {
        /// One of the tiers, which this CPU has.
        #[derive(Clone, Copy)]
        pub(crate) enum AnyTier {
            $($(#[$cfg])* $name($lanes),)*
        }

        impl AnyTier {
            /// Those that this CPU has, in the order of the list.
            pub(crate) fn available() -> impl Iterator<Item = AnyTier> {
                [$($(#[$cfg])* <$lanes>::detect().map(AnyTier::$name),)*].into_iter().flatten()
            }

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $($(#[$cfg])* AnyTier::$name(_) => <$lanes>::NAME,)*
                }
            }

            /// Runs `op` on the tier.
            #[inline]
            pub(crate) fn run<O: Op>(self, op: O) -> O::Out {
                match self {
                    $($(#[$cfg])* AnyTier::$name(l) => l.enter(op),)*
                }
            }
        }
    };
}

// Every tier, the best first.
tiers! {
    #[cfg(all(target_arch = "x86_64", feature = "avx512-vnni"))] Avx512: super::avx512::Avx512,
    #[cfg(all(target_arch = "x86_64", feature = "avx-vnni"))] AvxVnni: super::avx2::AvxVnni,
    #[cfg(all(test, target_arch = "x86_64", feature = "avx-vnni"))] Evex: super::avx2::AvxVnniAsEvex,
    #[cfg(all(target_arch = "x86_64", feature = "avx2"))] Avx2: super::avx2::Avx2,
    #[cfg(all(target_arch = "x86_64", feature = "ssse3"))] Ssse3: super::ssse3::Ssse3,
    #[cfg(all(target_arch = "aarch64", feature = "neon-i8mm"))] NeonI8mm: super::neon::NeonI8mm,
    #[cfg(all(target_arch = "aarch64", feature = "neon-dotprod"))] NeonDotprod: super::neon::NeonDotprod,
    #[cfg(target_arch = "aarch64")] Neon: super::neon::NeonMla,
    #[cfg(any(feature = "scalar", not(target_arch = "aarch64")))] Scalar: super::scalar::Scalar,
}

impl AnyTier {
    /// What every CPU of the architecture has.
    #[cfg(any(feature = "scalar", not(target_arch = "aarch64")))]
    const BASELINE: AnyTier = AnyTier::Scalar(super::Scalar);
    #[cfg(not(any(feature = "scalar", not(target_arch = "aarch64"))))]
    const BASELINE: AnyTier = AnyTier::Neon(super::neon::NeonMla::BASELINE);

    /// The best that this CPU has.
    pub(crate) fn best() -> AnyTier {
        AnyTier::available().next().unwrap_or(Self::BASELINE)
    }
}
