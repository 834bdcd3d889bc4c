//! Memory, disk, signals and pipes: what runs out or goes away ends in one message and leaves no litter.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use support::{Done, Scratch, names_in, skipped};

/// Kilobytes a run has held at most; it must succeed.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it")]
fn peak_memory(scratch: &Scratch, arguments: &str) -> u64 {
    let child = scratch.raw_program(arguments).stderr(Stdio::null()).spawn().expect("the program starts");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid value of a plain C struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid; the child is ours and is not waited for elsewhere.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!((waited, status), (pid, 0), "{arguments}");
    u64::try_from(usage.ru_maxrss).expect("kilobytes")
}

#[test]
fn memory_does_not_grow_with_length() {
    let scratch = Scratch::new();
    scratch.clip("short.mkv", "testsrc2=s=128x96:r=25", 100);
    scratch.clip("long.mkv", "testsrc2=s=128x96:r=25", 400);
    for options in ["--method bilinear", "--method ibp --preset fast", "--method bilinear --codec ffv1 --scale 4"] {
        let peak = |name: &str| {
            peak_memory(&scratch, &format!("upscale {name} out.mkv --overwrite --threads 2 --progress none {options}"))
        };
        let (short, long) = (peak("short.mkv"), peak("long.mkv"));
        assert!(long * 10 <= short * 11, "{options}: {short} KiB for 100 frames, {long} KiB for 400");
    }
}

#[test]
fn a_job_that_needs_more_memory_than_allowed_is_refused() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 2);
    let done = scratch.subpel("upscale in.mkv out.mkv --scale 4 --max-memory 8MiB").ends(75);
    done.says(&["MiB", "--max-memory allows 8 MiB", "--window"]);
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
    scratch.subpel("upscale in.mkv out.mkv --max-memory 2GiB --progress none").ends(0);
    assert_eq!(scratch.times("out.mkv").len(), 2, "frames");
}

/// A small file system, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        fs::create_dir(folder).expect("folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=192k,mode=777", "none"]).arg(folder);
        let mounted = command.stderr(Stdio::null()).status().is_ok_and(|s| s.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|s| s.success()) || std::thread::panicking(), "the small disk is unmounted");
    }
}

#[test]
fn a_full_disk_ends_with_75_and_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 30);
    let folder = scratch.path("disk");
    let Some(disk) = SmallDisk::mount(&folder) else { return skipped("no file system may be mounted here") };
    for options in ["disk/out.mkv --codec ffv1", "disk/out.mp4 --crf 0", "disk/out.nut --codec ffv1", "disk/f%03d.png"]
    {
        let done = scratch.subpel(&format!("upscale in.mkv {options} --method bilinear --progress none"));
        let output = options.split(' ').next().unwrap_or_default();
        done.ends(75).says(&[output.trim_end_matches("f%03d.png")]);
        assert_eq!(names_in(&folder), Vec::<String>::new(), "{options}: the folder afterwards");
    }
    fs::write(folder.join("old.mkv"), "old").expect("an old file");
    scratch.subpel("upscale in.mkv disk/old.mkv --overwrite --codec ffv1 --progress none").ends(75).says(&["old.mkv"]);
    assert_eq!(fs::read(folder.join("old.mkv")).expect("old file"), b"old", "the old file");
    drop(disk);
}

#[test]
fn a_full_standard_output_is_told() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 5);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the full device");
    let done = scratch.raw_program("upscale in.mkv - --method bilinear").stdout(full).output().expect("it starts");
    let error = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(75), "{error}");
    assert!(error.contains("subpel: error: ") && !error.contains("panicked"), "{error}");
}

/// Runs the program under `sh` with limits or redirections around it.
fn shell(scratch: &Scratch, script: &str) -> Done {
    let mut command = assert_cmd::Command::new("sh");
    let script = script.replace("subpel", &format!("'{}'", env!("CARGO_BIN_EXE_subpel")));
    command.args(["-c", &script]).current_dir(scratch.path("")).timeout(Duration::from_secs(120));
    Done::of(&mut command)
}

#[test]
fn a_limit_on_the_size_of_files_ends_with_75() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 10);
    for output in ["out.mkv", "out.mp4", "out.nut"] {
        let command = format!("ulimit -f 64; exec subpel upscale in.mkv {output} --codec ffv1 --method bilinear");
        let command = if output == "out.mp4" { command.replace("ffv1", "libx264 --crf 0") } else { command };
        shell(&scratch, &command).ends(75).says(&[output]);
        assert_eq!(scratch.names(), ["in.mkv"], "{output}: the folder afterwards");
    }
}

#[test]
fn closed_standard_streams_are_no_crash() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=25", 3);
    shell(&scratch, "exec subpel upscale - out.mkv <&-").ends(65).says(&["standard input"]);
    shell(&scratch, "exec subpel upscale - out.mkv </dev/null").ends(65).says(&["standard input"]);
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
    shell(&scratch, "exec subpel upscale in.mkv a.mkv <&- >&- 2>&-").ends(0);
    assert_eq!(scratch.times("a.mkv").len(), 3, "frames without standard streams");
    shell(&scratch, "exec subpel motion in.mkv >&-").ends(0);
}

#[test]
fn a_reader_of_the_video_that_goes_away_is_told() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 60);
    let mut command = scratch.raw_program("upscale in.mkv - --method bilinear --progress none");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut first = [0; 10];
    let mut pipe = child.stdout.take().expect("standard output");
    pipe.read_exact(&mut first).expect("a first piece");
    drop(pipe);
    let done = child.wait_with_output().expect("the program ends");
    let error = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(74), "{error}");
    assert_eq!(error.matches("subpel: error: ").count(), 1, "{error}");
    assert!(!error.contains("panicked"), "{error}");
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
}

