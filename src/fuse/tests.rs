//! Whole reconstructions on scenes whose truth is known exactly.

use super::*;
use crate::color::ColorDescription;
use crate::frame::ChromaSite;
use crate::kernels::taps::cubic;
use crate::register::Shift;

fn layout(width: usize, height: usize, family: ColorFamily, alpha: bool) -> PictureLayout {
    let chroma_log2 = if family == ColorFamily::YCbCr { (1, 1) } else { (0, 0) };
    let (chroma_site, color) = (ChromaSite { x: 0.0, y: 0.5 }, ColorDescription::default());
    PictureLayout { width, height, family, chroma_log2, chroma_site, alpha, depth: 8, color }
}

/// Waves (amplitude, radians per low-resolution pixel in x and y, phase): the first two are beyond the Nyquist rate
/// of the frames at x2, the others are not.
const WAVES: [(f64, f64, f64, f64); 5] = [
    (16.0, 3.6, 0.9, 0.3),
    (14.0, -1.2, 3.9, 1.1),
    (18.0, 2.1, -1.4, 2.0),
    (20.0, 0.5, 0.35, 0.7),
    (15.0, -0.9, 1.9, 4.0),
];

/// The scene at (x, y) in low-resolution pixels, blurred by a Gaussian of `sigma` of them.
fn scene(x: f64, y: f64, sigma: f64) -> f32 {
    let wave = |(a, fx, fy, p): (f64, f64, f64, f64)| {
        a * (-0.5 * sigma * sigma * (fx * fx + fy * fy)).exp() * (fx * x + fy * y + p).sin()
    };
    (128.0 + WAVES.into_iter().map(wave).sum::<f64>()) as f32
}

/// What a frame shows after the content has moved by (dx, dy); chroma is a darker copy on its own grid.
fn frame(layout: &PictureLayout, dx: f64, dy: f64) -> Vec<Plane> {
    let plane = |index: usize| {
        let (lx, ly) = layout.plane_log2(index);
        let (sx, sy) = (f64::from(1u32 << lx), f64::from(1u32 << ly));
        let (ox, oy) = if lx + ly > 0 { (layout.chroma_site.x, layout.chroma_site.y) } else { (0.0, 0.0) };
        Plane::from_shape_fn(layout.plane_size(index), |(i, j)| {
            let (x, y) = (sx * j as f64 + ox - dx, sy * i as f64 + oy - dy);
            // Slower waves in chroma: its grid is coarser.
            let slow = if lx > 0 { 0.4 } else { 1.0 };
            scene(slow * x, slow * y, slow * 0.33 * sx)
        })
    };
    (0..layout.plane_count()).map(plane).collect()
}

/// The sharp scene on the grid of `plane` of the output.
fn truth(from: &PictureLayout, to: &PictureLayout, index: usize) -> Plane {
    let (my, mx) = from.plane_maps(index, to);
    let (lx, ly) = from.plane_log2(index);
    let (ox, oy) = if lx > 0 { (from.chroma_site.x, from.chroma_site.y) } else { (0.0, 0.0) };
    let slow = if lx > 0 { 0.4 } else { 1.0 };
    Plane::from_shape_fn(to.plane_size(index), |(i, j)| {
        let x = f64::from(1u32 << lx) * mx.input_position(j as f64) + ox;
        let y = f64::from(1u32 << ly) * my.input_position(i as f64) + oy;
        scene(slow * x, slow * y, 0.0)
    })
}

/// PSNR away from the border, peak 255.
fn psnr(a: &Plane, b: &Plane) -> f64 {
    let (h, w) = a.dim();
    let m = 6.min(h / 4).min(w / 4);
    let s = ndarray::s![m..h - m, m..w - m];
    let difference = &a.slice(s) - &b.slice(s);
    10.0 * (255f64.powi(2) / f64::from(difference.mapv(|d| d * d).mean().unwrap_or(0.0)).max(1e-9)).log10()
}

const SHIFTS: [(f64, f64); 4] = [(0.5, 0.1), (-0.45, 0.55), (0.05, -0.5), (1.5, 1.45)];

/// A frame with what is computed of it, and where its pixels lie in the reference.
#[derive(Clone)]
struct Other {
    planes: Vec<Plane>,
    appearance: Appearance,
    field: Field,
}

