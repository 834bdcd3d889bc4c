//! Every command's success and failure: exit codes, one clear message, and folders as they were before.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Stdio;

use support::{Scratch, skipped};

const TINY: &str = "testsrc2=s=48x32:r=25";

/// A folder with `tiny.mkv` (three frames), and files that are no video.
fn folder() -> Scratch {
    let scratch = Scratch::new();
    scratch.clip("tiny.mkv", TINY, 3);
    scratch.ffmpeg("-f lavfi -i sine=d=0.2 -c:a flac sound.mkv");
    scratch.write("empty.mkv", "");
    scratch.write("text.mp4", "this is a text and no video at all\n".repeat(40));
    fs::create_dir(scratch.path("folder")).expect("folder");
    scratch
}

/// Runs each row and checks its exit code, its message, and that the folder is as before.
#[track_caller]
fn check_failures(scratch: &Scratch, rows: &[(&str, i32, &[&str])]) {
    let before = scratch.names();
    for (arguments, code, parts) in rows {
        let done = scratch.subpel(arguments).ends(*code).says(parts);
        assert!(done.out.is_empty(), "{arguments}: {}", done.text());
        assert_eq!(scratch.names(), before, "{arguments}: the folder afterwards");
    }
}

#[test]
fn unusable_inputs_are_named_and_end_with_65() {
    let scratch = folder();
    let bad: [(&str, &str); 5] = [
        ("none.mkv", "no such file"),
        ("folder", "is a folder"),
        ("empty.mkv", "is empty"),
        ("text.mp4", "not a video"),
        ("sound.mkv", "no video"),
    ];
    for (input, why) in bad {
        for command in ["upscale IN out.mkv", "upscale IN out.mkv --dry-run", "motion IN --json", "inspect IN"] {
            check_failures(&scratch, &[(&command.replace("IN", input), 65, &[input, why])]);
        }
        check_failures(&scratch, &[(&format!("metrics {input} tiny.mkv"), 65, &[input, why])]);
        check_failures(&scratch, &[(&format!("metrics tiny.mkv {input}"), 65, &[input, why])]);
    }
}

#[test]
fn wrong_values_end_with_2_and_are_repeated() {
    let scratch = folder();
    let rows: &[(&str, &[&str])] = &[
        ("--scale 0.5", &["0.5", "1 to 8"]),
        ("--scale 9", &["9", "1 to 8"]),
        ("--scale nan", &["nan"]),
        ("--scale two", &["two"]),
        ("--size 24x16", &["24x16", "48x32"]),
        ("--size 4000x64", &["4000x64", "48x32"]),
        ("--size 0x64", &["0x64"]),
        ("--size 96", &["96"]),
        ("--size 96x64 --scale 2", &["--size", "--scale"]),
        ("--window 31", &["31", "0 to 30"]),
        ("--window=-1", &["-1"]),
        ("--psf 5", &["5", "0.1 to 1"]),
        ("--psf 0", &["0.1 to 1"]),
        ("--psf wide", &["wide"]),
        ("--method magic", &["magic", "lanczos", "shift-add", "map"]),
        ("--method none --scale 2", &["none"]),
        ("--preset slow", &["slow", "balanced"]),
        ("--pix-fmt nosuch", &["nosuch"]),
        ("--pix-fmt rgb48le", &["rgb48le", "libx264"]),
        ("--encoder-option nosuch=1", &["nosuch"]),
        ("--encoder-option preset=nosuch", &["preset", "nosuch"]),
        ("--encoder-option preset", &["NAME=VALUE"]),
        ("--start soon", &["soon"]),
        ("--start 100", &["tiny.mkv", "100"]),
        ("--frames some", &["some"]),
        ("--frames 0", &["tiny.mkv", "frame"]),
        ("--threads many", &["many"]),
        ("--max-memory lots", &["lots"]),
        ("--progress loud", &["loud"]),
        ("--fps 0", &["0"]),
        ("--nosuch", &["--nosuch"]),
    ];
    for (options, parts) in rows {
        check_failures(&scratch, &[(&format!("upscale tiny.mkv out.mkv {options}"), 2, parts)]);
    }
    check_failures(&scratch, &[("upscale tiny.mkv out.xyz", 2, &["out.xyz", ".mkv"])]);
    check_failures(&scratch, &[("upscale tiny.mkv out", 2, &["out", ".mkv"])]);
    check_failures(&scratch, &[("upscale tiny.mkv", 2, &["OUT"])]);
    check_failures(&scratch, &[("enlarge tiny.mkv out.mkv", 2, &["enlarge"])]);
    check_failures(&scratch, &[("metrics tiny.mkv tiny.mkv --crop 16", 2, &["--crop 16", "48x32"])]);
    check_failures(&scratch, &[("completions nosuch", 2, &["nosuch", "bash"])]);
}

