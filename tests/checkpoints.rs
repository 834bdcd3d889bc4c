//! Checkpoints as users have them, and as they come damaged or forged.
//!
//! The real networks are not part of the repository: their tests say so and pass where the folder is absent.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "support/forge.rs"]
mod forge;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forge::{archive, dict, legacy, singles, tensor, text};
use subpel::Kind;
use subpel::refine::{Checkpoint, DType, Format, Tensor};

/// How long a damaged or forged file may take to be refused; far more than any takes, for slow machines.
const PATIENCE: Duration = Duration::from_secs(5);

/// A folder of the weights: `fixtures` are the project's own, others lie beside it or nowhere.
fn weights(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if folder == "fixtures" {
        return Some(root.join("tests/networks"));
    }
    let near = root.ancestors().skip(1).map(|up| up.join("shared/weights").join(folder));
    let found = near.into_iter().find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/weights/{folder} beside the project");
    }
    found
}

fn read(path: &Path) -> Checkpoint {
    Checkpoint::read(path).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

/// Reads bytes as a file; the refusal as its whole chain of causes, in time.
fn read_bytes(bytes: &[u8]) -> Result<Checkpoint, String> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file.pth");
    fs::write(&path, bytes).expect("written");
    let start = Instant::now();
    let result = Checkpoint::read(&path);
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    if let Err(error) = &result {
        assert!(matches!(error.kind(), Kind::Input), "kind of {error:?}");
    }
    result.map_err(|error| format!("{error:?}"))
}

fn refusal(bytes: &[u8]) -> String {
    read_bytes(bytes).expect_err("refused")
}

fn assert_refused(bytes: &[u8], word: &str) {
    let text = refusal(bytes);
    assert!(text.contains(word), "'{word}' is not in: {text}");
}

/// Same names and shapes, values within `tolerance`.
fn assert_same(found: &BTreeMap<String, Tensor>, wanted: &BTreeMap<String, Tensor>, tolerance: f32, what: &str) {
    assert_eq!(Vec::from_iter(found.keys()), Vec::from_iter(wanted.keys()), "names of {what}");
    for (name, want) in wanted {
        let have = &found[name];
        assert_eq!(have.shape, want.shape, "shape of {name} of {what}");
        assert_eq!(have.values.len(), have.shape.iter().product::<usize>(), "count of {name} of {what}");
        let apart = have.values.iter().zip(&want.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= tolerance, "{name} of {what} differs by {apart}");
    }
}

/// The values of `wanted` cut, not rounded, to half precision: 11 bits remain, and nothing below the least normal half.
fn assert_truncated(found: &BTreeMap<String, Tensor>, wanted: &BTreeMap<String, Tensor>) {
    assert_eq!(Vec::from_iter(found.keys()), Vec::from_iter(wanted.keys()), "names");
    for (name, want) in wanted {
        assert_eq!(found[name].shape, want.shape, "shape of {name}");
        for (have, want) in found[name].values.iter().zip(&want.values) {
            let step = (want.abs() / 1024.0).max(1.0 / 16384.0);
            assert!((have - want).abs() <= step, "{name}: {have} for {want}");
        }
    }
}

// Files of the wild.

#[test]
fn every_fixture_is_read() {
    let Some(folder) = weights("fixtures") else { return };
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if !matches!(extension.as_str(), "pth" | "safetensors") {
            continue;
        }
        let checkpoint = read(&path);
        let format = match path.file_stem().unwrap_or_default().to_string_lossy() {
            _ if extension == "safetensors" => Format::Safetensors,
            stem if stem.ends_with("legacy") => Format::TorchLegacy,
            _ => Format::TorchZip,
        };
        assert_eq!(checkpoint.format, format, "{}", path.display());
        let least = if path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with('x')) { 66 } else { 14 };
        assert!(checkpoint.tensors.len() >= least, "{} has {} tensors", path.display(), checkpoint.tensors.len());
        count += 1;
    }
    assert_eq!(count, 24, "fixtures");
}

