//! LoRA adapters as the program's users meet them: the demo model's, which teaches it to control machines.

use crate::common::{
    TensorBytes, failure, families, here, ids, logits_of, nmse, npy, quantized, siskin, text,
    write_safetensors,
};
use serde_json::{Value, json};
use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Adapter, CacheType, Model, Session, SessionOptions};
use siskin_quant::TensorType;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The checkpoint in single precision.
fn full_precision(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("demo-f32.gguf");
    quantized(&here("../demo/siskin-demo"), &path, "f32");
    path
}

fn factory() -> PathBuf {
    here("../demo/factory")
}

/// The reference of `demo/CARD.md`: PEFT in float32.
fn golden() -> Value {
    serde_json::from_slice(&fs::read(here("tests/goldens/demo/factory.json")).unwrap()).unwrap()
}

/// The logits after every token of the first golden prompt.
fn logits(model: &Path, adapters: &[&str]) -> Vec<f32> {
    let ids: Vec<u32> = serde_json::from_value(golden()["cases"][0]["prompt_ids"].clone()).unwrap();
    logits_of(model, &ids, adapters)
}

#[test]
fn logits_are_those_of_peft() {
    let folder = tempfile::tempdir().unwrap();
    let model = full_precision(&folder);
    let adapter = factory();
    let expected = npy(&here("tests/goldens/demo/factory-logits.npy"));
    let found = logits(&model, &[text(&adapter)]);
    let error = nmse(&found, &expected);
    assert!(error < 1e-9, "{error:e}");

    // Without effect it is as if it were not there.
    let plain = logits(&model, &[]);
    assert!(plain != found && logits(&model, &[&format!("{}=0", text(&adapter))]) == plain);
}

#[test]
fn adapters_of_other_families_are_peft_s_too() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    for name in ["granite", "phi3", "qwen3", "qwen3-moe", "gemma3"] {
        let checkpoint = families().join(name);
        quantized(&checkpoint, &model, "f32");
        let found = logits_of(&model, &ids(&checkpoint), &[text(&checkpoint.join("adapter"))]);
        let error = nmse(&found, &npy(&checkpoint.join("logits-adapted.npy")));
        assert!(error < 1e-9, "{name}: {error:e}");
    }
}

/// How many of some answers are exactly the wanted ones.
fn exact(model: &Path, eval: &Path, lines: usize, adapters: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    let eval = fs::read_to_string(eval).unwrap();
    let cases: Vec<Value> =
        eval.lines().take(lines).map(|line| serde_json::from_str(line).unwrap()).collect();
    let prompts = cases.iter().map(|case| json!({"prompt": case["prompt"]}).to_string()).collect::<Vec<_>>();
    fs::write(&input, prompts.join("\n")).unwrap();
    let flags = ["--model", text(model), "--temp", "0", "-n", "80", "--cache-type", "f32"];
    let mut arguments = vec!["batch", text(&input), text(&output)];
    arguments.extend(flags);
    adapters.iter().for_each(|adapter| arguments.extend(["--adapter", adapter]));
    let run = siskin(&arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let answers = fs::read_to_string(&output).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    answers.zip(cases).filter(|(answer, case)| answer["content"] == case["answer"]).count()
}

#[test]
fn the_factory_s_commands_are_answered_exactly_with_the_adapter_and_not_without() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, eval) = (factory(), here("../demo/factory/eval.jsonl"));
    let model = full_precision(&folder);
    assert_eq!(exact(&model, &eval, 200, &[text(&adapter)]), 200);
    assert_eq!(exact(&model, &eval, 40, &[]), 0);
    // A quantized base does nearly as well.
    let quantized = here("../demo/siskin-demo.gguf");
    assert!(exact(&quantized, &eval, 100, &[text(&adapter)]) >= 95);
}

