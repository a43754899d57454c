//! Buffers, an arena that counts them, and their exclusive parts for parallel tasks.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

/// Element types of a [`Buf`]: plain numbers, for which all-zero bytes are a value.
///
/// # Safety
/// Implementors have no padding, no pointer, no destructor, and are valid when all their bytes are zero.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// SAFETY: an integer.
unsafe impl Plain for u8 {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: a float; zero bytes are 0.0.
unsafe impl Plain for f32 {}
// SAFETY: an array of integers.
unsafe impl Plain for [u8; 64] {}
// SAFETY: `repr(C)` of bytes, i32 and f32 that fill 64 bytes without padding.
unsafe impl Plain for crate::q8::Q8Block {}

/// The system has no memory for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: the system grants no {elements} elements of {size} bytes")]
pub struct OutOfMemory {
    elements: usize,
    size: usize,
}

/// A zeroed buffer of fixed length, aligned to the cache line; a long one is made of huge pages where the kernel has
/// them, so that reading it from end to end misses no address translation.
pub struct Buf<T> {
    start: NonNull<T>,
    len: usize,
}

/// Alignment of short buffers: a cache line.
const LINE: usize = 64;
/// The size of a huge page, from which on a buffer is mapped from the system directly: an allocator would clear pages
/// of the usual size before anybody could ask for huge ones.
const HUGE: usize = 2 << 20;

/// Whether a buffer of so many bytes is mapped. Miri knows no mapping that is given back in parts.
fn is_mapped(bytes: usize) -> bool {
    bytes >= HUGE && !cfg!(miri)
}

impl<T: Plain> Buf<T> {
    /// # Errors
    /// [`OutOfMemory`] where the system grants no `len` elements.
    pub fn zeroed(len: usize) -> Result<Self, OutOfMemory> {
        if len == 0 {
            return Ok(Self { start: NonNull::dangling(), len });
        }
        let refused = OutOfMemory { elements: len, size: size_of::<T>() };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(refused)?;
        let start = if is_mapped(bytes) { map(bytes) } else { allocate(bytes) };
        Ok(Self { start: start.ok_or(refused)?.cast(), len })
    }
}

/// Where buffers come from: it counts their bytes, and may do nothing else.
pub struct Arena {
    bytes: usize,
    counts_only: bool,
}

impl Arena {
    /// An arena whose buffers are there.
    pub fn reserving() -> Self {
        Self { bytes: 0, counts_only: false }
    }

    /// An arena that gives empty buffers, to learn how much something would take: whatever is made of them has its
    /// sizes right and may not be used.
    pub fn counting() -> Self {
        Self { bytes: 0, counts_only: true }
    }

    /// A zeroed buffer of `len` elements.
    ///
    /// # Errors
    /// [`OutOfMemory`] where the system grants none; an arena that only counts never fails.
    pub fn buf<T: Plain>(&mut self, len: usize) -> Result<Buf<T>, OutOfMemory> {
        self.bytes = self.bytes.saturating_add(len.saturating_mul(size_of::<T>()));
        Buf::zeroed(if self.counts_only { 0 } else { len })
    }

    /// An empty list that is never longer than `most`, so that it never allocates.
    ///
    /// # Errors
    /// As for [`Arena::buf`].
    pub fn list<T>(&mut self, most: usize) -> Result<Vec<T>, OutOfMemory> {
        self.bytes = self.bytes.saturating_add(most.saturating_mul(size_of::<T>()));
        let mut list = Vec::new();
        if !self.counts_only {
            let refused = OutOfMemory { elements: most, size: size_of::<T>() };
            list.try_reserve_exact(most).map_err(|_| refused)?;
        }
        Ok(list)
    }

    /// Bytes of all buffers so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether buffers are empty.
    pub fn counts_only(&self) -> bool {
        self.counts_only
    }
}

/// Zeroed bytes of the allocator's. `bytes` is not 0.
fn allocate(bytes: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, LINE).ok()?;
    // SAFETY: the layout's size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) })
}

