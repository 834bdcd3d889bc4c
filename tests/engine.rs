//! The fast executor of networks against the plain one: all operations and what is fused of them, odd sizes and channels, the
//! same bits for all threads and CPU levels, memory, and many runs in a row.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use ndarray::{Array3, s};
use rayon::ThreadPoolBuilder;
use subpel::Kind;
use subpel::kernels::CpuLevel;
use subpel::refine::{Border, Convolution, Engine, Input, Network, Node, Op, Picture, Precision, Value, run};

/// Numbers that look random, -1 to 1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn take(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n).map(|_| size * self.next()).collect()
    }
}

/// A network in the making.
struct Maker {
    nodes: Vec<Node>,
    numbers: Numbers,
}

impl Maker {
    fn new() -> Self {
        Self { nodes: Vec::new(), numbers: Numbers(7) }
    }

    fn add(&mut self, op: Op, takes: &[Value]) -> Value {
        self.nodes.push(Node { op, takes: takes.to_vec() });
        self.nodes.len()
    }

    fn convolve(&mut self, from: Value, (inputs, outputs): (usize, usize), side: usize, border: Border) -> Value {
        let weights = inputs * side * side;
        let size = (2.0 / weights as f32).sqrt() * 1.7;
        let weights = self.numbers.take(outputs * weights, size);
        let bias = if side == 5 { Vec::new() } else { self.numbers.take(outputs, 0.1) };
        let kernel = (side, side);
        self.add(Op::Convolve(Convolution { inputs, outputs, kernel, weights, bias, border }), &[from])
    }

    fn small(&mut self, from: Value, inputs: usize, outputs: usize) -> Value {
        self.convolve(from, (inputs, outputs), 3, Border::Zeros)
    }

    fn slopes(&mut self, from: Value, channels: usize) -> Value {
        let slopes = self.numbers.take(channels, 0.5);
        self.add(Op::Slopes(slopes), &[from])
    }

    fn network(self, scale: usize, multiple: usize) -> Network {
        Network { name: "made up".to_owned(), input: Input::Rgb, scale, multiple, nodes: self.nodes }
    }
}

/// Compact: so many convolutions between the first and the last.
fn compact(width: usize, depth: usize, scale: usize) -> Network {
    let mut maker = Maker::new();
    let mut value = 0;
    for layer in 0..=depth {
        let convolved = maker.small(value, if layer == 0 { 3 } else { width }, width);
        value = maker.slopes(convolved, width);
    }
    value = maker.small(value, width, 3 * scale * scale);
    value = maker.add(Op::Shuffle(scale), &[value]);
    let base = maker.add(Op::Repeat(scale), &[0]);
    maker.add(Op::Add(1.0), &[value, base]);
    maker.network(scale, 1)
}

/// RRDBNet with one block, its input reduced by two.
fn dense(width: usize, growth: usize) -> Network {
    let mut maker = Maker::new();
    let start = maker.add(Op::Unshuffle(2), &[0]);
    let shallow = maker.small(start, 12, width);
    let mut value = shallow;
    for _ in 0..3 {
        let mut made = vec![value];
        for j in 0..4 {
            let all = if j == 0 { value } else { maker.add(Op::Concat, &made) };
            let convolved = maker.small(all, width + j * growth, growth);
            made.push(maker.add(Op::Leaky(0.2), &[convolved]));
        }
        let all = maker.add(Op::Concat, &made);
        let last = maker.small(all, width + 4 * growth, width);
        value = maker.add(Op::Add(0.2), &[last, value]);
    }
    value = maker.add(Op::Add(0.2), &[value, shallow]);
    let deep = maker.small(value, width, width);
    value = maker.add(Op::Add(1.0), &[deep, shallow]);
    value = maker.add(Op::Repeat(2), &[value]);
    value = maker.small(value, width, width);
    value = maker.add(Op::Leaky(0.2), &[value]);
    maker.small(value, width, 3);
    maker.network(1, 2)
}

