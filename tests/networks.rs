//! Networks of all namings and architectures, run and compared with what PyTorch (or another runtime) makes of them.
//!
//! The tiny networks of `tests/networks` are the project's own, with random weights. Released networks are not part of it:
//! their tests say so and pass where they are absent.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use subpel::Kind;
use subpel::kernels::CpuLevel;
use subpel::refine::{
    Checkpoint, DType, Device, Engine, Format, Input, Network, OnDevice, Picture, Precision, Tensor, run,
};

/// Largest difference that rounding in another order explains, of values 0 to 1.
const CLOSE: f32 = 1e-4;

/// The own networks, or weights that lie beside the project.
fn folder(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if name == "own" {
        return Some(root.join("tests/networks"));
    }
    let found = root.ancestors().skip(1).map(|up| up.join("shared/weights").join(name)).find(|path| path.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: no shared/weights/{name} beside the project");
    }
    found
}

/// The picture of a `.npy` file: version 1, little-endian f32 in C order, shape (1, channels, rows, columns).
fn npy(path: &Path) -> Picture {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{}", path.display());
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).expect("a header in ASCII");
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).expect("a shape");
    let sides: Vec<usize> = shape.split(',').filter_map(|side| side.trim().parse().ok()).collect();
    let values = bytes[end..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Picture::from_shape_vec((sides[1], sides[2], sides[3]), values).expect("as many values as the shape says")
}

fn farthest(a: &Picture, b: &Picture) -> f32 {
    assert_eq!(a.dim(), b.dim(), "sizes");
    // What is no number is the farthest of all; `f32::max` would pass over it.
    let farther = |most: f32, off: f32| {
        if off <= most {
            most
        } else if off.is_nan() {
            f32::INFINITY
        } else {
            off
        }
    };
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, farther)
}

#[track_caller]
fn matches(network: &Path, input: &Picture, golden: &Path) {
    same(&Network::read(network).unwrap_or_else(|e| panic!("{e:?}")), input, golden);
}

#[track_caller]
fn same(network: &Network, input: &Picture, golden: &Path) {
    let (golden, from) = (npy(golden), golden.display());
    let plain = run(network, input).expect("a result");
    let fast = engine(network, Precision::F32, input);
    let candle = run_on(Device::Cpu, network, input, golden.dim());
    for (by, made) in [("reference", &plain), ("engine", &fast), ("candle", &candle)] {
        let (off, apart) = (farthest(made, &golden), farthest(made, &plain));
        eprintln!("{} by {by}: {off:.1e} from {from}, {apart:.1e} from the reference", network.name);
        assert!(off <= CLOSE && apart <= CLOSE, "{} by {by}: {off} from {from}, {apart}", network.name);
    }
}

/// What the fast executor makes of it.
fn engine(network: &Network, precision: Precision, input: &Picture) -> Picture {
    let engine = Engine::new(network, precision, CpuLevel::detect());
    let (_, rows, columns) = input.dim();
    let channels = if network.input == Input::Rgb { 3 } else { 1 };
    let mut out = Picture::from_elem((channels, rows * engine.scale(), columns * engine.scale()), f32::NAN);
    engine.run(input.view(), out.view_mut()).expect("a result");
    out
}

fn run_on(device: Device, network: &Network, input: &Picture, size: (usize, usize, usize)) -> Picture {
    let mut made = Picture::zeros(size);
    let network = OnDevice::new(network, &device).unwrap_or_else(|e| panic!("{e:?}"));
    network.run(input.view(), made.view_mut()).unwrap_or_else(|e| panic!("{e:?}"));
    made
}

