//! `siskin quantize` when it is killed, when the disk is full, and how much memory it takes.

use crate::common::{failure, goldens, names, quantized, text};
use siskin::gguf::write::Builder;
use siskin_quant::TensorType;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo")
}

fn start(input: &Path, output: &Path, file_type: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_siskin"))
        .args(["quantize", text(input), text(output), "--type", file_type])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How often it is killed: as `SISKIN_KILLS` says, or 40 times.
fn kills() -> usize {
    std::env::var("SISKIN_KILLS").map_or(40, |kills| kills.parse().unwrap())
}

#[test]
fn killed_at_any_moment_it_leaves_the_old_file_or_the_new_one() {
    let kills = kills();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let began = Instant::now();
    let new = quantized(&demo(), &output, "q8_0");
    let whole = began.elapsed();
    let (mut random, mut killed, mut leftovers) = (0x2545_f491_u64, 0, 0);
    for _ in 0..kills {
        fs::write(&output, "old").unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = whole.mul_f64((random >> 33) as f64 / (1u64 << 31) as f64);
        let mut child = start(&demo(), &output, "q8_0");
        sleep(moment);
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        let found = fs::read(&output).unwrap();
        assert!(found == b"old" || found == new, "{} bytes that are neither", found.len());
        // All that may be there beside it is what the last run left; those before were cleared away.
        leftovers = leftovers.max(names(folder.path()).len() - 1);
    }
    assert!(killed > kills / 2, "only {killed} of {kills} were killed in time");
    assert!(leftovers <= 1, "{:?}", names(folder.path()));
    quantized(&demo(), &output, "q8_0");
    assert_eq!(names(folder.path()), ["out.gguf"]);
}

/// A folder on a file system of `bytes` bytes.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where this process may not mount one.
    fn mount(bytes: usize) -> Option<SmallDisk> {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        let size = format!("size={bytes}");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs", text(disk.0.path())];
        let mounted = Command::new("mount").args(arguments).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then_some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).stderr(Stdio::null()).status();
    }
}

/// Says which way a test took, also where the test's output is caught.
fn say(way: &str) {
    eprintln!("test of a full disk: {way}");
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    const ROOM: usize = 1 << 20;
    let check = |folder: &Path, run: &dyn Fn(&Path) -> Output, problem: &str| {
        let output = folder.join("out.gguf");
        fs::write(&output, "old").unwrap();
        let line = failure(&run(&output));
        assert!(line.contains("out.gguf") && line.contains(problem), "{line}");
        assert_eq!(fs::read(&output).unwrap(), b"old");
        assert_eq!(names(folder), ["out.gguf"]);
    };
    if let Some(disk) = SmallDisk::mount(ROOM) {
        say("a tmpfs of 1 MiB");
        let run = |output: &Path| crate::common::quantize(&demo(), output, "q8_0");
        check(disk.0.path(), &run, "No space left on device");
    } else {
        say("no tmpfs may be mounted here, a limit of 1 MiB for files instead");
    }
    let folder = tempfile::tempdir().unwrap();
    // In units of 512 bytes; the signal that would end the process is ignored, so that writing fails.
    let script =
        format!("ulimit -f {}; trap '' XFSZ; exec \"$0\" quantize \"$1\" \"$2\" --type q8_0", ROOM / 512);
    let run = |output: &Path| {
        let siskin = env!("CARGO_BIN_EXE_siskin");
        Command::new("sh").args(["-c", &script, siskin, text(&demo()), text(output)]).output().unwrap()
    };
    check(folder.path(), &run, "File too large");
}

/// The most memory that a process had, in bytes, as far as it was seen.
fn peak(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let field = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB"));
        peak = field.map_or(peak, |field| field.trim().parse::<u64>().unwrap() * 1024);
        sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_is_bounded_by_the_largest_tensor() {
    const ROW: u64 = 4096;
    const TENSORS: u64 = 12;
    const TENSOR_BYTES: u64 = ROW * ROW * 4;
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut builder = Builder::new();
    builder.set("general.architecture", "llama").unwrap();
    builder.set("llama.block_count", TENSORS as u32).unwrap();
    for block in 0..TENSORS {
        builder.tensor(&format!("blk.{block}.ffn_up.weight"), &[ROW, ROW], TensorType::F32).unwrap();
    }
    let len = builder.file_len().unwrap();
    let file = File::create(&input).unwrap();
    builder.start(&file).unwrap();
    // Zeros that take no room on the disk, but as much memory as others once they are read.
    file.set_len(len).unwrap();
    let bound = 2 * TENSOR_BYTES + (256 << 20);
    assert!(len > 2 * bound - TENSOR_BYTES, "a file that would not fit");
    for file_type in ["q4_0", "f16"] {
        let peak = peak(start(&input, &output, file_type));
        assert!(peak > TENSOR_BYTES / 2, "{file_type}: {peak} bytes cannot be all");
        assert!(peak <= bound, "{file_type}: {peak} bytes, expected at most {bound}");
    }
}

#[test]
fn bytes_are_the_same_with_every_instruction_set() {
    let folder = tempfile::tempdir().unwrap();
    let input = goldens().join("kquant.gguf");
    let expected = quantized(&input, &folder.path().join("best"), "q4_k_m");
    for isa in siskin::Isa::available().map(siskin::Isa::name) {
        let output = folder.path().join(isa);
        let status = Command::new(env!("CARGO_BIN_EXE_siskin"))
            .args(["quantize", text(&input), text(&output), "--type", "q4_k_m"])
            .env("SISKIN_ISA", isa)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        assert!(fs::read(output).unwrap() == expected, "{isa}");
    }
}
