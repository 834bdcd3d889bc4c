//! `subpel compare`: with and without a truth, other programs beside it, what is kept, and the video.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{Done, Scratch, assert_times, list, number, skipped};

/// A clip with detail that moves, and its half-size copy.
fn pair(scratch: &Scratch, size: &str, half: &str, frames: usize) {
    scratch.ffmpeg(&format!(
        "-f lavfi -i testsrc2=size={size}:rate=25 -frames:v {frames} -vf format=yuv420p -c:v ffv1 hr.mkv"
    ));
    scratch.ffmpeg(&format!("-i hr.mkv -vf scale={half}:flags=bicubic+accurate_rnd -c:v ffv1 lr.mkv"));
}

fn compared(scratch: &Scratch, arguments: &str) -> Value {
    let done = scratch.subpel(&format!("compare {arguments} --json - --progress none")).ends(0);
    serde_json::from_slice(&done.out).expect("JSON")
}

fn test<'a>(value: &'a Value, key: &str) -> &'a Value {
    list(&value["tests"]).iter().find(|test| test["key"] == key).unwrap_or(&Value::Null)
}

fn method<'a>(test: &'a Value, name: &str) -> &'a Value {
    list(&test["methods"]).iter().find(|method| method["name"] == name).unwrap_or(&Value::Null)
}

/// With the command line split by hand, for words with spaces.
fn with_words(scratch: &Scratch, words: &[&str]) -> Done {
    scratch.subpel_with(["compare", "lr.mkv", "--reference", "hr.mkv", "--progress", "none"].iter().chain(words))
}

#[test]
fn with_a_reference_every_method_is_measured_against_it() {
    let scratch = Scratch::new();
    pair(&scratch, "192x128", "96x64", 5);
    let value = compared(&scratch, "lr.mkv --reference hr.mkv --methods bicubic,lanczos,map");
    assert_eq!(list(&value["tests"]).len(), 1, "one test");
    assert_eq!(value["scale"], 2.0, "scale is deduced");
    let test = test(&value, "reference");
    for name in ["bicubic", "lanczos", "map"] {
        let method = method(test, name);
        assert_eq!(list(&method["per_frame"]).len(), 5, "{name}: frames");
        let mean = number(&method["mean"]["psnr_y"]);
        let frames: f64 = list(&method["per_frame"]).iter().map(|f| number(&f["psnr_y"])).sum();
        assert!((mean - frames / 5.0).abs() < 1e-9 && mean > 15.0, "{name}: {mean}");
        for figure in ["ssim_y", "fidelity", "edge_width"] {
            assert!(method["mean"][figure].is_number(), "{name}: {figure}");
        }
        assert!(number(&method["frames_per_second"]) > 0.0, "{name}: speed");
        assert!(number(&method["peak_memory"]) > 1e7, "{name}: memory");
    }
    assert!(list(&method(test, "map")["per_frame"])[2]["multi_frame_share"].is_number(), "share of several frames");
    // The same figures as subpel metrics gives for a file made by hand.
    scratch.subpel("upscale lr.mkv by-hand.mkv --scale 2 --method lanczos --codec ffv1 --progress none").ends(0);
    let done = scratch.subpel("metrics by-hand.mkv hr.mkv --crop 8 --json").ends(0);
    let by_hand: Value = serde_json::from_slice(&done.out).expect("JSON");
    let lanczos = &method(test, "lanczos")["mean"];
    for figure in ["psnr_y", "ssim_y"] {
        let apart = number(&by_hand[figure]) - number(&lanczos[figure]);
        assert!(apart.abs() < 1e-9, "{figure} differs by {apart}");
    }
}

