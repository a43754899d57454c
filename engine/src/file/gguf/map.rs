//! The bytes of a file: mapped, read or given. The only unsafe code of the loader.
//!
//! Of a mapped file only tensor data is used where it is mapped. Its metadata are read into memory of our own and checked
//! there, so that what was proven of them, such as that a key is UTF-8, stays true whatever others do to the file.

use super::error::GgufError;
use super::scan::{MAX_METADATA_BYTES, Scan, scan_prefix};
use memmap2::{Advice, Mmap, MmapMut, MmapOptions, UncheckedAdvice};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the bytes of a file are kept.
#[derive(Debug)]
pub(super) enum Storage {
    Mapped(Mapped),
    /// Pages of anonymous memory, since tensor data must be aligned in memory as it is in the file.
    Read(Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Storage {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Storage::Mapped(mapped) => &mapped.map,
            Storage::Read(memory) => memory,
            Storage::Static(bytes) => bytes,
            Storage::Owned(bytes) => bytes,
        }
    }

    /// Says that these bytes will be wanted soon, so that the disk works while the processor does.
    pub(super) fn prefetch(&self, range: Range<u64>) {
        if let Storage::Mapped(mapped) = self
            && let Some(pages) = mapped.whole_pages(range)
        {
            // Advice that the kernel does not take changes nothing but speed.
            let _ = mapped.map.advise_range(Advice::WillNeed, pages.start, pages.len());
        }
    }

    /// Gives back the memory of the whole pages in `range`. They are read from the file again if they are touched.
    pub(super) fn release(&self, range: Range<u64>) {
        if let Storage::Mapped(mapped) = self
            && let Some(pages) = mapped.whole_pages(range)
        {
            // SAFETY: the mapping is of a file and read-only, so no page of it was ever written through it. A
            // dropped page comes back with the file's bytes: what a slice of it shows does not change.
            let advised = unsafe {
                mapped.map.unchecked_advise_range(UncheckedAdvice::DontNeed, pages.start, pages.len())
            };
            // Refusal costs memory, never correctness.
            let _ = advised;
        }
    }

    /// How a file whose metadata end at byte `metadata` takes memory.
    pub(super) fn footprint(&self, metadata: u64) -> Footprint {
        let bytes = self.bytes().len() as u64;
        match self {
            Storage::Mapped(_) => Footprint::Mapped { metadata },
            Storage::Read(_) | Storage::Owned(_) => Footprint::Read { bytes },
            Storage::Static(_) => Footprint::Static { metadata, bytes },
        }
    }

    pub(super) fn check_unchanged(&self, name: &str) -> Result<(), GgufError> {
        match self {
            Storage::Mapped(mapped) => mapped.check_unchanged(name),
            Storage::Read(_) | Storage::Static(_) | Storage::Owned(_) => Ok(()),
        }
    }
}

/// How an open file takes memory; sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footprint {
    /// Pages come when they are read and can be given back. The metadata are there already.
    Mapped { metadata: u64 },
    /// All of it, as long as any of it is in use.
    Read { bytes: u64 },
    /// Part of the program: pages come when they are read, and stay. The metadata are there already.
    Static { metadata: u64, bytes: u64 },
}

