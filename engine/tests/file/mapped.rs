//! Files on disk: mapped, read, changed behind the reader's back.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

use crate::again::run_again;
use siskin::gguf::write::Builder;
use siskin::gguf::{Gguf, GgufError, exit_on_bus_error};
use siskin_quant::TensorType;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const MIB: usize = 1 << 20;

/// A folder with a model of two tensors of some MiB.
struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    mebibytes: usize,
}

impl Fixture {
    fn new(mebibytes: usize) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let mut builder = Builder::new();
        let bytes = mebibytes * MIB;
        builder.set("general.architecture", "llama").unwrap();
        builder.tensor("a", &[bytes as u64], TensorType::I8).unwrap();
        builder.tensor("b", &[bytes as u64], TensorType::I8).unwrap();
        let mut writer = builder.start(File::create(&path).unwrap()).unwrap();
        writer.tensor("a", &vec![1; bytes]).unwrap();
        writer.tensor("b", &vec![2; bytes]).unwrap();
        writer.finish().unwrap();
        Fixture { _folder: folder, path, mebibytes }
    }

    fn sums(&self, file: &Gguf) -> [usize; 2] {
        ["a", "b"].map(|name| {
            let data = file.data(file.tensor(name).unwrap());
            assert_eq!(data.len(), self.mebibytes * MIB);
            data.iter().map(|&x| usize::from(x)).sum()
        })
    }
}

#[test]
fn mapped_and_read_hold_the_same() {
    let fixture = Fixture::new(2);
    for file in [Gguf::open(&fixture.path).unwrap(), Gguf::read(&fixture.path).unwrap()] {
        assert_eq!(file.name(), fixture.path.display().to_string());
        assert_eq!(file.file_len(), std::fs::metadata(&fixture.path).unwrap().len());
        assert_eq!(file.require_str("general.architecture").unwrap(), "llama");
        assert_eq!(fixture.sums(&file), [2 * MIB, 4 * MIB]);
        let tensor = file.tensor("b").unwrap();
        assert_eq!(file.data(tensor).as_ptr() as usize % 32, 0, "aligned in memory as in the file");
        file.check_unchanged().unwrap();
    }
}

#[test]
fn metadata_longer_than_the_first_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut builder = Builder::new();
    let text = "x".repeat(3 * MIB);
    let words: Vec<Vec<u8>> = (0..100_000).map(|i| format!("word{i}").into_bytes()).collect();
    builder.set("words", siskin::gguf::write::OwnedArray::Str(words)).unwrap();
    builder.set("text", text.as_str()).unwrap().tensor("t", &[4], TensorType::F32).unwrap();
    let mut writer = builder.start(File::create(&path).unwrap()).unwrap();
    writer.tensor("t", &[7; 16]).unwrap();
    writer.finish().unwrap();

    let file = Gguf::read(&path).unwrap();
    assert!(file.require_str("text").unwrap() == text);
    assert_eq!(file.require_array("words").unwrap().iter().last().unwrap().as_str(), Some("word99999"));
    assert_eq!(file.data(file.tensor("t").unwrap()), [7; 16]);
}

/// Memory of this process that is backed by files, in bytes.
fn resident_file_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(2).unwrap().parse().unwrap();
    // SC_PAGESIZE without unsafe: the kernel says it in the auxiliary vector, entry 6 (AT_PAGESZ).
    let auxv = std::fs::read("/proc/self/auxv").unwrap();
    let word = |bytes: &[u8]| usize::from_ne_bytes(bytes.try_into().unwrap());
    let page = auxv.chunks_exact(16).find(|entry| word(&entry[..8]) == 6).map(|entry| word(&entry[8..]));
    pages * page.unwrap()
}

#[test]
fn release_gives_pages_back_and_keeps_the_data() {
    let fixture = Fixture::new(32);
    let file = Gguf::open(&fixture.path).unwrap();
    file.prefetch(file.tensor("a").unwrap());
    assert_eq!(fixture.sums(&file), [32 * MIB, 64 * MIB]);
    let before = resident_file_bytes();
    assert!(before > 64 * MIB, "{before} bytes resident");

    file.release(file.tensor("a").unwrap());
    let after = resident_file_bytes();
    assert!(after < before - 24 * MIB, "{before} bytes resident, then {after}");
    assert_eq!(fixture.sums(&file), [32 * MIB, 64 * MIB]);
}

#[test]
fn release_of_memory_that_cannot_come_back_is_nothing() {
    let fixture = Fixture::new(1);
    let file = Gguf::read(&fixture.path).unwrap();
    file.release(file.tensor("a").unwrap());
    assert_eq!(fixture.sums(&file), [MIB, 2 * MIB]);
}

#[track_caller]
fn changed(file: &Gguf, expected: &str) {
    let Err(error @ GgufError::Changed { what, .. }) = file.check_unchanged() else { panic!("unchanged") };
    assert_eq!(what, expected);
    let message = format!("{}: {expected} while it was in use: load it again, or use --no-mmap", file.name());
    assert_eq!(error.to_string(), message);
}