#[test]
fn every_naming_of_rrdbnet_gives_what_pytorch_gave() {
    let own = folder("own").expect("the own networks");
    let cases = [
        ("x1", "x1_old_arch.pth", 1),
        ("x1unshuffle", "x1unshuffle.pth", 1),
        ("x2", "x2_old_arch.pth", 2),
        ("x2plus", "x2plus.pth", 2),
        ("x4", "x4_bsrgan.pth", 4),
        ("x4", "x4_new.pth", 4),
        ("x4", "x4_new.safetensors", 4),
        ("x4", "x4_old_arch.pth", 4),
        ("x4", "x4_old_arch_legacy.pth", 4),
        ("x4", "x4_module_prefix.pth", 4),
        ("x4", "x4_params.pth", 4),
        ("x4", "x4_params_and_ema.pth", 4),
        ("x4", "x4_params_ema.pth", 4),
        ("x4", "x4_state_dict.pth", 4),
        ("x4plusarch", "x4_esrganplus_old_arch.pth", 4),
        ("x8", "x8_old_arch.pth", 8),
    ];
    for (case, file, scale) in cases {
        let input = npy(&own.join(format!("{case}.in.npy")));
        matches(&own.join(file), &input, &own.join(format!("{case}.out.npy")));
        assert_eq!(Network::read(&own.join(file)).expect("read").scale, scale, "{file}");
    }
    let half = run(&Network::read(&own.join("x4_half.pth")).expect("read"), &npy(&own.join("x4.in.npy"))).expect("run");
    let off = farthest(&half, &npy(&own.join("x4.out.npy")));
    assert!(off < 2e-3, "weights of half precision: {off}");
}

#[test]
fn edsr_and_rcan_give_what_numpy_gave() {
    let own = folder("own").expect("the own networks");
    let input = npy(&own.join("edsr.in.npy"));
    for (name, scale, reach) in [("edsr_x4", 4, true), ("edsr_basicsr_x3", 3, true), ("rcan_x2", 2, false)] {
        let file = own.join(format!("{name}.safetensors"));
        matches(&file, &input, &own.join(format!("{name}.out.npy")));
        let network = Network::read(&file).expect("read");
        assert_eq!((network.scale, network.reach().is_some()), (scale, reach), "{name}");
    }
}

#[test]
fn msrresnet_gives_what_numpy_gave() {
    let own = folder("own").expect("the own networks");
    for (scale, input, of) in [(2, "luma", Input::Luma), (3, "scales", Input::Rgb), (4, "scales", Input::Rgb)] {
        let file = own.join(format!("msrresnet_x{scale}.safetensors"));
        let network = Network::read(&file).expect("read");
        assert_eq!((network.scale, network.input), (scale, of), "{}", network.name);
        assert_eq!(network.name, "MSRResNet, 4 features, 2 blocks");
        same(&network, &npy(&own.join(format!("{input}.in.npy"))), &own.join(format!("msrresnet_x{scale}.out.npy")));
    }
}

#[test]
fn mdsr_is_the_network_of_the_scale_that_is_wanted() {
    let own = folder("own").expect("the own networks");
    let checkpoint = Checkpoint::read(&own.join("mdsr.safetensors")).expect("read");
    let input = npy(&own.join("scales.in.npy"));
    for (wanted, scale) in [(0.5, 2), (1.9, 2), (2.0, 2), (2.1, 3), (3.0, 3), (3.5, 4), (4.0, 4), (8.0, 4)] {
        let network = Network::of_scale(&checkpoint, wanted).expect("a network");
        assert_eq!(network.scale, scale, "{wanted}");
        assert_eq!(network.name, format!("MDSR, 3 features, 2 blocks, x{scale} of x2 x3 x4"));
        same(&network, &input, &own.join(format!("mdsr_x{scale}.out.npy")));
    }
    assert_eq!(Network::of(&checkpoint).expect("a network").scale, 4, "the largest");
    let other = Checkpoint::read(&own.join("edsr_x4.safetensors")).expect("read");
    let [any, two] = [Network::of(&other), Network::of_scale(&other, 2.0)].map(|made| made.expect("a network"));
    assert_eq!(two, any, "networks of one scale have no choice");
}

/// What is said of an own network with one change, for a scale of two.
fn refusal(file: &str, change: impl Fn(&mut BTreeMap<String, Tensor>)) -> String {
    let own = folder("own").expect("the own networks");
    let mut checkpoint = Checkpoint::read(&own.join(file)).expect("read");
    change(&mut checkpoint.tensors);
    let error = Network::of_scale(&checkpoint, 2.0).expect_err("it does not fit");
    assert_eq!(error.kind(), Kind::Input, "{error}");
    error.to_string()
}