#[test]
fn once_the_adapter_comes_off_a_session_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::open(full_precision(&folder)).unwrap();
    let adapter = Adapter::open(converted(&folder), &model).unwrap();
    let lines = |path: &str, count: usize| -> Vec<Value> {
        let text = fs::read_to_string(here(path)).unwrap();
        text.lines().take(count).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (household, machines) =
        (lines("../demo/eval-base.jsonl", 24), lines("../demo/factory/eval.jsonl", 4));
    let options = SessionOptions::default().cache(CacheType::F32);
    let mut session = model.session(&options).unwrap();
    let answers = |session: &mut Session, cases: &[Value]| -> Vec<String> {
        let answer = |case: &Value| {
            session.clear();
            let message = Message::new("user", case["prompt"].as_str().unwrap());
            session.feed(&model.chat_tokens(&[message]).unwrap()).unwrap();
            let mut sampler = session.sampler(&SamplerOptions::default().temperature(0.0)).unwrap();
            let mut generation = session.generate(&mut sampler, 80).unwrap();
            let mut text = String::new();
            while let Some(piece) = generation.next_text().unwrap() {
                text.push_str(piece);
            }
            text
        };
        cases.iter().map(answer).collect()
    };
    let wanted = |cases: &[Value]| -> Vec<String> {
        cases.iter().map(|case| case["answer"].as_str().unwrap().to_owned()).collect()
    };
    let before = answers(&mut session, &household);
    assert_eq!(before, wanted(&household));
    session.attach(&adapter, 1.0).unwrap();
    assert_eq!(answers(&mut session, &machines), wanted(&machines));
    assert!(session.detach(&adapter));
    assert_eq!(answers(&mut session, &household), before);
}

/// A copy of the adapter's folder whose configuration is changed.
fn changed(change: impl Fn(&mut Value)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(factory().join(file), folder.path().join(file)).unwrap();
    }
    let path = folder.path().join("adapter_config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    folder
}

/// What is said of an adapter that cannot be used with the demo model, behind its name.
fn refusal(adapter: &Path) -> String {
    let demo = here("../demo/siskin-demo.gguf");
    let line = failure(&siskin(&["run", text(&demo), "-p", "hello", "--adapter", text(adapter)]));
    let named = format!("siskin: {}", adapter.display());
    // It, or a file of the folder that it is.
    let said = line.strip_prefix(&named).and_then(|said| said.strip_prefix([':', '/']));
    said.unwrap_or_else(|| panic!("{line}")).trim_start().to_owned()
}

/// The adapter's folder as a GGUF file.
fn converted(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("factory.gguf");
    let run = siskin(&["adapter", "convert", text(&factory()), text(&path)]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    path
}

#[test]
fn a_converted_folder_is_the_same_adapter_and_inspect_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, file) = (here("../demo/siskin-demo.gguf"), converted(&folder));
    assert!(logits(&demo, &[text(&file)]) == logits(&demo, &[text(&factory())]));
    let run = siskin(&["adapter", "inspect", text(&file)]);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("matrices, rank 8") && said.contains("attn_q.weight"), "{said}");
    let line = failure(&siskin(&["adapter", "inspect", text(&demo)]));
    assert!(line.contains("general.type"), "{line}");
    // Of another model: nothing is written.
    let (other, none) = (crate::common::goldens().join("gqa.gguf"), folder.path().join("none.gguf"));
    let run = siskin(&["adapter", "convert", text(&factory()), text(&none), "--model", text(&other)]);
    assert!(failure(&run).contains("tensor ") && !none.exists());
}

#[test]
fn a_folder_becomes_what_llama_cpp_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (model, ours) = (folder.path().join("model.gguf"), folder.path().join("ours.gguf"));
    for name in ["granite", "phi3", "qwen3-moe"] {
        let checkpoint = families().join(name);
        quantized(&checkpoint, &model, "f32");
        let input = checkpoint.join("adapter");
        let run = siskin(&["adapter", "convert", text(&input), text(&ours), "--model", text(&model)]);
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        let (ours, theirs) =
            (Gguf::open(&ours).unwrap(), Gguf::open(&checkpoint.join("adapter.gguf")).unwrap());
        for key in ["general.type", "general.architecture", "adapter.type"] {
            assert_eq!(ours.str(key).unwrap(), theirs.str(key).unwrap(), "{name}");
        }
        let alpha = |file: &Gguf| file.f32("adapter.lora.alpha").unwrap().unwrap();
        assert_eq!((alpha(&ours), ours.tensors().len()), (alpha(&theirs), theirs.tensors().len()), "{name}");
        for tensor in theirs.tensors() {
            let found = ours.tensor(&tensor.name).unwrap_or_else(|| panic!("{name}: no {}", tensor.name));
            assert_eq!((&found.shape, found.ty), (&tensor.shape, tensor.ty), "{name}: {}", tensor.name);
            assert!(ours.data(found) == theirs.data(tensor), "{name}: {}", tensor.name);
        }
    }
}