impl Other {
    /// A frame whose content has moved by (dx, dy).
    fn new(from: &PictureLayout, planes: Vec<Plane>, (dx, dy): (f64, f64)) -> Self {
        let field = Field::uniform(from.height, from.width, Shift { dx: -dx, dy: -dy });
        Self { appearance: Appearance::new(&planes, None, from, CpuLevel::SCALAR), planes, field }
    }

    fn neighbour(&self) -> Neighbour<'_> {
        let Self { planes, appearance, field } = self;
        Neighbour { planes, appearance, field, gain: 1.0, offset: 0.0 }
    }
}

struct Clip {
    from: PictureLayout,
    reference: Vec<Plane>,
    appearance: Appearance,
    others: Vec<Other>,
}

struct Made {
    planes: Vec<Plane>,
    multi_frame_share: f64,
}

fn run(
    fuse: &mut Reconstructor,
    to: &PictureLayout,
    (reference, appearance): (&[Plane], &Appearance),
    neighbours: &[Neighbour<'_>],
) -> Made {
    let mut planes: Vec<Plane> = (0..to.plane_count()).map(|i| Plane::zeros(to.plane_size(i))).collect();
    let made = fuse.reconstruct(reference, appearance, neighbours, &mut planes);
    Made { planes, multi_frame_share: made.multi_frame_share }
}

impl Clip {
    fn new(from: PictureLayout) -> Self {
        let reference = frame(&from, 0.0, 0.0);
        let other = |(dx, dy)| Other::new(&from, frame(&from, dx, dy), (dx, dy));
        let appearance = Appearance::new(&reference, None, &from, CpuLevel::SCALAR);
        Self { reference, appearance, others: SHIFTS.into_iter().map(other).collect(), from }
    }

    fn neighbours(&self) -> Vec<Neighbour<'_>> {
        self.others.iter().map(Other::neighbour).collect()
    }

    fn reference(&self) -> (&[Plane], &Appearance) {
        (&self.reference, &self.appearance)
    }

    fn run(&self, to: &PictureLayout, neighbours: &[Neighbour<'_>], cpu: CpuLevel) -> Made {
        let mut fuse = Reconstructor::new(&self.from, to, Options::default(), cpu).expect("valid sizes");
        run(&mut fuse, to, self.reference(), neighbours)
    }
}

/// The reference enlarged by bicubic interpolation, written out once more.
fn interpolated(clip: &Clip, to: &PictureLayout) -> Plane {
    let (my, mx) = clip.from.plane_maps(0, to);
    let input = &clip.reference[0];
    Plane::from_shape_fn(to.plane_size(0), |(y, x)| {
        let (py, px) = (my.input_position(y as f64), mx.input_position(x as f64));
        let mut sum = 0.0;
        for i in py.floor() as isize - 1..=py.floor() as isize + 2 {
            for j in px.floor() as isize - 1..=px.floor() as isize + 2 {
                let value = input[[grid::mirrored(i, input.nrows()), grid::mirrored(j, input.ncols())]];
                sum += cubic(i as f64 - py) * cubic(j as f64 - px) * f64::from(value);
            }
        }
        sum as f32
    })
}

#[test]
fn several_shifted_frames_show_what_one_cannot() {
    let clip = Clip::new(layout(64, 56, ColorFamily::Gray, false));
    let to = clip.from.resized(128, 112);
    let want = truth(&clip.from, &to, 0);
    let bicubic = psnr(&interpolated(&clip, &to), &want);
    let single = psnr(&clip.run(&to, &[], CpuLevel::SCALAR).planes[0], &want);
    let several = clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR);
    let gain = psnr(&several.planes[0], &want) - bicubic;
    assert!(gain > 4.0, "gain over bicubic {gain:.2} dB (one frame {:.2})", single - bicubic);
    assert!(several.multi_frame_share > 0.8, "share {}", several.multi_frame_share);
}

#[test]
fn motion_of_the_wrong_sign_is_no_help() {
    let clip = Clip::new(layout(64, 56, ColorFamily::Gray, false));
    let to = clip.from.resized(128, 112);
    let want = truth(&clip.from, &to, 0);
    let right = psnr(&clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR).planes[0], &want);
    let turned: Vec<Field> = SHIFTS.iter().map(|&(dx, dy)| Field::uniform(56, 64, Shift { dx, dy })).collect();
    let neighbours: Vec<_> =
        clip.neighbours().into_iter().zip(&turned).map(|(n, field)| Neighbour { field, ..n }).collect();
    let wrong = psnr(&clip.run(&to, &neighbours, CpuLevel::SCALAR).planes[0], &want);
    assert!(right > wrong + 3.0, "right {right:.2} dB, turned {wrong:.2} dB");
}

