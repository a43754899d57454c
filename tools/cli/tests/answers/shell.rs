//! What shells and `man` are told of the program.

use crate::common::{names, siskin, text};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The names of all commands that helps show, those of `adapter` behind its own.
fn commands() -> Vec<String> {
    let listed = |arguments: &[&str]| -> Vec<String> {
        let help = String::from_utf8(siskin(arguments).stdout).unwrap();
        let (_, rest) = help.split_once("Commands:\n").unwrap();
        let names = rest.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
        names
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .filter(|name| name != "help")
            .collect()
    };
    let mut commands = listed(&["--help"]);
    let adapters = listed(&["adapter", "--help"]).into_iter().map(|name| format!("adapter-{name}"));
    commands.extend(adapters.collect::<Vec<_>>());
    commands
}

fn script(shell: &str) -> String {
    let run = siskin(&["completions", shell]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Whether a program is here; one that is not is told of.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|run| run.status.success());
    if !found {
        eprintln!("skipped: no {program} here");
    }
    found
}

#[test]
fn shells_read_their_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let hidden: &[&str] =
        if cfg!(feature = "second-reader") { &["worker"] } else { &["worker", "second-reader"] };
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for command in commands().iter().filter(|command| !command.contains('-')) {
            assert!(script.contains(command.as_str()), "{shell}: {command}");
        }
        assert!(hidden.iter().all(|hidden| !script.contains(hidden)), "{shell}");
        let file = folder.path().join(shell);
        fs::write(&file, script).unwrap();
        if has(shell) {
            let run = Command::new(shell).args(["-n", text(&file)]).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
    }
    let wrong = siskin(&["completions", "dash"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("bash"));
}

/// What bash offers behind these words.
fn offered(folder: &Path, words: &[&str]) -> Vec<String> {
    let script = folder.join("siskin.bash");
    fs::write(&script, self::script("bash")).unwrap();
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let asked = format!(
        ". {}; COMP_WORDS=({}); COMP_CWORD={}; _siskin siskin \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        text(&script),
        words.join(" "),
        words.len() - 1
    );
    let run = Command::new("bash").args(["-c", &asked]).current_dir(folder).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_offers_commands_flags_values_and_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("smol.gguf"), "").unwrap();
    let offered = |words: &[&str]| offered(folder.path(), words);
    assert_eq!(offered(&["siskin", "su"]), ["summarize"]);
    assert!(offered(&["siskin", "chat", "--when-f"]).contains(&"--when-full".to_owned()));
    assert_eq!(offered(&["siskin", "chat", "--think", ""]), ["on", "off", "hide"]);
    assert!(offered(&["siskin", "run", "--file", "sm"]).contains(&"smol.gguf".to_owned()));
    assert!(offered(&["siskin", "adapter", "me"]).contains(&"merge".to_owned()));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let man1 = folder.path().join("share/man/man1");
    let run = siskin(&["man", text(&man1)]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut expected: Vec<String> = commands().iter().map(|name| format!("siskin-{name}.1")).collect();
    expected.push("siskin.1".to_owned());
    expected.sort();
    assert_eq!(names(&man1), expected);
    for name in &expected {
        let path = man1.join(name);
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains(".SH NAME\n") && page.contains(".SH OPTIONS\n"), "{name}");
        if has("groff") {
            let run = Command::new("groff").args(["-man", "-ww", "-Tutf8", text(&path)]).output().unwrap();
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success() && said.is_empty(), "{name}: {said}");
        }
    }
    if has("groff") {
        let page = man1.join("siskin-run.1");
        let run = Command::new("groff").args(["-man", "-P-cbou", "-Tutf8", text(&page)]).output().unwrap();
        let read = String::from_utf8(run.stdout).unwrap();
        for part in
            ["siskin-run - Answer one prompt", "--when-full", "EXAMPLES\n", "  siskin run -p \"please turn"]
        {
            assert!(read.contains(part), "{part}: {read}");
        }
    }
    // Where it cannot be written, that is said in one line.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let line = crate::common::failure(&siskin(&["man", text(&file)]));
    assert!(line.starts_with(&format!("siskin: {}: ", text(&file))), "{line}");
}