#[test]
fn wrappers_and_prefixes_do_not_change_the_network() {
    let Some(folder) = weights("fixtures") else { return };
    let wanted = read(&folder.join("x4_new.pth")).tensors;
    assert!(wanted.contains_key("body.0.rdb1.conv1.weight"), "{:?}", wanted.keys());
    for file in [
        "x4_new.safetensors",
        "x4_module_prefix.pth",
        "x4_params.pth",
        "x4_params_and_ema.pth",
        "x4_params_ema.pth",
        "x4_state_dict.pth",
    ] {
        assert_same(&read(&folder.join(file)).tensors, &wanted, 0.0, file);
    }
    let half = read(&folder.join("x4_half.pth")).tensors;
    assert_same(&half, &wanted, 1e-3, "x4_half.pth");
    assert!(half.values().all(|tensor| tensor.stored == DType::F16), "stored as half");
}

#[test]
fn both_torch_layouts_hold_the_same() {
    let Some(folder) = weights("fixtures") else { return };
    let wanted = read(&folder.join("x4_old_arch.pth")).tensors;
    assert!(wanted.contains_key("model.1.sub.0.RDB1.conv1.0.weight"), "{:?}", wanted.keys());
    assert_same(&read(&folder.join("x4_old_arch_legacy.pth")).tensors, &wanted, 0.0, "legacy");
}

#[test]
fn every_released_network_is_read() {
    for folder in ["original", "pretrained", "own"] {
        let Some(folder) = weights(folder) else { continue };
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            let known = ["pth", "safetensors", "param", "bin"];
            if known.iter().any(|extension| path.extension().is_some_and(|e| e == *extension)) {
                let checkpoint = read(&path);
                let finite = |tensor: &Tensor| tensor.values.iter().all(|value| value.is_finite());
                assert!(checkpoint.tensors.values().all(finite), "{}", path.display());
            }
        }
    }
}

#[test]
fn compact_is_the_same_in_all_formats() {
    let (Some(original), Some(pretrained)) = (weights("original"), weights("pretrained")) else { return };
    let torch = read(&original.join("realesr-animevideov3.pth"));
    let converted = read(&pretrained.join("realesr-animevideov3.fp32.safetensors"));
    assert_same(&torch.tensors, &converted.tensors, 0.0, "safetensors");
    let halves = read(&pretrained.join("realesr-animevideov3.safetensors"));
    for file in ["realesr-animevideov3-x4.param", "realesr-animevideov3-x4.bin"] {
        let ncnn = read(&original.join(file));
        assert_eq!(ncnn.format, Format::Ncnn, "{file}");
        assert_same(&ncnn.tensors, &halves.tensors, 0.0, file);
        assert_truncated(&ncnn.tensors, &torch.tensors);
    }
    let general = read(&original.join("realesr-general-x4v3.bin"));
    let converted = read(&pretrained.join("realesr-general-x4v3.safetensors"));
    assert_same(&general.tensors, &converted.tensors, 0.0, "general");
}

#[test]
fn whole_modules_and_old_state_dicts_equal_their_conversions() {
    let (Some(original), Some(pretrained)) = (weights("original"), weights("pretrained")) else { return };
    let vdsr = read(&original.join("vdsr_model_epoch_50.pth"));
    assert_same(&vdsr.tensors, &read(&pretrained.join("vdsr.safetensors")).tensors, 0.0, "vdsr");
    let srgan = read(&original.join("srgan_netG_epoch_4_100.pth"));
    let converted = read(&pretrained.join("srgan_x4.safetensors"));
    assert_same(&srgan.tensors, &converted.tensors, 0.0, "srgan");
}

// Damage.

/// Writes a file anew. Where one is cut to nothing and written again, some file systems wait for the disk.
fn rewrite(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("written");
}