#[test]
fn a_constant_stays_constant_in_every_layout_and_size() {
    let sizes = [(1, 1), (1, 9), (3, 2), (2, 3), (17, 5)];
    for family in [ColorFamily::Gray, ColorFamily::YCbCr, ColorFamily::Rgb] {
        for ((w, h), alpha) in sizes.into_iter().zip([false, true, false, true, true]) {
            for scale in 1..=4 {
                let from = layout(w, h, family, alpha);
                let to = from.resized(w * scale, h * scale);
                let flat = |value: f32| -> Vec<Plane> {
                    (0..from.plane_count()).map(|p| Plane::from_elem(from.plane_size(p), value)).collect()
                };
                // A brighter neighbour; its light does not touch chroma.
                let shifts = [(0.4, -2.3), (1.0, 0.0), (0.3, 1.0), (0.0, -0.6)];
                let mut other = flat(91.0);
                if family == ColorFamily::YCbCr {
                    other[1..3].iter_mut().for_each(|plane| plane.fill(90.0));
                }
                let others = shifts.map(|shift| Other::new(&from, other.clone(), shift));
                let neighbours: Vec<_> = others.iter().map(|o| Neighbour { offset: 1.0, ..o.neighbour() }).collect();
                let mut fuse = Reconstructor::new(&from, &to, Options::default(), CpuLevel::SCALAR).expect("sizes");
                let (reference, cpu) = (flat(90.0), CpuLevel::SCALAR);
                let appearance = Appearance::new(&reference, None, &from, cpu);
                let out = run(&mut fuse, &to, (&reference, &appearance), &neighbours);
                assert_eq!(out.planes.len(), to.plane_count(), "planes");
                for (index, plane) in out.planes.iter().enumerate() {
                    assert_eq!(plane.dim(), to.plane_size(index), "{family:?} {w}x{h} by {scale}, plane {index}");
                    let worst = plane.iter().map(|v| (v - 90.0).abs()).fold(0.0, f32::max);
                    assert!(worst < 0.01, "{family:?} {w}x{h} by {scale}, plane {index}: off by {worst}");
                }
            }
        }
    }
}

#[test]
fn frames_of_another_scene_leave_the_single_frame_result() {
    let clip = Clip::new(layout(64, 48, ColorFamily::YCbCr, false));
    let to = clip.from.resized(128, 96);
    let alone = clip.run(&to, &[], CpuLevel::SCALAR);
    let other: Vec<Plane> = clip.reference.iter().map(|p| p.mapv(|v| 255.0 - v)).collect();
    let wrong = Other::new(&clip.from, other, (0.0, 0.0));
    let out = clip.run(&to, &[wrong.neighbour(), wrong.neighbour()], CpuLevel::SCALAR);
    assert_eq!(out.multi_frame_share, 0.0, "share");
    for (a, b) in alone.planes.iter().zip(&out.planes) {
        let quality = psnr(a, b);
        assert!(quality > 50.0, "differs from the single-frame result: {quality:.1} dB");
    }
}

#[test]
fn an_object_that_moves_otherwise_is_taken_from_the_reference() {
    let clip = Clip::new(layout(64, 48, ColorFamily::Gray, false));
    let to = clip.from.resized(128, 96);
    let alone = clip.run(&to, &[], CpuLevel::SCALAR);
    let changed = |(other, shift): (&Other, (f64, f64))| {
        let mut planes = other.planes.clone();
        planes[0].slice_mut(ndarray::s![16..32, 20..40]).mapv_inplace(|v| 250.0 - 0.9 * v);
        Other::new(&clip.from, planes, shift)
    };
    let others: Vec<Other> = clip.others.iter().zip(SHIFTS).map(changed).collect();
    let neighbours: Vec<_> = others.iter().map(Other::neighbour).collect();
    let out = clip.run(&to, &neighbours, CpuLevel::SCALAR);
    // Windows of confidence and cells of the gate reach six pixels into it.
    let inner = ndarray::s![44..52, 56..64];
    let worst =
        (&out.planes[0].slice(inner) - &alone.planes[0].slice(inner)).iter().map(|d| d.abs()).fold(0.0, f32::max);
    // The estimate of noise differs with and without neighbours, and with it how far one frame is trusted: some percent
    // of the correction of waves of +-83. Samples of the object itself would be off by a hundred.
    assert!(worst < 12.0, "inside the object the result differs from the single-frame one by {worst}");
}

