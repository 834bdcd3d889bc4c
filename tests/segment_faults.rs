//! Whatever dies, fills up, changes or is tampered with, segments end with the same video or with the right exit code.
//!
//! `SUBPEL_KILLS` says how many processes are killed in each of plan, run-segment, join and run (3 by default).

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Scratch, names_in, skipped};

const QUIET: &str = "--progress none";

/// A folder with a clip, and a job of four segments for it.
fn planned(options: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 20 -c:v libx264 -g 5 -bf 2 in.mkv");
    scratch.subpel(&format!("plan in.mkv -o job -c ffv1 --segments 4 {options} {QUIET}")).ends(0);
    scratch
}

/// The same with all segments made.
fn made(options: &str) -> Scratch {
    let scratch = planned(options);
    (1..=4).for_each(|number| run(&scratch, number, 0));
    scratch
}

#[track_caller]
fn run(scratch: &Scratch, number: usize, code: i32) {
    scratch.subpel(&format!("run-segment job {number} {QUIET}")).ends(code);
}

/// The one file of segment `number` with this extension.
#[track_caller]
fn file(scratch: &Scratch, number: usize, extension: &str) -> PathBuf {
    let start = format!("seg-{number:05}-");
    let names = names_in(&scratch.path("job"));
    let found: Vec<_> = names.iter().filter(|n| n.starts_with(&start) && n.ends_with(extension)).collect();
    assert_eq!(found.len(), 1, "files {start}*.{extension} among {names:?}");
    scratch.path("job").join(found[0])
}

#[track_caller]
fn joins(scratch: &Scratch) {
    scratch.subpel(&format!("upscale in.mkv whole.mkv -c ffv1 --overwrite {QUIET}")).ends(0);
    scratch.subpel(&format!("join job -o joined.mkv --overwrite {QUIET}")).ends(0);
    assert_eq!(scratch.pictures("joined.mkv", None), scratch.pictures("whole.mkv", None), "pictures");
    assert_eq!(scratch.times("joined.mkv"), scratch.times("whole.mkv"), "times");
}

/// Whether only what belongs to a finished job is in its folder.
#[track_caller]
fn is_tidy(scratch: &Scratch, segments: usize) {
    let names = names_in(&scratch.path("job"));
    let litter: Vec<_> = names.iter().filter(|n| n.starts_with('.') || n.ends_with(".failed")).collect();
    assert!(litter.is_empty() && names.len() == 3 + 2 * segments, "left in the folder: {names:?}");
}

/// Changes the manifest, whose hash is set right, as somebody with a text editor and bad intentions would.
fn tamper(scratch: &Scratch, from: &str, to: &str) {
    let path = scratch.path("job/manifest.json");
    let text = fs::read_to_string(&path).expect("manifest");
    let body = text.split_once("\"body\":").expect("body").1.trim_end().strip_suffix('}').expect("end");
    assert!(body.contains(from), "{from} in {body}");
    let changed = body.replacen(from, to, 1);
    let hash = blake3::hash(changed.as_bytes()).to_hex();
    fs::write(&path, format!("{{\"blake3\":\"{hash}\",\"body\":{changed}}}\n")).expect("written");
}

/// Changes the index, and the manifest with it.
fn tamper_index(scratch: &Scratch, at: usize) {
    let mut index = scratch.read("job/frames.idx");
    let before = blake3::hash(&index).to_hex().to_string();
    index[at] ^= 1;
    scratch.write("job/frames.idx", &index);
    tamper(scratch, &before, &blake3::hash(&index).to_hex());
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("written");
}

// ---- Rows of the table of failures ----