#[test]
fn a_missing_encoder_ends_with_69() {
    let rows: &[(&str, i32, &[&str])] = &[
        ("upscale tiny.mkv out.mkv --codec nosuchencoder", 69, &["nosuchencoder"]),
        ("upscale tiny.mkv out.mkv --codec aac", 69, &["aac"]),
    ];
    check_failures(&folder(), rows);
}

#[test]
fn existing_outputs_stay_without_overwrite() {
    let scratch = folder();
    for name in ["out.mkv", "out.mp4", "out.png", "f0007.png"] {
        scratch.write(name, "old");
    }
    let rows: &[(&str, i32, &[&str])] = &[
        ("upscale tiny.mkv out.mkv", 73, &["out.mkv", "exists", "--overwrite"]),
        ("upscale tiny.mkv out.mkv --dry-run", 73, &["out.mkv", "exists"]),
        ("upscale tiny.mkv out.mp4", 73, &["out.mp4", "exists"]),
        ("upscale tiny.mkv out.png --frames 1", 73, &["out.png", "exists"]),
        ("upscale tiny.mkv f%04d.png", 73, &["f0007.png", "exists"]),
        ("upscale tiny.mkv folder", 73, &["folder", "is a folder"]),
        ("upscale tiny.mkv folder --overwrite", 73, &["folder", "is a folder"]),
    ];
    check_failures(&scratch, rows);
    for name in ["out.mkv", "out.mp4", "out.png", "f0007.png"] {
        assert_eq!(scratch.read(name), b"old", "{name}");
    }
}

#[test]
fn a_failed_run_with_overwrite_leaves_the_old_file() {
    let scratch = folder();
    scratch.write("out.png", "old");
    scratch.write("out.mkv", "old");
    let rows: &[(&str, i32, &[&str])] = &[
        ("upscale tiny.mkv out.png --overwrite", 2, &["out.png", "several"]),
        ("upscale text.mp4 out.mkv --overwrite", 65, &["text.mp4"]),
        ("upscale tiny.mkv out.mkv --overwrite --codec nosuch", 69, &["nosuch"]),
        ("upscale tiny.mkv out.mkv --overwrite --start 50", 2, &["50"]),
    ];
    check_failures(&scratch, rows);
    assert_eq!((scratch.read("out.png"), scratch.read("out.mkv")), (b"old".to_vec(), b"old".to_vec()), "old files");
    scratch.subpel("upscale tiny.mkv out.mkv --overwrite --progress none").ends(0);
    assert_eq!(scratch.times("out.mkv").len(), 3, "frames of the new file");
}

#[test]
fn outputs_that_cannot_be_created_end_with_73() {
    let scratch = folder();
    let rows: &[(&str, i32, &[&str])] = &[
        ("upscale tiny.mkv none/out.mkv", 73, &["none/out.mkv", "make the folder"]),
        ("upscale tiny.mkv tiny.mkv/out.mkv", 73, &["tiny.mkv/out.mkv"]),
        ("upscale tiny.mkv none/f%04d.png", 73, &["none/f%04d.png", "make the folder"]),
        ("upscale tiny.mkv none/out.png --frames 1", 73, &["none/out.png", "make the folder"]),
    ];
    check_failures(&scratch, rows);
    read_only_folder(&scratch);
}