/// Reads every shortened and every bit-flipped version of a file; none may panic or take long.
fn damage(bytes: &[u8], name: &str, param: Option<&[u8]>) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join(name);
    if let Some(param) = param {
        fs::write(path.with_extension("param"), param).expect("written");
    }
    let start = Instant::now();
    for length in (0..bytes.len()).step_by(97) {
        rewrite(&path, &bytes[..length]);
        let error = Checkpoint::read(&path).expect_err("cut short");
        assert!(matches!(error.kind(), Kind::Input), "cut to {length}: {error:?}");
    }
    let truncations = start.elapsed();
    let mut damaged = bytes.to_vec();
    // Every byte of the head, where structure is dense, then a sample of the rest.
    let places = (0..bytes.len().min(2000)).chain((2000..bytes.len()).step_by(61));
    for (count, place) in places.enumerate() {
        let flip = 1_u8 << (count % 8);
        damaged[place] ^= flip;
        rewrite(&path, &damaged);
        if let Err(error) = Checkpoint::read(&path) {
            assert!(matches!(error.kind(), Kind::Input), "byte {place}: {error:?}");
        }
        damaged[place] ^= flip;
    }
    eprintln!("{name}: truncations {truncations:?}, all {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(120), "{name} took {:?}", start.elapsed());
}

#[test]
fn damaged_torch_zip_is_refused_or_read_but_never_panics() {
    let Some(folder) = weights("fixtures") else { return };
    damage(&fs::read(folder.join("x4_half.pth")).expect("fixture"), "file.pth", None);
}

#[test]
fn damaged_torch_legacy_is_refused_or_read_but_never_panics() {
    let Some(folder) = weights("fixtures") else { return };
    damage(&fs::read(folder.join("x4_old_arch_legacy.pth")).expect("fixture"), "file.pth", None);
}

#[test]
fn damaged_safetensors_is_refused_or_read_but_never_panics() {
    let Some(folder) = weights("fixtures") else { return };
    damage(&fs::read(folder.join("x4_new.safetensors")).expect("fixture"), "file.safetensors", None);
}

#[test]
fn damaged_ncnn_is_refused_or_read_but_never_panics() {
    let param = "7767517\n3 3\nInput in 0 1 data\nConvolution c 1 1 data a 0=4 1=3 4=1 5=1 6=108\n\
                 PReLU p 1 1 a b 0=4\n";
    let bin = vec![0; 4 + 4 * (108 + 4 + 4)];
    damage(&bin, "file.bin", Some(param.as_bytes()));
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file.param");
    fs::write(path.with_extension("bin"), &bin).expect("written");
    for length in 0..param.len() - 1 {
        rewrite(&path, &param.as_bytes()[..length]);
        let error = Checkpoint::read(&path).expect_err("cut short");
        assert!(matches!(error.kind(), Kind::Input), "cut to {length}: {error:?}");
    }
    for place in 0..param.len() * 8 {
        let mut flipped = param.as_bytes().to_vec();
        flipped[place / 8] ^= 1 << (place % 8);
        rewrite(&path, &flipped);
        if let Err(error) = Checkpoint::read(&path) {
            assert!(matches!(error.kind(), Kind::Input), "bit {place}: {error:?}");
        }
    }
}

// Forgery; see `forge`.

/// One tensor named 'w' and one storage of six values, 0 to 5.
fn one_tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    legacy(&dict(&[("w", tensor(count, offset, shape, strides))]), &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
}

#[test]
fn strides_and_offsets_are_honoured() {
    let checkpoint = read_bytes(&one_tensor(6, 1, &[2, 2], &[1, 3])).expect("transposed view");
    assert_eq!(checkpoint.tensors["w"].shape, [2, 2], "shape");
    assert_eq!(checkpoint.tensors["w"].values, [1.0, 4.0, 2.0, 5.0], "values");
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    assert_refused(&one_tensor(6, 0, &[7], &[1]), "reaches outside");
    assert_refused(&one_tensor(6, 3, &[2, 2], &[2, 1]), "reaches outside");
    assert_refused(&one_tensor(6, -1, &[2], &[1]), "-1 where a size is wanted");
    assert_refused(&one_tensor(6, 5, &[2], &[-1]), "-1 where a size is wanted");
    assert_refused(&one_tensor(6, 0, &[1 << 40, 1 << 40], &[0, 0]), "more values than can be counted");
    assert_refused(&one_tensor(6, 0, &[2], &[i64::MAX]), "reaches outside");
    assert_refused(&one_tensor(6, i64::MAX, &[2], &[i64::MAX]), "reaches outside");
    assert_refused(&one_tensor(6, 0, &[2, 2], &[1]), "2 axes but 1 strides");
    assert_refused(&one_tensor(6, 0, &[1; 30], &[1; 30]), "axes");
}