/// Everything that is rare.
fn odd() -> Network {
    let mut maker = Maker::new();
    let scaled = maker.add(Op::Scale { factor: 2.0, offset: -1.0 }, &[0]);
    let wide = maker.convolve(scaled, (3, 20), 9, Border::Repeated);
    let relu = maker.add(Op::Relu, &[wide]);
    let five = maker.convolve(relu, (20, 7), 5, Border::Zeros);
    let tanh = maker.add(Op::Tanh, &[five]);
    let unused = maker.small(tanh, 7, 9);
    maker.add(Op::Relu, &[unused]);
    let joined = maker.add(Op::Concat, &[tanh, relu, 0]);
    let one = maker.convolve(joined, (30, 36), 1, Border::Zeros);
    let leaky = maker.add(Op::Leaky(-0.3), &[one]);
    let mean = maker.add(Op::Mean, &[leaky]);
    let gains = maker.convolve(mean, (36, 36), 1, Border::Zeros);
    let gains = maker.add(Op::Sigmoid, &[gains]);
    let weighted = maker.add(Op::Multiply, &[leaky, gains]);
    let sum = maker.add(Op::Add(0.5), &[weighted, leaky]);
    let repeated = maker.convolve(sum, (36, 36), 3, Border::Repeated);
    let both = maker.add(Op::Add(1.0), &[sum, repeated]);
    let shuffled = maker.add(Op::Shuffle(2), &[both]);
    let joined = maker.add(Op::Concat, &[shuffled, shuffled]);
    let sloped = maker.slopes(joined, 18);
    let last = maker.small(sloped, 18, 27);
    let negative = maker.add(Op::Relu, &[last]);
    let negative = maker.add(Op::Scale { factor: -1.0, offset: 0.0 }, &[negative]);
    maker.add(Op::Shuffle(3), &[negative]);
    maker.network(6, 1)
}

/// Bilinear enlargement of features, of the input, and beside what it is added to.
fn interpolated(inner: usize, outer: usize) -> Network {
    let mut maker = Maker::new();
    let features = maker.small(0, 3, 20);
    let large = maker.add(Op::Bilinear(inner), &[features]);
    let next = maker.small(large, 20, 3 * outer * outer);
    let shuffled = maker.add(Op::Shuffle(outer), &[next]);
    let base = maker.add(Op::Bilinear(inner * outer), &[0]);
    let last = maker.small(shuffled, 3, 3);
    maker.add(Op::Add(1.0), &[last, base]);
    maker.network(inner * outer, 1)
}

/// Convolutions with every way to finish, between numbers of channels.
fn finishes(a: usize, b: usize) -> Network {
    let mut maker = Maker::new();
    let first = maker.small(0, 3, a);
    let start = maker.small(first, a, b);
    let mut value = start;
    for activation in 0..3 {
        for residuals in 0..3 {
            let back = maker.small(value, b, a);
            let mut made = maker.small(back, a, b);
            made = match activation {
                0 => made,
                1 => maker.add(Op::Relu, &[made]),
                _ => maker.slopes(made, b),
            };
            if residuals > 0 {
                made = maker.add(Op::Add(0.3), &[made, start]);
            }
            if residuals > 1 {
                made = maker.add(Op::Add(1.0), &[value, made]);
            }
            value = made;
        }
    }
    maker.convolve(value, (b, 3), 1, Border::Zeros);
    maker.network(1, 1)
}

fn picture(rows: usize, columns: usize) -> Picture {
    let mut numbers = Numbers(3);
    Picture::from_shape_simple_fn((3, rows, columns), || 0.5 + 0.5 * numbers.next())
}

/// What an engine makes of an input.
fn made(engine: &Engine, input: &Picture) -> Picture {
    let (channels, rows, columns) = input.dim();
    let mut out = Picture::from_elem((channels, rows * engine.scale(), columns * engine.scale()), f32::NAN);
    engine.run(input.view(), out.view_mut()).expect("a result");
    out
}

fn farthest(a: &Picture, b: &Picture) -> f32 {
    assert_eq!(a.dim(), b.dim(), "sizes");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |far, off| if off > far || off.is_nan() { off } else { far })
}