fn read_only_folder(scratch: &Scratch) {
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch.path("folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("permission is set");
    if fs::write(folder.join("probe"), "").is_ok() {
        fs::remove_file(folder.join("probe")).expect("probe is removed");
        return skipped("a read-only folder does not bind this user");
    }
    scratch.subpel("upscale tiny.mkv folder/out.mkv").ends(73).says(&["folder/out.mkv", "may write"]);
    assert!(support::names_in(&folder).is_empty(), "litter");
}

#[test]
fn the_input_is_never_the_output() {
    let scratch = folder();
    std::os::unix::fs::symlink("tiny.mkv", scratch.path("soft.mkv")).expect("symbolic link");
    fs::hard_link(scratch.path("tiny.mkv"), scratch.path("hard.mkv")).expect("hard link");
    let source = scratch.read("tiny.mkv");
    let before = scratch.names();
    let pairs = [
        ("tiny.mkv", "tiny.mkv"),
        ("tiny.mkv", "./tiny.mkv"),
        ("tiny.mkv", "folder/../tiny.mkv"),
        ("tiny.mkv", "soft.mkv"),
        ("tiny.mkv", "hard.mkv"),
        ("soft.mkv", "tiny.mkv"),
        ("hard.mkv", "soft.mkv"),
    ];
    for (input, output) in pairs {
        for option in ["", "--overwrite", "--dry-run", "--overwrite --dry-run"] {
            let arguments = format!("upscale {input} {output} {option}");
            scratch.subpel(&arguments).ends(2).says(&[output, "same file"]);
            assert_eq!(scratch.read("tiny.mkv"), source, "{arguments}: the source");
        }
    }
    assert_eq!(scratch.names(), before, "the folder afterwards");
}

#[test]
fn a_sequence_is_not_written_over_its_input() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("-f lavfi -i {TINY} -frames:v 3 f%03d.png"));
    let source = scratch.read("f002.png");
    scratch.subpel("upscale f%03d.png f%03d.png --overwrite").ends(2).says(&["f%03d.png", "same"]);
    scratch.subpel("upscale f002.png f%03d.png --overwrite").ends(2).says(&["same"]);
    assert_eq!(scratch.read("f002.png"), source, "the source");
}