#[test]
fn sizes_that_are_only_claimed_take_no_memory() {
    assert_refused(&one_tensor(1 << 60, 0, &[2], &[1]), "6 values where 1152921504606846976 are wanted");
    assert_refused(&one_tensor(6, 0, &[1 << 30], &[0]), "more values than a file of this size");
    assert_refused(&one_tensor(6, 0, &[1 << 20, 1 << 10], &[0, 0]), "more values than a file of this size");
}

#[test]
fn calls_are_never_made() {
    let folder = tempfile::tempdir().expect("folder");
    let proof = folder.path().join("proof");
    let command = text(&format!("touch {}", proof.display()));
    let call = [&b"cos\nsystem\n"[..], &command, b"\x85R"].concat();
    assert_refused(&legacy(&call, &[]), "an object of os.system");
    assert_refused(&legacy(&dict(&[("state_dict", call.clone())]), &[]), "'state_dict' (an object of os.system)");
    let mixed = legacy(&dict(&[("evil", call), ("w", tensor(6, 0, &[6], &[1]))]), &[0.0; 6]);
    assert_eq!(read_bytes(&mixed).expect("the tensor").tensors.len(), 1, "the call is no tensor");
    assert!(!proof.exists(), "nothing ran");
}

#[test]
fn pickles_without_end_or_bottom_are_refused() {
    assert_refused(&legacy(&[b'('; 1_000_000], &[]), "nests more than");
    let doubling = [&b"N"[..], &b"2\x86".repeat(100_000)].concat();
    assert_refused(&legacy(&doubling, &[]), "a tuple");
    assert_refused(&legacy(b"]q\x00h\x00a", &[]), "a list");
    assert_refused(&legacy(&[b"}q\x00", &text("state_dict")[..], b"h\x00s"].concat(), &[]), "holds no network");
    for huge in [&b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x8e\0\0\0\0\0\0\0\x7f", b"\x8b\xff\xff\xff\x7f"] {
        assert_refused(&legacy(huge, &[]), "bytes are left");
    }
}

#[test]
fn modules_are_walked_and_may_not_contain_themselves() {
    let module = |attributes: Vec<u8>| [&b"cnet\nNet\n)\x81"[..], &attributes, b"b"].concat();
    let inner =
        module(dict(&[("_parameters", dict(&[("weight", tensor(6, 0, &[6], &[1]))])), ("_modules", b"}".into())]));
    let outer = module(dict(&[("_parameters", b"}".to_vec()), ("_modules", dict(&[("conv", inner)]))]));
    let wrapped = dict(&[("epoch", b"K\x05".to_vec()), ("model", outer)]);
    let checkpoint = read_bytes(&legacy(&wrapped, &[0.0; 6])).expect("module");
    assert_eq!(Vec::from_iter(checkpoint.tensors.keys()), ["conv.weight"], "dotted name");

    for parts in [1, 2] {
        let entries: Vec<(&str, Vec<u8>)> = ["a", "b"][..parts].iter().map(|&key| (key, b"h\x00".to_vec())).collect();
        let own = [&b"cnet\nNet\n)\x81q\x00"[..], &dict(&[("_modules", dict(&entries))]), b"b"].concat();
        assert_refused(&legacy(&own, &[]), "contain themselves");
    }
}

#[test]
fn wrappers_are_opened_in_order_and_only_where_they_hold_a_network() {
    let network = |name| dict(&[(name, tensor(6, 0, &[6], &[1])), ("step", b"K\x01".to_vec())]);
    let names = |entries: &[(&str, Vec<u8>)]| {
        let checkpoint = read_bytes(&legacy(&dict(entries), &[0.0; 6])).expect("network");
        Vec::from_iter(checkpoint.tensors.into_keys())
    };
    let ordered = ["net", "model", "params", "params-ema", "params_ema", "state_dict", "model_state_dict"];
    for first in 0..ordered.len() {
        let entries: Vec<_> = ordered[..=first].iter().map(|&key| (key, network(key))).collect();
        assert_eq!(names(&entries), [ordered[first]], "the last of {:?}", &ordered[..=first]);
    }
    assert_eq!(names(&[("params_ema", b"N".to_vec()), ("params", network("w"))]), ["w"], "None is no network");
    assert_eq!(names(&[("anything", network("w"))]), ["w"], "the only key");
    assert_eq!(names(&[("state_dict", dict(&[("generator", network("w"))]))]), ["w"], "the only key in a wrapper");
    let prefixed = dict(&[("module.netG.a", tensor(6, 0, &[6], &[1])), ("module.netG.b", tensor(6, 0, &[1], &[1]))]);
    assert_eq!(names(&[("params", prefixed)]), ["a", "b"], "both prefixes");
}

