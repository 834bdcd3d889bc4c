//! The scripts of `subpel emit`: that they say what they should, and that no name of a folder becomes a command.
//!
//! Schedulers are stood in for by a few lines of shell that do with a script what the real ones do (tests/slurm has the
//! real one); the program is always the real one.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]
#![cfg(unix)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;
use support::{Done, Scratch, names_in, skipped};

/// What a shell, make, sed, printf, GNU parallel, HyperQueue, Kubernetes or our own templates might take for something else.
const HOSTILE: &str = r#"it's $(touch canary) `touch canary` "; touch canary; # {} {= system "touch canary" =} %{CWD} $(HOME) @JOB@ \ * ~ ü"#;

/// A job of two segments in a folder with a hostile name.
struct Job {
    scratch: Scratch,
}

impl Job {
    fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path(HOSTILE)).expect("any name but / is a name");
        fs::create_dir(scratch.path("bin")).expect("folder");
        scratch.clip("in.mkv", "testsrc2=s=48x32:r=24", 6);
        let job = Self { scratch };
        job.subpel(&["plan", "in.mkv", "-o", &job.folder(), "--segments", "2", "--progress", "none"]).ends(0);
        job
    }

    fn folder(&self) -> String {
        format!("{HOSTILE}/job")
    }

    fn output(&self) -> String {
        format!("{HOSTILE}/out.mkv")
    }

    fn subpel(&self, words: &[&str]) -> Done {
        self.scratch.subpel_with(words)
    }

    /// Prints a script with `more` options and saves it.
    fn emit(&self, engine: &str, more: &str) -> String {
        let (folder, output) = (self.folder(), self.output());
        let mut words = vec!["emit", engine, &folder, "-o", &output];
        words.extend(more.split_whitespace());
        let script = self.subpel(&words).ends(0);
        self.scratch.write("script", &script.out);
        script.text()
    }

    /// Puts a program before all others.
    fn stand_in(&self, name: &str, script: &str) {
        self.scratch.write(&format!("bin/{name}"), format!("#!/usr/bin/env bash\n{script}\n"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.scratch.path(format!("bin/{name}")), mode).expect("executable");
    }

    /// Runs the script with `shell`.
    fn run(&self, shell: &str, words: &str, variables: &[(&str, &str)]) -> Output {
        let path = format!("{}:{}", self.scratch.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(shell);
        command.arg("script").args(words.split_whitespace()).env("PATH", path).env("SHELL", "/bin/sh");
        command.envs(variables.iter().copied()).current_dir(self.scratch.path(""));
        command.output().expect("a shell starts")
    }

    /// What a stand-in has left.
    fn noted(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Asserts that the film is there and that nothing was run that was a name.
    #[track_caller]
    fn assert_film(&self) {
        let film = self.scratch.path(self.output());
        assert!(film.exists(), "the film is there");
        fs::rename(film, self.scratch.path("film.mkv")).expect("renamed");
        self.scratch.subpel("upscale in.mkv alone.mkv --progress none").ends(0);
        assert_eq!(self.scratch.pictures("film.mkv", None), self.scratch.pictures("alone.mkv", None), "pictures");
        self.assert_no_canary();
    }

    #[track_caller]
    fn assert_no_canary(&self) {
        for folder in ["".to_owned(), HOSTILE.to_owned(), self.folder()] {
            let names = names_in(&self.scratch.path(folder));
            assert!(!names.iter().any(|name| name == "canary"), "a name was run: {names:?}");
        }
    }
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
}

/// The shells that scripts have to work in.
fn shells() -> Vec<&'static str> {
    let there = |shell: &&str| Command::new(shell).args(["-c", "exit"]).status().is_ok_and(|s| s.success());
    let (found, missing): (Vec<&str>, Vec<&str>) = ["sh", "bash", "dash"].into_iter().partition(|s| there(s));
    if !missing.is_empty() {
        skipped(&format!("scripts in {}: not installed", missing.join(" and ")));
    }
    found
}

const SBATCH: &str = r#"printf '%s\n' "$*" >> sbatch.log; echo "7;cluster""#;

#[test]
fn the_script_for_slurm_submits_itself_as_an_array_and_a_join() {
    for shell in shells() {
        let job = Job::new();
        job.stand_in("sbatch", SBATCH);
        let before = names_in(&job.scratch.path(job.folder()));
        let script = job.emit("slurm", "--cpus 3 --memory 2G --workers 5 --join-cpus 5");
        assert_eq!(names_in(&job.scratch.path(job.folder())), before, "printing runs nothing");
        assert!(script.starts_with("#!/bin/sh\n"), "{script}");
        assert_eq!(script.matches("/job'").count(), 1, "the folder is named once:\n{script}");

        assert_code(&job.run(shell, "--partition=night", &[]), 0);
        let wanted = [
            "--parsable --job-name=subpel --output=subpel-%A_%a.log --open-mode=append --requeue \
             --cpus-per-task=3 --mem=1908M --array=1-2%5 --partition=night script subpel-segments",
            "--parsable --job-name=subpel-join --output=subpel-%j.log --open-mode=append --requeue \
             --dependency=afterok:7 --kill-on-invalid-dep=yes --cpus-per-task=5 --mem=2036M --partition=night script \
             subpel-join",
        ];
        assert_eq!(job.noted("sbatch.log"), wanted, "{shell}");

        for number in ["1", "2", "2"] {
            let task = [("SLURM_ARRAY_TASK_ID", number), ("SLURM_ARRAY_JOB_ID", "7")];
            assert_code(&job.run(shell, "subpel-segments", &task), 0);
        }
        assert_code(&job.run(shell, "subpel-join", &[("SLURM_JOB_ID", "8")]), 0);
        job.assert_film();
    }
}

#[test]
fn a_task_of_slurm_is_queued_again_only_if_that_may_help_and_not_for_ever() {
    let job = Job::new();
    // Gives the exit codes in the file, one after the other.
    job.stand_in("program", r#"echo "$*" >> program.log; code=$(head -n 1 codes); sed -i 1d codes; exit "$code""#);
    job.stand_in("scontrol", r#"echo "$*" >> scontrol.log; exit 1"#);
    let program = job.scratch.path("bin/program").display().to_string();
    job.emit("slurm", &format!("--cpus 1 --memory 1G --pack 2 --attempts 2 --program {program}"));
    for (codes, restarts, ends, requeued) in [
        ("0 0", "0", 0, false),
        ("75 0", "0", 75, true),
        ("0 75", "1", 75, true),
        ("65 75", "1", 75, true),
        ("75 65", "0", 75, true),
        ("75 0", "2", 74, false),
        ("65 0", "0", 65, false),
        ("0 78", "0", 78, false),
        ("143", "0", 143, false),
    ] {
        job.scratch.write("codes", codes.replace(' ', "\n") + "\n");
        job.scratch.write("program.log", "");
        job.scratch.write("scontrol.log", "");
        let task = [("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_JOB_ID", "9"), ("SLURM_RESTART_COUNT", restarts)];
        assert_code(&job.run("sh", "subpel-segments", &task), ends);
        let asked: &[&str] = if requeued { &["requeue 9_1"] } else { &[] };
        assert_eq!(job.noted("scontrol.log"), asked, "exit codes {codes} after {restarts} restarts");
        assert_eq!(job.noted("program.log").len(), codes.split(' ').count(), "segments for {codes}");
    }
    job.assert_no_canary();
}

/// Runs the tasks of an array as HyperQueue does; the first time, the second task is lost.
const HQ: &str = r#"
echo "$*" >> hq.log
array=
while [ "$1" != -- ]; do [ "$1" != --array ] || array=$2; shift; done
shift
[ -n "$array" ] || exec "$@"
failed=0
for run in ${array//,/ }; do
    for ((n = ${run%-*}; n <= ${run#*-}; n++)); do
        if [ "$n" = 2 ] && ! [ -e lost ]; then touch lost; failed=1; continue; fi
        HQ_TASK_ID=$n "$@" || failed=1
    done
done
exit "$failed""#;

#[test]
fn the_script_for_hyperqueue_submits_what_is_missing_until_nothing_is() {
    let job = Job::new();
    job.stand_in("hq", HQ);
    job.emit("hq", "--cpus 2 --memory 1GiB");
    assert_code(&job.run("sh", "--time-limit=1h", &[]), 0);
    let noted = job.noted("hq.log");
    assert_eq!(noted.len(), 3, "{noted:?}");
    let array = |array: &str| {
        format!("submit --wait --name subpel --array {array} --crash-limit 4 --cpus 2 --resource mem=1024 ")
    };
    assert!(noted[0].starts_with(&array("1-2")) && noted[0].contains(" --time-limit=1h -- "), "{noted:?}");
    assert!(noted[1].starts_with(&array("2")), "only what is missing: {noted:?}");
    assert!(noted[2].starts_with("submit --wait --name subpel-join "), "{noted:?}");
    job.assert_film();

    let never = Job::new();
    never.stand_in("hq", "echo >> hq.log; exit 1");
    never.emit("hq", "--memory 1G --attempts 2");
    let done = never.run("sh", "", &[]);
    assert_code(&done, 74);
    assert!(String::from_utf8_lossy(&done.stderr).contains("0 of 2 segments are whole"), "{done:?}");
    assert_eq!(never.noted("hq.log").len(), 3, "tries");
}

/// Runs the command it is given with each line in the place of `{}`, through a shell.
const PARALLEL: &str =
    r#"for command; do :; done; while read -r line; do sh -c "${command//\{\}/$line}" || exit 1; done"#;

#[test]
fn the_script_for_gnu_parallel_makes_all_and_joins() {
    let stand_in = Job::new();
    stand_in.stand_in("parallel", PARALLEL);
    stand_in.emit("parallel", "--workers 2 --cpus 1 --memory 1G");
    assert_code(&stand_in.run("bash", "", &[]), 0);
    stand_in.assert_film();

    let there = Command::new("parallel").arg("--version").output();
    if !there.is_ok_and(|done| String::from_utf8_lossy(&done.stdout).starts_with("GNU parallel")) {
        return skipped("the real GNU parallel: not installed");
    }
    let job = Job::new();
    job.emit("parallel", "--workers 2 --cpus 1 --memory 1G");
    assert_code(&job.run("sh", "", &[]), 0);
    job.assert_film();
}

#[test]
fn the_description_for_kubernetes_is_what_its_parser_reads_it_as() {
    let job = Job::new();
    let text =
        job.emit("k8s", "--mount . --cpus 2 --memory 1GiB --workers 7 --image registry:5000/subpel:1 --claim films");
    let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect();
    let [segments, join] = &documents[..] else { panic!("two Jobs: {text}") };
    let spec = &segments["spec"];
    assert_eq!((&segments["kind"], &spec["completionMode"]), (&"Job".into(), &"Indexed".into()), "kind");
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&2.into(), &7.into()), "numbers");
    assert_eq!(spec["backoffLimitPerIndex"], 3, "tries");
    assert_eq!(spec["podFailurePolicy"]["rules"][1]["action"], "FailIndex", "policy");
    assert_eq!(spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"], serde_json::json!([2, 65, 69, 70, 78]));
    let words = |job: &Value| -> Vec<String> {
        let words = job["spec"]["template"]["spec"]["containers"][0]["command"].as_array().expect("command").iter();
        // As Kubernetes does: $$ is a dollar.
        words.map(|word| word.as_str().expect("text").replace("$$", "$")).collect()
    };
    let path = |name: String| std::path::absolute(job.scratch.path(name)).expect("path").display().to_string();
    let wanted =
        ["subpel", "run-segment", "--trust-receipt", "--threads", "2", "--index-from-env", &path(job.folder())];
    assert_eq!(words(segments), wanted, "segments");
    let wanted = ["subpel", "join", "--threads", "2", &path(job.folder()), "-o", &path(job.output())];
    assert_eq!(words(join), wanted, "join");
    assert!(!text.replace("$$", "").contains("$("), "Kubernetes fills in $(NAME): {text}");
    assert_eq!(join["spec"]["suspend"], true, "the join waits");
    for one in &documents {
        let pod = &one["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "registry:5000/subpel:1", "image");
        assert_eq!(container["resources"]["limits"]["memory"], "1024Mi", "memory");
        assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "films", "claim");
        assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"], "mount");
    }
}

#[test]
fn what_cannot_be_written_down_is_refused_with_words() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=24", 4);
    scratch.subpel("plan in.mkv -o job --segments 2 --progress none").ends(0);
    let broken = PathBuf::from("a\nb");
    fs::create_dir(scratch.path(&broken)).expect("folder");
    fs::rename(scratch.path("job"), scratch.path(broken.join("job"))).expect("moved");
    for engine in ["slurm", "hq", "k8s", "parallel"] {
        let words = ["emit", engine, "a\nb/job", "--memory", "1G"];
        let done = scratch.subpel_with(words).ends(2).says(&["line break", "another name"]);
        assert!(done.out.is_empty(), "nothing is printed");
    }
    fs::rename(scratch.path(broken.join("job")), scratch.path("job")).expect("moved back");
    scratch.write("there.mkv", "x");
    for (arguments, code, parts) in [
        ("emit slurm job -o there.mkv", 73, &["there.mkv", "exists", "--overwrite"][..]),
        ("emit hq job --pack 2", 2, &["--pack", "Slurm"]),
        ("emit hq job --workers 2", 2, &["--workers", "HyperQueue"]),
        ("emit k8s job --image $(x)", 2, &["--image", "$(x)"]),
        ("emit k8s job --mount job", 2, &["not below", "--mount"]),
        ("emit slurm nothing", 2, &["holds no job"]),
    ] {
        let done = scratch.subpel(&format!("{arguments} --memory 1G")).ends(code).says(parts);
        assert!(done.out.is_empty(), "nothing is printed for {arguments}");
    }
    scratch.subpel("emit slurm job -o there.mkv --overwrite --memory 1G").ends(0);
    let script = scratch.subpel("emit slurm job").ends(0).text();
    assert!(script.contains("output=''\n"), "no join was asked for:\n{script}");
    let memory = script.split("--mem=").nth(1).and_then(|m| m.split('M').next()).and_then(|m| m.parse::<u32>().ok());
    assert!((256..2048).contains(&memory.expect("memory")), "an estimate for tiny pictures: {memory:?}");
}

#[test]
fn the_time_is_told_once_a_segment_has_been_made() {
    let scratch = Scratch::new();
    scratch.clip("in.mkv", "testsrc2=s=48x32:r=24", 8);
    scratch.subpel("plan in.mkv -o job --segments 4 --progress none").ends(0);
    let script = |arguments: &str| scratch.subpel(&format!("emit slurm job --memory 1G {arguments}")).ends(0).text();
    assert!(!script("--workers 2").contains("take about"), "nothing is known yet");
    let told = scratch.subpel("plan in.mkv -o job --segments 4 --workers 3 --progress none").ends(0).text();
    assert!(told.contains("segments take about ") && told.contains(" on 3 workers, "), "{told}");
    scratch.subpel("run-segment job 2 --progress none").ends(0);
    let known = script("--workers 2");
    assert!(known.contains("# At the pace of the segments that are whole, the others take about "), "{known}");
    assert!(known.contains(" on 2 workers, "), "{known}");
    assert!(known.contains("--array=1,3-4%2 "), "what is whole is not made again: {known}");
}