/// Playlists and scripts that would open `secret.mkv`, each under the name of a video.
fn playlists() -> [(&'static str, String); 6] {
    let head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n";
    [
        ("hls.mp4", format!("{head}#EXTINF:1.0,\nsecret.mkv\n#EXT-X-ENDLIST\n")),
        ("text-hls.mp4", format!("{head}#EXTINF:1.0,\nconcat:canary.txt|secret.mkv\n#EXT-X-ENDLIST\n")),
        ("concat.mp4", "ffconcat version 1.0\nfile secret.mkv\n".into()),
        (
            "dash.mp4",
            "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
             profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period><AdaptationSet><Representation id=\"1\">\
             <BaseURL>secret.mkv</BaseURL></Representation></AdaptationSet></Period></MPD>\n"
                .into(),
        ),
        (
            "sdp.mp4",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n\
             a=rtpmap:96 H264/90000\n"
                .into(),
        ),
        ("plain.mkv", format!("{head}#EXTINF:1.0,\nfile:secret.mkv\n#EXT-X-ENDLIST\n")),
    ]
}

#[test]
fn playlists_open_nothing() {
    let scratch = Scratch::new();
    scratch.ffmpeg(&format!("-f lavfi -i {TINY} -frames:v 2 -c:v ffv1 -metadata title=CANARY-7261 secret.mkv"));
    scratch.write("canary.txt", "CANARY-7261\n");
    for (name, text) in playlists() {
        scratch.write(name, text);
        let before = scratch.names();
        for command in ["upscale IN out.mkv", "motion IN", "inspect IN --json"] {
            let arguments = command.replace("IN", name);
            let done = scratch.subpel(&arguments).ends(65).says(&[name, "playlist", "--allow-network"]);
            assert!(!done.err.contains("CANARY-7261") && !done.text().contains("CANARY-7261"), "{arguments}: canary");
            assert_eq!(scratch.names(), before, "{arguments}: the folder afterwards");
        }
    }
}

#[test]
fn odd_names_are_names() {
    let scratch = folder();
    let long = format!("{}.mkv", "n".repeat(196));
    let longest = format!("{}.mkv", "é".repeat(125));
    let names = [
        "a b.mkv",
        "it's \"quoted\".mkv",
        "-x.mkv",
        "--overwrite.mkv",
        "50%.mkv",
        "100% %s.mkv",
        "http:x.mkv",
        "file:x.mkv",
        "pipe:1.mkv",
        "concat:a|b.mkv",
        "a\nb.mkv",
        "$(touch canary).mkv",
        "*.mkv",
        long.as_str(),
        longest.as_str(),
    ];
    for name in names {
        odd_name(&scratch, OsStr::new(name));
    }
    odd_name(&scratch, &OsString::from_vec(b"caf\xe9 \xff.mkv".to_vec()));
}

/// Reads `name`, writes `name` elsewhere, and reads that again.
fn odd_name(scratch: &Scratch, name: &OsStr) {
    let input = scratch.path(name);
    fs::copy(scratch.path("tiny.mkv"), &input).expect("the name is allowed here");
    let inner = scratch.path("folder");
    let run = |arguments: &[&OsStr]| {
        let mut command = scratch.program();
        support::Done::of(command.current_dir(&inner).args(arguments))
    };
    let options = ["--progress", "none", "--method", "bilinear", "--codec", "ffv1"].map(OsStr::new);
    let mut arguments = vec![OsStr::new("upscale")];
    arguments.extend(options);
    let up = scratch.path(name).into_os_string();
    arguments.extend([OsStr::new("--"), &up, name]);
    run(&arguments).ends(0);
    let found = fs::read_dir(&inner).expect("list").flatten().map(|e| e.file_name()).collect::<Vec<_>>();
    assert_eq!(found, [name], "files made for {}", name.display());
    let again = run(&[OsStr::new("motion"), OsStr::new("--json"), OsStr::new("--"), name]).ends(0);
    assert_eq!(again.text().lines().count(), 3, "frames of {}", name.display());
    fs::remove_file(inner.join(name)).expect("the output is removed");
    fs::remove_file(input).expect("the input is removed");
}

#[test]
fn a_pattern_that_is_a_file_is_read_as_that_file() {
    let scratch = folder();
    fs::copy(scratch.path("tiny.mkv"), scratch.path("take%d.mkv")).expect("copy");
    let done = scratch.subpel("motion take%d.mkv --json").ends(0);
    assert_eq!(done.text().lines().count(), 3, "frames");
}

#[test]
fn a_failure_names_a_file_whose_name_is_no_text() {
    let scratch = Scratch::new();
    let name = OsString::from_vec(b"caf\xe9.mkv".to_vec());
    scratch.subpel_with([OsStr::new("motion"), &name]).ends(65).says(&["caf", "no such file"]);
    assert!(scratch.names().is_empty(), "the folder afterwards");
}

#[test]
fn help_version_completions_and_manual_are_complete() {
    let scratch = Scratch::new();
    let commands = ["upscale", "motion", "metrics", "inspect", "completions", "man"];
    let help = scratch.subpel("--help").ends(0).text();
    let manual = scratch.subpel("man").ends(0).text();
    for command in commands {
        assert!(help.contains(&format!("  {command}")), "{command} is not in the help:\n{help}");
        assert!(manual.contains(command), "{command} is not in the manual");
    }
    for code in
        ["   0  ", "   2  ", "   3  ", "  65  ", "  69  ", "  70  ", "  73  ", "  74  ", "  75  ", " 130  ", " 143  "]
    {
        assert!(help.contains(code), "exit code {code} is not in the help:\n{help}");
    }
    assert!(manual.starts_with(".ie") || manual.contains(".TH subpel"), "roff:\n{manual}");
    assert!(manual.contains("\\-\\-overwrite") && manual.contains("Exit codes"), "options and codes in the manual");
    let version = scratch.subpel("--version").ends(0).text();
    assert_eq!(version, format!("subpel {}\n", env!("CARGO_PKG_VERSION")), "version");
    assert_eq!(scratch.subpel("-V").ends(0).text(), version, "short form");
    assert_eq!(scratch.names(), Vec::<String>::new(), "files");
}

#[test]
fn completions_know_every_command_and_option() {
    let scratch = Scratch::new();
    for (shell, sign) in [("bash", "complete "), ("zsh", "#compdef subpel"), ("fish", "complete -c subpel")] {
        let text = scratch.subpel(&format!("completions {shell}")).ends(0).text();
        for part in [sign, "upscale", "metrics", "encoder-option", "dry-run"] {
            assert!(text.contains(part), "{shell} has no {part:?}");
        }
        syntax_check(shell, &text);
    }
}

/// Lets the shell itself read the completions, where it is installed.
fn syntax_check(shell: &str, text: &str) {
    let scratch = Scratch::new();
    scratch.write("completions", text);
    let run = std::process::Command::new(shell).args(["-n", "completions"]).current_dir(scratch.path("")).output();
    match run {
        Ok(done) => assert!(done.status.success(), "{shell} -n: {}", String::from_utf8_lossy(&done.stderr)),
        Err(_) => skipped(&format!("{shell} is not installed")),
    }
}

#[test]
fn a_dry_run_says_the_plan_and_writes_nothing() {
    let scratch = folder();
    scratch.write("old.mkv", "old");
    let before = scratch.names();
    let done = scratch.subpel("upscale tiny.mkv out.mkv --scale 3 --dry-run").ends(0);
    let done = done.mentions(&["tiny.mkv", "48x32 -> 144x96", "map", "MiB", "out.mkv"]);
    assert!(done.out.is_empty(), "standard output: {}", done.text());
    scratch.subpel("upscale tiny.mkv old.mkv --dry-run --overwrite").ends(0).mentions(&["48x32 -> 96x64"]);
    assert_eq!(scratch.names(), before, "the folder afterwards");
    assert_eq!(scratch.read("old.mkv"), b"old", "the old file");
}

#[test]
fn of_several_scales_in_a_file_the_one_that_suffices_is_taken() {
    let scratch = folder();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks/mdsr.safetensors");
    fs::copy(file, scratch.path("mdsr.safetensors")).expect("copied");
    for (options, network) in [
        ("", "x2 of x2 x3 x4"),
        ("--scale 2.5", "x3 of x2 x3 x4"),
        ("--scale 6", "x4 of x2 x3 x4"),
        ("--scale 6 --fuse-scale 2", "x3 of x2 x3 x4"),
        ("--size 192x128", "x2 of x2 x3 x4"),
    ] {
        let command = format!("upscale tiny.mkv out.mkv --refine mdsr.safetensors {options} --dry-run");
        scratch.subpel(&command).ends(0).mentions(&[network]);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let scratch = Scratch::new();
    scratch.clip("long.mkv", "testsrc2=s=48x32:r=25", 300);
    for arguments in ["motion long.mkv", "motion long.mkv --json", "metrics long.mkv long.mkv"] {
        let mut command = scratch.raw_program(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut first = String::new();
        let mut reader = BufReader::with_capacity(1, child.stdout.take().expect("standard output"));
        reader.read_line(&mut first).expect("a line");
        drop(reader);
        let done = child.wait_with_output().expect("the program ends");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(!first.is_empty(), "{arguments}: no first line");
        assert_eq!(done.status.code(), Some(0), "{arguments}: {error}");
        assert_eq!(error, "", "{arguments}: standard error");
    }
}

#[test]
fn results_that_cannot_be_printed_end_with_74_or_75() {
    let scratch = folder();
    for arguments in ["motion tiny.mkv", "metrics tiny.mkv tiny.mkv", "inspect tiny.mkv --json", "man"] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("the full device");
        let done = scratch.raw_program(arguments).stdout(full).output().expect("the program starts");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(matches!(done.status.code(), Some(74 | 75)), "{arguments}: {}\n{error}", done.status);
        assert!(error.contains("standard output") && !error.contains("panicked"), "{arguments}: {error}");
    }
}

#[test]
fn motion_prints_one_line_a_frame() {
    let scratch = folder();
    let text = scratch.subpel("motion tiny.mkv --json").ends(0).text();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["frame"], index, "number");
        let keys: Vec<&String> = line.as_object().expect("object").keys().collect();
        assert_eq!(keys.len(), 5, "{keys:?}");
        assert!(line["dx"].is_f64() && line["dy"].is_f64() && line["scene_cut"].is_boolean(), "{line}");
        assert!((0.0..=1.0).contains(&support::number(&line["confidence"])), "{line}");
    }
    assert_eq!(lines.len(), 3, "lines");
    let table = scratch.subpel("motion tiny.mkv").ends(0).text();
    assert_eq!(table.lines().count(), 4, "table:\n{table}");
}