#[test]
fn repeated_frames_are_skipped() {
    let clip = Clip::new(layout(32, 24, ColorFamily::YCbCr, false));
    let to = clip.from.resized(64, 48);
    let same = Other::new(&clip.from, clip.reference.clone(), (0.0, 0.0));
    let neighbour = same.neighbour();
    let (alone, out) = (clip.run(&to, &[], CpuLevel::SCALAR), clip.run(&to, &[neighbour; 3], CpuLevel::SCALAR));
    assert_eq!(alone.planes, out.planes, "a repeat adds nothing");
}

#[test]
fn a_change_of_light_is_undone_before_frames_are_used() {
    let clip = Clip::new(layout(64, 48, ColorFamily::Gray, false));
    let to = clip.from.resized(128, 96);
    let lights = [(0.9, 4.0), (1.08, -6.0), (0.95, 0.0), (1.0, 5.0)];
    type Case<'a> = ((&'a Other, (f64, f64)), (f32, f32));
    let lit = |((other, shift), (gain, offset)): Case<'_>| {
        let planes = other.planes.iter().map(|p| p.mapv(|v| gain * v + offset)).collect();
        Other::new(&clip.from, planes, shift)
    };
    let lit: Vec<Other> = clip.others.iter().zip(SHIFTS).zip(lights).map(lit).collect();
    let known = |(other, (gain, offset)): (_, (f32, f32))| -> Neighbour<'_> {
        Neighbour { gain: gain.into(), offset: offset.into(), ..Other::neighbour(other) }
    };
    let neighbours: Vec<_> = lit.iter().zip(lights).map(known).collect();
    let (plain, lit) =
        (clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR), clip.run(&to, &neighbours, CpuLevel::SCALAR));
    let quality = psnr(&plain.planes[0], &lit.planes[0]);
    assert!(quality > 55.0, "differs from the result in steady light: {quality:.1} dB");
}

#[test]
fn chroma_stays_in_place_and_gains_too() {
    let clip = Clip::new(layout(96, 80, ColorFamily::YCbCr, false));
    let to = clip.from.resized(192, 160);
    let out = clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR);
    for plane in 1..3 {
        let want = truth(&clip.from, &to, plane);
        let (h, w) = want.dim();
        let quality = psnr(&out.planes[plane], &want);
        let moved = psnr(
            &out.planes[plane].slice(ndarray::s![.., 1..]).to_owned(),
            &want.slice(ndarray::s![.., ..w - 1]).to_owned(),
        );
        assert!(quality > 32.0, "plane {plane} of {h}x{w}: {quality:.1} dB");
        assert!(quality > moved + 6.0, "plane {plane}: {quality:.1} dB in place, {moved:.1} dB one pixel off");
    }
}

/// A clip that shows the flat value 120 with noise of 4.
fn noisy(from: PictureLayout) -> Clip {
    let mut seed = 7u32;
    let mut uniform = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 24) - 0.5
    };
    let mut planes = || -> Vec<Plane> {
        let mut value = |_| (120.0 + 4.0 * (0..12).map(|_| uniform()).sum::<f64>()) as f32;
        (0..from.plane_count()).map(|plane| Plane::from_shape_simple_fn(from.plane_size(plane), || value(0))).collect()
    };
    let reference = planes();
    let others = SHIFTS.into_iter().map(|shift| Other::new(&from, planes(), shift)).collect();
    let appearance = Appearance::new(&reference, None, &from, CpuLevel::SCALAR);
    Clip { reference, appearance, others, from }
}

#[test]
fn noise_of_flat_places_becomes_less_and_is_never_sharpened() {
    for scale in [2, 4] {
        let clip = noisy(layout(64, 56, ColorFamily::Gray, false));
        let to = clip.from.resized(64 * scale, 56 * scale);
        let flat = Plane::from_elem(to.plane_size(0), 120.0);
        let options = Options { iterations: Some(0), ..Options::default() };
        let mut fuse = Reconstructor::new(&clip.from, &to, options, CpuLevel::SCALAR).expect("valid sizes");
        let plain = psnr(&run(&mut fuse, &to, clip.reference(), &[]).planes[0], &flat);
        let alone = psnr(&clip.run(&to, &[], CpuLevel::SCALAR).planes[0], &flat);
        let together = psnr(&clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR).planes[0], &flat);
        assert!(alone > plain, "x{scale}: one frame {alone:.2} dB, interpolated {plain:.2} dB");
        // Five frames: at best 7 dB.
        assert!(together > plain + 3.0, "x{scale}: {together:.2} dB, interpolated {plain:.2} dB");
    }
}