/// A run that takes long, with `out.mkv` as its output, seen writing.
fn running(scratch: &Scratch, options: &str) -> Child {
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 1500);
    let before = scratch.names();
    let arguments = format!("upscale in.mkv out.mkv --preset best --scale 3 --threads 1 {options}");
    let child = scratch.raw_program(&arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for(Duration::from_secs(60), || scratch.names() != before);
    std::thread::sleep(Duration::from_millis(300));
    child
}

#[track_caller]
fn wait_for(longest: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < longest, "nothing happened within {longest:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    // SAFETY: a plain call; the child has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "the signal is sent");
}

/// Waits for the end, at most `longest`; the child is killed if it takes longer.
#[track_caller]
fn ended(child: &mut Child, longest: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return status;
        }
        if start.elapsed() > longest {
            child.kill().expect("the child is killed");
            child.wait().expect("the child is waited for");
            panic!("still running after {longest:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn error_text(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().expect("standard error").read_to_string(&mut text).expect("text");
    text
}

#[test]
fn signals_end_the_run_within_five_seconds() {
    for (number, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        let scratch = Scratch::new();
        let mut child = running(&scratch, "--progress none");
        signal(&child, number);
        let status = ended(&mut child, Duration::from_secs(5));
        let error = error_text(&mut child);
        assert_eq!(status.code(), Some(code), "signal {number}: {error}");
        assert_eq!(error.matches("subpel: error: ").count(), 1, "signal {number}: {error}");
        assert_eq!(scratch.names(), ["in.mkv"], "signal {number}: the folder afterwards");
    }
}

#[test]
fn an_interrupted_overwrite_leaves_the_old_file() {
    let scratch = Scratch::new();
    scratch.write("out.mkv", "old");
    let mut child = running(&scratch, "--overwrite --progress none");
    signal(&child, libc::SIGTERM);
    signal(&child, libc::SIGTERM);
    let status = ended(&mut child, Duration::from_secs(5));
    assert_eq!(status.code(), Some(143), "{}", error_text(&mut child));
    assert_eq!(scratch.names(), ["in.mkv", "out.mkv"], "the folder afterwards");
    assert_eq!(scratch.read("out.mkv"), b"old", "the old file");
}

#[test]
fn a_kill_leaves_at_most_the_part_file() {
    let scratch = Scratch::new();
    let mut child = running(&scratch, "--progress none");
    signal(&child, libc::SIGKILL);
    assert_eq!(ended(&mut child, Duration::from_secs(5)).code(), None, "ended by the signal");
    let names = scratch.names();
    let known = |name: &String| name == "in.mkv" || (name.starts_with(".out.mkv.") && name.ends_with(".part"));
    assert!(names.iter().all(known) && names.len() <= 2, "{names:?}");
    scratch.subpel("upscale in.mkv out.mkv --frames 2 --progress none").ends(0);
    assert_eq!(scratch.times("out.mkv").len(), 2, "the next run is not disturbed");
}

#[test]
fn an_interrupted_sequence_leaves_no_folder() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=320x240:r=25", 1000);
    let arguments = "upscale in.mkv f%05d.png --preset best --scale 3 --threads 1 --progress none";
    let mut child = scratch.raw_program(arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
    wait_for(Duration::from_secs(60), || scratch.names().len() > 1);
    signal(&child, libc::SIGINT);
    let status = ended(&mut child, Duration::from_secs(5));
    assert_eq!(status.code(), Some(130), "{}", error_text(&mut child));
    assert_eq!(scratch.names(), ["in.mkv"], "the folder afterwards");
}

#[test]
fn a_named_pipe_does_not_hang() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 5 -pix_fmt yuv420p in.y4m");
    let made = Command::new("mkfifo").arg(scratch.path("pipe.y4m")).status().expect("mkfifo is there");
    assert!(made.success(), "the pipe is made");
    let arguments = "upscale pipe.y4m out.mkv --method bilinear --progress none";
    let mut child = scratch.raw_program(arguments).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut feeder = Command::new("sh");
    let mut feeder = feeder.args(["-c", "cat in.y4m >pipe.y4m"]).current_dir(scratch.path("")).spawn().expect("sh");
    let status = ended(&mut child, Duration::from_secs(10));
    feeder.kill().expect("the feeder is ended");
    feeder.wait().expect("the feeder is waited for");
    assert!(matches!(status.code(), Some(0 | 65)), "{status}: {}", error_text(&mut child));
    if status.success() {
        assert_eq!(scratch.times("out.mkv").len(), 5, "frames");
    }
}

#[test]
fn a_silent_pipe_does_not_hold_the_program() {
    let scratch = Scratch::new();
    let mut command = scratch.raw_program("upscale - out.mkv --progress none");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(800));
    signal(&child, libc::SIGINT);
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, libc::SIGINT);
    let status = ended(&mut child, Duration::from_secs(5));
    assert_eq!(status.code(), Some(130), "asked twice");
    assert_eq!(scratch.names(), Vec::<String>::new(), "the folder afterwards");
}

#[test]
fn motion_stops_when_asked() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=640x480:r=25", 500);
    let mut command = scratch.raw_program("motion in.mkv --threads 1");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    std::thread::sleep(Duration::from_millis(700));
    signal(&child, libc::SIGINT);
    let status = ended(&mut child, Duration::from_secs(5));
    assert_eq!(status.code(), Some(130), "{}", error_text(&mut child));
}