#[test]
fn a_segment_without_its_receipt_is_made_again() {
    let scratch = made("");
    let before = fs::read(file(&scratch, 2, "nut")).expect("readable");
    fs::remove_file(file(&scratch, 2, "json")).expect("removed");
    assert_eq!(scratch.subpel("status job --missing").ends(3).text(), "2\n", "what is missing");
    scratch.subpel(&format!("join job -o joined.mkv {QUIET} --wait 0")).ends(75).says(&["segments 2 are missing"]);
    run(&scratch, 2, 0);
    assert!(fs::read(file(&scratch, 2, "nut")).expect("readable") == before, "the same bytes");
    joins(&scratch);
    is_tidy(&scratch, 4);
}

#[test]
fn two_at_once_are_as_good_as_one() {
    let scratch = planned("");
    let start = |n: usize| scratch.raw_program(&format!("run-segment job {n} {QUIET}")).spawn().expect("starts");
    let twins: Vec<Child> = [1, 1, 1, 2, 2, 3, 4, 4].into_iter().map(start).collect();
    for mut child in twins {
        assert_eq!(child.wait().expect("ends").code(), Some(0), "each of them is content");
    }
    joins(&scratch);
    is_tidy(&scratch, 4);
    // Made again on purpose it is the same, and takes nothing's place.
    scratch.subpel(&format!("run-segment job 1 --again {QUIET}")).ends(0);
    is_tidy(&scratch, 4);
}

#[test]
fn a_second_result_that_differs_is_told_and_kept_apart() {
    let scratch = planned("");
    run(&scratch, 1, 0);
    // What is there is whole by its receipt, but not what this program makes.
    let (data, receipt) = (file(&scratch, 1, "nut"), file(&scratch, 1, "json"));
    let old = blake3::hash(&fs::read(&data).expect("readable")).to_hex().to_string();
    flip(&data, 2000);
    let new = blake3::hash(&fs::read(&data).expect("readable")).to_hex().to_string();
    let name = data.to_string_lossy().replace(&old[..16], &new[..16]);
    fs::rename(&data, name).expect("renamed");
    let text = fs::read_to_string(&receipt).expect("receipt");
    let body =
        text.split_once("\"body\":").expect("body").1.trim_end().strip_suffix('}').expect("end").replace(&old, &new);
    let hash = blake3::hash(body.as_bytes()).to_hex();
    fs::write(&receipt, format!("{{\"blake3\":\"{hash}\",\"body\":{body}}}\n")).expect("written");
    scratch.subpel(&format!("run-segment job 1 --again {QUIET}")).ends(70).says(&["two runs gave different pictures"]);
    file(&scratch, 1, "conflict");
    let gone = scratch.subpel("gc job").ends(0).text();
    assert!(gone.contains(".conflict"), "{gone}");
}

#[test]
fn a_full_disk_asks_for_another_try_and_says_for_how_much() {
    let scratch = planned("--scale 4 --keep-as fast");
    // A limit on the size of files is a full disk that needs no rights to make.
    let limited = |restarts: &str, command: &str| {
        let mut shell = std::process::Command::new("sh");
        let program = env!("CARGO_BIN_EXE_subpel");
        shell
            .args(["-c", &format!("ulimit -f 16; exec {program} {command} {QUIET}")])
            .env("SLURM_RESTART_COUNT", restarts);
        let done = shell.current_dir(scratch.path("")).output().expect("a shell");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, words) = limited("4", "run-segment job 1");
    assert_eq!(code, Some(75), "{words}");
    assert!(words.contains("this segment needs up to") && words.contains("bytes"), "{words}");
    let names = names_in(&scratch.path("job"));
    assert!(!names.iter().any(|n| n.ends_with(".tmp") || n.ends_with(".nut")), "nothing is left: {names:?}");
    let told = scratch.subpel("status job").ends(3).text();
    assert!(told.contains("segment 1 failed on") && told.contains("exit code 75"), "{told}");
    let (code, words) = limited("0", "plan in.mkv -o big --segments 2 --max-pixels 1000000");
    assert_eq!(code, Some(0), "a plan is small: {words}");
    // A scheduler that tries for ever is stopped.
    let (code, words) = limited("5", "run-segment job 1");
    assert!(code == Some(74) && words.contains("given up after 5 restarts"), "{code:?} {words}");
    run(&scratch, 1, 0);
    joined_after(&scratch);
}