#[test]
fn motion_finds_a_known_shift() {
    let scratch = Scratch::new();
    // The window moves two columns right and one row down over the picture: what is in it moves the other way.
    scratch.ffmpeg("-f lavfi -i mandelbrot=s=320x240:r=25:maxiter=300 -frames:v 1 still.png");
    scratch.ffmpeg("-loop 1 -i still.png -vf crop=128:96:40+2*n:40+n -frames:v 5 -c:v ffv1 pan.mkv");
    let text = scratch.subpel("motion pan.mkv --json").ends(0).text();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines.len(), 5, "lines");
    for line in &lines[1..] {
        let (dx, dy) = (support::number(&line["dx"]), support::number(&line["dy"]));
        assert!((dx + 2.0).abs() < 0.05 && (dy + 1.0).abs() < 0.05, "{line}");
        assert_eq!(line["scene_cut"], false, "{line}");
    }
}

#[test]
fn motion_finds_a_hard_cut() {
    let scratch = Scratch::new();
    let four = "format=yuv420p,trim=end_frame=4,setpts=PTS-STARTPTS";
    for size in ["64x48", "320x240"] {
        let inputs = format!("-f lavfi -i mandelbrot=s={size}:r=25 -f lavfi -i testsrc2=s={size}:r=25");
        let joined = format!("-filter_complex [0]{four}[a];[1]{four}[b];[a][b]concat");
        scratch.ffmpeg(&format!("{inputs} {joined} -c:v ffv1 cut.mkv"));
        let text = scratch.subpel("motion cut.mkv --json").ends(0).text();
        let cuts: Vec<usize> =
            text.lines().enumerate().filter(|(_, l)| l.contains("\"scene_cut\":true")).map(|(i, _)| i).collect();
        assert_eq!(cuts, [4], "{size}: scene cuts of\n{text}");
    }
}