fn with_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(f)
}

#[track_caller]
fn same_as_plain(network: &Network, sizes: &[(usize, usize)]) {
    let engine = Engine::new(network, Precision::F32, CpuLevel::detect());
    for &(rows, columns) in sizes {
        let input = picture(rows, columns);
        let plain = run(network, &input).expect("a result");
        let size = plain.iter().fold(0f32, |most, v| most.max(v.abs()));
        for again in 0..2 {
            let off = farthest(&made(&engine, &input), &plain);
            assert!(off <= 1e-5 * size.max(1.0), "{rows}x{columns}, run {again}: {off} of {size}");
        }
    }
}

#[test]
fn all_sizes_give_what_the_plain_way_gives() {
    let sizes = [(1, 1), (3, 5), (13, 27), (4, 4), (1, 70), (37, 2), (64, 64), (50, 131)];
    same_as_plain(&compact(24, 3, 3), &sizes);
    same_as_plain(&odd(), &sizes);
    for (inner, outer) in [(2, 1), (3, 1), (1, 2), (4, 2)] {
        same_as_plain(&interpolated(inner, outer), &sizes);
    }
    let even: Vec<_> = sizes.map(|(rows, columns)| (2 * rows, 2 * columns)).to_vec();
    same_as_plain(&dense(16, 8), &even[..7]);
    same_as_plain(&dense(24, 12), &even[..5]);
    same_as_plain(&dense(64, 32), &even[2..4]);
}

#[test]
fn all_channels_and_finishes_give_what_the_plain_way_gives() {
    for (a, b) in [(3, 16), (16, 3), (24, 48), (96, 5), (12, 8), (80, 20)] {
        same_as_plain(&finishes(a, b), &[(13, 27), (5, 50)]);
    }
}

#[test]
fn rounding_stays_small_in_deep_networks() {
    let network = compact(48, 16, 2);
    let input = picture(21, 30);
    let exact = in_double(&network, &input);
    let size = exact.iter().fold(0f64, |most, v| most.max(v.abs()));
    let fast = made(&Engine::new(&network, Precision::F32, CpuLevel::detect()), &input);
    let far = exact.iter().zip(&fast).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0.0, f64::max);
    eprintln!("{far:.1e} of {size:.2}");
    assert!(far <= 1e-5 * size.max(1.0), "{far} of {size}");
}

/// Compact in `f64`.
fn in_double(network: &Network, input: &Picture) -> Array3<f64> {
    let mut values = vec![input.mapv(f64::from)];
    for node in &network.nodes {
        let from = &values[node.takes[0]];
        let (_, rows, columns) = from.dim();
        let value = match &node.op {
            Op::Convolve(c) => Array3::from_shape_fn((c.outputs, rows, columns), |(o, y, x)| {
                let mut sum = f64::from(c.bias[o]);
                for (n, weight) in c.weights[o * c.inputs * 9..][..c.inputs * 9].iter().enumerate() {
                    let (y, x) = ((y + n % 9 / 3).wrapping_sub(1), (x + n % 3).wrapping_sub(1));
                    sum += from.get((n / 9, y, x)).map_or(0.0, |v| v * f64::from(*weight));
                }
                sum
            }),
            Op::Slopes(slopes) => {
                let of = |(c, y, x)| if from[[c, y, x]] < 0.0 { f64::from(slopes[c]) } else { 1.0 };
                Array3::from_shape_fn(from.dim(), |at| from[at] * of(at))
            }
            Op::Shuffle(r) => Array3::from_shape_fn((3, rows * r, columns * r), |(c, y, x)| {
                from[[c * r * r + y % r * r + x % r, y / r, x / r]]
            }),
            Op::Repeat(r) => Array3::from_shape_fn((3, rows * r, columns * r), |(c, y, x)| from[[c, y / r, x / r]]),
            Op::Add(_) => from + &values[node.takes[1]],
            other => panic!("{other:?} is not part of Compact"),
        };
        values.push(value);
    }
    values.pop().expect("a result")
}