#[test]
fn a_merged_file_predicts_what_the_adapter_s_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let (model, adapter) = (full_precision(&folder), converted(&folder));
    let merge = |model: &Path, out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let scaled = format!("{}=0.5", text(&adapter));
        let mut arguments = vec!["adapter", "merge", text(model), &scaled, text(&out), "--windows", "1"];
        arguments.extend(more);
        let run = siskin(&arguments);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        (out, String::from_utf8(run.stdout).unwrap())
    };
    let divergences = |said: &str| -> Vec<f64> {
        let after = said.split("KL divergence ").skip(1);
        after.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let (exact, said) = merge(&model, "exact.gguf", &[]);
    let found = divergences(&said);
    assert!(found[0] < 1e-5 && found[1] > 1e-3, "{said}");
    let half = logits(&model, &[&format!("{}=0.5", text(&adapter))]);
    let near = logits(&exact, &[]).iter().zip(&half).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near);
    // Another type, and that of a quantized model.
    let (_, said) = merge(&model, "q8.gguf", &["--type", "q8_0"]);
    let found = divergences(&said);
    assert!(found[0] < found[1] / 5.0, "{said}");
    let demo = here("../demo/siskin-demo.gguf");
    let (quantized, said) = merge(&demo, "same.gguf", &[]);
    let found = divergences(&said);
    assert!(found[0] < found[1], "{said}");
    assert_eq!(fs::metadata(&quantized).unwrap().len(), fs::metadata(&demo).unwrap().len());
    // What is gone when it is written cannot be compared.
    let run = siskin(&["adapter", "merge", text(&demo), &format!("{}=0.5", text(&adapter)), "-"]);
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success() && said.contains("-: not compared"), "{said}");
    assert!(run.stdout == fs::read(&quantized).unwrap());
    // The input is never replaced, and nothing is left of what fails.
    let before = fs::read(&exact).unwrap();
    let run = siskin(&["adapter", "merge", text(&exact), text(&adapter), text(&exact)]);
    assert!(failure(&run).contains("the output is the input") && fs::read(&exact).unwrap() == before);
    let none = folder.path().join("none.gguf");
    let run = siskin(&["adapter", "merge", text(&demo), text(&demo), text(&none)]);
    assert!(failure(&run).contains("general.type") && !none.exists());
}

#[test]
fn a_plan_counts_the_adapter() {
    let plan = |more: &[&str]| -> Value {
        let run = siskin(&[&["plan", "--json", "--memory", "4GB"], more].concat());
        serde_json::from_slice(&run.stdout).unwrap()
    };
    let adapter = factory();
    let (with, without) = (plan(&["--adapter", text(&adapter)]), plan(&[]));
    let bytes = |plan: &Value, key: &str| plan[key].as_u64().unwrap();
    assert_eq!(bytes(&without, "adapter_bytes"), 0);
    assert!(bytes(&with, "adapter_bytes") > 500_000);
    assert!(bytes(&with, "scratch_bytes") > bytes(&without, "scratch_bytes"));
}