#[test]
fn without_one_the_input_is_recovered_and_a_method_advised() {
    let scratch = Scratch::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/clip.mkv");
    scratch.ffmpeg(&format!("-i {sample} -an -frames:v 4 -vf crop=200:150,format=yuv420p -c:v libx264 -crf 26 in.mp4"));
    let done = scratch.subpel("compare in.mp4 --methods nearest,lanczos,map --progress none --json all.json").ends(0);
    let value: Value = serde_json::from_slice(&scratch.read("all.json")).expect("JSON");
    let keys: Vec<&str> = list(&value["tests"]).iter().filter_map(|t| t["key"].as_str()).collect();
    assert_eq!(keys, ["recovery-coded", "recovery-bicubic", "recovery-gaussian", "enlargement"], "tests");
    for key in &keys[..3] {
        let test = test(&value, key);
        assert_eq!(test["size"], serde_json::json!([200, 148]), "{key}: cropped to what halves evenly");
        let [nearest, lanczos] = ["nearest", "lanczos"].map(|n| number(&method(test, n)["mean"]["psnr_y"]));
        assert!(nearest < lanczos, "{key}: nearest {nearest}, lanczos {lanczos}");
    }
    let enlarged = method(test(&value, "enlargement"), "map");
    assert!(enlarged["mean"]["psnr_y"].is_null() && enlarged["mean"]["fidelity"].is_number(), "{enlarged}");
    assert!(
        test(&value, "recovery-coded")["explanation"].as_str().is_some_and(|t| t.contains("crf")),
        "how it was coded"
    );
    // One screen that names a method and a command line.
    let text = done.text();
    assert!(text.lines().count() <= 24 && text.lines().all(|l| l.chars().count() <= 110), "{text}");
    let advised = value["advice"]["method"].as_str().expect("a method");
    assert_ne!(advised, "nearest", "worse than Lanczos");
    assert!(text.contains(&format!("Use {advised}.")) && text.contains("subpel upscale in.mp4"), "{text}");
    assert_eq!(scratch.names(), ["all.json", "in.mp4"], "nothing else is left");
}

#[test]
fn other_programs_take_part_and_their_failures_stay_their_own() {
    let scratch = Scratch::new();
    pair(&scratch, "128x96", "64x48", 3);
    scratch.ffmpeg("-i hr.mkv -c:v ffv1 same.mkv");
    scratch.ffmpeg("-i hr.mkv -frames:v 2 -c:v ffv1 short.mkv");
    scratch.ffmpeg("-i hr.mkv -vf scale=130:96 -c:v ffv1 wide.mkv");
    scratch.write("none.mkv", "no video");
    let words = [
        "--methods",
        "lanczos",
        "--json",
        "all.json",
        "--keep",
        "kept",
        "--candidate",
        "../..//=same.mkv",
        "--candidate",
        "short=short.mkv",
        "--candidate",
        "wide=wide.mkv",
        "--candidate",
        "broken=none.mkv",
        "--candidate",
        "missing=nowhere.mkv",
        "--command",
        "good=ffmpeg -v error -i {in} -vf scale=128:96:flags=lanczos -c:v ffv1 {out}",
        "--command",
        "../$(touch x); é=ffmpeg -v error -i {in} -vf scale=128:96 -c:v ffv1 {out}",
        "--command",
        "bad=ffmpeg -v error -i {in} -vf nosuchfilter {out}",
        "--command",
        "idle=ffmpeg -version {in} {out}",
        "--command",
        "absent=no-such-program {in} {out}",
    ];
    with_words(&scratch, &words).ends(0);
    let value: Value = serde_json::from_slice(&scratch.read("all.json")).expect("JSON");
    let test = test(&value, "reference");
    assert_eq!(number(&method(test, "../..//")["mean"]["psnr_y"]), 99.0, "identical");
    assert!((number(&method(test, "../..//")["mean"]["ssim_y"]) - 1.0).abs() < 1e-9, "identical");
    for name in ["good", "../$(touch x); é"] {
        assert!(number(&method(test, name)["mean"]["psnr_y"]) > 15.0, "{name}");
        assert!(number(&method(test, name)["frames_per_second"]) > 0.0, "{name}");
    }
    for (name, why) in [
        ("short", "only 2 frames"),
        ("wide", "130x96"),
        ("broken", "not a video"),
        ("missing", "no such file"),
        ("bad", "ffmpeg failed (exit"),
        ("idle", "did not write"),
        ("absent", "cannot be started"),
    ] {
        let failed = method(test, name)["failed"].as_str().unwrap_or_default().to_owned();
        assert!(failed.contains(why), "{name}: {failed:?}");
    }
    assert_eq!(value["advice"]["method"], "lanczos", "only own methods are advised");
    let names = scratch.names();
    assert!(!names.contains(&"x".to_owned()), "no shell: {names:?}");
    assert!(!Path::new(&scratch.path("..")).join("-0-.mkv").exists(), "nothing outside the folder");
}

