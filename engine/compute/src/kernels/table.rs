use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use half::f16;
use siskin_quant::TensorType;

use super::activation::Activation;
use super::attention::{self, Block, CacheType, Element, Queries, SPAN};
use super::formats::{self, Float, Quantized};
use super::matmul::{self, Line, Product};
use super::quantize;
use super::rope::Pairs;
use super::{activation, norm, peak, rope};
use crate::arena::Tile;
#[cfg(target_arch = "aarch64")]
use crate::lanes::{Mla, Neon, Sdot, Smmla};
use crate::panel::ROWS;
use crate::q8::Q8Block;

/// The environment's choice of an instruction set.
const VARIABLE: &str = "SISKIN_ISA";

/// The kernels of one instruction set.
///
/// A value of this type exists only where the CPU has the instructions.
pub struct Kernels {
    name: &'static str,
    detected: fn() -> bool,
    matmul: fn(TensorType) -> Option<Matmul>,
    quantize: unsafe fn(&[f32], usize, usize, &mut [Q8Block]),
    rms_norm: unsafe fn(&[f32], &[f32], usize, f32, &mut [f32]),
    rms_norm_in_place: unsafe fn(&mut [f32], &[f32], usize, f32),
    add_scaled: unsafe fn(&mut [f32], &[f32], f32),
    rotate: unsafe fn(Pairs, &mut [f32], &[f32]),
    gated: unsafe fn(Activation, &mut [f32], &[f32]),
    cap: unsafe fn(&mut [f32], f32),
    peak: unsafe fn(&peak::Load, usize) -> usize,
    scores: fn(CacheType) -> Scores,
    softmax: unsafe fn(&Queries<'_>, usize, &mut [[f32; SPAN]], &mut [f32]),
    weigh: fn(CacheType) -> Weigh,
    merge: unsafe fn(&mut [f32], &[f32]),
    finish: unsafe fn(&[f32], &mut [f32]),
}

type Scores = unsafe fn(&Queries<'_>, &Block<'_>, &mut [[Line; 32]], &mut [[f32; SPAN]]);
type Weigh = unsafe fn(&Queries<'_>, &Block<'_>, &mut [[Line; 32]], &[[f32; SPAN]], &mut [f32]);

/// The product with weights of one format.
struct Matmul {
    run: unsafe fn(&Product<'_>, &mut [Line], &mut Tile<'_>),
    /// Lines of scratch for each 32 weights of a row of a panel.
    lines: usize,
}

/// `SISKIN_ISA` or a caller names an instruction set that is unknown or that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction set {name:?} is not available here: expected one of {}", available.join(", "))]
pub struct UnknownIsa {
    name: String,
    available: Vec<&'static str>,
}

/// The kernels of one tier, each entered with its instructions enabled: the algorithms are inlined into these.
macro_rules! tier {
    ($module:ident, $name:literal, $lanes:expr, $detected:expr $(, #[$features:meta])?) => {
        mod $module {
            use super::*;

            $(#[$features])?
            fn quantized<Q: Quantized>(product: &Product<'_>, scratch: &mut [Line], out: &mut Tile<'_>) {
                matmul::quantized::<_, Q>($lanes, product, scratch, out)
            }
            $(#[$features])?
            fn float<W: Float>(product: &Product<'_>, _: &mut [Line], out: &mut Tile<'_>) {
                matmul::float::<_, W>($lanes, product, out)
            }
            const fn of_floats<W: Float>() -> Matmul {
                Matmul { run: float::<W>, lines: 0 }
            }
            const fn of_blocks<Q: Quantized>() -> Matmul {
                Matmul { run: quantized::<Q>, lines: matmul::lines::<Q>() }
            }
            $(#[$features])?
            fn quantize(rows: &[f32], stride: usize, k: usize, tile: &mut [Q8Block]) {
                quantize::quantize($lanes, rows, stride, k, tile)
            }
            $(#[$features])?
            fn rms_norm(x: &[f32], weight: &[f32], n: usize, eps: f32, out: &mut [f32]) {
                norm::rms_norm($lanes, x, weight, n, eps, out)
            }
            $(#[$features])?
            fn rms_norm_in_place(x: &mut [f32], weight: &[f32], n: usize, eps: f32) {
                norm::rms_norm_in_place($lanes, x, weight, n, eps)
            }
            $(#[$features])?
            fn add_scaled(x: &mut [f32], y: &[f32], scale: f32) {
                norm::add_scaled($lanes, x, y, scale)
            }
            $(#[$features])?
            fn rotate(pairs: Pairs, head: &mut [f32], turns: &[f32]) {
                rope::rotate($lanes, pairs, head, turns)
            }
            $(#[$features])?
            fn gated(activation: Activation, gate: &mut [f32], up: &[f32]) {
                activation::gated($lanes, activation, gate, up)
            }
            $(#[$features])?
            fn cap(numbers: &mut [f32], limit: f32) {
                activation::cap_all($lanes, numbers, limit)
            }
            $(#[$features])?
            fn peak(load: &peak::Load, rounds: usize) -> usize {
                peak::peak($lanes, load, rounds)
            }
            $(#[$features])?
            fn scores<E: Element>(
                queries: &Queries<'_>,
                keys: &Block<'_>,
                wide: &mut [[Line; 32]],
                scores: &mut [[f32; SPAN]],
            ) {
                attention::scores::<_, E>($lanes, queries, keys, wide, scores)
            }
            $(#[$features])?
            fn quantized_scores(
                queries: &Queries<'_>,
                keys: &Block<'_>,
                scratch: &mut [[Line; 32]],
                scores: &mut [[f32; SPAN]],
            ) {
                attention::quantized_scores($lanes, queries, keys, scratch, scores)
            }
            $(#[$features])?
            fn softmax(queries: &Queries<'_>, start: usize, scores: &mut [[f32; SPAN]], parts: &mut [f32]) {
                attention::softmax($lanes, queries, start, scores, parts)
            }
            $(#[$features])?
            fn weigh<E: Element>(
                queries: &Queries<'_>,
                values: &Block<'_>,
                wide: &mut [[Line; 32]],
                weights: &[[f32; SPAN]],
                parts: &mut [f32],
            ) {
                attention::weigh::<_, E>($lanes, queries, values, wide, weights, parts)
            }
            $(#[$features])?
            fn merge(all: &mut [f32], next: &[f32]) {
                attention::merge($lanes, all, next)
            }
            $(#[$features])?
            fn finish(part: &[f32], out: &mut [f32]) {
                attention::finish($lanes, part, out)
            }

            pub(super) static KERNELS: Kernels = Kernels {
                name: $name,
                detected: $detected,
                matmul: |ty| {
                    Some(match ty {
                        TensorType::F32 => of_floats::<formats::F32>(),
                        TensorType::F16 => of_floats::<formats::F16>(),
                        TensorType::BF16 => of_floats::<formats::BF16>(),
                        TensorType::Q4_0 => of_blocks::<formats::Q4_0>(),
                        TensorType::Q4_1 => of_blocks::<formats::Q4_1>(),
                        TensorType::Q5_0 => of_blocks::<formats::Q5_0>(),
                        TensorType::Q5_1 => of_blocks::<formats::Q5_1>(),
                        TensorType::Q8_0 => of_blocks::<formats::Q8_0>(),
                        TensorType::Q2_K => of_blocks::<formats::Q2_K>(),
                        TensorType::Q3_K => of_blocks::<formats::Q3_K>(),
                        TensorType::Q4_K => of_blocks::<formats::Q4_K>(),
                        TensorType::Q5_K => of_blocks::<formats::Q5_K>(),
                        TensorType::Q6_K => of_blocks::<formats::Q6_K>(),
                        TensorType::IQ4_NL => of_blocks::<formats::IQ4_NL>(),
                        TensorType::IQ4_XS => of_blocks::<formats::IQ4_XS>(),
                        TensorType::IQ1_S => of_blocks::<formats::IQ1_S>(),
                        TensorType::IQ1_M => of_blocks::<formats::IQ1_M>(),
                        TensorType::IQ2_XXS => of_blocks::<formats::IQ2_XXS>(),
                        TensorType::IQ2_XS => of_blocks::<formats::IQ2_XS>(),
                        TensorType::IQ2_S => of_blocks::<formats::IQ2_S>(),
                        TensorType::IQ3_XXS => of_blocks::<formats::IQ3_XXS>(),
                        TensorType::IQ3_S => of_blocks::<formats::IQ3_S>(),
                        TensorType::TQ1_0 => of_blocks::<formats::TQ1_0>(),
                        TensorType::TQ2_0 => of_blocks::<formats::TQ2_0>(),
                        TensorType::MXFP4 => of_blocks::<formats::MXFP4>(),
                        _ => return None,
                    })
                },
                quantize,
                rms_norm,
                rms_norm_in_place,
                add_scaled,
                rotate,
                gated,
                cap,
                peak,
                scores: |ty| match ty {
                    CacheType::F32 => scores::<f32>,
                    CacheType::F16 => scores::<f16>,
                    CacheType::Q8_0 => quantized_scores,
                },
                softmax,
                weigh: |ty| match ty {
                    CacheType::F32 => weigh::<f32>,
                    CacheType::F16 => weigh::<f16>,
                    CacheType::Q8_0 => weigh::<attention::Q8_0>,
                },
                merge,
                finish,
            };
        }
    };
}

tier!(scalar, "scalar", crate::lanes::Scalar, || true);
#[cfg(target_arch = "x86_64")]
tier!(
    avx512,
    "avx512-vnni",
    crate::lanes::Avx512::assume(),
    || crate::lanes::Avx512::detect().is_some(),
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
);
#[cfg(target_arch = "x86_64")]
tier!(
    avx_vnni,
    "avx-vnni",
    crate::lanes::AvxVnni::assume(),
    || crate::lanes::AvxVnni::detect().is_some(),
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
);
#[cfg(all(test, target_arch = "x86_64"))]
tier!(
    evex,
    "avx-vnni, encoded as AVX-512",
    crate::lanes::Wide::<crate::lanes::Evex>::assume(),
    || crate::lanes::Wide::<crate::lanes::Evex>::detect().is_some(),
    #[target_feature(enable = "avx2,fma,f16c,avx512vl,avx512vnni")]
);
#[cfg(target_arch = "x86_64")]
tier!(
    avx2,
    "avx2",
    crate::lanes::Avx2::assume(),
    || crate::lanes::Avx2::detect().is_some(),
    #[target_feature(enable = "avx2,fma,f16c")]
);
#[cfg(target_arch = "aarch64")]
tier!(
    neon_i8mm,
    "neon-i8mm",
    Neon::<Smmla>::assume(),
    || Neon::<Smmla>::detect().is_some(),
    #[target_feature(enable = "neon,dotprod,i8mm")]
);
#[cfg(target_arch = "aarch64")]
tier!(
    neon_dotprod,
    "neon-dotprod",
    Neon::<Sdot>::assume(),
    || Neon::<Sdot>::detect().is_some(),
    #[target_feature(enable = "neon,dotprod")]
);
#[cfg(target_arch = "aarch64")]
tier!(
    neon,
    "neon",
    Neon::<Mla>::assume(),
    || Neon::<Mla>::detect().is_some(),
    #[target_feature(enable = "neon")]
);

/// Every tier of this architecture, the best first.
static TIERS: &[&Kernels] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &avx_vnni::KERNELS,
    #[cfg(all(test, target_arch = "x86_64"))]
    &evex::KERNELS,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &neon_i8mm::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &neon_dotprod::KERNELS,
    #[cfg(target_arch = "aarch64")]
    &neon::KERNELS,
    &scalar::KERNELS,
];

/// An instruction set that this CPU has and that there are kernels for. Its name is as `SISKIN_ISA` spells it.
#[derive(Clone, Copy)]
pub struct Isa(&'static Kernels);

impl Isa {
    /// The instruction sets that this CPU has, the best first; `scalar` is always the last.
    pub fn available() -> impl Iterator<Item = Isa> {
        TIERS.iter().copied().filter(|tier| (tier.detected)()).map(Isa)
    }

    /// The process's choice: what `SISKIN_ISA` names, else the best.
    ///
    /// # Errors
    /// [`UnknownIsa`] where the variable names none of [`Isa::available`].
    pub fn choose() -> Result<Isa, UnknownIsa> {
        static CHOICE: OnceLock<Result<Isa, UnknownIsa>> = OnceLock::new();
        let choose = || match std::env::var_os(VARIABLE) {
            Some(name) if !name.is_empty() => name.to_string_lossy().parse(),
            _ => Ok(Self::available().next().unwrap_or(Isa(&scalar::KERNELS))),
        };
        CHOICE.get_or_init(choose).clone()
    }

    /// The instruction set's name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Its kernels.
    #[doc(hidden)]
    pub fn kernels(self) -> &'static Kernels {
        self.0
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
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Isa {}

impl Kernels {
    /// The instruction set's name, as `SISKIN_ISA` spells it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether there are kernels for weights of this type.
    pub fn supports(ty: TensorType) -> bool {
        (scalar::KERNELS.matmul)(ty).is_some()
    }

    /// Lines of scratch for products of several tokens with `rows` rows of `k` weights: room for a panel, and for
    /// several smaller ones, so that activations that come from memory are used more than once.
    pub fn scratch(ty: TensorType, rows: usize, k: usize) -> usize {
        const ENOUGH: usize = (256 << 10) / size_of::<Line>();
        let panel = (scalar::KERNELS.matmul)(ty).map_or(0, |matmul| matmul.lines * (k / quantize::BLOCK));
        panel.max(ENOUGH.min(panel * rows.div_ceil(ROWS)))
    }

    /// Multiplies panels of weights of type `ty`, which [`Kernels::supports`]. `out` has a row for each token, and
    /// `scratch` as many lines as [`Kernels::scratch`] says for any number of rows, or more.
    pub fn matmul(&self, ty: TensorType, product: &Product<'_>, scratch: &mut [Line], out: &mut Tile<'_>) {
        if let Some(matmul) = (self.matmul)(ty) {
            // SAFETY: a tier is only handed out where its instructions were detected.
            unsafe { (matmul.run)(product, scratch, out) }
        }
    }

    /// See `quantize::quantize`.
    pub fn quantize(&self, rows: &[f32], stride: usize, k: usize, tile: &mut [Q8Block]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.quantize)(rows, stride, k, tile) }
    }

    /// See `norm::rms_norm`.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], n: usize, eps: f32, out: &mut [f32]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.rms_norm)(x, weight, n, eps, out) }
    }

    /// See `norm::rms_norm_in_place`.
    pub fn rms_norm_in_place(&self, x: &mut [f32], weight: &[f32], n: usize, eps: f32) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.rms_norm_in_place)(x, weight, n, eps) }
    }

    /// See `norm::add_scaled`.
    pub fn add_scaled(&self, x: &mut [f32], y: &[f32], scale: f32) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.add_scaled)(x, y, scale) }
    }

    /// See `rope::rotate`.
    pub fn rotate(&self, pairs: Pairs, head: &mut [f32], turns: &[f32]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.rotate)(pairs, head, turns) }
    }

    /// See `activation::gated`.
    pub fn gated(&self, activation: Activation, gate: &mut [f32], up: &[f32]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.gated)(activation, gate, up) }
    }

    /// See `activation::cap_all`.
    pub fn cap(&self, numbers: &mut [f32], limit: f32) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.cap)(numbers, limit) }
    }

    /// See `peak::peak`.
    pub fn peak(&self, load: &peak::Load, rounds: usize) -> usize {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.peak)(load, rounds) }
    }

    /// See `attention::scores` and `attention::quantized_scores`.
    pub fn scores(
        &self,
        ty: CacheType,
        queries: &Queries<'_>,
        keys: &Block<'_>,
        wide: &mut [[Line; 32]],
        scores: &mut [[f32; SPAN]],
    ) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.scores)(ty)(queries, keys, wide, scores) }
    }

    /// See `attention::softmax`.
    pub fn softmax(
        &self,
        queries: &Queries<'_>,
        start: usize,
        scores: &mut [[f32; SPAN]],
        parts: &mut [f32],
    ) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.softmax)(queries, start, scores, parts) }
    }

    /// See `attention::weigh`.
    pub fn weigh(
        &self,
        ty: CacheType,
        queries: &Queries<'_>,
        values: &Block<'_>,
        wide: &mut [[Line; 32]],
        weights: &[[f32; SPAN]],
        parts: &mut [f32],
    ) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.weigh)(ty)(queries, values, wide, weights, parts) }
    }

    /// See `attention::merge`.
    pub fn merge(&self, all: &mut [f32], next: &[f32]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.merge)(all, next) }
    }

    /// See `attention::finish`.
    pub fn finish(&self, part: &[f32], out: &mut [f32]) {
        // SAFETY: a tier is only handed out where its instructions were detected.
        unsafe { (self.finish)(part, out) }
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

    #[test]
    fn every_packed_format_has_kernels() {
        for ty in (0..64).filter_map(TensorType::from_id) {
            assert_eq!(Kernels::supports(ty), crate::panel::pieces(ty).is_some(), "{}", ty.name());
        }
    }
}
