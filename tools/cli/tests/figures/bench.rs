//! `siskin bench`, on models small enough for a test: what it reports, not how fast this machine is.

use crate::common::{failure, families, goldens, names, siskin, text};
use serde_json::Value;

/// Runs `siskin bench --json`, which must succeed.
fn bench(arguments: &[&str]) -> Value {
    let run = siskin(&[&["bench", "--json", "--runs", "2"], arguments].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
#[cfg(feature = "demo")]
fn the_demo_model_is_measured() {
    let more = ["--threads", "2", "--isa", "scalar", "--parallel", "3", "--adapter-rank", "4"];
    let report = bench(&[&["-p", "20", "-n", "3"], &more[..]].concat());
    for key in [
        "prefill_tps",
        "decode_tps",
        "parallel_tps",
        "adapted_tps",
        "attach_ms",
        "probe_gbps",
        "load_ms",
        "decode_gbps",
        "prefill_gmacs",
    ] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}: {report:#}");
    }
    assert_eq!((&report["tier"], &report["threads"]), (&"scalar".into(), &2.into()));
    let (model, peak) = (report["model_bytes"].as_u64().unwrap(), report["peak_rss_bytes"].as_u64().unwrap());
    // The model, but not the 256 MiB that the probe reads.
    assert!(model > 1 << 20 && peak > model && peak < 256 << 20, "{report:#}");
    // The embedding is the output too, so a token reads everything.
    assert_eq!(report["bytes_per_token"], report["model_bytes"]);
    let gbps = report["decode_tps"].as_f64().unwrap() * report["bytes_per_token"].as_f64().unwrap() / 1e9;
    assert!((report["decode_gbps"].as_f64().unwrap() / gbps - 1.0).abs() < 1e-9);
    assert_eq!(report["samples"]["decode_tps"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_wanted_is_left_out() {
    let model = goldens().join("gqa.gguf");
    let report = bench(&[text(&model), "-p", "0", "-n", "2", "-t", "1"]);
    assert!(report["prefill_tps"].is_null() && report["decode_tps"].is_f64());
    assert!(report["adapted_tps"].is_null() && report["parallel_tps"].is_null() && report["parallel"] == 1);
    // Its output is a matrix of its own, so of the embedding a token reads one row only.
    assert!(report["bytes_per_token"].as_u64() < report["model_bytes"].as_u64());
    let report = bench(&[text(&model), "-p", "2", "-n", "0", "-t", "1"]);
    assert!(
        report["prefill_tps"].is_f64() && report["decode_tps"].is_null() && report["probe_gbps"].is_null()
    );

    let run = siskin(&["bench", text(&model), "-p", "0", "-n", "0", "--runs", "1"]);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("load, ms") && !said.contains("decode"), "{said}");
}

#[test]
fn a_context_can_hold_tokens_already() {
    // One with convolutions, whose states begin anew behind a cut, and a window that the tokens are longer than.
    for model in ["lfm2.gguf", "gemma3.gguf"] {
        let more = ["--depth", "20", "-p", "3", "-n", "2", "--parallel", "2", "-t", "2"];
        let report = bench(&[&[text(&families().join(model))], &more[..]].concat());
        assert_eq!(report["depth"], 20);
        for key in ["prefill_tps", "decode_tps", "parallel_tps"] {
            assert!(report[key].as_f64().unwrap() > 0.0, "{model}: {key}: {report:#}");
        }
    }
    let model = goldens().join("gqa.gguf");
    let run = siskin(&["bench", text(&model), "--depth", "4", "-p", "2", "-n", "2", "--runs", "1"]);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(
        said.contains("prefill of 2 at 4, tokens/s") && said.contains("decode of 2 at 4, tokens/s"),
        "{said}"
    );
}

#[test]
fn nonsense_is_refused_in_one_line() {
    let model = goldens().join("gqa.gguf");
    let line = failure(&siskin(&["bench", text(&model), "-p", "1000000000"]));
    assert!(line.contains("context") && line.contains("1000000000"), "{line}");
    for depth in ["1000000000", "18446744073709551615"] {
        let line = failure(&siskin(&["bench", text(&model), "--depth", depth]));
        assert!(line.contains("context"), "{line}");
    }
    for (rank, figure) in
        [("100000", "MiB, there is room for 64.0 MiB"), ("18446744073709551615", "MiB, there is room for")]
    {
        let line = failure(&siskin(&["bench", text(&model), "--adapter-rank", rank, "--memory", "64MiB"]));
        assert!(
            line.contains(&format!("an adapter of rank {rank} needs ")) && line.contains(figure),
            "{line}"
        );
    }
    let line = failure(&siskin(&["bench", text(&model), "--adapter-rank", "1000000000"]));
    assert!(line.contains("an adapter of rank 1000000000 needs "), "{line}");
    let line = failure(&siskin(&["bench", text(&model), "--parallel", "1000000000000"]));
    assert!(line.contains("there is room for"), "{line}");
    assert!(failure(&siskin(&["bench", "absent.gguf"])).contains("absent.gguf"));
    let line = failure(&siskin(&["bench", "--shape", "smollm2-135m", "--out", "absent/out.gguf"]));
    assert!(line.contains("absent/out.gguf"), "{line}");
}

#[test]
fn wrong_usage_exits_with_two() {
    for (arguments, expected) in [
        (&["--shape", "llama"][..], "'--shape <SHAPE>': expected one of smollm2-135m, "),
        (&["--shape", "smollm2-135m", "--type", "q9"], "'--type <TYPE>': expected one of F32, "),
        (&["--type", "q8_0"], "--shape <SHAPE>"),
        (&["--out", "out.gguf"], "--shape <SHAPE>"),
        (&["model.gguf", "--out", "out.gguf"], "cannot be used with"),
        (&["model.gguf", "--type", "q8_0"], "cannot be used with"),
        (&["model.gguf", "--shape", "smollm2-135m"], "cannot be used with"),
        (&["--runs", "0"], "'--runs <N>': expected a number of at least 1"),
        (&["-p", "-1"], "'--n-prompt <N>': expected a whole number of at least 0"),
        (&["--isa", "avx1024"], "avx1024"),
    ] {
        let run = siskin(&[&["bench"], arguments].concat());
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{arguments:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn a_shape_is_kept_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("smol.gguf");
    let arguments =
        ["--shape", "smollm2-135m", "--type", "q4_0", "--out", text(&path), "-p", "0", "-n", "0", "-t", "1"];
    let report = bench(&arguments);
    assert_eq!((&report["shape"], &report["type"]), (&"smollm2-135m".into(), &"Q4_0".into()));
    assert_eq!(names(folder.path()), ["smol.gguf"]);
    let file = siskin::gguf::Gguf::open(&path).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape.clone();
    assert_eq!(shape("token_embd.weight"), [576, 49152]);
    assert_eq!(shape("blk.29.attn_k.weight"), [576, 192]);
    assert_eq!(shape("blk.0.ffn_down.weight"), [1536, 576]);
    assert_eq!(file.tensors().len(), 30 * 9 + 2);
}