#[test]
fn results_that_were_kept_are_not_made_again() {
    let scratch = Scratch::new();
    pair(&scratch, "128x96", "64x48", 4);
    let arguments = "lr.mkv --reference hr.mkv --methods lanczos,map --keep kept";
    let first = compared(&scratch, arguments);
    let kept = support::names_in(&scratch.path("kept"));
    assert_eq!(
        kept,
        ["reference-0-lanczos.json", "reference-0-lanczos.mkv", "reference-0-map.json", "reference-0-map.mkv"],
        "kept"
    );
    let changed = |name: &str| std::fs::metadata(scratch.path("kept").join(name)).and_then(|m| m.modified()).ok();
    let before = changed("reference-0-map.mkv");
    let second = compared(&scratch, arguments);
    assert_eq!(changed("reference-0-map.mkv"), before, "not enlarged again");
    for test in [&first, &second] {
        assert!(list(&method(&test["tests"][0], "map")["per_frame"])[1]["multi_frame_share"].is_number(), "notes");
    }
    let speeds = [&first, &second].map(|v| number(&method(&v["tests"][0], "map")["frames_per_second"]));
    assert_eq!(speeds[0], speeds[1], "the time it took");
    compared(&scratch, &format!("{arguments} --preset fast"));
    assert_ne!(changed("reference-0-map.mkv"), before, "other options are another result");
    // What is there and is not ours stays.
    std::fs::write(scratch.path("kept").join("reference-0-bicubic.mkv"), "mine").expect("written");
    let done = scratch.subpel("compare lr.mkv --reference hr.mkv --methods bicubic --keep kept --progress none");
    done.ends(73).says(&["exists already", "--overwrite"]);
}

#[test]
fn the_video_has_all_frames_times_and_sound() {
    let scratch = Scratch::new();
    // Variable frame rate, and sound that begins with it.
    scratch.ffmpeg(
        "-f lavfi -i testsrc2=size=96x64:rate=25 -f lavfi -i sine=frequency=500:duration=1 -frames:v 12 \
         -vf setpts=N*(1+mod(N\\,2))/25/TB,format=yuv420p -fps_mode vfr -c:v libx264 -crf 20 -c:a aac -shortest in.mkv",
    );
    let times = scratch.times("in.mkv");
    for (layout, size) in [("split", (192, 128)), ("side-by-side", (384, 256)), ("difference", (384, 128))] {
        let name = format!("{layout}.mkv");
        let arguments = format!(
            "compare in.mkv --methods nearest,lanczos,bicubic --progress none --video {name} --video-layout {layout}"
        );
        scratch.subpel(&arguments).ends(0);
        let video = scratch.stream(&name, "video");
        assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(size.0), Some(size.1)), "{layout}");
        assert_times(&scratch.times(&name), &times, 0.0015, layout);
        assert_eq!(scratch.packets(&name, "0:a"), scratch.packets("in.mkv", "0:a"), "{layout}: sound");
    }
    // The split shows a strip of each: the left third is that of the first method.
    scratch.subpel("upscale in.mkv nearest.mkv --method nearest --codec ffv1 --progress none").ends(0);
    let [split, nearest] = ["split.mkv", "nearest.mkv"].map(|n| scratch.raw_pictures(n, "gray"));
    let at = |picture: &[u8], x: usize, y: usize| f64::from(picture[y * 192 + x]);
    let apart = |from: usize| {
        let inside = (40..120).flat_map(|y| (from..from + 50).map(move |x| (x, y)));
        inside.map(|(x, y)| (at(&split, x, y) - at(&nearest, x, y)).abs()).sum::<f64>() / (80.0 * 50.0)
    };
    assert!(apart(4) < 2.0 && apart(4) < 0.5 * apart(136), "left {}, right {}", apart(4), apart(136));
}

