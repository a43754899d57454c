//! `siskin tune`, on the demo model and a few tasks.

use crate::common::siskin;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn tasks(folder: &Path) -> String {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/eval-base.jsonl");
    let all = fs::read_to_string(all).unwrap();
    let few: Vec<_> = all.lines().filter(|line| line.contains("\"command\"")).take(3).collect();
    let path = folder.join("tasks.jsonl");
    fs::write(&path, few.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn tune(arguments: &[&str]) -> Value {
    let run = siskin(&[&["tune", "--json", "-c", "256", "-n", "48"], arguments].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn trials_are_ranked_and_the_same_for_a_seed() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = tasks(folder.path());
    let arguments = [
        "--tasks",
        &tasks,
        "--metric",
        "rouge",
        "--trials",
        "5",
        "--space",
        "temperature=2..9,top_k=4000,min_p=0,top_p=1",
    ];
    let report = tune(&arguments);
    let scores: Vec<f64> =
        report["trials"].as_array().unwrap().iter().map(|trial| trial["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 6 && scores.is_sorted_by(|a, b| a >= b), "{report:#}");
    // Hot answers are worse than the model's own, which are greedy.
    assert!(scores[0] == 1.0 && scores[5] < 0.9 && report["flags"] == "", "{report:#}");
    assert_eq!(tune(&arguments), report);
}

#[test]
fn the_winner_s_flags_can_be_pasted() {
    let report =
        tune(&["--metric", "decode_tps", "--search", "grid", "--space", "threads=1|2", "--trials", "2"]);
    let flags = report["flags"].as_str().unwrap();
    assert!(["", "--threads 1", "--threads 2"].contains(&flags), "{flags}");
    assert_eq!(report["trials"].as_array().unwrap().len(), 3);
}

#[test]
fn wrong_usage_exits_with_two() {
    for (arguments, expected) in [
        (&["--space", "temperature=0..1"][..], "exact is measured with --tasks only"),
        (&["--space", "heat=0..1"], "nothing called \"heat\""),
        (&["--space", "threads=1|2"], "threads makes no difference to exact"),
        (&["--metric", "decode_tps", "--space", "top_k=1|2"], "top_k makes no difference to decode_tps"),
        (&["--trials", "0"], "--trials"),
    ] {
        let run = siskin(&[&["tune"], arguments].concat());
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
