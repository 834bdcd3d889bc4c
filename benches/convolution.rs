//! Convolutions and whole networks in operations a second, beside what the CPU can multiply and add:
//! `cargo bench --bench convolution`. Operations are those of the plain way, so Winograd's may be above the peak.

#![allow(clippy::expect_used, reason = "a benchmark that cannot start has nothing to measure")]

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use rayon::{ThreadPool, ThreadPoolBuilder};
use subpel::kernels::{CpuLevel, convolution::peak};
use subpel::refine::{Border, Convolution, Engine, Input, Network, Node, Op, Picture, Precision, Value};

/// Layers of one shape in a row.
const LAYERS: usize = 8;

/// A network in the making, with weights that only look like some.
#[derive(Default)]
struct Maker(Vec<Node>);

impl Maker {
    fn add(&mut self, op: Op, takes: &[Value]) -> Value {
        self.0.push(Node { op, takes: takes.to_vec() });
        self.0.len()
    }

    fn convolve(&mut self, from: Value, inputs: usize, outputs: usize) -> Value {
        let size = 1.0 / (9 * inputs) as f32;
        let weights = (0..outputs * inputs * 9).map(|n| size * ((n * 37 % 101) as f32 / 50.0 - 0.9)).collect();
        let bias = vec![0.01; outputs];
        let convolution = Convolution { inputs, outputs, kernel: (3, 3), weights, bias, border: Border::Zeros };
        self.add(Op::Convolve(convolution), &[from])
    }

    fn network(self, scale: usize) -> Network {
        Network { name: "bench".to_owned(), input: Input::Rgb, scale, multiple: 1, nodes: self.0 }
    }
}

/// Layers of one shape, each of the same picture and added to the last; or in a chain where the shape allows.
fn layers(inputs: usize, outputs: usize) -> Network {
    let mut maker = Maker::default();
    let first = maker.convolve(0, 3, inputs);
    let mut value = first;
    for layer in 0..LAYERS {
        let from = if inputs == outputs { value } else { first };
        let made = maker.convolve(from, inputs, outputs);
        let is_sum = inputs != outputs && layer > 0;
        value = if is_sum { maker.add(Op::Add(0.5), &[made, value]) } else { maker.add(Op::Leaky(0.1), &[made]) };
    }
    maker.convolve(value, outputs, 3);
    maker.network(1)
}

/// Compact: so many features and layers.
fn compact(width: usize, depth: usize, scale: usize) -> Network {
    let mut maker = Maker::default();
    let mut value = 0;
    for layer in 0..=depth {
        let made = maker.convolve(value, if layer == 0 { 3 } else { width }, width);
        value = maker.add(Op::Slopes(vec![0.1; width]), &[made]);
    }
    value = maker.convolve(value, width, 3 * scale * scale);
    value = maker.add(Op::Shuffle(scale), &[value]);
    let base = maker.add(Op::Repeat(scale), &[0]);
    maker.add(Op::Add(1.0), &[value, base]);
    maker.network(scale)
}

/// Residual blocks of RRDBNet, between two small layers.
fn dense(blocks: usize) -> Network {
    let mut maker = Maker::default();
    let mut value = maker.convolve(0, 3, 64);
    for _ in 0..blocks {
        let start = value;
        for _ in 0..3 {
            let mut made = vec![value];
            for j in 0..4 {
                let all = if j == 0 { value } else { maker.add(Op::Concat, &made) };
                let inner = maker.convolve(all, 64 + 32 * j, 32);
                made.push(maker.add(Op::Leaky(0.2), &[inner]));
            }
            let all = maker.add(Op::Concat, &made);
            let last = maker.convolve(all, 192, 64);
            value = maker.add(Op::Add(0.2), &[last, value]);
        }
        value = maker.add(Op::Add(0.2), &[value, start]);
    }
    maker.convolve(value, 64, 3);
    maker.network(1)
}

/// Times a network in both precisions on a pool.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    pool: &ThreadPool,
    name: &str,
    network: &Network,
    side: (usize, usize),
) {
    let (rows, columns) = side;
    group.throughput(Throughput::Elements((2.0 * network.multiplications() * (rows * columns) as f64) as u64));
    for precision in [Precision::F32, Precision::Bf16] {
        let engine = Engine::new(network, precision, CpuLevel::detect());
        let input = Picture::from_shape_fn((3, rows, columns), |(c, y, x)| ((c + 3 * y + 7 * x) % 11) as f32 / 11.0);
        let mut out = Picture::zeros((3, rows * engine.scale(), columns * engine.scale()));
        group.bench_function(format!("{name} {columns}x{rows} {precision:?}"), |b| {
            b.iter(|| pool.install(|| engine.run(input.view(), out.view_mut()).expect("a result")));
        });
    }
}

fn convolution(criterion: &mut Criterion) {
    let cpu = CpuLevel::detect();
    let [single, half] = [false, true].map(|half| peak(cpu, half) / 1e9);
    eprintln!("peak of a core: {single:.0} Gelem/s in f32, {half:.0} in bf16 ({})", cpu.name());
    for threads in [1, std::thread::available_parallelism().map_or(1, usize::from)] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let mut group = criterion.benchmark_group(format!("convolution, {threads} threads"));
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        if threads == 1 {
            for (inputs, outputs) in [(64, 64), (64, 32), (192, 64), (64, 48), (24, 24)] {
                measure(&mut group, &pool, &format!("{inputs}x{outputs}"), &layers(inputs, outputs), (128, 128));
            }
        }
        measure(&mut group, &pool, "compact 16x64", &compact(64, 16, 4), (270, 480));
        measure(&mut group, &pool, "compact 8x24", &compact(24, 8, 4), (270, 480));
        measure(&mut group, &pool, "dense", &dense(1), (128, 128));
        group.finish();
    }
}

criterion_group!(benches, convolution);
criterion_main!(benches);