/// Zeroed pages of the system's, aligned to huge ones.
fn map(bytes: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    let bytes = mapped(bytes)?;
    let longer = bytes.checked_add(HUGE)?;
    let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap_anonymous(std::ptr::null_mut(), longer, flags.0, flags.1) }.ok()?.cast::<u8>();
    let before = base.align_offset(HUGE);
    let start = base.wrapping_add(before);
    // SAFETY: the parts of the new mapping before and after the aligned bytes, to which there are no references.
    // What the kernel refuses to take back is address space without memory.
    unsafe {
        if before > 0 {
            let _ = munmap(base.cast(), before);
        }
        let _ = munmap(start.wrapping_add(bytes).cast(), longer - before - bytes);
        // A kernel without huge pages says no, which costs speed alone.
        let _ = madvise(start.cast(), bytes, Advice::LinuxHugepage);
    }
    NonNull::new(start)
}

/// The length of a mapping of so many bytes: whole pages.
fn mapped(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(rustix::param::page_size())
}

impl<T> Deref for Buf<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `start` points to `len` initialized elements (or dangles, with length 0) that `self` owns.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Buf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Buf<T> {
    fn drop(&mut self) {
        let bytes = self.len * size_of::<T>();
        if is_mapped(bytes) {
            // SAFETY: `map` made this mapping, with the same length.
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), mapped(bytes).unwrap_or(bytes)) };
        } else if bytes > 0 {
            // SAFETY: `allocate` made this with the same size and alignment.
            unsafe { dealloc(self.start.as_ptr().cast(), Layout::from_size_align_unchecked(bytes, LINE)) }
        }
    }
}

// SAFETY: a buffer owns its plain elements, as a `Vec` does.
unsafe impl<T: Plain> Send for Buf<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Plain> Sync for Buf<T> {}

/// Exclusive parts of something, one for each task of a parallel region.
///
/// # Safety
/// Parts of different numbers must not overlap.
pub unsafe trait Split: Sync {
    /// What a task gets.
    type Part;

    /// How many parts there are.
    fn parts(&self) -> usize;

    /// Part `i`, below [`Split::parts`].
    ///
    /// # Safety
    /// The same number is not asked for twice.
    unsafe fn part(&self, i: usize) -> Self::Part;
}

/// Consecutive runs of a slice; the last may be shorter.
pub struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    chunk: usize,
    parts: usize,
    slice: PhantomData<&'a mut [T]>,
}

impl<'a, T> Chunks<'a, T> {
    /// Runs of `chunk` elements, at least 1.
    pub fn new(slice: &'a mut [T], chunk: usize) -> Self {
        let parts = slice.len().div_ceil(chunk.max(1));
        Self::covering(slice, chunk, parts)
    }

    /// The same with a given number of parts, of which the last may be empty or the slice's rest left out.
    pub fn covering(slice: &'a mut [T], chunk: usize, parts: usize) -> Self {
        let (start, len) = (slice.as_mut_ptr(), slice.len());
        Self { start, len, chunk: chunk.max(1), parts, slice: PhantomData }
    }
}

// SAFETY: hands out exclusive parts of the slice that it borrows exclusively.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}
// SAFETY: different chunks do not overlap.
unsafe impl<'a, T: Send> Split for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn parts(&self) -> usize {
        self.parts
    }

    unsafe fn part(&self, i: usize) -> &'a mut [T] {
        let from = (i * self.chunk).min(self.len);
        let to = (from + self.chunk).min(self.len);
        // SAFETY: `from..to` lies in the slice; the caller asks for each chunk once.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), to - from) }
    }
}

/// Pieces of runs: a slice is cut into runs, the last of which may be shorter, and each run into pieces of one length. A part has
/// the piece of one number in each run.
pub struct Interleaved<'a, T> {
    start: *mut T,
    len: usize,
    run: usize,
    pieces: usize,
    /// The pieces that there are parts of.
    of: Range<usize>,
    slice: PhantomData<&'a mut [T]>,
}

impl<'a, T> Interleaved<'a, T> {
    /// Runs of `run` elements in `pieces` pieces each, of which those of the numbers `of` are handed out.
    pub fn new(slice: &'a mut [T], run: usize, pieces: usize, of: Range<usize>) -> Self {
        assert!(of.start <= of.end && of.end <= pieces, "the pieces lie in the run");
        let (start, len) = (slice.as_mut_ptr(), slice.len());
        Self { start, len, run, pieces, of, slice: PhantomData }
    }
}

