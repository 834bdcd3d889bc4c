//! The files of samples/damaged/ end with the exit codes their README says, and failures leave nothing behind.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Name and accepted exit codes of each row.
fn table(text: &str) -> Vec<(String, Vec<i32>)> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let codes = cells[2].split(" or ").map(|code| code.parse().expect("an exit code is a number"));
        (cells[0].trim_matches('`').to_owned(), codes.collect())
    })
    .collect()
}

#[test]
fn damaged_files_end_as_their_readme_says() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/damaged");
    let rows = table(&fs::read_to_string(samples.join("README.md")).expect("README.md is readable"));
    let files = fs::read_dir(&samples).expect("samples/damaged is readable").count();
    assert_eq!(rows.len() + 1, files, "rows in samples/damaged/README.md, and files beside it");
    let mut wrong = Vec::new();
    for (name, codes) in rows {
        let folder = tempfile::tempdir().expect("temporary folder");
        let done = Command::new(env!("CARGO_BIN_EXE_subpel"))
            .arg("upscale")
            .arg(samples.join(&name))
            .arg(folder.path().join("out.mkv"))
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("temporary folder is readable").flatten().collect();
        let error = String::from_utf8_lossy(&done.stderr);
        let code = done.status.code();
        if !code.is_some_and(|code| codes.contains(&code)) {
            wrong.push(format!("{name}: {}, not {codes:?}: {error}", done.status));
        }
        let wanted = usize::from(matches!(code, Some(0 | 3)));
        if left.len() != wanted {
            wrong.push(format!("{name}: {}, and {} files in the output folder", done.status, left.len()));
        }
        if code != Some(0) && !error.contains(&name) {
            wrong.push(format!("{name}: the message does not name the file: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