fn writable(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn shrinking_is_noticed() {
    let fixture = Fixture::new(1);
    let file = Gguf::open(&fixture.path).unwrap();
    writable(&fixture.path).set_len(MIB as u64).unwrap();
    changed(&file, "shrank");
}

#[test]
fn growing_is_noticed() {
    let fixture = Fixture::new(1);
    let file = Gguf::open(&fixture.path).unwrap();
    writable(&fixture.path).set_len(3 * MIB as u64).unwrap();
    changed(&file, "was written to");
}

#[test]
fn writing_is_noticed() {
    let fixture = Fixture::new(1);
    // Clocks of file systems tick coarsely: the file must be older than the write.
    let past = SystemTime::now() - Duration::from_secs(100);
    writable(&fixture.path).set_modified(past).unwrap();
    let file = Gguf::open(&fixture.path).unwrap();
    file.check_unchanged().unwrap();
    let mut other = writable(&fixture.path);
    other.seek(SeekFrom::Start(MIB as u64)).unwrap();
    other.write_all(b"x").unwrap();
    changed(&file, "was written to");
}

/// What was checked once stays so.
#[test]
fn metadata_do_not_change_with_the_file() {
    let fixture = Fixture::new(1);
    let file = Gguf::open(&fixture.path).unwrap();
    let bytes = std::fs::read(&fixture.path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    let mut other = writable(&fixture.path);
    other.seek(SeekFrom::Start(at as u64)).unwrap();
    other.write_all(b"\xFF\xFF\xFF\xFF\xFF").unwrap();
    assert_eq!(file.require_str("general.architecture").unwrap(), "llama");
    other.set_len(0).unwrap();
    assert_eq!(file.require_str("general.architecture").unwrap(), "llama");
    assert_eq!(file.metadata().count(), 1);
    changed(&file, "shrank");
}

/// Memory of this process that no file backs, in bytes.
fn anonymous_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() << 10
}

#[test]
fn an_open_file_takes_the_memory_of_its_metadata() {
    const TEXT: usize = 10 * MIB;
    const SLACK: usize = 4 * MIB;
    if let Some(path) = std::env::var_os(CHILD) {
        let before = anonymous_bytes();
        let file = Gguf::open(Path::new(&path)).unwrap();
        let grown = anonymous_bytes().saturating_sub(before);
        assert!((TEXT..TEXT + SLACK).contains(&grown), "{grown} bytes more");
        assert_eq!(file.require_str("text").unwrap().len(), TEXT);
        drop(file);
        let left = anonymous_bytes().saturating_sub(before);
        assert!(left < SLACK, "{left} bytes left");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut builder = Builder::new();
    builder.set("text", "x".repeat(TEXT)).unwrap().tensor("t", &[32 * MIB as u64], TensorType::I8).unwrap();
    let mut writer = builder.start(File::create(&path).unwrap()).unwrap();
    writer.tensor("t", &vec![0; 32 * MIB]).unwrap();
    writer.finish().unwrap();
    let output = run_again("mapped::an_open_file_takes_the_memory_of_its_metadata", CHILD, &path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn replacing_is_noticed() {
    let fixture = Fixture::new(1);
    let file = Gguf::open(&fixture.path).unwrap();
    let copy = fixture.path.with_extension("new");
    std::fs::copy(&fixture.path, &copy).unwrap();
    std::fs::rename(&copy, &fixture.path).unwrap();
    changed(&file, "was replaced");
    assert_eq!(fixture.sums(&file), [MIB, 2 * MIB], "the mapping still shows the old file");
}

#[test]
fn unlinking_harms_nothing() {
    let fixture = Fixture::new(1);
    let file = Gguf::open(&fixture.path).unwrap();
    std::fs::remove_file(&fixture.path).unwrap();
    file.check_unchanged().unwrap();
    assert_eq!(fixture.sums(&file), [MIB, 2 * MIB]);
}

#[test]
fn a_file_that_was_read_does_not_care() {
    let fixture = Fixture::new(1);
    let file = Gguf::read(&fixture.path).unwrap();
    writable(&fixture.path).set_len(0).unwrap();
    file.check_unchanged().unwrap();
    assert_eq!(fixture.sums(&file), [MIB, 2 * MIB]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let cases = [(folder.path(), "a folder"), (&pipe, "a pipe"), (Path::new("/dev/zero"), "a device")];
    for (path, found) in cases {
        for answer in [Gguf::open(path), Gguf::read(path)] {
            let expected = format!("{}: expected a regular file, found {found}", path.display());
            assert_eq!(answer.unwrap_err().to_string(), expected);
        }
    }
    let missing = folder.path().join("missing.gguf");
    for answer in [Gguf::open(&missing), Gguf::read(&missing)] {
        let message = answer.unwrap_err().to_string();
        assert!(message.starts_with(&format!("{}: cannot open it: ", missing.display())), "{message}");
    }
}

const CHILD: &str = "SISKIN_TEST_BUS_ERROR";

#[test]
fn reading_beyond_a_file_that_shrank_ends_in_one_line() {
    if let Some(path) = std::env::var_os(CHILD) {
        exit_on_bus_error().unwrap();
        let file = Gguf::open(Path::new(&path)).unwrap();
        writable(Path::new(&path)).set_len(MIB as u64 / 2).unwrap();
        let tensor = file.tensor("b").unwrap();
        println!("garbage: {:?}", file.data(tensor).first());
        return;
    }
    let fixture = Fixture::new(1);
    let output =
        run_again("mapped::reading_beyond_a_file_that_shrank_ends_in_one_line", CHILD, &fixture.path);
    assert_eq!(output.status.code(), Some(1));
    let line = "siskin: the model file shrank or could not be read while it was mapped; make it whole and start again, \
                or use --no-mmap\n";
    assert_eq!(str::from_utf8(&output.stderr), Ok(line));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("garbage"));
}

#[test]
fn bus_errors_of_others_stay_deadly() {
    if std::env::var_os(CHILD).is_some() {
        exit_on_bus_error().unwrap();
        Command::new("sh").args(["-c", "kill -BUS $PPID"]).status().unwrap();
        std::thread::sleep(Duration::from_secs(10));
        return;
    }
    let output = run_again("mapped::bus_errors_of_others_stay_deadly", CHILD, Path::new("unused"));
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
    assert_eq!(str::from_utf8(&output.stderr), Ok(""));
}