#[test]
fn metrics_of_a_file_with_itself_and_others() {
    let scratch = folder();
    scratch.clip("large.mkv", "testsrc2=s=96x64:r=25", 3);
    scratch.clip("long.mkv", TINY, 5);
    let text = scratch.subpel("metrics tiny.mkv tiny.mkv --json").ends(0).text();
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["frames"], &value["psnr_y"], &value["psnr_y_min"]), (&3.into(), &99.0.into(), &99.0.into()));
    assert_eq!(value["ssim_y"], 1.0, "SSIM");
    assert_eq!(support::list(&value["per_frame"]).len(), 3, "frames");
    let table = scratch.subpel("metrics tiny.mkv tiny.mkv").ends(0).text();
    assert!(table.contains("mean") && table.contains("99.000"), "{table}");
    let rows: &[(&str, i32, &[&str])] = &[
        ("metrics tiny.mkv large.mkv", 65, &["tiny.mkv", "48x32", "large.mkv", "96x64"]),
        ("metrics tiny.mkv long.mkv", 65, &["tiny.mkv", "3 frames", "long.mkv"]),
        ("metrics long.mkv tiny.mkv", 65, &["tiny.mkv", "3 frames", "long.mkv"]),
    ];
    check_failures(&scratch, rows);
}

#[test]
fn inspect_says_what_is_there_and_what_it_takes() {
    let scratch = folder();
    let text = scratch.subpel("inspect tiny.mkv --json --scale 2.5").ends(0).text();
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["output_width"], &value["output_height"]), (&120.into(), &80.into()), "{text}");
    assert_eq!((&value["method"], &value["interlaced"]), (&"map".into(), &false.into()), "{text}");
    assert!(support::number(&value["memory_bytes"]) > 1e6, "{text}");
    assert!(support::number(&value["seconds_per_frame"]) > 0.0, "{text}");
    let parts: f64 = ["window", "solver", "network", "channels", "codecs"]
        .map(|p| support::number(&value["memory"][p]))
        .iter()
        .sum();
    assert_eq!(parts, support::number(&value["memory_bytes"]), "{text}");
    let plain = scratch.subpel("inspect tiny.mkv").ends(0).text();
    assert!(plain.contains("48x32") && plain.contains("96x64") && plain.contains("ffv1"), "{plain}");
    assert_eq!(scratch.subpel("inspect tiny.mkv --scale 9").ends(2).says(&["9", "1 to 8"]).out, b"", "output");
}