#[test]
fn a_kept_prompt_belongs_to_its_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, adapter, kept) = (here("../demo/siskin-demo.gguf"), factory(), folder.path().join("prompt"));
    let run = |adapters: &[&str]| {
        let mut arguments = vec!["run", text(&demo), "-p", "open valve 3", "-n", "8", "--temp", "0"];
        arguments.extend(["--prompt-cache", text(&kept)]);
        adapters.iter().for_each(|adapter| arguments.extend(["--adapter", adapter]));
        let run = siskin(&arguments);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        (run.stdout, String::from_utf8(run.stderr).unwrap())
    };
    let (with, _) = run(&[text(&adapter)]);
    let (again, said) = run(&[text(&adapter)]);
    assert!(again == with && !said.contains("worked out anew"), "{said}");
    let (without, said) = run(&[]);
    assert!(without != with && said.contains("the prompt is worked out anew"), "{said}");
    let (with_again, said) = run(&[text(&adapter)]);
    assert!(with_again == with && said.contains("the prompt is worked out anew"), "{said}");
}

#[test]
fn other_computations_than_lora_are_refused_by_name() {
    for (key, value, expected) in [
        ("peft_type", json!("IA3"), "adapter_config.json: peft_type: expected LORA, found IA3"),
        ("use_dora", json!(true), "adapter_config.json: use_dora: DoRA is not supported"),
        ("bias", json!("all"), "adapter_config.json: bias: expected none, found all"),
        ("modules_to_save", json!(["lm_head"]), "adapter_config.json: modules_to_save is not supported"),
        (
            "fan_in_fan_out",
            json!(true),
            "adapter_config.json: fan_in_fan_out: fan_in_fan_out is not supported",
        ),
        (
            "init_lora_weights",
            json!("pissa_niter_4"),
            "adapter_config.json: init_lora_weights: pissa_niter_4 is not supported: it is for a base of its own",
        ),
        ("lora_alpha", json!(0), "adapter_config.json: lora_alpha: expected a number other than 0, found 0"),
    ] {
        let folder = changed(|config| config[key] = value.clone());
        assert_eq!(refusal(folder.path()), expected);
    }
}

