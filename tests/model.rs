//! `subpel model` as a user meets it: files of networks in, words, numbers and files out.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::Scratch;

/// A tiny network of the project.
fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// The last number of a line such as `largest difference 2.73e-3 of values 0 to 1`.
fn difference(out: &[u8]) -> f32 {
    let out = String::from_utf8_lossy(out).into_owned();
    let line = out.lines().find(|line| line.starts_with("largest difference")).expect("a difference");
    line.split(' ').nth(2).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn info_says_what_a_file_holds() {
    let scratch = Scratch::new();
    let done = scratch.subpel_with(["model", "info", "--json", text(&own("x2plus.pth"))]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let facts: Value = serde_json::from_slice(&done.out).expect("JSON");
    assert_eq!(facts["architecture"], "RRDBNet, 8 features, 2 blocks");
    assert_eq!((&facts["scale"], &facts["parameters"]), (&2.into(), &26035.into()));
    assert_eq!((&facts["format"], &facts["stored"][0]), (&"PyTorch zip".into(), &"f32".into()));
    let plain = scratch.subpel_with(["model", "info", text(&own("x4_old_arch_legacy.pth"))]);
    let plain = String::from_utf8_lossy(&plain.out).into_owned();
    assert!(plain.contains("scale            x4") && plain.contains("PyTorch before 1.6"), "{plain}");
}

#[test]
fn what_is_converted_is_the_same_network() {
    let scratch = Scratch::new();
    for (input, kind, most) in
        [("x4_old_arch.pth", "f32", 0.0), ("x2plus.pth", "bf16", 2e-2), ("x8_old_arch.pth", "f16", 2e-3)]
    {
        let input = own(input);
        let done =
            scratch.subpel_with(["model", "convert", text(&input), "out.safetensors", "--type", kind, "--overwrite"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let done = scratch.subpel_with(["model", "verify", "out.safetensors", "--against", text(&input)]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let off = difference(&done.out);
        assert!(off <= most && (most == 0.0 || off > 0.0), "{kind}: {off}");
    }
    assert_eq!(scratch.names(), ["out.safetensors"], "nothing else is left");
}

#[test]
fn blends_go_from_one_network_to_the_other() {
    let scratch = Scratch::new();
    let (a, b) = (own("x4_params.pth"), own("x4_params_and_ema.pth"));
    for (share, same) in [("0", &a), ("1", &b)] {
        let blend = ["model", "blend", text(&a), text(&b), "out.safetensors", "--share", share, "--overwrite"];
        assert_eq!(scratch.subpel_with(blend).code, Some(0));
        let done = scratch.subpel_with(["model", "verify", "out.safetensors", "--against", text(same)]);
        assert_eq!(difference(&done.out), 0.0, "share {share}");
    }
}

#[test]
fn what_cannot_be_is_said_with_its_exit_code() {
    let scratch = Scratch::new();
    fs::write(scratch.path("mine.safetensors"), "mine").expect("written");
    let (network, other) = (own("x4_new.safetensors"), own("x2plus.pth"));
    let cases: [(&[&str], i32, &str); 6] = [
        (&["model", "info", "mine.safetensors"], 65, "mine.safetensors"),
        (&["model", "info", "none.pth"], 74, "none.pth"),
        (&["model", "convert", text(&network), "mine.safetensors"], 73, "exists already"),
        (&["model", "convert", text(&network), "out.safetensors", "--type", "int8"], 2, "int8"),
        (&["model", "blend", text(&network), text(&other), "out.safetensors"], 65, "not of one network"),
        (&["model", "verify", text(&network), "--against", text(&other)], 78, "another size"),
    ];
    for (arguments, code, says) in cases {
        let done = scratch.subpel_with(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.err);
        assert!(done.err.contains(says), "{arguments:?}: {}", done.err);
    }
    assert_eq!(scratch.names(), ["mine.safetensors"], "nothing is made");
    assert_eq!(scratch.read("mine.safetensors"), b"mine");
}