/// A drifting, detailed clip `moving.mkv` of 320x200 and the same standing still, `still.mkv`.
fn drifting() -> Scratch {
    let scratch = Scratch::new();
    // A fractal, drifting by fractions of a pixel of the small frames.
    let source = "-f lavfi -i mandelbrot=s=1400x900:start_scale=0.3:end_scale=0.3:r=25:maxiter=120";
    scratch.ffmpeg(&format!("{source} -frames:v 1 -pix_fmt gray large.png"));
    let shift = "crop=1280:800:13+mod(n*7\\,11):9+mod(n*5\\,7),scale=320:200:flags=area";
    scratch.ffmpeg(&format!("-loop 1 -i large.png -vf {shift} -frames:v 8 -pix_fmt gray -c:v ffv1 moving.mkv"));
    let still = "crop=1280:800:13:9,scale=320:200:flags=area";
    scratch.ffmpeg(&format!("-loop 1 -i large.png -vf {still} -frames:v 8 -pix_fmt gray -c:v ffv1 still.mkv"));
    scratch
}

#[test]
fn inspect_foretells_what_fusion_can_find() {
    let scratch = drifting();
    let report = |arguments: &str| {
        let text = scratch.subpel(&format!("inspect {arguments} --json")).ends(0).text();
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let (moving, still) = (report("moving.mkv"), report("still.mkv"));
    let of = |value: &serde_json::Value, key: &str| support::number(&value[key]);
    assert!(of(&moving, "subpixel_diversity") > 0.5, "{moving}");
    assert!(of(&still, "subpixel_diversity") < 0.1, "{still}");
    assert!(of(&moving, "alias_energy") > 0.05, "{moving}");
    assert!(still["alias_energy"].is_null(), "{still}");
    let (gain, none) = (of(&moving, "expected_gain_db"), of(&still, "expected_gain_db"));
    assert!(gain > none + 0.5, "{gain} dB for a drifting camera, {none} dB for one that stands still");
    assert_eq!(of(&report("moving.mkv --method lanczos"), "expected_gain_db"), 0.0, "Lanczos over itself");
    assert!(report("moving.mkv --method none")["expected_gain_db"].is_null(), "nothing is enlarged");
    let refined = report("moving.mkv --method none --refine builtin");
    assert!(refined["network"].as_str().is_some_and(|name| name.starts_with("Compact")), "{refined}");
    assert_eq!(refined["output_width"], 640, "{refined}");
    assert!(of(&refined, "expected_gain_db") > 0.1, "a network over Lanczos: {refined}");
    assert!(of(&refined["memory"], "network") > 1e6, "{refined}");
}

#[test]
fn the_summary_says_which_frames_stood_alone() {
    let scratch = drifting();
    let summary = |input: &str, options: &str| {
        let done = scratch.subpel(&format!("upscale {input} out.mkv --overwrite --progress plain {options}"));
        done.ends(0).err
    };
    let moving = summary("moving.mkv", "");
    assert!(moving.contains("neighbours used for a frame; blur usual") && !moving.contains("alone"), "{moving}");
    assert!(summary("still.mkv", "--psf 0.4").contains("blur 0.40\n8 frames from themselves alone: 8 repeated"));
    assert!(summary("moving.mkv", "--frames 1").contains("1 frames from themselves alone: 1 without neighbours"));
}

/// Samples of a PGM or PPM picture, and its size.
fn pixels(bytes: &[u8]) -> (String, Vec<u8>) {
    let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(n, _)| n).take(4).collect();
    let size = String::from_utf8_lossy(&bytes[ends[1] + 1..ends[2]]).into_owned();
    (size, bytes[ends[3] + 1..].to_vec())
}

