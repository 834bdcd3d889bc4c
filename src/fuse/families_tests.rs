//! Every family on scenes whose truth is known exactly: what it gains, what it must keep, what it must leave alone.

use super::*;
use crate::fuse::family::Technique;

/// Options for `technique`, all else as usual.
fn options(technique: Technique) -> Options {
    Options { technique, ..Options::default() }
}

/// The first plane of a reconstruction of `clip` with the first `others` neighbours.
fn plane(clip: &Clip, to: &PictureLayout, options: Options, others: usize) -> Plane {
    let mut fuse = Reconstructor::new(&clip.from, to, options, CpuLevel::SCALAR).expect("valid sizes");
    run(&mut fuse, to, clip.reference(), &clip.neighbours()[..others]).planes.swap_remove(0)
}

#[test]
fn names_are_read_back_and_others_are_refused_with_the_list() {
    for technique in Technique::ALL {
        assert_eq!(technique.to_string().parse::<Technique>().expect("a name"), technique);
    }
    let error = "magic".parse::<Technique>().expect_err("no such family").to_string();
    assert!(error.contains("magic") && error.contains("shift-add"), "{error}");
}

#[test]
fn every_family_shows_what_one_frame_cannot() {
    let clip = Clip::new(layout(96, 88, ColorFamily::Gray, false));
    let to = clip.from.resized(192, 176);
    let want = truth(&clip.from, &to, 0);
    let bicubic = psnr(&interpolated(&clip, &to), &want);
    // (family, least gain over bicubic, least gain over one frame), dB.
    let least = [
        (Technique::Frequency, 4.0, 2.0),
        (Technique::ShiftAdd, 1.0, 0.5),
        (Technique::Ibp, 4.0, 2.0),
        (Technique::Map, 4.0, 2.0),
        (Technique::Pocs, 3.0, 1.5),
    ];
    for (technique, over_bicubic, over_single) in least {
        let single = psnr(&plane(&clip, &to, options(technique), 0), &want) - bicubic;
        let gain = psnr(&plane(&clip, &to, options(technique), 4), &want) - bicubic;
        println!("{technique}: gain {gain:.2} dB, one frame {single:.2} dB");
        assert!(gain > over_bicubic, "{technique}: gain {gain:.2} dB");
        assert!(gain > single + over_single, "{technique}: gain {gain:.2} dB, one frame {single:.2} dB");
    }
}

#[test]
fn a_constant_stays_constant_in_every_family_layout_and_scale() {
    let shifts = [(0.4, -2.3), (1.0, 0.0), (0.3, 1.0)];
    for technique in Technique::ALL {
        for family in [ColorFamily::Gray, ColorFamily::YCbCr, ColorFamily::Rgb] {
            for ((w, h), scale) in [(1, 1), (3, 2), (17, 5), (30, 33)].into_iter().zip([4, 3, 1, 2]) {
                let from = layout(w, h, family, false);
                let to = from.resized(w * scale, h * scale);
                let flat: Vec<Plane> =
                    (0..from.plane_count()).map(|p| Plane::from_elem(from.plane_size(p), 90.0)).collect();
                let others = shifts.map(|shift| Other::new(&from, flat.clone(), shift));
                // Not quite equal: a repeated frame would be left out.
                let others = others.map(|mut o| {
                    o.planes[0][[0, 0]] += 1e-3;
                    o
                });
                let neighbours: Vec<_> = others.iter().map(Other::neighbour).collect();
                let appearance = Appearance::new(&flat, None, &from, CpuLevel::SCALAR);
                let mut fuse = Reconstructor::new(&from, &to, options(technique), CpuLevel::SCALAR).expect("sizes");
                let out = run(&mut fuse, &to, (&flat, &appearance), &neighbours);
                for (index, plane) in out.planes.iter().enumerate() {
                    let worst = plane.iter().map(|v| (v - 90.0).abs()).fold(0.0, f32::max);
                    assert!(worst < 0.01, "{technique}, {family:?} {w}x{h} by {scale}, plane {index}: off by {worst}");
                }
            }
        }
    }
}

#[test]
fn frames_of_another_scene_leave_the_single_frame_result_of_every_family() {
    let clip = Clip::new(layout(64, 48, ColorFamily::YCbCr, false));
    let to = clip.from.resized(128, 96);
    let other: Vec<Plane> = clip.reference.iter().map(|p| p.mapv(|v| 255.0 - v)).collect();
    let wrong = Other::new(&clip.from, other, (0.3, 0.4));
    for technique in Technique::ALL {
        let make = |neighbours: &[Neighbour<'_>]| {
            let mut fuse = Reconstructor::new(&clip.from, &to, options(technique), CpuLevel::SCALAR).expect("sizes");
            run(&mut fuse, &to, clip.reference(), neighbours)
        };
        let (alone, out) = (make(&[]), make(&[wrong.neighbour(), wrong.neighbour()]));
        assert_eq!(out.multi_frame_share, 0.0, "{technique}: share");
        assert_eq!(alone.planes, out.planes, "{technique}: differs from the single-frame result");
    }
}

#[test]
fn threads_and_cpu_levels_do_not_change_a_bit_of_any_family() {
    for (from, to) in [((50, 37), (100, 74)), ((41, 30), (123, 60)), ((33, 200), (66, 400))] {
        let clip = Clip::new(layout(from.0, from.1, ColorFamily::YCbCr, false));
        let to = clip.from.resized(to.0, to.1);
        for technique in Technique::ALL {
            let make = |cpu| {
                let mut fuse = Reconstructor::new(&clip.from, &to, options(technique), cpu).expect("sizes");
                run(&mut fuse, &to, clip.reference(), &clip.neighbours()).planes
            };
            let want = make(CpuLevel::SCALAR);
            for cpu in CpuLevel::available() {
                for threads in [1, 2, 5] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                    assert_eq!(want, pool.install(|| make(cpu)), "{technique}, {cpu:?}, {threads} threads, {from:?}");
                }
            }
        }
    }
}