// SAFETY: hands out exclusive parts of the slice that it borrows exclusively.
unsafe impl<T: Send> Sync for Interleaved<'_, T> {}
// SAFETY: pieces of different numbers do not overlap.
unsafe impl<'a, T: Send> Split for Interleaved<'a, T> {
    type Part = Pieces<'a, T>;

    fn parts(&self) -> usize {
        self.of.len()
    }

    unsafe fn part(&self, i: usize) -> Pieces<'a, T> {
        let &Self { start, len, run, pieces, ref of, .. } = self;
        Pieces { start, len, run, pieces, number: of.start + i, slice: PhantomData }
    }
}

/// A part of [`Interleaved`].
pub struct Pieces<'a, T> {
    start: *mut T,
    len: usize,
    run: usize,
    pieces: usize,
    number: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it has elements that nobody else has.
unsafe impl<T: Send> Send for Pieces<'_, T> {}

impl<T> Pieces<'_, T> {
    /// The piece in the run of this number. Behind the last run there are none.
    #[inline]
    pub fn of_run(&mut self, run: usize) -> &mut [T] {
        let from = run.saturating_mul(self.run).min(self.len);
        let len = (self.len - from).min(self.run) / self.pieces;
        // SAFETY: the piece lies in the run, and the run in the slice; the pieces of this number are this part's alone, which
        // is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from + self.number * len), len) }
    }
}

/// A matrix of f32: `rows` rows of `stride` numbers.
pub struct Matrix<'a> {
    data: &'a mut [f32],
    stride: usize,
}

impl<'a> Matrix<'a> {
    /// As many rows as `data` has whole ones.
    #[inline]
    pub fn new(data: &'a mut [f32], stride: usize) -> Self {
        Self { data, stride }
    }

    fn rows(&self) -> usize {
        self.data.len().checked_div(self.stride).unwrap_or(0)
    }

    /// Some columns of all rows.
    #[inline]
    pub fn tile(self, columns: Range<usize>) -> Tile<'a> {
        assert!(columns.start <= columns.end && columns.end <= self.stride, "the columns lie in the row");
        let rows = 0..self.rows();
        Tile { start: self.data.as_mut_ptr(), stride: self.stride, columns, rows, data: PhantomData }
    }

    /// Divided among tasks by columns, `width` at a time, of the first `columns` of each row.
    pub fn columns(self, columns: usize, width: usize) -> Columns<'a> {
        self.columns_of(0..columns, width)
    }

    /// The same of some columns of each row.
    pub fn columns_of(self, columns: Range<usize>, width: usize) -> Columns<'a> {
        assert!(columns.start <= columns.end && columns.end <= self.stride, "the columns lie in the row");
        Columns {
            start: self.data.as_mut_ptr(),
            rows: self.rows(),
            stride: self.stride,
            columns,
            width: width.max(1),
            data: PhantomData,
        }
    }

    /// Divided by columns and by runs of rows, which follow each other: part i is that of run i % `runs.len()`.
    pub fn tiles(self, columns: usize, width: usize, runs: &'a [Range<usize>]) -> Tiles<'a> {
        let within = runs.last().is_none_or(|last| last.end <= self.rows());
        let ordered = runs.iter().all(|run| run.start <= run.end);
        let apart = runs.array_windows().all(|[run, next]| run.end <= next.start);
        assert!(within && ordered && apart, "the runs lie in the matrix, one after the other");
        Tiles { columns: self.columns(columns, width), runs }
    }
}

/// A [`Matrix`] divided by columns.
pub struct Columns<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    columns: Range<usize>,
    width: usize,
    data: PhantomData<&'a mut [f32]>,
}

impl<'a> Columns<'a> {
    fn count(&self) -> usize {
        self.columns.len().div_ceil(self.width)
    }

    fn tile(&self, i: usize, rows: Range<usize>) -> Tile<'a> {
        let from = (self.columns.start + i * self.width).min(self.columns.end);
        let columns = from..(from + self.width).min(self.columns.end);
        Tile { start: self.start, stride: self.stride, columns, rows, data: PhantomData }
    }
}