fn joined_after(scratch: &Scratch) {
    (2..=4).for_each(|number| run(scratch, number, 0));
    scratch.subpel("gc job").ends(0);
    is_tidy(scratch, 4);
}

#[test]
fn a_real_full_disk_is_no_different() {
    let scratch = planned("--scale 8 --keep-as fast");
    fs::create_dir(scratch.path("small")).expect("made");
    let mount = |words: &[&str]| {
        let done = std::process::Command::new(words[0]).args(&words[1..]).arg(scratch.path("small")).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=300k", "none"]) {
        skipped("a file system of 300 kB cannot be mounted here");
        return;
    }
    let plan =
        scratch.subpel(&format!("plan in.mkv -o small/job -c ffv1 --scale 8 --keep-as fast --segments 2 {QUIET}"));
    let first = scratch.subpel(&format!("run-segment small/job 1 {QUIET}"));
    let names = names_in(&scratch.path("small/job"));
    assert!(mount(&["umount"]), "unmounted");
    plan.ends(0);
    first.ends(75).says(&["this segment needs up to"]);
    assert!(!names.iter().any(|n| n.ends_with(".tmp") || n.ends_with(".nut")), "nothing is left: {names:?}");
}

#[test]
fn a_flipped_bit_in_a_segment_is_found_and_repaired() {
    let scratch = made("");
    let path = file(&scratch, 3, "nut");
    let length = fs::metadata(&path).expect("there").len() as usize;
    flip(&path, length / 2);
    scratch.subpel("status job").ends(0);
    scratch.subpel(&format!("join job -o joined.mkv {QUIET}")).ends(65).says(&["segments 3 are damaged", "--repair"]);
    assert!(!scratch.path("joined.mkv").exists(), "nothing was written");
    scratch.subpel("verify job").ends(65).says(&["segments 3 are damaged"]);
    let told = scratch.subpel("verify job --repair").ends(3).text();
    assert!(told.contains("missing: 3"), "{told}");
    run(&scratch, 3, 0);
    scratch.subpel("verify job").ends(0);
    joins(&scratch);
    // run-segment finds it too, unless it is told to believe.
    flip(&path, length / 2);
    scratch.subpel(&format!("run-segment job 3 --trust-receipt {QUIET}")).ends(0);
    scratch.subpel("verify job").ends(65);
    run(&scratch, 3, 0);
    scratch.subpel("verify job").ends(0);
}

#[test]
fn a_segment_cut_short_is_damaged_and_one_on_its_way_is_waited_for() {
    let scratch = made("");
    let path = file(&scratch, 2, "nut");
    let whole = fs::read(&path).expect("readable");
    fs::write(&path, &whole[..whole.len() - 100]).expect("written");
    assert_eq!(scratch.subpel("status job --missing").ends(3).text(), "2\n", "cut short");
    scratch.subpel(&format!("join job -o joined.mkv --wait 0.2 {QUIET}")).ends(65).says(&["segments 2 are damaged"]);
    fs::remove_file(&path).expect("removed");
    let start = Instant::now();
    scratch.subpel(&format!("join job -o joined.mkv --wait 0.6 {QUIET}")).ends(75).says(&["segments 2 are missing"]);
    assert!(start.elapsed() > Duration::from_millis(600), "it was waited for");
    let mut late = scratch.raw_program(&format!("join job -o joined.mkv --wait 60 {QUIET}")).spawn().expect("starts");
    std::thread::sleep(Duration::from_millis(700));
    assert!(late.try_wait().expect("asked").is_none(), "it still waits");
    fs::write(scratch.path("late"), &whole).expect("written");
    fs::rename(scratch.path("late"), &path).expect("arrived");
    assert_eq!(late.wait().expect("ends").code(), Some(0), "joined when it had arrived");
}