#[test]
fn threads_and_cpu_levels_give_the_same_bits() {
    for (network, (rows, columns)) in [(compact(40, 5, 2), (37, 61)), (dense(32, 16), (22, 30)), (odd(), (19, 50))] {
        let input = picture(rows, columns);
        let engine = Engine::new(&network, Precision::F32, CpuLevel::SCALAR);
        let wanted = with_threads(1, || made(&engine, &input));
        for cpu in CpuLevel::available() {
            let engine = Engine::new(&network, Precision::F32, cpu);
            for threads in [1, 2, 3, 8] {
                let got = with_threads(threads, || made(&engine, &input));
                let same = got.iter().zip(&wanted).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{cpu:?}, {threads} threads: {} apart", farthest(&got, &wanted));
            }
        }
    }
}

#[test]
fn products_of_bf16_are_near_and_the_same_for_all_threads() {
    let network = compact(40, 5, 2);
    let input = picture(37, 61);
    let exact = run(&network, &input).expect("a result");
    let engine = Engine::new(&network, Precision::Bf16, CpuLevel::detect());
    let one = with_threads(1, || made(&engine, &input));
    assert_eq!(one, with_threads(3, || made(&engine, &input)));
    let size = exact.iter().fold(0f32, |most, v| most.max(v.abs()));
    let off = farthest(&one, &exact);
    eprintln!("{off:.1e} of {size:.2}");
    assert!(off < 0.03 * size, "{off} of {size}");
}

#[test]
fn many_small_runs_do_not_hang() {
    let network = compact(16, 4, 2);
    let engine = Engine::new(&network, Precision::F32, CpuLevel::detect());
    let input = picture(17, 23);
    let wanted = made(&engine, &input);
    with_threads(8, || (0..2000).for_each(|_| assert_eq!(made(&engine, &input), wanted)));
    with_threads(4, || {
        rayon::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|_| (0..50).for_each(|_| assert_eq!(made(&engine, &input), wanted)));
            }
        });
    });
}

#[test]
fn memory_is_what_is_taken_and_is_kept() {
    for (network, rows, columns) in [(compact(64, 16, 4), 270, 480), (dense(64, 32), 128, 96), (odd(), 100, 60)] {
        with_threads(2, || {
            let engine = Engine::new(&network, Precision::F32, CpuLevel::detect());
            let said = engine.memory(rows, columns);
            made(&engine, &picture(rows, columns));
            let kept = engine.kept();
            assert!(said.abs_diff(kept) * 10 <= kept, "{said} said, {kept} taken");
            made(&engine, &picture(rows, columns));
            made(&engine, &picture(rows / 2, columns / 2));
            assert_eq!(engine.kept(), kept, "taken once");
        });
    }
}

#[test]
fn views_into_larger_pictures_are_read_and_written() {
    let network = compact(16, 2, 2);
    let engine = Engine::new(&network, Precision::F32, CpuLevel::detect());
    let large = picture(30, 40);
    let tile = large.slice(s![.., 3..20, 5..38]);
    let wanted = made(&engine, &tile.to_owned());
    let mut out = Picture::zeros((3, 80, 100));
    engine.run(tile, out.slice_mut(s![.., 10..44, 7..73])).expect("a result");
    assert_eq!(out.slice(s![.., 10..44, 7..73]), wanted);
    assert_eq!(out.iter().filter(|v| **v != 0.0).count(), wanted.len(), "nothing else is written");
    let mut turned = Picture::zeros((3, 66, 34));
    let by_columns = tile.to_owned().permuted_axes([0, 2, 1]).as_standard_layout().to_owned();
    engine.run(by_columns.view().permuted_axes([0, 2, 1]), turned.view_mut().permuted_axes([0, 2, 1])).expect("run");
    assert_eq!(turned.permuted_axes([0, 2, 1]), wanted);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let engine = Engine::new(&dense(16, 8), Precision::F32, CpuLevel::detect());
    for size in [(1, 4, 4), (3, 5, 4), (3, 0, 4), (3, 4, 4)] {
        let mut out = Picture::zeros((3, 4, 6));
        let error = engine.run(Picture::zeros(size).view(), out.view_mut()).expect_err("refused");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
    }
}