// SAFETY: hands out exclusive parts of the matrix that it borrows exclusively.
unsafe impl Sync for Columns<'_> {}
// SAFETY: different numbers have different columns.
unsafe impl<'a> Split for Columns<'a> {
    type Part = Tile<'a>;

    fn parts(&self) -> usize {
        self.count()
    }

    unsafe fn part(&self, i: usize) -> Tile<'a> {
        self.tile(i, 0..self.rows)
    }
}

/// A [`Matrix`] divided by columns and rows.
pub struct Tiles<'a> {
    columns: Columns<'a>,
    runs: &'a [Range<usize>],
}

// SAFETY: different tiles have different columns or, as the constructor checks, different rows.
unsafe impl<'a> Split for Tiles<'a> {
    type Part = Tile<'a>;

    fn parts(&self) -> usize {
        self.columns.count() * self.runs.len()
    }

    unsafe fn part(&self, i: usize) -> Tile<'a> {
        let runs = self.runs.len().max(1);
        self.columns.tile(i / runs, self.runs.get(i % runs).cloned().unwrap_or(0..0))
    }
}

/// Some columns of some rows of a matrix, held exclusively.
pub struct Tile<'p> {
    start: *mut f32,
    stride: usize,
    columns: Range<usize>,
    rows: Range<usize>,
    data: PhantomData<&'p mut [f32]>,
}

impl<'p> Tile<'p> {
    /// The columns in the matrix.
    #[inline]
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// The rows in the matrix.
    #[inline]
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The tile's part of one of its rows, counted from its first.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows.len(), "row {row} of {}", self.rows.len());
        let at = (self.rows.start + row) * self.stride + self.columns.start;
        // SAFETY: the row and the columns lie in the matrix; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), self.columns.len()) }
    }

    /// The sixteen numbers of one row that a panel of weights fills: those of the tile's `panel`-th.
    #[inline(always)]
    pub fn lanes(&mut self, row: usize, panel: usize) -> &mut [f32; 16] {
        let from = 16 * panel;
        assert!(row < self.rows.len() && from + 16 <= self.columns.len(), "the tile holds the panel");
        let at = (self.rows.start + row) * self.stride + self.columns.start + from;
        // SAFETY: checked above; `&mut self` makes the access exclusive.
        unsafe { &mut *self.start.add(at).cast::<[f32; 16]>() }
    }
}

// SAFETY: a tile holds its numbers as exclusively as a `&mut` would.
unsafe impl Send for Tile<'_> {}

/// Several splits one after the other: first all parts of the first.
pub struct Concat<S, const N: usize>(pub [S; N]);

// SAFETY: each part is a part of one of the splits, a different one for every number.
unsafe impl<S: Split, const N: usize> Split for Concat<S, N> {
    /// The split's index, the number of the part in it, the part.
    type Part = Option<(usize, usize, S::Part)>;

    fn parts(&self) -> usize {
        self.0.iter().map(Split::parts).sum()
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        let mut local = i;
        for (index, split) in self.0.iter().enumerate() {
            if local < split.parts() {
                // SAFETY: the caller asks for each number once, so each of this split's parts is asked for once.
                return Some((index, local, unsafe { split.part(local) }));
            }
            local -= split.parts();
        }
        None
    }
}

// SAFETY: part `i` consists of the parts `i` of all members, and those do not overlap with parts of other numbers.
unsafe impl<A: Split, B: Split> Split for (A, B) {
    type Part = (A::Part, B::Part);

    fn parts(&self) -> usize {
        self.0.parts().min(self.1.parts())
    }

