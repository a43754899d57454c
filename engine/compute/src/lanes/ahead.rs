use std::slice::Iter;

use zerocopy::{Immutable, IntoBytes};

use super::{Lanes, unroll};

/// The blocks of weights that stand [`Lanes::AHEAD`] bytes behind those that are at work. A CPU reads ahead by itself, but
/// begins anew on each page of memory, and many leave a good part of what the memory could give.
pub(crate) struct Ahead<'a, B>(Iter<'a, B>);

impl<'a, B: IntoBytes + Immutable> Ahead<'a, B> {
    /// While `blocks` are read from the one at `first` on.
    #[inline(always)]
    pub(crate) fn of<L: Lanes>(_: L, blocks: &'a [B], first: usize) -> Self {
        let distance = if L::AHEAD == 0 { blocks.len() } else { L::AHEAD.div_ceil(size_of::<B>()) };
        Self(blocks.get(first + distance..).unwrap_or_default().iter())
    }

    /// The one to ask for while the next block is at work.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Asked<'a, B> {
        Asked(self.0.next())
    }
}

/// A block to ask for; none where those at work are the last.
pub(crate) struct Asked<'a, B>(Option<&'a B>);

impl<B: IntoBytes + Immutable> Asked<'_, B> {
    /// Asks for the `part`-th of equal `parts`, up to 1 KiB of it: all at once would have to wait for each other.
    #[inline(always)]
    pub(crate) fn ask<L: Lanes>(&self, l: L, part: usize, parts: usize) {
        const LINE: usize = 64;
        let bytes = size_of::<B>() / parts;
        if L::AHEAD == 0 {
            return;
        }
        let Some(block) = self.0 else { return };
        unroll!(line < 16 => {
            // Lines begin anywhere: the last one asked for is the block's last 64 bytes.
            let at = (part * bytes + line * LINE).min(size_of::<B>().saturating_sub(LINE));
            if line * LINE < bytes && let Some(line) = block.as_bytes().get(at..).and_then(<[u8]>::first_chunk) {
                l.prefetch(line);
            }
        });
    }
}