#[test]
fn another_input_is_refused() {
    let scratch = made("");
    let original = scratch.read("in.mkv");
    fs::remove_file(file(&scratch, 1, "json")).expect("removed");
    scratch.write("in.mkv", [&original[..], b"x"].concat());
    scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(78).says(&["not the input that was planned", "bytes"]);
    let mut edited = original.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    scratch.write("in.mkv", &edited);
    scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(78).says(&["its content has changed"]);
    scratch.subpel(&format!("run in.mkv -o o.mkv -c ffv1 --job job {QUIET}")).ends(78);
    // Written again without a change it is the same input, and elsewhere too.
    scratch.write("in.mkv", &original);
    run(&scratch, 1, 0);
    fs::remove_file(file(&scratch, 2, "json")).expect("removed");
    fs::rename(scratch.path("in.mkv"), scratch.path("moved.mkv")).expect("moved");
    scratch.subpel(&format!("run-segment job 2 {QUIET}")).ends(65).says(&["in.mkv"]);
    scratch.subpel(&format!("run-segment job 2 --input moved.mkv {QUIET}")).ends(0);
    fs::rename(scratch.path("moved.mkv"), scratch.path("in.mkv")).expect("moved back");
    joins(&scratch);
}

#[test]
fn another_version_or_other_weights_are_refused() {
    let scratch = planned("");
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    tamper(&scratch, &version, "\"version\":\"0.0.7\"");
    scratch
        .subpel(&format!("run-segment job 1 {QUIET}"))
        .ends(78)
        .says(&["was planned by subpel 0.0.7", "--allow-mixed"]);
    scratch.subpel("status job").ends(78);
    scratch.subpel(&format!("run-segment job 1 --allow-mixed {QUIET}")).ends(0);
    tamper(&scratch, "\"schema\":1", "\"schema\":9");
    scratch.subpel("status job --allow-mixed").ends(78).says(&["form 9"]);
    scratch.subpel("model convert builtin w.safetensors").ends(0);
    scratch.subpel(&format!("plan in.mkv -o job2 --refine w.safetensors --segments 3 {QUIET}")).ends(0);
    scratch.subpel(&format!("run-segment job2 1 {QUIET}")).ends(0);
    let weights = scratch.path("w.safetensors");
    let length = fs::metadata(&weights).expect("there").len() as usize;
    flip(&weights, length - 3);
    scratch.subpel(&format!("run-segment job2 2 {QUIET}")).ends(78).says(&["w.safetensors", "other weights"]);
}

#[test]
fn a_manifest_is_believed_only_whole_and_sound() {
    let scratch = planned("");
    let manifest = scratch.read("job/manifest.json");
    for length in [0, 1, 100, manifest.len() - 2] {
        scratch.write("job/manifest.json", &manifest[..length]);
        scratch.subpel("status job").ends(65).says(&["manifest.json"]);
    }
    let mut flipped = manifest.clone();
    flipped[manifest.len() / 2] ^= 1;
    scratch.write("job/manifest.json", &flipped);
    scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(65).says(&["is damaged"]);
    // Sealed, but nonsense.
    for (from, to) in [
        ("[[0,5],", "[[0,6],"),
        ("[[0,5],", "[[5,0],"),
        ("[15,20]]", "[15,19]]"),
        ("\"frames\":20", "\"frames\":99999999999"),
        ("\"container\":\"mkv\"", "\"container\":\"../../x\""),
        ("\"schema\":1", "\"schema\":1,\"more\":2"),
        ("\"allow_network\":false", "\"allow_network\":true"),
    ] {
        scratch.write("job/manifest.json", &manifest);
        tamper(&scratch, from, to);
        scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(65);
    }
    scratch.write("job/manifest.json", &manifest);
    let index = scratch.read("job/frames.idx");
    scratch.write("job/frames.idx", &index[..index.len() - 1]);
    scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(65).says(&["frames.idx", "is damaged"]);
    scratch.write("job/frames.idx", &index);
    run(&scratch, 1, 0);
    for (number, code) in [("0", 2), ("5", 2), ("x", 2)] {
        scratch.subpel(&format!("run-segment job {number} {QUIET}")).ends(code);
    }
    scratch.subpel("status nowhere").ends(2).says(&["holds no job"]);
}