#[test]
fn chroma_that_is_only_interpolated_stays_as_it_is_in_noise() {
    let clip = noisy(layout(64, 56, ColorFamily::YCbCr, false));
    let to = clip.from.resized(128, 112);
    let chroma = |shares: bool| {
        let parts = Parts { chroma: false, shares, ..Parts::default() };
        let options = Options { parts, ..Options::default() };
        let mut fuse = Reconstructor::new(&clip.from, &to, options, CpuLevel::SCALAR).expect("valid sizes");
        run(&mut fuse, &to, clip.reference(), &clip.neighbours()).planes.split_off(1)
    };
    assert_eq!(chroma(true), chroma(false));
}

#[test]
fn threads_and_cpu_levels_do_not_change_a_bit() {
    for (from, to) in [((50, 37), (100, 74)), ((41, 30), (123, 60)), ((23, 31), (92, 124)), ((33, 300), (66, 600))] {
        let clip = Clip::new(layout(from.0, from.1, ColorFamily::YCbCr, true));
        let to = clip.from.resized(to.0, to.1);
        let want = clip.run(&to, &clip.neighbours(), CpuLevel::SCALAR);
        for cpu in CpuLevel::available() {
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                let out = pool.install(|| clip.run(&to, &clip.neighbours(), cpu));
                assert_eq!(want.planes, out.planes, "{cpu:?}, {threads} threads, {from:?}");
                assert_eq!(want.multi_frame_share.to_bits(), out.multi_frame_share.to_bits(), "share");
            }
        }
    }
}

#[test]
fn buffers_of_one_frame_do_not_leak_into_the_next() {
    let clip = Clip::new(layout(40, 30, ColorFamily::Rgb, true));
    let to = clip.from.resized(80, 60);
    let mut fuse = Reconstructor::new(&clip.from, &to, Options::default(), CpuLevel::SCALAR).expect("sizes");
    let first = run(&mut fuse, &to, clip.reference(), &clip.neighbours());
    run(&mut fuse, &to, (&clip.others[0].planes, &clip.others[0].appearance), &clip.neighbours()[2..]);
    run(&mut fuse, &to, clip.reference(), &[]);
    let again = run(&mut fuse, &to, clip.reference(), &clip.neighbours());
    assert_eq!(first.planes, again.planes, "the same input gives the same output");
}

#[test]
fn values_outside_their_domain_are_refused_with_their_range() {
    let from = layout(16, 16, ColorFamily::Gray, false);
    let refuse = |to: &PictureLayout, options: Options| {
        let error = Reconstructor::new(&from, to, options, CpuLevel::SCALAR).expect_err("refused");
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        error.to_string()
    };
    let (to, plain) = (from.resized(32, 32), Options::default());
    assert!(refuse(&to, Options { blur: Blur::Gaussian(3.0), ..plain }).contains("0.1 to 1"), "sigma");
    assert!(refuse(&to, Options { blur: Blur::Gaussian(f64::NAN), ..plain }).contains("NaN"), "sigma");
    assert!(refuse(&to, Options { iterations: Some(1000), ..plain }).contains("0 to 100"), "iterations");
    assert!(refuse(&to, Options { prior: -1.0, ..plain }).contains("0 to 2"), "prior");
    assert!(refuse(&from.resized(8, 16), plain).contains("16x16 to 8x16"), "smaller");
}

#[test]
fn a_neighbour_without_usable_motion_or_light_is_ignored() {
    let clip = Clip::new(layout(24, 20, ColorFamily::YCbCr, false));
    let to = clip.from.resized(48, 40);
    let alone = clip.run(&to, &[], CpuLevel::SCALAR);
    let bad = [(f64::NAN, 0.0, 1.0), (0.0, f64::INFINITY, 1.0), (1e12, 0.0, 1.0), (0.0, -30.0, 1.0), (0.0, 0.0, 0.0)];
    for (dx, dy, gain) in bad {
        let field = Field::uniform(20, 24, Shift { dx, dy });
        let out = clip.run(&to, &[Neighbour { field: &field, gain, ..clip.others[0].neighbour() }], CpuLevel::SCALAR);
        let same = out.planes.iter().zip(&alone.planes).all(|(a, b)| psnr(a, b) > 50.0);
        assert!(same && out.multi_frame_share == 0.0, "({dx}, {dy}), gain {gain}");
    }
}

