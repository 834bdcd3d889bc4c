//! The boundary and the whole: reading alone, writing alone, and a file from end to end, on the project's own sample.

#![allow(clippy::expect_used, reason = "a benchmark that cannot start has nothing to measure")]

use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use subpel::frame::Frame;
use subpel::kernels::CpuLevel;
use subpel::media::{Origin, VideoInfo, VideoReader, VideoWriter};
use subpel::resample::Filter;
use subpel::{Control, EnlargeOptions, InputSpec, Job, Method, OutputSpec, upscale_file};

const FRAMES: u64 = 24;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/clip.mkv")
}

fn read_all() -> (VideoInfo, Vec<Frame>, i64) {
    let mut reader = VideoReader::open(&InputSpec::local(sample()), 0, CpuLevel::detect()).expect("the sample opens");
    let frames =
        std::iter::from_fn(|| reader.next_frame().expect("the sample decodes")).take(FRAMES as usize).collect();
    (reader.info().clone(), frames, reader.usual_step())
}

fn reader(c: &mut Criterion) {
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Elements(FRAMES));
    group.bench_function("reader", |b| b.iter(read_all));
    let (info, frames, step) = read_all();
    let folder = tempfile::tempdir().expect("scratch");
    group.bench_function("writer, rawvideo", |b| {
        b.iter(|| {
            let mut output = OutputSpec::file(folder.path().join("out.nut"));
            (output.overwrite, output.encoder.codec) = (true, Some("rawvideo".into()));
            let input = InputSpec::local(sample());
            let origin = Origin { input: &input, source: &info, layout: &info.layout, cut: None, usual_step: step };
            let mut writer = VideoWriter::create(&output, &origin, None, CpuLevel::detect()).expect("opens");
            frames.iter().for_each(|frame| writer.write(frame).expect("writes"));
            writer.finish(FRAMES).expect("finishes")
        });
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("upscale x2");
    group.throughput(Throughput::Elements(FRAMES)).sample_size(10);
    let folder = tempfile::tempdir().expect("scratch");
    for method in [Method::Interpolate(Filter::Lanczos), Method::default()] {
        let mut job = Job::new(InputSpec::local(sample()), OutputSpec::file(folder.path().join("out.nut")));
        (job.output.overwrite, job.output.encoder.codec) = (true, Some("rawvideo".into()));
        job.enlarge = EnlargeOptions { method, ..Default::default() };
        job.excerpt.frames = Some(FRAMES);
        group.bench_function(method.name(), |b| b.iter(|| upscale_file(&job, &Control::default()).expect("done")));
    }
    group.finish();
}

criterion_group!(benches, reader, whole);
criterion_main!(benches);