#[test]
fn a_segment_that_always_fails_stops_nobody_else() {
    let scratch = planned("--method bicubic");
    // The hash of frame 12: what is decoded is never what the index says, by a seek or from the start.
    tamper_index(&scratch, 16 + 48 * 12 + 30);
    for number in [1, 2, 4] {
        run(&scratch, number, 0);
    }
    for _ in 0..2 {
        let failed = scratch.subpel(&format!("run-segment job 3 {QUIET}")).ends(78);
        failed.says(&["frame 12", "another picture or time"]);
    }
    let told = scratch.subpel("status job").ends(3).text();
    assert!(told.contains("missing: 3") && told.contains("segment 3 failed") && told.contains("code 78"), "{told}");
}

#[test]
fn names_that_lead_elsewhere_are_replaced_not_followed() {
    let scratch = planned("");
    run(&scratch, 1, 0);
    let (data, receipt) = (file(&scratch, 1, "nut"), file(&scratch, 1, "json"));
    scratch.write("precious", "mine");
    for path in [&data, &receipt] {
        fs::remove_file(path).expect("removed");
        std::os::unix::fs::symlink(scratch.path("precious"), path).expect("planted");
    }
    run(&scratch, 1, 0);
    assert_eq!(scratch.read("precious"), b"mine", "untouched");
    assert!(data.symlink_metadata().expect("there").is_file() && receipt.symlink_metadata().expect("there").is_file());
}

#[test]
fn a_folder_that_cannot_be_written_is_told_apart() {
    let scratch = planned("");
    scratch.write("file", "no folder");
    scratch.subpel(&format!("plan in.mkv -o file {QUIET}")).ends(73);
    scratch.subpel(&format!("plan in.mkv -o no/such/folder {QUIET}")).ends(73);
    let permissions = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(scratch.path("job"), permissions(0o500)).expect("set");
    if fs::write(scratch.path("job/probe"), "x").is_ok() {
        skipped("root writes everywhere");
        fs::remove_file(scratch.path("job/probe")).expect("removed");
    } else {
        scratch.subpel(&format!("run-segment job 1 {QUIET}")).ends(73);
    }
    fs::set_permissions(scratch.path("job"), permissions(0o700)).expect("set");
    scratch.subpel(&format!("plan gone.mkv -o new {QUIET}")).ends(65);
    assert!(!scratch.path("new").exists(), "no folder without a plan");
    scratch.subpel(&format!("run in.mkv -o - {QUIET}")).ends(2);
    scratch.subpel(&format!("plan in.mkv -o new --allow-network {QUIET}")).ends(2).says(&["--allow-network"]);
    scratch.subpel(&format!("run - -o out.mkv {QUIET}")).ends(2).says(&["more than once"]);
}

// ---- Processes that die ----