#[test]
fn what_is_no_network_is_described() {
    assert_refused(&legacy(&dict(&[("epoch", b"K\x05".to_vec())]), &[]), "'epoch' (an integer)");
    assert_refused(&legacy(b"N", &[]), "no network weights: None");
    let quantized = [&b"ctorch._utils\n_rebuild_qtensor\n)R"[..]].concat();
    assert_refused(&legacy(&dict(&[("w", quantized)]), &[]), "_rebuild_qtensor");
    let embedded = [&b"ctorch.storage\n_load_from_bytes\nC\x01a\x85R"[..]].concat();
    assert_refused(&legacy(&dict(&[("w", embedded)]), &[]), "a pickle inside the pickle");
}

// Forged archives.

#[test]
fn archives_may_be_compressed_and_big_endian() {
    let pickle = [&dict(&[("w", tensor(3, 0, &[3], &[1]))])[..], b"."].concat();
    let little = singles(&[1.0, 2.0, 3.0]);
    let file = archive(&[("a/data.pkl", &pickle, true), ("a/data/0", &little, true)]);
    assert_eq!(read_bytes(&file).expect("deflated").tensors["w"].values, [1.0, 2.0, 3.0], "deflated");
    let big: Vec<u8> = [1.0_f32, 2.0, 3.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    let file = archive(&[("a/data.pkl", &pickle, false), ("a/byteorder", b"big", false), ("a/data/0", &big, false)]);
    assert_eq!(read_bytes(&file).expect("big-endian").tensors["w"].values, [1.0, 2.0, 3.0], "big-endian");
}

#[test]
fn forged_archives_are_refused() {
    let pickle = |count: i64| [&dict(&[("w", tensor(count, 0, &[3], &[1]))])[..], b"."].concat();
    let little = singles(&[1.0, 2.0, 3.0]);
    let with = |count, content: &[u8]| archive(&[("a/data.pkl", &pickle(count), false), ("a/data/0", content, true)]);
    assert_refused(&with(4, &little), "12 bytes where 16 are wanted");
    assert_refused(&with(2, &little), "reaches outside");
    assert_refused(&with(1 << 60, &little), "bytes");
    assert_refused(&with(i64::MAX, &little), "claims");
    assert_refused(&with(16 << 20, &vec![0; 64 << 20]), "zip bomb");
    assert_refused(&archive(&[("a/data.pkl", &vec![b'N'; 9 << 20], true)]), "at most");
    assert_refused(&archive(&[("a/data.pkl", &pickle(3), false)]), "'a/data/0' is missing");
    assert_refused(&archive(&[("a/data.pkl", &pickle(3), false), ("a/byteorder", b"middle", false)]), "'middle'");
    assert_refused(&archive(&[("a/data.pkl", &pickle(3), false), ("a/constants.pkl", b"N.", false)]), "TorchScript");
    assert_refused(&archive(&[("x.npy", b"", false)]), "NumPy archive");
    assert_refused(&archive(&[("readme.txt", b"", false)]), "without data.pkl");
}

#[test]
fn one_storage_may_serve_many_tensors_but_not_be_described_in_two_ways() {
    let network = dict(&[("a", tensor(6, 0, &[2], &[1])), ("b", tensor(6, 4, &[2], &[1]))]);
    let checkpoint = read_bytes(&legacy(&network, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])).expect("shared");
    assert_eq!(checkpoint.tensors["b"].values, [4.0, 5.0], "second part");
    let network = dict(&[("a", tensor(6, 0, &[2], &[1])), ("b", tensor(5, 0, &[2], &[1]))]);
    assert!(read_bytes(&legacy(&network, &[0.0; 6])).is_err(), "two sizes");
}
