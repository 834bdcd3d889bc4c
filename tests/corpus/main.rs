//! Hostile, damaged and honest checkpoints: every one of them is read or refused in words, quickly and in little memory.
//!
//! The small ones are `fuzz/seeds/`, where fuzzing starts from too; the large ones are made here (`files.rs`, which also made
//! the small ones: `cargo test --test corpus -- --ignored write_the_seeds`).

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod files;
#[path = "../support/forge.rs"]
mod forge;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use files::File;
use subpel::Kind;
use subpel::refine::{Checkpoint, Network};
use tempfile::TempDir;

/// The longest that a file may take.
const LONGEST: Duration = Duration::from_secs(1);
/// The most memory that a file may take beyond its own size, bytes.
const MOST: u64 = 64 << 20;
/// Changed copies of each file.
const CHANGES: u32 = 300;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

/// The committed files.
fn committed() -> Vec<File> {
    let entries = |folder: &Path| {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let file = |path: PathBuf| File {
        target: name(path.parent().expect("its folder")),
        name: name(&path),
        bytes: fs::read(&path).expect("readable"),
    };
    let files: Vec<File> = entries(&seeds()).iter().flat_map(|folder| entries(folder)).map(file).collect();
    assert!(files.len() >= 50, "{} files", files.len());
    files
}

/// Writes a file (two, for ncnn) to a folder; the one to be read.
fn written(folder: &TempDir, target: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(if target == "ncnn" { "file.param" } else { "file.pth" });
    // Where a file is cut to nothing and written again, some file systems wait for the disk; where it is new, they do not.
    for old in [&path, &path.with_extension("bin")] {
        let _ = fs::remove_file(old);
    }
    match bytes.iter().position(|&byte| byte == 0) {
        Some(zero) if target == "ncnn" => {
            fs::write(&path, &bytes[..zero]).expect("written");
            fs::write(path.with_extension("bin"), &bytes[zero + 1..]).expect("written");
        }
        _ => fs::write(&path, bytes).expect("written"),
    }
    path
}

/// Reads a file as the program does; whether it holds a network. Fails where a refusal is not one of words.
#[track_caller]
fn is_read(path: &Path, what: &str) -> bool {
    let start = Instant::now();
    let result = Checkpoint::read(path).and_then(|checkpoint| Network::of(&checkpoint));
    assert!(start.elapsed() < LONGEST, "{what} took {:?}", start.elapsed());
    let Err(error) = result else { return true };
    assert_eq!(error.kind(), Kind::Input, "{what}: {error:?}");
    let text = error.to_string();
    assert!(text.len() < 8192 && !text.chars().any(char::is_control), "{what}: {text:?}");
    false
}

#[test]
fn honest_files_are_read_and_hostile_ones_refused() {
    let folder = tempfile::tempdir().expect("folder");
    for File { target, name, bytes } in committed() {
        let read = is_read(&written(&folder, &target, &bytes), &format!("{target}/{name}"));
        assert_eq!(read, name.starts_with("good"), "{target}/{name}");
    }
}

/// Numbers that files have in the places of sizes.
const SIZES: [u64; 10] = [0, 1, 7, 0x7f, 0xffff, 1 << 31, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];

/// A copy with a bit turned, a byte set, a number written over, an end cut off, or a part repeated.
fn changed(bytes: &[u8], next: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=next(3) {
        if bytes.is_empty() {
            break;
        }
        let place = next(bytes.len());
        match next(6) {
            0 => bytes[place] ^= 1 << next(8),
            1 => bytes[place] = next(256) as u8,
            2 | 3 => {
                let (size, width) = (SIZES[next(SIZES.len())].to_le_bytes(), [1, 2, 4, 8][next(4)]);
                bytes[place..].iter_mut().zip(&size[..width]).for_each(|(byte, new)| *byte = *new);
            }
            4 => bytes.truncate(place),
            _ => {
                let part = bytes[place..(place + 1 + next(64)).min(bytes.len())].to_vec();
                bytes.splice(place..place, part);
            }
        }
    }
    bytes
}

#[test]
fn changed_copies_are_read_or_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for File { target, name, bytes } in committed() {
        for change in 0..CHANGES {
            let copy = changed(&bytes, &mut next);
            is_read(&written(&folder, &target, &copy), &format!("change {change} of {target}/{name}"));
        }
    }
}

/// Names the file that [`measure`] is to measure.
const MEASURED: &str = "SUBPEL_CORPUS_FILE";

/// Exit code, milliseconds and largest memory (bytes) of `subpel model info`.
///
/// The system counts what a process held before it became another program too, so the largest memory of a child is never
/// below what its parent held. This process holds large files; a second one, fresh, starts the program.
#[cfg(unix)]
fn info(path: &Path) -> [u64; 3] {
    let mut helper = Command::new(std::env::current_exe().expect("this program"));
    helper.args(["--ignored", "--exact", "--nocapture", "measure"]).env(MEASURED, path);
    let output = helper.output().expect("the helper starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.lines().find_map(|line| line.split_once("measured: ")).expect("a line with numbers").1;
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("three numbers")
}

#[cfg(unix)]
#[test]
#[ignore = "a helper of another test"]
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn measure() {
    let Some(path) = std::env::var_os(MEASURED) else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_subpel"));
    command.args(["model", "info"]).arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let child = command.spawn().expect("the program starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid value of a plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid; the child is ours and is not waited for elsewhere.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    let time = start.elapsed().as_millis();
    assert!(waited == pid && libc::WIFEXITED(status), "status {status:#x}");
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    println!("\nmeasured: {} {time} {}", libc::WEXITSTATUS(status), usage.ru_maxrss * unit);
}

#[cfg(unix)]
#[test]
fn no_file_takes_long_or_much_memory() {
    let folder = tempfile::tempdir().expect("folder");
    let plain = committed().into_iter().find(|file| file.name.starts_with("good")).expect("an honest file");
    let [_, _, least] = info(&written(&folder, &plain.target, &plain.bytes));
    let mut wrong = Vec::new();
    for File { target, name, bytes } in committed().into_iter().chain(files::large()) {
        let [code, time, peak] = info(&written(&folder, &target, &bytes));
        let more = peak.saturating_sub(least + bytes.len() as u64);
        let line =
            format!("{target}/{name}: exit code {code}, {time} ms, {} MiB beyond {} kB", more >> 20, bytes.len() >> 10);
        if more > MOST / 4 || time > 250 {
            eprintln!("{line}");
        }
        let expected = if name.starts_with("good") { 0 } else { 65 };
        if code != expected || more > MOST || u128::from(time) > LONGEST.as_millis() {
            wrong.push(line);
        }
    }
    eprintln!("{} MiB for {}", least >> 20, plain.name);
    assert!(wrong.is_empty(), "{} files:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "writes fuzz/seeds anew"]
fn write_the_seeds() {
    for File { target, name, bytes } in files::small() {
        let folder = seeds().join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), bytes).expect("written");
    }
}