#[test]
fn debug_maps_show_what_was_trusted() {
    let scratch = drifting();
    // Three quarters drift, the right one is another picture in every frame.
    let wrong = "[0]crop=240:200:0:0[l];[1]scale=80:200,format=gray[r];[l][r]hstack";
    scratch.ffmpeg(&format!(
        "-i moving.mkv -f lavfi -i nullsrc=s=20x50:r=25,geq=random(1)*255:128:128 -filter_complex {wrong} \
         -frames:v 6 -c:v ffv1 part.mkv"
    ));
    scratch.subpel("upscale part.mkv out.mkv --progress none --debug-maps maps/here").ends(0);
    let mut wanted: Vec<String> = Vec::new();
    for (kind, ending) in [("confidence", "pgm"), ("gate", "pgm"), ("motion", "ppm")] {
        wanted.extend((0..6).map(|n| format!("{kind}_{n:06}.{ending}")));
    }
    assert_eq!(support::names_in(&scratch.path("maps/here")), wanted, "three pictures a frame");
    let part = |name: &str, columns: std::ops::Range<usize>| {
        let (size, pixels) = pixels(&scratch.read(format!("maps/here/{name}_000002.pgm")));
        assert_eq!((size.as_str(), pixels.len()), ("320 200", 320 * 200), "{name}");
        let rows = pixels.chunks(320).flat_map(|row| &row[columns.clone()]);
        rows.map(|v| f64::from(*v)).sum::<f64>() / (200 * columns.len()) as f64 / 255.0
    };
    for name in ["confidence", "gate"] {
        let (right, wrong) = (part(name, 8..220), part(name, 260..312));
        assert!(right > 0.7 && wrong < 0.2, "{name}: {right} where the frames agree, {wrong} where they do not");
    }
    assert_eq!(pixels(&scratch.read("maps/here/motion_000002.ppm")).1.len(), 3 * 320 * 200, "colours");
    let again = scratch.subpel("upscale part.mkv out2.mkv --progress none --debug-maps maps/here").ends(73);
    again.says(&["000000", "--overwrite"]);
    scratch.subpel("upscale part.mkv out.mkv --overwrite --progress none --frames 2 --debug-maps maps/here").ends(0);
    scratch.subpel("upscale part.mkv out3.mkv --method lanczos --debug-maps other").ends(2).says(&["lanczos"]);
    assert!(!scratch.path("other").exists(), "no folder for nothing");
}

#[test]
fn damaged_inputs_end_with_3_and_keep_what_decodes() {
    let scratch = Scratch::new();
    scratch.ffmpeg("-f lavfi -i testsrc2=s=64x48:r=25 -frames:v 50 -c:v libx264 -g 10 whole.ts");
    let mut bytes = scratch.read("whole.ts");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 1500].fill(0x55);
    scratch.write("hole.ts", &bytes);
    scratch
        .subpel("upscale hole.ts out.mkv --method bicubic --progress none")
        .ends(3)
        .mentions(&["hole.ts", "damaged"]);
    let frames = scratch.times("out.mkv").len();
    assert!((20..=50).contains(&frames), "{frames} frames of 50");
    scratch.subpel("motion hole.ts").ends(3).mentions(&["hole.ts", "damaged"]);
    scratch.subpel("inspect whole.ts").ends(0);
}

#[test]
fn progress_is_as_asked_for() {
    let scratch = folder();
    let quiet = scratch.subpel("upscale tiny.mkv a.mkv --progress none").ends(0);
    assert_eq!((quiet.err.as_str(), quiet.out.len()), ("", 0), "nothing is said");
    let summary = scratch.subpel("upscale tiny.mkv b.mkv --progress plain").ends(0);
    let summary = summary.mentions(&["3 frames", "48x32 -> 96x64", "libx264", "yuv420p"]);
    assert!(summary.out.is_empty(), "standard output stays free");
    assert_eq!(scratch.times("b.mkv").len(), 3, "frames");
}

#[test]
fn json_progress_is_one_object_a_line() {
    let scratch = Scratch::new();
    scratch.clip("long.mkv", "testsrc2=s=160x120:r=25", 60);
    let done = scratch.subpel("upscale long.mkv out.mkv --progress json --preset best --threads 1").ends(0);
    let lines: Vec<&str> = done.err.lines().filter(|l| l.starts_with('{')).collect();
    assert!(!lines.is_empty(), "no line of progress in\n{}", done.err);
    let (last, lines) = lines.split_last().expect("a summary");
    let value: serde_json::Value = serde_json::from_str(last).expect("JSON");
    let summary = &value["summary"];
    assert_eq!((&summary["frames"], &summary["encoder"]), (&60.into(), &"libx264".into()), "{last}");
    let reasons = ["no_neighbours", "cut", "repeated", "unlike"];
    let alone: f64 = reasons.map(|r| support::number(&summary["frames_alone"][r])).iter().sum();
    assert!(alone <= 60.0 && support::number(&summary["neighbours"]) <= 10.0, "{last}");
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(support::number(&value["frame"]) <= 60.0 && value["stage_fps"]["decode"].is_number(), "{line}");
    }
}