#[test]
fn networks_of_several_scales_and_shared_names_are_refused_in_words() {
    let remove = |name: &'static str| move |tensors: &mut BTreeMap<String, Tensor>| drop(tensors.remove(name));
    let copied = |from: &'static str, to: &'static str| {
        move |tensors: &mut BTreeMap<String, Tensor>| drop(tensors.insert(to.to_owned(), tensors[from].clone()))
    };
    let (mdsr, plain) = ("mdsr.safetensors", "msrresnet_x4.safetensors");
    for (text, wanted) in [
        (refusal(mdsr, remove("pre_process.0.1.body.2.weight")), "pre_process.0.1.body.2.weight is missing"),
        (refusal(mdsr, remove("tail.0.weight")), "tail.0.weight is missing"),
        (refusal(mdsr, copied("tail.0.bias", "tail.1.bias")), "not part of this architecture: tail.1.bias"),
        (refusal(mdsr, remove("upsample.1.0.weight")), "not part of this architecture: pre_process.1.0.body.0.bias"),
        (
            refusal(mdsr, |tensors| tensors.retain(|name, _| !name.starts_with("upsample."))),
            "not part of this architecture: pre_process.1",
        ),
        (refusal(plain, remove("conv_last.weight")), "conv_last.weight is missing"),
        (refusal(plain, remove("upconv1.weight")), "no known architecture"),
        (refusal(plain, remove("upconv2.weight")), "not part of this architecture: upconv2.bias"),
        (refusal(plain, copied("conv_hr.weight", "upconv2.weight")), "upconv2.bias has shape [16]"),
        // Names of both EDSR and MSRResNet: whichever it looks like, the others are too many.
        (
            refusal("edsr_basicsr_x3.safetensors", copied("conv_first.weight", "conv_hr.weight")),
            "looks like EDSR, 8 features, 2 blocks, but does not fit: not part of this architecture: conv_hr.weight",
        ),
        (refusal(plain, copied("conv_hr.weight", "conv_after_body.weight")), "looks like MSRResNet"),
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn results_of_other_channels_than_the_input_are_refused() {
    // The last convolution, and how many channels of its result are kept.
    for (file, last, kept) in [
        ("x4_new.safetensors", "conv_last", 2),
        ("x2plus.pth", "conv_last", 1),
        ("edsr_basicsr_x3.safetensors", "conv_last", 1),
        ("msrresnet_x4.safetensors", "conv_last", 2),
        ("msrresnet_x2.safetensors", "conv_last", 3),
        ("edsr_x4.safetensors", "add_mean", 2),
        ("rcan_x2.safetensors", "add_mean", 1),
        ("mdsr.safetensors", "add_mean", 1),
    ] {
        let text = refusal(file, |tensors| {
            for part in ["weight", "bias"] {
                let tensor = tensors.get_mut(&format!("{last}.{part}")).expect("the last convolution");
                let each = tensor.values.len() / tensor.shape[0];
                tensor.values.resize(each * kept, 0.0);
                tensor.shape[0] = kept;
            }
        });
        assert!(text.contains("channels"), "{file}: {text}");
    }
}

#[test]
fn released_networks_give_what_their_own_runtimes_gave() {
    let (Some(pretrained), Some(golden)) = (folder("pretrained"), folder("golden")) else { return };
    let (rgb, luma) = (npy(&golden.join("input_64x64.npy")), npy(&golden.join("input_luma_64x64.npy")));
    let mut compared = 0;
    for entry in fs::read_dir(&golden).expect("goldens") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let Some((network, sizes)) = name.split_once("_y64_to_").or_else(|| name.split_once("_64_to_")) else {
            continue;
        };
        let file = pretrained.join(format!("{network}.safetensors"));
        if !file.is_file() {
            continue;
        }
        let wanted = Network::read(&file).unwrap_or_else(|e| panic!("{e:?}"));
        let size: usize = sizes.parse().expect("a size");
        match wanted.input {
            Input::Rgb => matches(&file, &rgb, &path),
            Input::Luma => matches(&file, &luma, &path),
            Input::EnlargedLuma => matches(&file, &enlarged(&luma, size / 64), &path),
        }
        compared += 1;
    }
    let tutorial = golden.join("subpixel_tutorial_x3_luma224_to_672.npy");
    matches(
        &pretrained.join("subpixel_tutorial_x3.safetensors"),
        &npy(&golden.join("input_luma_224x224.npy")),
        &tutorial,
    );
    assert!(compared >= 17, "{compared} goldens");
}

#[test]
fn features_of_vgg19_are_what_pytorch_gave() {
    let (Some(pretrained), Some(golden)) = (folder("pretrained"), folder("golden")) else { return };
    let network = Network::read(&pretrained.join("vgg19_caffe_conv1_1_to_conv3_4.safetensors")).expect("VGG19");
    assert_eq!((network.name.as_str(), network.scale, network.multiple), ("VGG19 to conv3_4", 0, 4));
    let input = npy(&golden.join("input_64x64.npy"));
    let golden = npy(&golden.join("vgg19_caffe_conv3_4_preact_64.npy"));
    let plain = run(&network, &input).expect("a result");
    let mut fast = Picture::zeros(golden.dim());
    Engine::new(&network, Precision::F32, CpuLevel::detect()).run(input.view(), fast.view_mut()).expect("a result");
    let candle = run_on(Device::Cpu, &network, &input, golden.dim());
    // Features are not from 0 to 1.
    let largest = golden.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    for (by, made) in [("reference", &plain), ("engine", &fast), ("candle", &candle)] {
        let off = farthest(made, &golden) / largest;
        eprintln!("{by}: {off:.1e} of the largest, {largest}");
        assert!(off <= 1e-5, "{by}: {off} of the largest");
    }
}

/// Bicubic interpolation (Keys, a = -1/2) by a whole factor, samples in the middles of pixels; at the border the weights
/// that are left count in proportion, as Pillow does it.
fn enlarged(picture: &Picture, factor: usize) -> Picture {
    let keys = |x: f32| {
        let x = x.abs();
        if x < 1.0 {
            (1.5 * x - 2.5) * x * x + 1.0
        } else if x < 2.0 {
            ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
        } else {
            0.0
        }
    };
    let (channels, rows, columns) = picture.dim();
    let taps = |i: usize, n: usize| {
        let at = (i as f32 + 0.5) / factor as f32 - 0.5;
        let first = at.floor() as i64 - 1;
        let inside = move || (first..first + 4).filter(move |k| (0..n as i64).contains(k));
        let total: f32 = inside().map(|k| keys(at - k as f32)).sum();
        inside().map(move |k| (k as usize, keys(at - k as f32) / total))
    };
    Picture::from_shape_fn((channels, rows * factor, columns * factor), |(c, y, x)| {
        let line = |row: usize| taps(x, columns).map(|(k, w)| w * picture[[c, row, k]]).sum::<f32>();
        taps(y, rows).map(|(k, w)| w * line(k)).sum()
    })
}

/// The tiny RRDBNet x4 as ncnn's pair of files, in one of the two styles that converters write: `.param` and `.bin`.
fn rrdb_for_ncnn(merged: bool) -> (String, Vec<u8>) {
    let own = folder("own").expect("the own networks");
    let tensors = Checkpoint::read(&own.join("x4_new.safetensors")).expect("read").tensors;
    let (mut lines, mut bin) = (vec!["Input in 0 1 data".to_owned()], Vec::new());
    let mut convolve = |lines: &mut Vec<String>, name: &str, from: &str, leaky: bool| {
        let (weight, bias) = (&tensors[&format!("{name}.weight")], &tensors[&format!("{name}.bias")]);
        bin.extend([0; 4]);
        bin.extend(weight.values.iter().chain(&bias.values).flat_map(|value| value.to_le_bytes()));
        let made = format!("value_{}", lines.len());
        let line = format!(
            "Convolution {name} 1 1 {from} {made} 0={} 1=3 4=1 5=1 6={}",
            bias.values.len(),
            weight.values.len()
        );
        match (leaky, merged) {
            (true, true) => lines.push(line + " 9=2 -23310=1,2.000000e-01"),
            (true, false) => lines.extend([line, format!("ReLU r 1 1 {made} {made}_r 0=2.000000e-01")]),
            (false, _) => lines.push(line),
        }
        if leaky && !merged { format!("{made}_r") } else { made }
    };
    let add = |lines: &mut Vec<String>, a: &str, b: &str| {
        let made = format!("value_{}", lines.len());
        if merged {
            lines.push(format!("Eltwise e 2 1 {a} {b} {made} 0=1 -23301=2,2.000000e-01,1.000000e+00"));
        } else {
            lines.push(format!("BinaryOp m 1 1 {a} {made}_m 0=2 1=1 2=2.000000e-01"));
            lines.push(format!("BinaryOp p 2 1 {made}_m {b} {made} 0=0"));
        }
        made
    };
    let first = convolve(&mut lines, "conv_first", "data", false);
    lines.push(format!("Split s 1 2 {first} {first}_0 {first}_1"));
    let mut value = format!("{first}_1");
    for block in 0..2 {
        let start = value.clone();
        for dense in 1..=3 {
            let mut made = vec![value.clone()];
            for layer in 1..=5 {
                let from = if layer == 1 { value.clone() } else { format!("joined_{}", lines.len()) };
                if layer > 1 {
                    lines.push(format!("Concat c {} 1 {} {from} 0=0", made.len(), made.join(" ")));
                }
                made.push(convolve(&mut lines, &format!("body.{block}.rdb{dense}.conv{layer}"), &from, layer < 5));
            }
            value = add(&mut lines, &made[5], &value);
        }
        value = add(&mut lines, &value, &start);
    }
    let deep = convolve(&mut lines, "conv_body", &value, false);
    lines.push(format!("BinaryOp a 2 1 {first}_0 {deep} trunk"));
    value = "trunk".to_owned();
    for up in 1..=2 {
        lines.push(format!("Interp i 1 1 {value} large_{up} 0=1 1=2.000000e+00 2=2.000000e+00"));
        value = convolve(&mut lines, &format!("conv_up{up}"), &format!("large_{up}"), true);
    }
    value = convolve(&mut lines, "conv_hr", &value, true);
    convolve(&mut lines, "conv_last", &value, false);
    (format!("7767517\n{} {}\n{}\n", lines.len(), lines.len(), lines.join("\n")), bin)
}

#[test]
fn rrdbnets_of_ncnn_are_told_by_their_connections() {
    let own = folder("own").expect("the own networks");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.param");
    let written = |param: &str, bin: &[u8]| {
        fs::write(&path, param).expect("written");
        fs::write(path.with_extension("bin"), bin).expect("written");
        Network::read(&path)
    };
    for merged in [true, false] {
        let (param, bin) = rrdb_for_ncnn(merged);
        let network = written(&param, &bin).unwrap_or_else(|e| panic!("{e:?}"));
        same(&network, &npy(&own.join("x4.in.npy")), &own.join("x4.out.npy"));
        let lines: Vec<&str> = param.lines().collect();
        for (what, from, to) in [
            ("another slope", "2.000000e-01", "1.000000e-01"),
            ("another way to enlarge", "0=1 1=2.0", "0=2 1=2.0"),
            ("another factor", "2=2.000000e+00", "2=3.000000e+00"),
            ("another sum", "BinaryOp a 2 1 value_1_0", "BinaryOp a 2 1 data"),
            ("a step of its own", "Interp i", "Deconvolution i"),
            ("a value that nobody makes", "trunk large_1", "trunc large_1"),
            ("a value made twice", "value_1_0 value_1_1", "value_1_1 value_1_1"),
            ("joined elsewhere", " 0=0", " 0=1"),
        ] {
            let changed = param.replacen(from, to, 1);
            assert_ne!(changed, param, "{what}");
            let error = written(&changed, &bin).expect_err(what);
            assert_eq!(error.kind(), Kind::Input, "{what}: {error}");
        }
        // Every value that a layer takes is replaced by another in turn.
        let taken: Vec<(usize, usize)> = (3..lines.len())
            .flat_map(|n| {
                let takes: usize = lines[n].split(' ').nth(2).and_then(|count| count.parse().ok()).expect("a count");
                (0..takes).map(move |k| (n, 4 + k))
            })
            .collect();
        for (n, k) in taken {
            let mut words: Vec<&str> = lines[n].split(' ').collect();
            words[k] = if words[k] == "data" { "trunk" } else { "data" };
            let line = words.join(" ");
            let changed: Vec<&str> = (0..lines.len()).map(|m| if m == n { line.as_str() } else { lines[m] }).collect();
            let error = written(&changed.join("\n"), &bin).expect_err(&line);
            assert_eq!(error.kind(), Kind::Input, "{line}: {error}");
        }
        let fewer = lines[2..lines.len() - 1].join("\n");
        let error = written(&format!("7767517\n{} 0\n{fewer}\n", lines.len() - 3), &bin).expect_err("cut");
        assert!(error.to_string().contains("ends before"), "{error}");
    }
}

#[test]
fn numbers_in_names_are_not_believed() {
    let tensor = |shape: &[usize]| {
        let values = vec![0.0; shape.iter().product()];
        Tensor { shape: shape.to_vec(), stored: DType::F32, values }
    };
    let mut tensors = BTreeMap::new();
    tensors.insert("body.0.weight".to_owned(), tensor(&[8, 3, 3, 3]));
    tensors.insert("body.1.weight".to_owned(), tensor(&[8]));
    tensors.insert("body.18446744073709551614.weight".to_owned(), tensor(&[12, 8, 3, 3]));
    let error = Network::of(&Checkpoint { tensors, format: Format::Safetensors }).expect_err("refused");
    assert_eq!(error.kind(), Kind::Input, "{error}");
}

/// A checkpoint of the own networks with one change.
fn changed(change: impl Fn(&mut Checkpoint)) -> String {
    let own = folder("own").expect("the own networks");
    let mut checkpoint = Checkpoint::read(&own.join("x4_new.safetensors")).expect("read");
    change(&mut checkpoint);
    let error = Network::of(&checkpoint).expect_err("it does not fit");
    assert_eq!(error.kind(), Kind::Input);
    error.to_string()
}

#[test]
fn what_does_not_fit_is_listed() {
    let missing = changed(|c| {
        c.tensors.remove("conv_hr.weight");
        c.tensors.remove("body.1.rdb2.conv3.bias");
        c.tensors.remove("body.1.rdb2.conv3.weight");
    });
    let wanted = "does not fit: body.1.rdb2.conv3.weight is missing, conv_hr.weight is missing";
    assert!(missing.ends_with(wanted), "each once, and nothing that follows from it: {missing}");
    let extra = changed(|c| {
        let tensor = c.tensors["conv_hr.weight"].clone();
        c.tensors.insert("conv_extra.weight".to_owned(), tensor);
    });
    assert!(extra.contains("conv_extra.weight"), "{extra}");
    let misshapen = changed(|c| {
        let other = c.tensors["conv_first.weight"].clone();
        c.tensors.insert("conv_hr.weight".to_owned(), other);
    });
    assert!(misshapen.contains("conv_hr.weight has shape [8, 3, 3, 3]"), "{misshapen}");
    let unknown = changed(|c| c.tensors.retain(|name, _| name.starts_with("conv_hr")));
    assert!(unknown.contains("no known architecture"), "{unknown}");
}

#[test]
fn a_pixel_changes_the_result_within_the_reach_and_nowhere_else() {
    let own = folder("own").expect("the own networks");
    for file in ["x4_new.safetensors", "x2plus.pth", "msrresnet_x3.safetensors"] {
        let network = Network::read(&own.join(file)).expect("read");
        let (reach, step) = (network.reach().expect("a reach"), network.multiple);
        let side = (2 * reach + 9).next_multiple_of(step);
        let plain = Picture::from_shape_fn((3, side, side), |(c, y, x)| ((c + 3 * y + 7 * x) % 11) as f32 / 11.0);
        let mut other = plain.clone();
        let middle = side / 2;
        other[[1, middle, middle]] += 0.5;
        let [a, b] = [&plain, &other].map(|picture| run(&network, picture).expect("a result"));
        let first = network.scale * (middle - reach);
        let end = network.scale * (middle + reach + 1);
        for ((c, y, x), a) in a.indexed_iter() {
            let inside = (first..end).contains(&y) && (first..end).contains(&x);
            assert!(inside || *a == b[[c, y, x]], "{file}: row {y}, column {x} is {reach} pixels away");
        }
        assert!(farthest(&a, &b) > 0.0, "{file}: the pixel matters");
    }
}

#[test]
fn inputs_of_the_wrong_size_are_refused() {
    let own = folder("own").expect("the own networks");
    let network = Network::read(&own.join("x2plus.pth")).expect("read");
    for size in [(1, 4, 4), (3, 5, 4), (3, 0, 4)] {
        let error = run(&network, &Picture::zeros(size)).expect_err("refused");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        let mut out = Picture::zeros((3, 8, 8));
        let on_device = OnDevice::new(&network, &Device::Cpu).expect("the processor is there");
        let same = on_device.run(Picture::zeros(size).view(), out.view_mut()).expect_err("refused");
        assert_eq!((same.kind(), same.to_string()), (Kind::Usage, error.to_string()));
    }
    let on_device = OnDevice::new(&network, &Device::Cpu).expect("the processor is there");
    let input = Picture::zeros((3, 4, 4));
    let error = on_device.run(input.view(), Picture::zeros((3, 8, 9)).view_mut()).expect_err("another size");
    assert_eq!(error.kind(), Kind::Usage, "{error}");
    assert!(error.to_string().contains("(3, 8, 8)"), "{error}");
}

#[test]
fn what_lies_in_any_order_in_memory_is_run_and_written() {
    let own = folder("own").expect("the own networks");
    let network = Network::read(&own.join("x2plus.pth")).expect("read");
    let input = npy(&own.join("x2plus.in.npy"));
    let wanted = run_on(Device::Cpu, &network, &input, npy(&own.join("x2plus.out.npy")).dim());
    let turned = input.view().reversed_axes().as_standard_layout().into_owned();
    let mut made = Picture::zeros((wanted.dim().2, wanted.dim().1, wanted.dim().0));
    let on_device = OnDevice::new(&network, &Device::Cpu).expect("the processor is there");
    on_device.run(turned.view().reversed_axes(), made.view_mut().reversed_axes()).expect("a result");
    assert_eq!(made.view().reversed_axes(), wanted);
}

#[test]
fn devices_that_are_not_there_are_refused_in_words() {
    let own = folder("own").expect("the own networks");
    let network = Network::read(&own.join("x2plus.pth")).expect("read");
    let missing = [("cuda", cfg!(feature = "cuda")), ("metal", cfg!(feature = "metal"))];
    for feature in missing.iter().filter(|(_, built)| !built).map(|(feature, _)| feature) {
        let device: Device = feature.parse().expect("a device");
        let error = OnDevice::new(&network, &device).expect_err("not built in");
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.to_string().contains(&format!("built without the {feature} feature")), "{error}");
        let wanted = format!("build with --features {feature}");
        assert!(error.remedy().is_some_and(|hint| hint.contains(&wanted)), "{:?}", error.remedy());
    }
}