#[test]
fn products_of_bf16_keep_trained_networks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(weights) = root.ancestors().skip(1).map(|up| up.join("shared/weights")).find(|path| path.is_dir()) else {
        eprintln!("SKIPPED: no shared/weights beside the project");
        return;
    };
    for name in ["realesr-animevideov3.fp32", "realesr-general-x4v3"] {
        let network = Network::read(&weights.join(format!("pretrained/{name}.safetensors"))).expect("read");
        let input = npy(&weights.join("golden/input_64x64.npy"));
        let [single, half] = [Precision::F32, Precision::Bf16]
            .map(|precision| made(&Engine::new(&network, precision, CpuLevel::detect()), &input));
        let squares: f64 = single.iter().zip(&half).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let psnr = -10.0 * (squares / single.len() as f64).log10();
        eprintln!("{name}: {psnr:.1} dB, {:.1e} at most", farthest(&single, &half));
        assert!(psnr >= 45.0, "{name}: {psnr} dB");
    }
}

/// The picture of a `.npy` file: version 1, little-endian f32 in C order, shape (1, channels, rows, columns).
fn npy(path: &Path) -> Picture {
    let bytes = std::fs::read(path).expect("a picture");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).expect("a header in ASCII");
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).expect("a shape");
    let sides: Vec<usize> = shape.split(',').filter_map(|side| side.trim().parse().ok()).collect();
    let values = bytes[end..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Picture::from_shape_vec((sides[1], sides[2], sides[3]), values).expect("as many values as the shape says")
}

/// Results of fixed networks have fixed bits. They were found with AVX-512 and are those of NEON too, under an emulator; no other test
/// compares machines of two kinds.
#[test]
fn bits_are_those_of_every_other_machine() {
    let wanted = [
        (16usize, 3usize, 0x673a_2571_c6c8_e99b_u64),
        (24, 4, 0xf15c_8ae5_69b0_51e8),
        (48, 5, 0x28f9_0cc3_5067_f032),
        (64, 6, 0x6cb0_1751_b2e4_db82),
        (33, 2, 0x83fc_d2a2_09c1_9bd2),
    ];
    let mut state = 12_345u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    for (width, layers, bits) in wanted {
        let (mut nodes, mut inputs) = (Vec::new(), 3);
        for layer in 0..layers {
            let last = layer + 1 == layers;
            let outputs = if last { 12 } else { width };
            let kernel = if layer == 1 && width == 33 { (5, 5) } else { (3, 3) };
            let weights = (0..outputs * inputs * kernel.0 * kernel.1).map(|_| random() * 0.3).collect();
            let bias = (0..outputs).map(|_| random()).collect();
            let border = Border::Zeros;
            let convolution = Convolution { inputs, outputs, kernel, weights, bias, border };
            nodes.push(Node { op: Op::Convolve(convolution), takes: vec![nodes.len()] });
            if !last {
                let slopes = (0..outputs).map(|_| random()).collect();
                nodes.push(Node { op: Op::Slopes(slopes), takes: vec![nodes.len()] });
            }
            inputs = outputs;
        }
        nodes.push(Node { op: Op::Shuffle(2), takes: vec![nodes.len()] });
        let network = Network { name: "fixed".into(), input: Input::Rgb, scale: 2, multiple: 1, nodes };
        let input = Picture::from_shape_fn((3, 29, 53), |_| random() + 0.5);
        let mut out = Picture::zeros((3, 58, 106));
        let engine = Engine::new(&network, Precision::F32, CpuLevel::detect());
        engine.run(input.view(), out.view_mut()).expect("a result");
        let mix = |hash: u64, value: &f32| (hash ^ u64::from(value.to_bits())).wrapping_mul(1_099_511_628_211);
        let got = out.iter().fold(14_695_981_039_346_656_037, mix);
        assert_eq!(got, bits, "{layers} layers of {width} channels: {got:016x}");
    }
}
