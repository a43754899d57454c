#![allow(clippy::disallowed_methods, reason = "what commands write is made here")]

use crate::inputs::{Inputs, folder_of};
use anyhow::{Context, Result, anyhow, bail};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::{Builder, NamedTempFile};

/// What the names of unfinished files end in.
const UNFINISHED: &str = ".siskin-unfinished";

/// A file that appears under its name only once it is complete; until then it grows beside it under another name,
/// which goes away if anything fails. A process that was killed leaves its unfinished file behind: the next one that
/// writes the same file clears it away.
///
/// `-` is standard output. What goes there, to a pipe or to a device is written through once it is complete, and so is
/// what goes to a descriptor that the process was given, such as `/dev/stdout`: behind what is there.
#[derive(Debug)]
pub struct Output {
    name: String,
    place: Place,
    file: NamedTempFile,
}

impl Output {
    /// Begins the file that will be at `path`, which may hold another file until then, but none of `inputs`. The umask
    /// decides who may read it.
    ///
    /// # Errors
    /// A path that is a folder, an input, or a link that leads nowhere; what the file system says.
    pub fn create(path: &Path, inputs: &Inputs) -> Result<Output> {
        Output::with_mode(path, inputs, 0o666).with_context(|| path.display().to_string())
    }

    /// The same for what is of its owner's concern alone: nobody else may read it.
    ///
    /// # Errors
    /// As for [`Output::create`].
    pub fn create_private(path: &Path, inputs: &Inputs) -> Result<Output> {
        Output::with_mode(path, inputs, 0o600).with_context(|| path.display().to_string())
    }

    /// Fails where [`Output::create`] would, for work that takes long.
    ///
    /// # Errors
    /// As for [`Output::create`].
    pub fn check(path: &Path, inputs: &Inputs) -> Result<()> {
        Output::create(path, inputs).map(drop)
    }

    fn with_mode(path: &Path, inputs: &Inputs, mode: u32) -> Result<Output> {
        let place = Place::of(path)?;
        inputs.check(place.path())?;
        let file = match &place {
            Place::File(path) => {
                let name = path.file_name().ok_or_else(|| anyhow!("expected the name of a file"))?;
                let (folder, prefix) = (folder_of(path), hidden(name));
                clear_away(folder, &prefix)?;
                unfinished(folder, &prefix, mode)?
            }
            Place::Through { .. } => NamedTempFile::new()?,
            Place::StandardOutput => {
                IS_STANDARD_OUTPUT_A_FILE.store(true, Ordering::Relaxed);
                NamedTempFile::new()?
            }
        };
        Ok(Output { name: path.display().to_string(), place, file })
    }

    /// What messages call the file: the path the user gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a file in the end that can be opened by its name: not what went through a pipe.
    pub fn stays(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Where its bytes go.
    pub fn writer(&self) -> BufWriter<&File> {
        BufWriter::with_capacity(1 << 20, self.file.as_file())
    }

    /// The same without a buffer, for what comes in large pieces.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Puts the file in its place, once all its bytes are on the disk.
    ///
    /// # Errors
    /// What the file system says, or whoever reads at the other end.
    pub fn commit(self) -> Result<()> {
        let Output { name, place, mut file } = self;
        let context = || name.clone();
        match place {
            Place::File(path) => {
                file.as_file().sync_all().with_context(context)?;
                file.persist(&path).map_err(|failed| failed.error).with_context(context)?;
                // The name, too, must survive a loss of power.
                File::open(folder_of(&path)).and_then(|folder| folder.sync_all()).with_context(context)
            }
            Place::Through(path) => {
                file.rewind().with_context(context)?;
                // A descriptor's file may hold something, which stays; to pipes and devices there is no difference.
                let mut end = OpenOptions::new().append(true).open(path).with_context(context)?;
                io::copy(file.as_file_mut(), &mut end).map(drop).with_context(context)
            }
            Place::StandardOutput => {
                file.rewind().with_context(context)?;
                let mut end = io::stdout().lock();
                io::copy(file.as_file_mut(), &mut end).and_then(|_| end.flush()).context("standard output")
            }
        }
    }
}

/// Puts the shards of a split model, in order, in their places. A model of the same names that is there lacks its first shard
/// meanwhile, so that whoever opens it, or finds what a crash has left, never takes old and new ones for one model.
///
/// # Errors
/// As for [`Output::commit`].
pub fn commit_shards(outputs: Vec<Output>) -> Result<()> {
    let mut outputs = outputs.into_iter();
    let Some(first) = outputs.next() else { return Ok(()) };
    if let Place::File(path) = &first.place
        && outputs.len() > 0
    {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| first.name.clone());
            }
            _ => {}
        }
    }
    outputs.try_for_each(Output::commit)?;
    first.commit()
}

