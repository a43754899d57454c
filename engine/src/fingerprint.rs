use std::ops::Range;

use twox_hash::XxHash3_128;

use crate::kernels::attention::Scoring;
use crate::kernels::{Activation, Pairs};

/// What logits or answers depend on, hashed field by field: so two that are hashed alike compute alike, whatever their types are
/// called.
pub(crate) trait Fingerprint {
    fn hash(&self, hasher: &mut XxHash3_128);
}

/// [`Fingerprint`] of a struct: of all its fields. One that is left out does not compile.
macro_rules! fingerprint {
    ($type:ty { $($field:ident),+ $(,)? }) => {
        impl $crate::fingerprint::Fingerprint for $type {
            fn hash(&self, hasher: &mut twox_hash::XxHash3_128) {
                let Self { $($field),+ } = self;
                $($crate::fingerprint::Fingerprint::hash($field, hasher);)+
            }
        }
    };
}
pub(crate) use fingerprint;

fingerprint!(Scoring { scale, cap, window });

impl Fingerprint for usize {
    fn hash(&self, hasher: &mut XxHash3_128) {
        (*self as u64).hash(hasher);
    }
}

impl Fingerprint for bool {
    fn hash(&self, hasher: &mut XxHash3_128) {
        hasher.write(&[u8::from(*self)]);
    }
}

/// [`Fingerprint`] of numbers: of their bytes.
macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Fingerprint for $type {
            fn hash(&self, hasher: &mut XxHash3_128) {
                hasher.write(&self.to_le_bytes());
            }
        })+
    };
}
numbers!(u64, u32, i32, f32);

impl Fingerprint for String {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.len().hash(hasher);
        hasher.write(self.as_bytes());
    }
}

impl<A: Fingerprint, B: Fingerprint> Fingerprint for (A, B) {
    fn hash(&self, hasher: &mut XxHash3_128) {
        let (first, second) = self;
        first.hash(hasher);
        second.hash(hasher);
    }
}

impl Fingerprint for Range<usize> {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.start.hash(hasher);
        self.end.hash(hasher);
    }
}

impl<T: Fingerprint> Fingerprint for Option<T> {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.as_slice().hash(hasher);
    }
}

impl<T: Fingerprint> Fingerprint for Vec<T> {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.as_slice().hash(hasher);
    }
}

impl<T: Fingerprint> Fingerprint for [T] {
    fn hash(&self, hasher: &mut XxHash3_128) {
        self.len().hash(hasher);
        self.iter().for_each(|item| item.hash(hasher));
    }
}

impl Fingerprint for Activation {
    fn hash(&self, hasher: &mut XxHash3_128) {
        let number: usize = match self {
            Activation::Silu => 0,
            Activation::Gelu => 1,
            Activation::ReluSquared => 2,
        };
        number.hash(hasher);
    }
}

impl Fingerprint for Pairs {
    fn hash(&self, hasher: &mut XxHash3_128) {
        let number: usize = match self {
            Pairs::Neighbours => 0,
            Pairs::Halves => 1,
        };
        number.hash(hasher);
    }
}