/// With a feature built in: the card, if there is one, gives what the processor gives.
#[test]
fn graphics_cards_give_what_the_processor_gives() {
    let own = folder("own").expect("the own networks");
    for (device, built) in [(Device::Cuda(0), cfg!(feature = "cuda")), (Device::Metal, cfg!(feature = "metal"))] {
        for (file, input) in [
            ("x4_new.pth", "x4"),
            ("x2plus.pth", "x2plus"),
            ("rcan_x2.safetensors", "edsr"),
            ("msrresnet_x4.safetensors", "scales"),
        ] {
            let network = Network::read(&own.join(file)).expect("read");
            let input = npy(&own.join(format!("{input}.in.npy")));
            match OnDevice::new(&network, &device) {
                Err(error) if error.kind() == Kind::Unavailable => eprintln!("SKIPPED: {error}"),
                Err(error) => panic!("{error:?}"),
                Ok(_) => {
                    assert!(built, "{device} without its feature");
                    let wanted = run(&network, &input).expect("a result");
                    let off = farthest(&run_on(device, &network, &input, wanted.dim()), &wanted);
                    eprintln!("{} on {device}: {off:.1e} from the processor", network.name);
                    assert!(off <= CLOSE, "{file} on {device}: {off}");
                }
            }
        }
    }
}