/// A mapped file, with what it takes to notice that it changed.
#[derive(Debug)]
pub(super) struct Mapped {
    map: Mmap,
    file: File,
    /// Where it lies; None of a file that came open.
    path: Option<PathBuf>,
    opened: Stamp,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Mapped {
    fn check_unchanged(&self, name: &str) -> Result<(), GgufError> {
        let changed = |what| Err(GgufError::Changed { file: name.to_owned(), what });
        let now = self.file.metadata().map_err(|error| io_error(name, "look at the open file", error))?;
        let now = Stamp::of(&now);
        if now.len < self.opened.len {
            return changed("shrank");
        }
        if now != self.opened {
            return changed("was written to");
        }
        // A file that was only unlinked, or whose folder is out of reach by now, is still whole behind the mapping.
        match self.path.as_ref().map(std::fs::metadata) {
            Some(Ok(other)) if Stamp::of(&other) != self.opened => changed("was replaced"),
            _ => Ok(()),
        }
    }

    /// The pages that lie within `range` from end to end, as a range of bytes.
    fn whole_pages(&self, range: Range<u64>) -> Option<Range<usize>> {
        let page = page_bytes();
        let start = usize::try_from(range.start).ok()?.checked_next_multiple_of(page)?;
        let end = usize::try_from(range.end).ok()?.min(self.map.len());
        let end = end - end % page;
        (start < end).then_some(start..end)
    }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(65536)
}

/// A file that was opened and scanned.
pub(super) struct Opened {
    pub(super) storage: Storage,
    /// The bytes before the tensor data, unless `storage` may be trusted with them.
    pub(super) metadata: Option<Mmap>,
    pub(super) scan: Scan,
    /// Whether it was to be mapped, and could only be read.
    pub(super) unmappable: bool,
}

/// Reads the file's metadata, scans them, and maps the file. Where that cannot be done, as on some file systems of other
/// machines and in some sandboxes, it is read.
pub(super) fn map(path: &Path, name: &str) -> Result<Opened, GgufError> {
    let (file, metadata) = open(path, name)?;
    map_by(map_file, file, &metadata, Some(path), name)
}

/// As [`map`], of a file that is open for reading.
pub(super) fn map_open(file: File, name: &str) -> Result<Opened, GgufError> {
    let metadata = metadata_of(&file, name)?;
    map_by(map_file, file, &metadata, None, name)
}

fn map_by(
    map_file: fn(&File, usize) -> io::Result<Mmap>,
    file: File,
    stamp: &Metadata,
    path: Option<&Path>,
    name: &str,
) -> Result<Opened, GgufError> {
    let len = usize::try_from(stamp.len()).map_err(|_| too_large(name))?;
    let most = stamp.len().min(MAX_METADATA_BYTES);
    let mut memory = reserve(most as usize, name)?;
    let mut filled = 0;
    let scan = read_metadata(&file, &mut memory, &mut filled, stamp.len(), name)?;
    let metadata = memory.make_read_only().map_err(|error| io_error(name, "protect its memory", error))?;
    give_back_from(&metadata, scan.data_start);

    let map = match map_file(&file, len) {
        Ok(map) => map,
        Err(error) if cannot_be_mapped(&error) => {
            return Ok(Opened { unmappable: true, ..read_open(&file, stamp, name)? });
        }
        Err(error) => return Err(io_error(name, "map the file into memory", error)),
    };
    expect_sequential_reads(&file);
    let mapped = Mapped { map, file, path: path.map(Path::to_owned), opened: Stamp::of(stamp) };
    Ok(Opened { storage: Storage::Mapped(mapped), metadata: Some(metadata), scan, unmappable: false })
}

/// Whether it is the file, or who may do what, and not a want of memory.
fn cannot_be_mapped(error: &io::Error) -> bool {
    let refusals = [libc::ENODEV, libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::EACCES, libc::EPERM];
    error.raw_os_error().is_some_and(|number| refusals.contains(&number))
}

fn map_file(file: &File, len: usize) -> io::Result<Mmap> {
    // SAFETY: the memory behind a slice must not change while it is borrowed, and another process may write to the file
    // or cut it off. That nobody does is what `Gguf::open` demands of its caller. Where it is not kept: bytes are taken
    // for numbers of which any is valid, so that a write by others spoils results, which `check_unchanged` reports;
    // ranges are checked against `len`, the length of the mapping, which does not change; and pages beyond the end of
    // a file that shrank raise SIGBUS, which ends the process: see `exit_on_bus_error`.
    unsafe { MmapOptions::new().len(len).map(file) }
}

/// Reads the file and scans it: first its metadata, so that a malformed file is refused before much of it is read.
pub(super) fn read(path: &Path, name: &str) -> Result<Opened, GgufError> {
    let (file, metadata) = open(path, name)?;
    read_open(&file, &metadata, name)
}

fn read_open(file: &File, stamp: &Metadata, name: &str) -> Result<Opened, GgufError> {
    expect_sequential_reads(file);
    let len = usize::try_from(stamp.len()).map_err(|_| too_large(name))?;
    let mut memory = reserve(len, name)?;
    // Fewer, larger pages where the kernel has them; none of this fails for want of them.
    let _ = memory.advise(Advice::HugePage);
    let mut filled = 0;
    let scan = read_metadata(file, &mut memory, &mut filled, stamp.len(), name)?;
    fill(file, &mut memory, &mut filled, stamp.len()).map_err(|error| io_error(name, "read it", error))?;
    let memory = memory.make_read_only().map_err(|error| io_error(name, "protect its memory", error))?;
    Ok(Opened { storage: Storage::Read(memory), metadata: None, scan, unmappable: false })
}

/// Anonymous memory, which takes none until it is filled.
fn reserve(len: usize, name: &str) -> Result<MmapMut, GgufError> {
    MmapMut::map_anon(len).map_err(|error| io_error(name, "reserve memory for it", error))
}

/// Reads the file, which has `file_len` bytes, as far as it takes to scan its metadata.
fn read_metadata(
    file: &File,
    memory: &mut [u8],
    filled: &mut usize,
    file_len: u64,
    name: &str,
) -> Result<Scan, GgufError> {
    const FIRST: u64 = 1 << 18;
    let mut wanted = FIRST;
    loop {
        fill(file, memory, filled, wanted).map_err(|error| io_error(name, "read it", error))?;
        let read = memory.get(..*filled).unwrap_or_default();
        let fault = match scan_prefix(read, file_len) {
            Ok(scan) => return Ok(scan),
            Err(fault) => fault,
        };
        match fault.bytes_wanted() {
            // Doubling keeps the scans that start over to twice the work of one.
            Some(bytes) if *filled < memory.len() => wanted = bytes.max(wanted.saturating_mul(2)),
            _ => return Err(fault.about(read, name)),
        }
    }
}

/// Gives back the memory of the whole pages from byte `start` on, which hold nothing that is used.
fn give_back_from(memory: &Mmap, start: u64) {
    let Some(start) =
        usize::try_from(start).ok().and_then(|start| start.checked_next_multiple_of(page_bytes()))
    else {
        return;
    };
    if let Some(len) = memory.len().checked_sub(start).filter(|&len| len > 0) {
        // SAFETY: the pages become zeros, while the mapping is ours alone and nothing of it is borrowed yet.
        let advised = unsafe { memory.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len) };
        // Refusal costs memory, never correctness.
        let _ = advised;
    }
}

