//! A job under Slurm, by the very script that `subpel emit slurm` prints: a worker dies in the middle, and the film is
//! the one that a single machine makes.
//!
//! Needs root and slurm-wlm and munge (`.ci/run` installs them); skips, and says so, without.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod cluster;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use cluster::{Cluster, hindrance};
use support::{Done, Scratch, skipped};

/// Segments of the job, and frames of each.
const SEGMENTS: usize = 8;
const FRAMES: usize = 24;
/// Longest wait for each part of what happens.
const PATIENCE: Duration = Duration::from_secs(120);

/// Makes a clip with sound, plans the job, and says what one machine makes of it.
fn plan(scratch: &Scratch) {
    let count = SEGMENTS * FRAMES;
    scratch.ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=288x160:r=24 -f lavfi -i sine=r=48000 -frames:v {count} -t {} \
         -c:v libx264 -g 48 -bf 2 -c:a pcm_s16le -map 0 -map 1 in.mkv",
        count as f64 / 24.0
    ));
    // A codec and a container that give the same bytes every time.
    scratch.subpel("upscale in.mkv alone.mov --preset best --codec ffv1 --progress none").ends(0);
    let how = format!("--preset best --codec ffv1 --container mov --segments {SEGMENTS} --progress none");
    scratch.subpel(&format!("plan in.mkv -o job {how}")).ends(0);
}

/// Prints the script and submits it; gives the number of the array job and of the join.
fn submit(cluster: &Cluster, scratch: &Scratch) -> (String, String) {
    let script = scratch.subpel("emit slurm job -o joined.mov --cpus 1 --memory 1G").ends(0);
    scratch.write("submit.sh", &script.out);
    let done = cluster.command("sh", &scratch.path("")).arg("submit.sh").output().expect("a shell");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let number = |before: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(before)).expect("a line with a number");
        line.split(':').next().expect("a number").to_owned()
    };
    let numbers = (number("array job "), number("join "));
    cluster.log(&format!("submitted: array job {}, join {}", numbers.0, numbers.1));
    numbers
}

/// Segments that have receipts.
fn whole(scratch: &Scratch) -> usize {
    let names = support::names_in(&scratch.path("job"));
    names.iter().filter(|name| name.starts_with("seg-") && name.ends_with(".json")).count()
}

/// What w2 has in the making.
fn unfinished(scratch: &Scratch) -> Vec<String> {
    let names = support::names_in(&scratch.path("job")).into_iter();
    names.filter(|name| name.contains(".w2.") && name.ends_with(".tmp")).collect()
}

#[test]
fn a_film_made_by_two_workers_of_which_one_dies_is_the_film_of_one_machine() {
    if let Some(why) = hindrance() {
        return skipped(&format!("no Slurm here: {why}"));
    }
    let scratch = Scratch::new();
    plan(&scratch);
    let place = scratch.path("cluster");
    fs::create_dir(&place).expect("folder");
    let mut cluster = Cluster::start(&place, &["w1", "w2"]);
    let (array, join) = submit(&cluster, &scratch);

    let mut before = unfinished(&scratch);
    let victim = cluster.wait_for("two segments, and w2 just at work on another", PATIENCE, |cluster| {
        let running = cluster.asked("squeue", &["-hr", "-w", "w2", "-t", "running", "-o", "%i"])?;
        let now = unfinished(&scratch);
        let begun = now.iter().any(|name| !before.contains(name));
        before = now;
        running.into_iter().next().filter(|_| begun && whole(&scratch) >= 2)
    });
    assert!(victim.starts_with(&array), "{victim} is a task of {array}");
    cluster.log(&format!("{} of {SEGMENTS} segments are whole, w2 makes {victim}", whole(&scratch)));
    let killed = Instant::now();
    cluster.kill("w2");
    assert!(whole(&scratch) < SEGMENTS, "it died in the middle");
    assert_eq!(unfinished(&scratch).len(), 1, "it died while it wrote");

    cluster.wait_for("w2 to be missed", PATIENCE, |cluster| {
        let nodes = cluster.asked("sinfo", &["-hN", "-n", "w2", "-o", "%T"])?;
        nodes.iter().any(|state| state.starts_with("down")).then_some(())
    });
    cluster.log(&format!("w2 is down, {:.1} s after it died", killed.elapsed().as_secs_f64()));
    let requeued = cluster.wait_for("its task to wait again", PATIENCE, |cluster| {
        cluster.logged("due to failure of node w2").into_iter().next()
    });
    cluster.log(&requeued);
    cluster.wait_for("its task to start again", PATIENCE, |cluster| {
        let running = cluster.asked("squeue", &["-hr", "-w", "w1", "-t", "running", "-o", "%i"])?;
        let again = cluster.asked("squeue", &["-hr", "-j", &array, "-o", "%i"])?;
        (running.contains(&victim) || !again.contains(&victim)).then_some(())
    });
    cluster.log(&format!("{victim} runs on w1, {:.1} s after w2 died", killed.elapsed().as_secs_f64()));
    cluster.wait_for("the join", PATIENCE, |cluster| {
        let left = cluster.asked("squeue", &["-h", "-j", &join, "-t", "all", "-o", "%T"])?;
        left.iter().all(|state| state.starts_with("COMPLETED")).then_some(())
    });
    cluster.log(&format!("joined, {:.1} s after w2 died", killed.elapsed().as_secs_f64()));
    assert_film(&scratch, &victim);
}