#[test]
fn all_kinds_of_pictures_can_be_compared() {
    let scratch = Scratch::new();
    for (name, format, codec) in [
        ("ten.mkv", "yuv420p10le", "ffv1"),
        ("rgb.mkv", "gbrp", "ffv1"),
        ("full.mkv", "yuv444p", "ffv1"),
        ("grey.mkv", "gray", "ffv1"),
        ("alpha.mkv", "yuva420p", "ffv1"),
        ("one.png", "rgb24", "png"),
    ] {
        let frames = if name == "one.png" { 1 } else { 2 };
        scratch.ffmpeg(&format!(
            "-f lavfi -i testsrc2=size=101x75:rate=25 -frames:v {frames} -vf format={format} -pix_fmt {format} -c:v {codec} {name}"
        ));
        let value = compared(
            &scratch,
            &format!("{name} --methods nearest,lanczos --report {name}.html --video {name}.out.mkv"),
        );
        assert_eq!(list(&value["tests"]).len(), 3, "{name}: two recoveries and the enlargement: {}", value["notes"]);
        for test in list(&value["tests"]) {
            let lanczos = method(test, "lanczos");
            assert_eq!(list(&lanczos["per_frame"]).len(), frames, "{name} {}", test["key"]);
            assert!(lanczos["failed"].is_null(), "{name} {}: {}", test["key"], lanczos["failed"]);
        }
        assert!(scratch.read(format!("{name}.html")).starts_with(b"<!"), "{name}: a page");
        assert_eq!(scratch.times(&format!("{name}.out.mkv")).len(), frames, "{name}: a video");
    }
    // Truth and input of different kinds: the same figures to within rounding.
    scratch.ffmpeg("-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 2 -vf format=gbrp -c:v ffv1 hr.mkv");
    scratch.ffmpeg("-i hr.mkv -vf scale=out_color_matrix=bt601:flags=accurate_rnd+full_chroma_int,format=yuv444p -colorspace smpte170m -c:v ffv1 hr444.mkv");
    scratch.ffmpeg("-i hr.mkv -vf scale=64:48 -c:v ffv1 lr.mkv");
    let of = |reference: &str| {
        let value = compared(&scratch, &format!("lr.mkv --reference {reference} --methods lanczos"));
        number(&value["tests"][0]["methods"][0]["mean"]["psnr_y"])
    };
    let (rgb, ycbcr) = (of("hr.mkv"), of("hr444.mkv"));
    assert!((rgb - ycbcr).abs() < 0.05, "{rgb} and {ycbcr} dB");
}

#[test]
fn turned_videos_are_compared_as_they_are_shown() {
    let scratch = Scratch::new();
    scratch
        .ffmpeg("-f lavfi -i testsrc2=size=128x96:rate=25 -frames:v 3 -pix_fmt yuv420p -c:v libx264 -crf 10 flat.mp4");
    scratch.ffmpeg("-i flat.mp4 -c copy -metadata:s:v rotate=90 turned.mp4");
    let value = compared(&scratch, "turned.mp4 --methods lanczos --video out.mp4");
    assert_eq!((&value["input"]["width"], &value["input"]["height"]), (&96.into(), &128.into()), "upright");
    let recovered = number(&method(test(&value, "recovery-bicubic"), "lanczos")["mean"]["psnr_y"]);
    let flat = compared(&scratch, "flat.mp4 --methods lanczos");
    let unturned = number(&method(test(&flat, "recovery-bicubic"), "lanczos")["mean"]["psnr_y"]);
    assert!((recovered - unturned).abs() < 0.1, "{recovered} and {unturned} dB");
}