/// Reads until the first `wanted` bytes of `memory`, or all of it, are filled.
fn fill(file: &File, memory: &mut [u8], filled: &mut usize, wanted: u64) -> io::Result<()> {
    let end = usize::try_from(wanted).unwrap_or(usize::MAX).min(memory.len());
    if let Some(part) = memory.get_mut(*filled..end) {
        // Wherever another holder of the file stands in it.
        file.read_exact_at(part, *filled as u64)?;
        *filled = end;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "it is opened to be read")]
fn open(path: &Path, name: &str) -> Result<(File, Metadata), GgufError> {
    let failed = |error| io_error(name, "open it", error);
    // Without O_NONBLOCK, opening a pipe would wait for a writer. It means nothing to a regular file.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = metadata_of(&file, name)?;
    Ok((file, metadata))
}

/// What the system tells of a file that can be a model.
fn metadata_of(file: &File, name: &str) -> Result<Metadata, GgufError> {
    let metadata = file.metadata().map_err(|error| io_error(name, "open it", error))?;
    let kind = metadata.file_type();
    let found = match () {
        () if kind.is_file() => return Ok(metadata),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(GgufError::NotAFile { file: name.to_owned(), found })
}

/// Doubles the kernel's read-ahead, for reads and page faults alike. Unlike `MADV_SEQUENTIAL` it does not make the
/// kernel drop pages early, which would hurt weights that every token reads.
fn expect_sequential_reads(file: &File) {
    // SAFETY: the descriptor is open, and the call touches no memory of ours. Failure changes nothing but speed.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_SEQUENTIAL) };
}

fn io_error(name: &str, action: &'static str, source: io::Error) -> GgufError {
    GgufError::Io { file: name.to_owned(), action, source }
}

fn too_large(name: &str) -> GgufError {
    io_error(name, "address all of it", io::ErrorKind::FileTooLarge.into())
}

/// Lets the process end with one line on standard error and exit code 1, instead of a core dump, when a page of a
/// mapped model can no longer be read because the file shrank or the disk failed. For programs, at their start: the
/// handler for SIGBUS belongs to the whole process. Libraries that live in someone else's should leave it alone, or
/// load with [`Gguf::read`](super::Gguf::read).
pub fn exit_on_bus_error() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sigaction`: no flags, an empty mask and no handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    action.sa_sigaction = on_bus_error as extern "C" fn(_, _, _) as libc::sighandler_t;
    // SAFETY: `action` is initialized, and its handler has the signature that SA_SIGINFO asks for and calls only
    // functions that are safe in a signal handler.
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    const LINE: &[u8] = b"siskin: the model file shrank or could not be read while it was mapped; \
        make it whole and start again, or use --no-mmap\n";
    // SAFETY: with SA_SIGINFO the kernel passes a valid `info`. `signal`, `raise`, `write` and `_exit` are
    // async-signal-safe, and `LINE` is valid for its length.
    unsafe {
        if (*info).si_code == libc::BUS_ADRERR {
            libc::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len());
            libc::_exit(1);
        }
        // A failing memory module, or another process's kill: die of it as any process does.
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_cannot_be_mapped_is_read() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/llama/gqa.gguf");
        let refused = |_: &File, _: usize| Err(io::Error::from_raw_os_error(libc::ENODEV));
        let by = |map_file| {
            let (file, metadata) = open(&golden, "golden")?;
            map_by(map_file, file, &metadata, Some(&golden), "golden")
        };
        let opened = by(refused).unwrap();
        assert!(opened.unmappable && matches!(opened.storage, Storage::Read(_)));
        let mapped = map(&golden, "golden").unwrap();
        assert!(!mapped.unmappable && opened.storage.bytes() == mapped.storage.bytes());
        let scarce = |_: &File, _: usize| Err(io::Error::from_raw_os_error(libc::ENOMEM));
        let error = by(scarce).err().unwrap().to_string();
        assert!(error.starts_with("golden: cannot map the file into memory: "), "{error}");
    }

    #[test]
    fn whole_pages_leave_out_what_neighbours_share() {
        let page = page_bytes() as u64;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![0; 3 * page as usize + 10]).unwrap();
        let (file, metadata) = open(file.path(), "test").unwrap();
        // SAFETY: the temporary file is this test's own.
        let map = unsafe { MmapOptions::new().map(&file) }.unwrap();
        let opened = Stamp::of(&metadata);
        let mapped = Mapped { map, file, path: None, opened };
        let pages = |start, end| mapped.whole_pages(start..end).map(|p| p.start as u64..p.end as u64);

        assert_eq!(pages(0, page), Some(0..page));
        assert_eq!(pages(1, 2 * page + 1), Some(page..2 * page));
        assert_eq!(pages(1, 2 * page - 1), None);
        assert_eq!(pages(page + 1, page + 2), None);
        assert_eq!(pages(0, u64::MAX), Some(0..3 * page));
        assert_eq!(pages(u64::MAX, u64::MAX), None);
    }
}