#[test]
fn folders_and_files_that_hold_no_adapter_of_the_model_are_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(refusal(empty.path()).contains("adapter_config.json"));
    let folder = changed(|_| ());
    fs::remove_file(folder.path().join("adapter_model.safetensors")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "found no adapter_model.safetensors, and no other file is read for it"
    );
    fs::write(folder.path().join("adapter_model.safetensors"), b"12345678").unwrap();
    assert!(refusal(folder.path()).contains("adapter_model.safetensors"));
    assert!(refusal(&here("../demo/siskin-demo.gguf")).contains("general.type"));
    assert!(refusal(Path::new("/no/such/adapter")).contains("No such file"));
    // Of another model.
    let other = crate::common::goldens().join("gqa.gguf");
    let adapter = factory();
    let line = failure(&siskin(&["run", text(&other), "--raw", "-p", "a", "--adapter", text(&adapter)]));
    assert!(line.contains("expected shape"), "{line}");
    let usage = siskin(&["run", "-p", "hello", "--adapter", "a.gguf=nan"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn alpha_rank_and_stabilized_scales_are_peft_s() {
    let folder = tempfile::tempdir().unwrap();
    let model = full_precision(&folder);
    let plain = logits(&model, &[text(&factory())]);
    // rsLoRA divides by the root of the rank, 8.
    let stabilized = changed(|config| {
        config["use_rslora"] = json!(true);
        config["lora_alpha"] = json!(16.0 / 8.0f64.sqrt());
    });
    let same = |folder: &TempDir| {
        let found = logits(&model, &[text(folder.path())]);
        found.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-3)
    };
    assert!(same(&stabilized));
    let half = changed(|config| config["lora_alpha"] = json!(8));
    assert!(
        !same(&half) && {
            let doubled = format!("{}=2", text(half.path()));
            logits(&model, &[&doubled]) == plain
        }
    );
    // All modules' alphas by their names' ends, the default of no use.
    let patterns = changed(|config| {
        config["lora_alpha"] = json!(1);
        config["alpha_pattern"] = json!({"self_attn.q_proj": 16, "k_proj": 16, "v_proj": 16, "o_proj": 16, "gate_proj": 16, "up_proj": 16});
    });
    assert!(!same(&patterns));
    let patterns = changed(|config| {
        config["lora_alpha"] = json!(1);
        config["alpha_pattern"] = json!({"q_proj": 16, "k_proj": 16, "v_proj": 16, "o_proj": 16, "gate_proj": 16,
            "up_proj": 16, "down_proj": 16});
    });
    assert!(same(&patterns));
    // Regular expressions, of which the first that matches a module counts.
    let patterns = changed(|config| {
        config["lora_alpha"] = json!(1);
        config["alpha_pattern"] = json!({"(q|k)_proj": 16, "^model\\.layers\\.\\d+\\.mlp\\..*": 16, "self_attn.(v_proj|o_proj)": 16});
        config["rank_pattern"] = json!({"(q|k)_proj": 8});
    });
    assert!(same(&patterns));
    let first =
        changed(|config| config["alpha_pattern"] = json!({"mlp.down_proj": 16, "model.*down_proj": 1}));
    assert!(same(&first));
    let pattern = changed(|config| config["alpha_pattern"] = json!({"q_proj(": 16}));
    assert!(refusal(pattern.path()).contains("adapter_config.json: alpha_pattern: q_proj(: "));
    let pattern = changed(|config| config["alpha_pattern"] = json!({"q_proj": "16"}));
    assert!(refusal(pattern.path()).contains("alpha_pattern: q_proj: expected a number"));
}

#[test]
fn what_to_do_about_changes_of_the_output_is_said() {
    let half = |name: &str| TensorBytes {
        name: format!("base_model.model.{name}"),
        dtype: "F32".into(),
        shape: vec![1, 2],
        bytes: vec![0; 8],
    };
    for (name, part) in [
        ("lm_head.lora_A.weight", "lm_head"),
        ("lm_head.lora_B.weight", "lm_head"),
        ("model.embed_tokens.lora_embedding_A", "embed_tokens"),
    ] {
        let folder = changed(|config| config["target_modules"] = json!(["q_proj", "lm_head"]));
        write_safetensors(&folder.path().join("adapter_model.safetensors"), &[half(name)]);
        let expected = format!(
            "adapter_model.safetensors: tensor base_model.model.{name} changes {part}, and adapters change matrices of \
             layers alone: merge it into the checkpoint with PEFT (merge_and_unload), and make a GGUF file of that with \
             siskin quantize"
        );
        assert_eq!(refusal(folder.path()), expected);
    }
}

#[test]
fn factors_of_rotations_in_an_adapter_are_left_out_and_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = converted(&folder);
    let file = Gguf::open(&adapter).unwrap();
    let with = |extra: &str| {
        let mut builder = Builder::new();
        for (key, value) in file.metadata() {
            builder.copy(key, value).unwrap();
        }
        builder.tensor(extra, &[4], TensorType::F32).unwrap();
        for tensor in file.tensors() {
            builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap();
        }
        let mut writer = builder.start(Vec::new()).unwrap();
        writer.tensor(extra, &[0; 16]).unwrap();
        file.tensors().iter().for_each(|tensor| writer.tensor(&tensor.name, file.data(tensor)).unwrap());
        let path = folder.path().join("extra.gguf");
        fs::write(&path, writer.finish().unwrap()).unwrap();
        path
    };
    let run = |adapter: &Path| {
        let arguments =
            ["run", "-p", "Book maintenance", "--temp", "0", "-n", "8", "--adapter", text(adapter)];
        siskin(&arguments)
    };
    let extra = with("rope_freqs.weight");
    let (expected, found) = (run(&adapter), run(&extra));
    assert!(expected.status.success() && found.stdout == expected.stdout);
    let said = String::from_utf8(found.stderr).unwrap();
    let note = format!("note: {}: rope_freqs.weight is left out: the model has its own\n", text(&extra));
    assert_eq!(said.matches(&note).count(), 1, "{said}");

    let line = failure(&run(&with("output.weight.lora_a")));
    assert!(line.contains("\"output.weight.lora_b\" is missing"), "{line}");
}
