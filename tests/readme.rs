//! What README.md says about the program holds: its commands run, its options exist, its exit codes are complete.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use subpel::Kind;

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(project().join("README.md")).expect("README.md is readable")
}

fn subpel(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_subpel"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.output().expect("the program starts")
}

/// The commands in `console` blocks: what follows `$ subpel`.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let mut in_console = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            in_console = language == "console";
        } else if let Some(rest) = line.strip_prefix("$ subpel ").filter(|_| in_console) {
            found.push(rest.split_whitespace().collect());
        }
    }
    found
}

/// First cells of the rows of the table below `heading`, without the table's own heading.
fn first_cells<'a>(text: &'a str, heading: &str, column: &str) -> Vec<&'a str> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect("the section is there");
    let rows = section.lines().skip_while(|line| !line.starts_with(&format!("| {column} |"))).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').next().unwrap_or_default().trim()).collect()
}

#[test]
fn every_command_of_the_readme_runs() {
    let text = readme();
    let commands = commands(&text);
    assert!(commands.len() >= 5, "only {} commands found", commands.len());
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::create_dir(folder.path().join("samples")).expect("folder for the sample");
    fs::copy(project().join("samples/clip.mkv"), folder.path().join("samples/clip.mkv")).expect("copy of the sample");
    for arguments in commands {
        let done = subpel(folder.path(), &arguments);
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "subpel {}: {}\n{error}", arguments.join(" "), done.status);
    }
}

#[test]
fn every_option_of_the_readme_is_in_the_help() {
    let text = readme();
    let done = subpel(&project(), &["upscale", "--help"]);
    assert!(done.status.success(), "subpel upscale --help: {}", done.status);
    let help = String::from_utf8_lossy(&done.stdout);
    let offered: Vec<&str> = help.split(|c: char| c != '-' && !c.is_alphanumeric()).collect();
    let cells = first_cells(&text, "Options of upscale", "option");
    assert!(cells.len() >= 10, "only {} options found", cells.len());
    for cell in cells {
        let names = cell.trim_matches('`').split([',', ' ']).filter(|word| word.starts_with('-'));
        for name in names {
            assert!(offered.contains(&name), "README.md names {name}, the help does not:\n{help}");
        }
    }
    for method in first_cells(&text, "Options of upscale", "method").iter().flat_map(|cell| cell.split(", ")) {
        let method = method.trim_matches('`');
        assert!(offered.contains(&method), "README.md names the method {method}, the help does not:\n{help}");
    }
}

#[test]
fn every_command_of_the_readme_table_has_a_help() {
    for cell in first_cells(&readme(), "Commands", "command") {
        let name = cell.trim_matches('`').split(' ').next().unwrap_or_default();
        let done = subpel(&project(), &[name, "--help"]);
        assert!(done.status.success() && !done.stdout.is_empty(), "subpel {name} --help: {}", done.status);
    }
}

#[test]
fn the_exit_codes_are_all_in_the_table() {
    let text = readme();
    let listed: Vec<u8> = first_cells(&text, "Exit codes", "code")
        .iter()
        .flat_map(|cell| cell.split(", "))
        .map(|code| code.parse().expect("an exit code is a number"))
        .collect();
    let kinds = [
        Kind::Usage,
        Kind::Input,
        Kind::Unavailable,
        Kind::Bug,
        Kind::Create,
        Kind::Io,
        Kind::Resource,
        Kind::Mismatch,
        Kind::Interrupted,
        Kind::Terminated,
    ];
    let mut codes = vec![0, 3];
    codes.extend(kinds.map(Kind::exit_code));
    codes.sort_unstable();
    assert_eq!(listed, codes, "codes of README.md and of the program");
}