fn kills() -> u64 {
    std::env::var("SUBPEL_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// Starts the program and kills it after `patience`; whether it was still running.
fn killed_after(scratch: &Scratch, command: &str, patience: Duration) -> bool {
    let mut child = scratch.raw_program(command).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("starts");
    std::thread::sleep(patience);
    let running = child.try_wait().expect("asked").is_none();
    child.kill().expect("killed");
    child.wait().expect("ended");
    running
}

/// How long a command takes when nobody kills it.
fn time_of(scratch: &Scratch, command: &str) -> Duration {
    let start = Instant::now();
    scratch.subpel(command).ends(0);
    start.elapsed()
}

/// The `n`th of `of` moments, in an order that mixes early and late, up to a little after `whole`.
fn moment(n: u64, of: u64, whole: Duration) -> Duration {
    whole.mul_f64(1.1 * ((n * 7 + 3) % of.max(1)) as f64 / of.max(1) as f64)
}

#[test]
fn whatever_is_killed_the_rest_finishes_it() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 40 -c:v libx264 -g 10 -bf 2 in.mkv");
    let options = "-c ffv1";
    let plan = format!("plan in.mkv -o job {options} --segments 2 {QUIET}");
    let segment = |n: usize| format!("run-segment job {n} {QUIET}");
    let join = format!("join job -o joined.mkv {QUIET}");
    scratch.subpel(&format!("upscale in.mkv whole.mkv {options} {QUIET}")).ends(0);
    let (whole, times) = (scratch.pictures("whole.mkv", None), scratch.times("whole.mkv"));
    let takes = [
        time_of(&scratch, &plan),
        time_of(&scratch, &segment(1)),
        time_of(&scratch, &segment(2)),
        time_of(&scratch, &join),
    ];
    let all = kills();
    let mut struck = 0;
    for n in 0..all {
        for name in ["job", "joined.mkv"] {
            let path = scratch.path(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        struck += u32::from(killed_after(&scratch, &plan, moment(n, all, takes[0])));
        scratch.subpel(&plan).ends(0);
        struck += u32::from(killed_after(&scratch, &segment(1), moment(n + 1, all, takes[1])));
        scratch.subpel(&segment(1)).ends(0);
        struck += u32::from(killed_after(&scratch, &segment(2), moment(n + 2, all, takes[2])));
        scratch.subpel(&segment(2)).ends(0);
        struck += u32::from(killed_after(&scratch, &join, moment(n + 3, all, takes[3])));
        if !scratch.path("joined.mkv").exists() {
            scratch.subpel(&join).ends(0);
        }
        assert_eq!(scratch.pictures("joined.mkv", None), whole, "pictures after round {n}");
        assert_eq!(scratch.times("joined.mkv"), times, "times after round {n}");
        scratch.subpel("gc job").ends(0);
        is_tidy(&scratch, 2);
        let beside: Vec<String> = scratch.names().into_iter().filter(|n| n.starts_with('.')).collect();
        assert_eq!(beside, Vec::<String>::new(), "litter beside the output");
    }
    eprintln!("{struck} of {} processes were killed at work", 4 * all);
    assert!(struck > 0, "no process was killed at work");
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 64 -c:v libx264 -g 10 -bf 2 in.mkv");
    let command = format!("upscale in.mkv out.mkv -c ffv1 --preset best --resume {QUIET}");
    scratch.subpel(&format!("upscale in.mkv whole.mkv -c ffv1 --preset best {QUIET}")).ends(0);
    let receipts = || -> Vec<String> {
        let path = scratch.path("out.mkv.subpel-job");
        let names = if path.is_dir() { names_in(&path) } else { Vec::new() };
        names.into_iter().filter(|n| n.starts_with("seg-") && n.ends_with(".json")).collect()
    };
    let mut child = scratch.raw_program(&command).spawn().expect("starts");
    let start = Instant::now();
    while receipts().len() < 4 && child.try_wait().expect("asked").is_none() {
        assert!(start.elapsed() < Duration::from_secs(120), "segments come");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    let before: Vec<(String, Vec<u8>)> =
        receipts().into_iter().map(|n| (n.clone(), scratch.read(format!("out.mkv.subpel-job/{n}")))).collect();
    assert!(before.len() >= 4 && !scratch.path("out.mkv").exists(), "killed in the middle: {} of 8", before.len());
    // Other options are another job.
    scratch.subpel(&command.replace("best", "fast")).ends(78).says(&["preset was \"best\" and is \"fast\""]);
    let run = format!("run in.mkv -o out.mkv -c ffv1 --preset best --keep-job {QUIET}");
    scratch.subpel(&run).ends(0);
    for (name, bytes) in before {
        assert!(scratch.read(format!("out.mkv.subpel-job/{name}")) == bytes, "{name} was made again");
    }
    assert_eq!(scratch.pictures("out.mkv", None), scratch.pictures("whole.mkv", None), "pictures");
    scratch.subpel(&format!("{command} --overwrite")).ends(0);
    let left: Vec<String> = scratch.names().into_iter().filter(|n| n.starts_with('.') || n.contains("job")).collect();
    assert_eq!(left, Vec::<String>::new(), "the folder is gone with the last command");
}

#[test]
fn a_run_that_is_interrupted_can_go_on() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 64 -c:v libx264 -g 10 in.mkv");
    let command = format!("run in.mkv -o out.mkv -c ffv1 --preset best {QUIET}");
    let mut child = scratch.raw_program(&command).stderr(Stdio::piped()).spawn().expect("starts");
    let folder = scratch.path("out.mkv.subpel-job");
    let start = Instant::now();
    while !(folder.is_dir() && names_in(&folder).iter().any(|n| n.ends_with(".nut"))) {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().expect("asked").is_none(), "it works");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = i32::try_from(child.id()).expect("a process");
    // SAFETY: a signal to a child that was not waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0, "the signal is sent");
    let done = child.wait_with_output().expect("ends");
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(130), "{words}");
    assert!(words.contains("segments that are whole stay"), "{words}");
    assert!(!names_in(&folder).iter().any(|n| n.ends_with(".tmp")), "nothing unfinished is left");
    assert!(!scratch.path("out.mkv").exists(), "no output yet");
    scratch.subpel(&command).ends(0);
    scratch.subpel(&format!("upscale in.mkv whole.mkv -c ffv1 --preset best {QUIET}")).ends(0);
    assert_eq!(scratch.pictures("out.mkv", None), scratch.pictures("whole.mkv", None), "pictures");
}

#[test]
fn a_damaged_input_is_damaged_in_segments_too() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=160x96:r=25 -frames:v 30 -c:v libx264 -g 10 -bf 2 sound.mp4");
    let mut bytes = scratch.read("sound.mp4");
    let middle = bytes.len() / 2;
    (0..4).for_each(|n| bytes[middle + 700 * n] ^= 0x24);
    scratch.write("in.mp4", bytes);
    scratch.subpel(&format!("upscale in.mp4 whole.mkv -c ffv1 {QUIET}")).ends(3).mentions(&["the input is damaged"]);
    scratch.subpel(&format!("run in.mp4 -o out.mkv -c ffv1 --segment-frames 4 {QUIET}")).ends(3).mentions(&["damaged"]);
    assert_eq!(scratch.pictures("out.mkv", None), scratch.pictures("whole.mkv", None), "pictures");
}

#[test]
fn leftovers_of_older_plans_are_garbage() {
    let scratch = made("");
    let stale = [
        "seg-00001-0000000000000000-0000000000000000.nut",
        "seg-00001-0000000000000000.json",
        ".seg-00002.nohost.1.abc.tmp",
    ];
    for name in stale {
        scratch.write(&format!("job/{name}"), "old");
    }
    let day = Duration::from_secs(25 * 3600);
    let old = std::time::SystemTime::now() - day;
    let file = fs::File::options().write(true).open(scratch.path("job").join(stale[2])).expect("opened");
    file.set_modified(old).expect("made old");
    let removed = scratch.subpel("gc job").ends(0).text();
    assert!(stale.iter().all(|name| removed.contains(name)), "{removed}");
    is_tidy(&scratch, 4);
    let receipt: Value = serde_json::from_slice(&fs::read(file_of(&scratch)).expect("readable")).expect("JSON");
    assert_eq!(receipt["body"]["frames"], serde_json::json!([0, 5]), "what belongs to the job stays");
}

fn file_of(scratch: &Scratch) -> PathBuf {
    file(scratch, 1, "json")
}