/// Where a complete file goes.
#[derive(Debug)]
enum Place {
    /// Under this name.
    File(PathBuf),
    /// Into a pipe, a device, or the file of a descriptor.
    Through(PathBuf),
    StandardOutput,
}

impl Place {
    fn of(path: &Path) -> Result<Place> {
        if path == Path::new("-") {
            return Ok(Place::StandardOutput);
        }
        if let Some(descriptor) = descriptor(path) {
            let standard = descriptor.file_name() == Some(OsStr::new("1"));
            return Ok(if standard { Place::StandardOutput } else { Place::Through(descriptor) });
        }
        match fs::metadata(path) {
            Ok(existing) if existing.is_dir() => bail!("the output is a folder, expected the name of a file"),
            Ok(existing) if !existing.is_file() => Ok(Place::Through(path.to_owned())),
            // A link is followed: the file it leads to is the one to be replaced.
            Ok(_) => Ok(Place::File(fs::canonicalize(path)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => match fs::symlink_metadata(path) {
                Ok(_) => bail!("the output is a link that leads nowhere"),
                Err(_) => Ok(Place::File(path.to_owned())),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// What leads to the file, the pipe or the device.
    fn path(&self) -> &Path {
        match self {
            Place::File(path) | Place::Through(path) => path,
            Place::StandardOutput => Path::new("/proc/self/fd/1"),
        }
    }
}

/// The descriptor of this process that `path` leads to, such as `/proc/self/fd/1` from `/dev/stdout`. Whoever gave it
/// decided about its file: that it is appended to, for one.
pub(crate) fn descriptor(path: &Path) -> Option<PathBuf> {
    const LONGEST: usize = 40;
    let descriptors = fs::canonicalize("/proc/self/fd").ok()?;
    let mut path = path.to_owned();
    for _ in 0..LONGEST {
        let folder = folder_of(&path);
        if fs::canonicalize(folder).ok()? == descriptors {
            return Some(path);
        }
        path = folder.join(fs::read_link(&path).ok()?);
    }
    None
}

/// Whether standard output is what a file's bytes go to. It is the process's, and so is this.
static IS_STANDARD_OUTPUT_A_FILE: AtomicBool = AtomicBool::new(false);

/// Writes a line about finished work to standard output, or to standard error where a file's bytes go to that. That nobody
/// reads it any more is no failure of the work.
///
/// # Errors
/// Whatever else keeps the line from being written.
pub fn tell(line: fmt::Arguments<'_>) -> Result<()> {
    report(format!("{line}\n").as_bytes())
}

/// The same for lines of text.
///
/// # Errors
/// As for [`tell`].
pub fn report(text: &[u8]) -> Result<()> {
    let is_file = IS_STANDARD_OUTPUT_A_FILE.load(Ordering::Relaxed);
    let mut out: Box<dyn Write> =
        if is_file { Box::new(io::stderr()) } else { Box::new(io::stdout().lock()) };
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context(if is_file { "standard error" } else { "standard output" }),
    }
}

/// The start of the unfinished file's name: `.model.gguf.`, shortened to leave room for the random rest.
fn hidden(name: &OsStr) -> String {
    let name: String = name.to_string_lossy().chars().take(40).collect();
    format!(".{name}.")
}

/// A new file, locked as long as its process lives; the umask takes from its permissions, as for any new file.
fn unfinished(folder: &Path, prefix: &str, mode: u32) -> io::Result<NamedTempFile> {
    loop {
        let mut builder = Builder::new();
        builder.prefix(prefix).suffix(UNFINISHED).permissions(Permissions::from_mode(mode));
        let file = builder.tempfile_in(folder)?;
        // File systems without locks have no leftovers cleared away either.
        let _ = file.as_file().lock();
        // Another process may have cleared it away before it was locked.
        if file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes the unfinished files of this name whose processes are gone.
fn clear_away(folder: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let random = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(UNFINISHED));
        if random.is_none_or(|random| random.contains('.')) {
            continue;
        }
        // The lock is held until the file is gone, so that nobody takes it for a new one of theirs meanwhile.
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            // One that cannot be removed is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn none() -> Inputs {
        Inputs::of([""; 0])
    }

    fn names(folder: &Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        fs::write(&path, "old").unwrap();
        let output = Output::create(&path, &none()).unwrap();
        output.writer().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["model.gguf"]);
    }

    #[test]
    fn shards_of_two_models_are_never_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [1, 2, 3].map(|number| folder.path().join(format!("m-0000{number}-of-00003.gguf")));
        for path in &paths {
            fs::write(path, "old").unwrap();
        }
        let outputs = || paths.each_ref().map(|path| Output::create(path, &none()).unwrap());
        // The second cannot be put in its place.
        let failing = outputs();
        fs::remove_file(&paths[1]).unwrap();
        fs::create_dir_all(paths[1].join("full")).unwrap();
        commit_shards(failing.into()).unwrap_err();
        assert!(!paths[0].exists());
        fs::remove_dir_all(&paths[1]).unwrap();
        let outputs = outputs();
        for output in &outputs {
            output.writer().write_all(b"new").unwrap();
        }
        commit_shards(outputs.into()).unwrap();
        assert!(paths.iter().all(|path| fs::read(path).unwrap() == b"new"));
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn an_output_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::create(&folder.path().join("model.gguf"), &none()).unwrap();
        output.writer().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(output);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn leftovers_of_the_dead_are_cleared_away_and_those_of_the_living_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let living = Output::create(&path, &none()).unwrap();
        for name in [".model.gguf.abc123.siskin-unfinished", ".other.gguf.abc123.siskin-unfinished"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        let output = Output::create(&path, &none()).unwrap();
        assert!(!folder.path().join(".model.gguf.abc123.siskin-unfinished").exists());
        assert_eq!(names(folder.path()).len(), 3, "this one, the living one and the other file's");
        output.commit().unwrap();
        living.commit().unwrap();
    }

    #[test]
    fn the_input_is_never_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("in.gguf");
        fs::write(&input, "weights").unwrap();
        let (soft, hard) = (folder.path().join("soft"), folder.path().join("hard"));
        symlink(&input, &soft).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        for path in [&input, &soft, &hard, &folder.path().join("./in.gguf")] {
            let error = format!("{:#}", Output::create(path, &Inputs::of([&input])).unwrap_err());
            assert!(error.contains("the output is the input"), "{error}");
        }
        assert!(
            Output::create(folder.path(), &none()).unwrap_err().root_cause().to_string().contains("folder")
        );
    }

    #[test]
    fn no_shard_of_the_input_is_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(|number| folder.path().join(format!("m-0000{number}-of-00002.gguf")));
        fs::write(&one, "weights").unwrap();
        let link = folder.path().join("link");
        symlink(&one, &link).unwrap();
        // One that is missing, too.
        for input in [&one, &link] {
            let error = format!("{:#}", Output::create(&two, &Inputs::of([input])).unwrap_err());
            assert!(error.contains("the output is a shard of the input"), "{error}");
        }
    }

    #[test]
    fn a_link_to_another_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        let output = Output::create(&link, &none()).unwrap();
        output.writer().write_all(b"new").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_of_an_input_s_folder_is_never_the_output() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        fs::write(&weights, "weights").unwrap();
        let error = Output::create(&weights, &none().and([folder.path()])).unwrap_err();
        assert!(format!("{error:#}").contains("a file of the input"), "{error:#}");
        // But for what is made of such folders, again and again.
        let made = folder.path().join("new.gguf");
        for _ in 0..2 {
            Output::create(&made, &Inputs::of([folder.path()])).unwrap().commit().unwrap();
        }
    }