/// What has to hold of the film and of what is left.
fn assert_film(scratch: &Scratch, victim: &str) {
    let log = scratch.path(format!("subpel-{victim}.log"));
    let log = fs::read_to_string(log).expect("the log of the task outlives its first attempt");
    let number = victim.rsplit('_').next().expect("number");
    assert!(log.contains(&format!("segment {number}, ")), "{log}");
    assert!(scratch.path("joined.mov").exists(), "there is a film");
    assert_eq!(scratch.pictures("joined.mov", None), scratch.pictures("alone.mov", None), "pictures");
    assert_eq!(scratch.times("joined.mov"), scratch.times("alone.mov"), "times");
    assert_eq!(scratch.packets("joined.mov", "0:a"), scratch.packets("in.mkv", "0:a"), "sound");
    assert!(scratch.read("joined.mov") == scratch.read("alone.mov"), "the file, byte for byte");
    assert_no_litter(scratch);
}

/// What the dead worker left goes when it is old enough that it cannot be at work any more: its machine cannot be asked.
fn assert_no_litter(scratch: &Scratch) {
    let left = || -> Vec<String> {
        support::names_in(&scratch.path("job")).into_iter().filter(|name| name.ends_with(".tmp")).collect()
    };
    scratch.subpel("gc job").ends(0);
    let stays = left();
    assert!(stays.iter().all(|name| name.contains(".w2.")), "only its own: {stays:?}");
    for name in &stays {
        let file = fs::File::open(scratch.path("job").join(name)).expect("file");
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(48 * 3600)).expect("time");
    }
    scratch.subpel("gc job").ends(0);
    assert_eq!(left(), Vec::<String>::new(), "two days later");
}

#[test]
fn what_asks_for_another_try_is_queued_again_by_its_owner() {
    if let Some(why) = hindrance() {
        return skipped(&format!("no Slurm here: {why}"));
    }
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=64x48:r=24", 20);
    scratch.subpel("plan in.mkv -o job --segments 2 --progress none").ends(0);
    let place = scratch.path("cluster");
    fs::create_dir(&place).expect("folder");
    let cluster = Cluster::start(&place, &["w1"]);
    // The disk is full at first: a program that says so once, and is the real one after that.
    let program = format!(
        "#!/bin/sh\n[ \"${{SLURM_RESTART_COUNT:-0}}\" -gt 0 ] || [ \"$1\" = join ] || exit 75\nexec '{}' \"$@\"\n",
        env!("CARGO_BIN_EXE_subpel")
    );
    scratch.write("program", program);
    let mut executable = scratch.program();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(scratch.path("program"), mode).expect("executable");
    executable
        .args("emit slurm job -o joined.mov --cpus 1 --memory 1G --program".split(' '))
        .arg(scratch.path("program"));
    scratch.write("submit.sh", Done::of(&mut executable).ends(0).out);
    let done = cluster.command("sh", &scratch.path("")).arg("submit.sh").output().expect("a shell");
    assert!(done.status.success(), "{done:?}");
    cluster.log("submitted");
    cluster.wait_for("the film", PATIENCE, |_| scratch.path("joined.mov").exists().then_some(()));
    cluster.log("joined");
    for task in [1, 2] {
        let log = fs::read_to_string(scratch.path(format!("subpel-1_{task}.log"))).expect("log");
        assert!(log.contains("REQUEUE") && log.contains(&format!("segment {task}, ")), "{log}");
    }
}