#[test]
fn chosen_frames_are_those_that_are_compared() {
    let scratch = Scratch::new();
    pair(&scratch, "128x96", "64x48", 12);
    let all = compared(&scratch, "lr.mkv --reference hr.mkv --methods lanczos");
    let some = compared(&scratch, "lr.mkv --reference hr.mkv --methods lanczos --frames 5:9 --candidate same=hr.mkv");
    let frames = list(&method(&some["tests"][0], "lanczos")["per_frame"]);
    let numbers: Vec<u64> = frames.iter().filter_map(|f| f["frame"].as_u64()).collect();
    assert_eq!(numbers, [5, 6, 7, 8], "numbers");
    for frame in frames {
        let same =
            &list(&method(&all["tests"][0], "lanczos")["per_frame"])[frame["frame"].as_u64().unwrap_or(0) as usize];
        assert_eq!(frame["psnr_y"], same["psnr_y"], "frame {}", frame["frame"]);
    }
    assert_eq!(number(&method(&some["tests"][0], "same")["mean"]["psnr_y"]), 99.0, "a file of the whole");
    let csv = scratch
        .subpel("compare lr.mkv --reference hr.mkv --methods lanczos --frames 10: --csv --progress none")
        .ends(0);
    let lines: Vec<String> = csv.text().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("test,method,frame,psnr_y,"), "{}", lines[0]);
    assert!(lines.len() == 3 && lines[1].starts_with("reference,lanczos,10,"), "{lines:?}");
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_message() {
    let scratch = Scratch::new();
    pair(&scratch, "128x96", "64x48", 3);
    scratch.ffmpeg("-i hr.mkv -frames:v 2 -c:v ffv1 short.mkv");
    scratch.ffmpeg("-i hr.mkv -vf scale=128:48 -c:v ffv1 odd.mkv");
    let refused = |arguments: &str, code: i32, parts: &[&str]| {
        scratch.subpel(&format!("compare {arguments} --progress none")).ends(code).says(parts);
    };
    refused("lr.mkv --reference short.mkv --methods lanczos", 65, &["short.mkv", "only 2 frames"]);
    refused("lr.mkv --reference odd.mkv --methods lanczos", 65, &["odd.mkv", "2.00", "1.00"]);
    refused("lr.mkv --reference hr.mkv --scale 3 --methods lanczos", 65, &["hr.mkv", "3 times 64x48"]);
    refused("hr.mkv --reference lr.mkv --methods lanczos", 65, &["lr.mkv", "0.50"]);
    refused("lr.mkv --methods none", 2, &["makes nothing larger"]);
    refused("lr.mkv --methods quintic", 2, &["quintic", "lanczos"]);
    refused("lr.mkv --methods lanczos,lanczos", 2, &["lanczos"]);
    refused("lr.mkv --frames 7:3", 2, &["7:3"]);
    refused("lr.mkv --frames 7:9 --methods lanczos", 2, &["lr.mkv", "3 frames"]);
    refused("- --methods lanczos", 2, &["pipe"]);
    refused("absent.mkv --methods lanczos", 65, &["absent.mkv"]);
    refused("lr.mkv --methods lanczos --video lr.mkv", 2, &["same file"]);
    refused("lr.mkv --methods lanczos --report hr.mkv", 73, &["exists already"]);
    refused("lr.mkv --methods lanczos --report a.html --json a.html", 2, &["a.html"]);
    assert_eq!(scratch.names(), ["hr.mkv", "lr.mkv", "odd.mkv", "short.mkv"], "nothing is left behind");
}