#[test]
fn buffers_of_one_frame_do_not_leak_into_the_next_in_any_family() {
    let clip = Clip::new(layout(40, 30, ColorFamily::YCbCr, false));
    let to = clip.from.resized(80, 60);
    for technique in Technique::ALL {
        let mut fuse = Reconstructor::new(&clip.from, &to, options(technique), CpuLevel::SCALAR).expect("sizes");
        let first = run(&mut fuse, &to, clip.reference(), &clip.neighbours());
        run(&mut fuse, &to, (&clip.others[0].planes, &clip.others[0].appearance), &clip.neighbours()[2..]);
        run(&mut fuse, &to, clip.reference(), &[]);
        let again = run(&mut fuse, &to, clip.reference(), &clip.neighbours());
        assert_eq!(first.planes, again.planes, "{technique}: the same input gives the same output");
    }
}

#[test]
fn chroma_is_in_place_in_every_family() {
    let clip = Clip::new(layout(96, 80, ColorFamily::YCbCr, false));
    let to = clip.from.resized(192, 160);
    let want = truth(&clip.from, &to, 1);
    let width = want.ncols();
    for technique in Technique::ALL {
        let mut fuse = Reconstructor::new(&clip.from, &to, options(technique), CpuLevel::SCALAR).expect("sizes");
        let out = run(&mut fuse, &to, clip.reference(), &clip.neighbours()).planes.swap_remove(1);
        let quality = psnr(&out, &want);
        let moved =
            psnr(&out.slice(ndarray::s![.., 1..]).to_owned(), &want.slice(ndarray::s![.., ..width - 1]).to_owned());
        assert!(quality > moved + 6.0, "{technique}: {quality:.1} dB in place, {moved:.1} dB one pixel off");
    }
}

/// The clip with its contrast times `gain`.
fn faint(mut clip: Clip, gain: f32) -> Clip {
    let fainter =
        |planes: &mut Vec<Plane>| planes.iter_mut().for_each(|p| p.mapv_inplace(|v| 128.0 + gain * (v - 128.0)));
    fainter(&mut clip.reference);
    clip.appearance = Appearance::new(&clip.reference, None, &clip.from, CpuLevel::SCALAR);
    for other in &mut clip.others {
        fainter(&mut other.planes);
        other.appearance = Appearance::new(&other.planes, None, &clip.from, CpuLevel::SCALAR);
    }
    clip
}

#[test]
fn projections_leave_residuals_within_the_noise_bound_alone() {
    let from = layout(64, 56, ColorFamily::Gray, false);
    let to = from.resized(128, 112);
    let made =
        |clip: &Clip, technique, steps| plane(clip, &to, Options { iterations: Some(steps), ..options(technique) }, 4);
    // Waves of 83 in all: residuals of the faint clip are below the least bound of 1, those of the clip are not.
    let (clip, faint) = (Clip::new(from.clone()), faint(Clip::new(from.clone()), 0.01));
    assert_eq!(made(&faint, Technique::Pocs, 0), made(&faint, Technique::Pocs, 6), "nothing to correct");
    assert_ne!(made(&faint, Technique::Ibp, 0), made(&faint, Technique::Ibp, 6), "but there are residuals");
    assert_ne!(made(&clip, Technique::Pocs, 0), made(&clip, Technique::Pocs, 6), "beyond the bound they count");
}

#[test]
fn projections_keep_the_range_of_values() {
    let from = layout(48, 48, ColorFamily::Gray, false);
    let to = from.resized(96, 96);
    // A hard edge at the ends of the range: sharpening it without the amplitude set overshoots.
    let mut clip = Clip::new(from.clone());
    let edge = |planes: &mut Vec<Plane>| {
        planes[0].indexed_iter_mut().for_each(|((_, x), v)| *v = if x < 24 { 0.0 } else { 255.0 })
    };
    edge(&mut clip.reference);
    clip.appearance = Appearance::new(&clip.reference, None, &from, CpuLevel::SCALAR);
    for technique in Technique::ALL {
        let out = plane(&clip, &to, options(technique), 0);
        let range = out.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        assert!(range.0 >= 0.0 && range.1 <= 255.0, "{technique}: {range:?}");
    }
}

#[test]
fn frames_that_do_not_move_as_a_whole_are_left_to_back_projection() {
    let clip = Clip::new(layout(64, 56, ColorFamily::Gray, false));
    let to = clip.from.resized(128, 112);
    let bent: Vec<Field> =
        (0..4).map(|k| Field::from_fn(56, 64, 8, move |y, _| [0.02 * y, 0.1 * k as f32 - 0.01 * y])).collect();
    let neighbours: Vec<_> =
        clip.neighbours().into_iter().zip(&bent).map(|(n, field)| Neighbour { field, ..n }).collect();
    let made = |technique| {
        let mut fuse = Reconstructor::new(&clip.from, &to, options(technique), CpuLevel::SCALAR).expect("sizes");
        run(&mut fuse, &to, clip.reference(), &neighbours).planes
    };
    assert_eq!(made(Technique::Frequency), made(Technique::Ibp), "no frame moves as a whole");
    assert_ne!(
        plane(&clip, &to, options(Technique::Frequency), 4),
        plane(&clip, &to, options(Technique::Ibp), 4),
        "here all do"
    );
}