#[path = "families_tests.rs"]
mod families;

#[test]
fn a_draft_foretells_what_neighbours_show_and_where_their_motion_is_wrong() {
    for family in [ColorFamily::YCbCr, ColorFamily::Rgb] {
        let clip = Clip::new(layout(64, 56, family, false));
        let (reference, appearance) = clip.reference();
        let mut fuse =
            Reconstructor::new(&clip.from, &clip.from.resized(128, 112), Options::default(), CpuLevel::SCALAR)
                .expect("valid sizes");
        let mut neighbours = clip.neighbours();
        let same = Other::new(&clip.from, clip.reference.clone(), (0.0, 0.0));
        neighbours.push(same.neighbour());
        let right = fuse.predict(reference, appearance, &neighbours);
        let misplaced = Field::uniform(56, 64, Shift { dx: -SHIFTS[1].0 + 0.15, dy: -SHIFTS[1].1 });
        neighbours[1].field = &misplaced;
        let wrong = fuse.predict(reference, appearance, &neighbours);
        assert!(right.len() == 5 && right[4].is_none(), "{family:?}: the repeated frame takes no part");
        let plane = usize::from(family == ColorFamily::Rgb);
        let seen = &right[0].as_ref().expect("a prediction").seen;
        assert!(psnr(seen, &clip.others[0].planes[plane]) > 50.0, "{family:?}: what is seen is the frame");
        let near =
            |made: &[Option<Prediction>], k: usize| made[k].as_ref().map_or(0.0, |p| psnr(&p.predicted, &p.seen));
        let (right, wrong): (Vec<f64>, Vec<f64>) = (0..4).map(|k| (near(&right, k), near(&wrong, k))).unzip();
        assert!(right.iter().all(|near| *near > 34.0), "{family:?}: {right:.1?}");
        assert!(wrong[1] < right[1] - 3.0, "{family:?}: {right:.1?}, with the second misplaced {wrong:.1?}");
    }
}

#[test]
fn trust_is_the_same_at_the_borders_of_any_size() {
    for (width, height) in [(32, 32), (33, 35), (34, 33), (35, 17), (1, 21), (1, 1)] {
        let clip = Clip::new(layout(width, height, ColorFamily::Gray, false));
        let (reference, appearance) = clip.reference();
        let brighter = Other::new(&clip.from, vec![reference[0].mapv(|v| v + 0.1)], (0.0, 0.0));
        let to = clip.from.resized(2 * width, 2 * height);
        let mut fuse = Reconstructor::new(&clip.from, &to, Options::default(), CpuLevel::SCALAR).expect("valid sizes");
        run(&mut fuse, &to, (reference, appearance), &[brighter.neighbour()]);
        let [confidence, gate] = fuse.maps();
        assert!(confidence.iter().chain(&gate).all(|v| *v > 0.99), "{width}x{height}: {confidence:.2}, {gate:.2}");
    }
}

#[test]
fn trust_ends_where_the_reference_does() {
    let clip = Clip::new(layout(64, 48, ColorFamily::Gray, false));
    let (_, appearance) = clip.reference();
    let other = Other::new(&clip.from, frame(&clip.from, 3.0, -5.0), (3.0, -5.0));
    let mut judge = Judge::new(48, 64, CpuLevel::SCALAR);
    judge.compare(appearance, &[candidate(&other.neighbour())]);
    for (at, weight) in judge.weights(0).iter().enumerate() {
        let (y, x) = ((at / 64) as i32, (at % 64) as i32);
        let (row, column) = (y + 5, x - 3);
        let shown = row < 48 && column >= 0;
        // What lies beyond a frame's own border is made up; that reaches two pixels into both, and the window takes it further
        // only where both show something.
        let clear = row < 46 && column >= 2 && y >= 5 && x < 59;
        assert!(if clear { *weight > 0.7 } else { shown || *weight == 0.0 }, "({y}, {x}): {weight}");
    }
}