    unsafe fn part(&self, i: usize) -> Self::Part {
        // SAFETY: passed on to the caller.
        unsafe { (self.0.part(i), self.1.part(i)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_their_place_in_each_run() {
        let mut numbers: Vec<usize> = (0..2 * 12 + 6).collect();
        let mut found = Vec::new();
        let split = Interleaved::new(&mut numbers, 12, 3, 1..3);
        assert_eq!(split.parts(), 2);
        for i in 0..split.parts() {
            // SAFETY: each is asked for once.
            let mut part = unsafe { split.part(i) };
            for run in 0..4 {
                found.push(part.of_run(run).to_vec());
                part.of_run(run).fill(0);
            }
        }
        let expected: [&[usize]; 8] = [
            &[4, 5, 6, 7],
            &[16, 17, 18, 19],
            &[26, 27],
            &[],
            &[8, 9, 10, 11],
            &[20, 21, 22, 23],
            &[28, 29],
            &[],
        ];
        assert_eq!(found, expected);
        assert_eq!(numbers.iter().filter(|&&number| number > 0).count(), 3 + 4 + 2);
    }

    #[test]
    fn buffers_are_zeroed_and_aligned() {
        for len in [0, 1, 15, 1000, if cfg!(miri) { 1 << 12 } else { 1 << 20 }] {
            let buf = Buf::<f32>::zeroed(len).unwrap();
            assert_eq!(buf.len(), len);
            assert!(buf.iter().all(|&x| x == 0.0));
            assert_eq!(buf.as_ptr().addr() % if len == 0 { 4 } else { 64 }, 0);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps nothing")]
    fn long_buffers_are_mapped_and_aligned_to_huge_pages() {
        for len in [HUGE, HUGE + 1, 3 * HUGE - 1] {
            let mut buf = Buf::<u8>::zeroed(len).unwrap();
            assert_eq!(buf.as_ptr().addr() % HUGE, 0);
            assert!(buf.iter().all(|&x| x == 0));
            buf.fill(7);
        }
        let refused = Buf::<f32>::zeroed(usize::MAX / 8).err().unwrap().to_string();
        assert!(refused.contains("of 4 bytes"), "{refused}");
    }

    #[test]
    fn an_arena_that_counts_reserves_nothing() {
        let (mut reserving, mut counting) = (Arena::reserving(), Arena::counting());
        for arena in [&mut reserving, &mut counting] {
            let lens = (arena.buf::<u8>(10).unwrap().len(), arena.buf::<f32>(10).unwrap().len());
            assert_eq!(lens, if arena.counts_only() { (0, 0) } else { (10, 10) });
            assert_eq!(arena.bytes(), 50);
        }
        assert!(reserving.buf::<f32>(usize::MAX / 2).is_err());
        assert_eq!(counting.buf::<f32>(usize::MAX / 2).unwrap().len(), 0);
        assert_eq!(counting.bytes(), usize::MAX);
    }

    #[test]
    fn columns_cover_a_matrix_once() {
        let mut data = vec![0.0; 3 * 40];
        let columns = Matrix::new(&mut data, 40).columns(36, 16);
        assert_eq!(columns.parts(), 3);
        for i in 0..columns.parts() {
            // SAFETY: each number once.
            let mut tile = unsafe { columns.part(i) };
            for row in tile.rows() {
                tile.row(row).iter_mut().for_each(|x| *x += 1.0);
            }
        }
        for (i, x) in data.iter().enumerate() {
            assert_eq!(*x, if i % 40 < 36 { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn tiles_cover_a_matrix_once() {
        let mut data = vec![0.0; 5 * 8];
        let tiles = Matrix::new(&mut data, 8).tiles(7, 3, &[0..1, 1..2, 3..5]);
        assert_eq!(tiles.parts(), 9);
        for i in 0..tiles.parts() {
            // SAFETY: each number once.
            let mut tile = unsafe { tiles.part(i) };
            for row in 0..tile.rows().len() {
                tile.row(row).iter_mut().for_each(|x| *x += 1.0);
            }
        }
        for (i, x) in data.iter().enumerate() {
            assert_eq!(*x, if i % 8 < 7 && i / 8 != 2 { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn concat_numbers_the_parts_of_all() {
        let (mut a, mut b) = (vec![0u8; 5], vec![0u8; 4]);
        let concat = Concat([Chunks::new(&mut a, 2), Chunks::new(&mut b, 2)]);
        assert_eq!(concat.parts(), 5);
        // SAFETY: each number once.
        let seen: Vec<_> =
            (0..6).map(|i| unsafe { concat.part(i) }.map(|(s, n, p)| (s, n, p.len()))).collect();
        assert_eq!(
            seen,
            [Some((0, 0, 2)), Some((0, 1, 2)), Some((0, 2, 1)), Some((1, 0, 2)), Some((1, 1, 2)), None]
        );
    }
}