    #[test]
    fn links_that_lead_nowhere_are_refused_and_pipes_are_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (link, pipe) = (folder.path().join("link"), folder.path().join("pipe"));
        symlink(folder.path().join("nothing"), &link).unwrap();
        let error = Output::create(&link, &none()).unwrap_err();
        assert!(format!("{error:#}").contains("a link that leads nowhere"), "{error:#}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let read = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        let output = Output::create(&pipe, &none()).unwrap();
        output.writer().write_all(b"through").unwrap();
        output.commit().unwrap();
        assert_eq!(read.join().unwrap(), b"through");
        assert_eq!(names(folder.path()), ["link", "pipe"]);
    }

    #[test]
    fn what_another_output_will_be_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (page, same) = (folder.path().join("page.html"), folder.path().join("./page.html"));
        let inputs = Inputs::of([&same]);
        let error = format!("{:#}", Output::check(&page, &inputs).unwrap_err());
        assert!(error.contains("the output is the input"), "{error}");
        Output::check(&folder.path().join("other.html"), &inputs).unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn private_files_are_their_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("private");
        fs::write(&path, "old").unwrap();
        Output::create_private(&path, &none()).unwrap().commit().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_descriptor_s_file_is_appended_to() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let (log, link) = (folder.path().join("log"), folder.path().join("link"));
        fs::write(&log, "old ").unwrap();
        let file = OpenOptions::new().append(true).open(&log).unwrap();
        let descriptor = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        symlink(&descriptor, &link).unwrap();
        for path in [&descriptor, &link] {
            let error = format!("{:#}", Output::create(path, &Inputs::of([&log])).unwrap_err());
            assert!(error.contains("the output is the input"), "{error}");
            let output = Output::create(path, &none()).unwrap();
            output.writer().write_all(b"new ").unwrap();
            output.commit().unwrap();
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "old new new ");
        assert_eq!(names(folder.path()), ["link", "log"]);
    }
}