#[test]
fn an_interrupted_comparison_leaves_nothing_behind() {
    let scratch = Scratch::new();
    scratch
        .ffmpeg("-f lavfi -i testsrc2=size=640x360:rate=25 -frames:v 80 -pix_fmt yuv420p -c:v libx264 -crf 20 in.mp4");
    std::fs::create_dir(scratch.path("tmp")).expect("a folder");
    let mut command =
        scratch.raw_program("compare in.mp4 --methods map --preset best --report page.html --progress none");
    command.env("TMPDIR", scratch.path("tmp"));
    let mut child = command.spawn().expect("the program starts");
    // It works in its folder from the first moments on.
    let begun = std::time::Instant::now();
    while support::names_in(&scratch.path("tmp")).is_empty() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(700));
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "exit code");
    assert_eq!(support::names_in(&scratch.path("tmp")), Vec::<String>::new(), "the temporary folder");
    assert_eq!(scratch.names(), ["in.mp4", "tmp"], "the folder");
}

/// The acceptance of the issue: figures agree with those of published tables' conventions.
#[test]
fn figures_of_vid4_agree_with_an_independent_measurement() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let (clips, tool) = (data.join("data/vsr_gt"), data.join("tools/quality.py"));
    let python = std::env::var_os("SUBPEL_PYTHON").unwrap_or_else(|| "python3".into());
    let ready = std::process::Command::new(&python).args(["-c", "import numpy, scipy"]).output();
    if !clips.is_dir() || !tool.is_file() || !ready.is_ok_and(|done| done.status.success()) {
        return skipped(
            "../shared/data/vsr_gt, ../shared/tools/quality.py, or Python with numpy and scipy is not there",
        );
    }
    let scratch = Scratch::new();
    let reduce = "import sys; sys.path.insert(0, sys.argv[1]); import clips\n\
                  hr = clips.read_rgb(sys.argv[2])[:4]; clips.write_clip('lr.mkv', clips.degrade(hr, 4, 'BI')); clips.write_clip('hr.mkv', hr)";
    let mut command = std::process::Command::new(&python);
    command.arg(&tool).args([
        "--bin",
        env!("CARGO_BIN_EXE_subpel"),
        "--cases",
        "BIx4",
        "--frames",
        "4",
        "--json",
        "q.json",
    ]);
    let done = command.current_dir(scratch.path(".")).output().expect("Python runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows: Value = serde_json::from_slice(&scratch.read("q.json")).expect("JSON");
    for name in ["vid4_city", "vid4_walk"] {
        let mut command = std::process::Command::new(&python);
        command.args(["-c", reduce]).arg(data.join("tools")).arg(clips.join(format!("{name}_GT.mkv")));
        assert!(command.current_dir(scratch.path(".")).status().expect("Python runs").success(), "{name}: reduced");
        let row = list(&rows).iter().find(|row| row["clip"] == name).expect("the clip");
        let value = compared(&scratch, "lr.mkv --reference hr.mkv --methods bicubic,lanczos,map --overwrite");
        for (method_name, psnr, ssim) in [
            ("bicubic", "bicubic_psnr_y", "bicubic_ssim_y"),
            ("lanczos", "lanczos_psnr_y", "lanczos_ssim_y"),
            ("map", "psnr_y", "ssim_y"),
        ] {
            let mean = &method(&value["tests"][0], method_name)["mean"];
            let apart = (number(&mean["psnr_y"]) - number(&row[psnr])).abs();
            assert!(apart < 0.01, "{name} {method_name}: PSNR-Y differs by {apart} dB");
            let apart = (number(&mean["ssim_y"]) - number(&row[ssim])).abs();
            assert!(apart < 0.0005, "{name} {method_name}: SSIM-Y differs by {apart}");
        }
    }
}
