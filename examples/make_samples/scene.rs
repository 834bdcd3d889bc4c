//! The two scenes of the sample: a test chart, and after a cut a street. Positions are low-resolution pixels.
//!
//! Both hold detail between 0.5 and 0.8 cycles a pixel: finer than one low-resolution frame can carry (0.5), not finer
//! than a camera with this blur lets through.

use crate::font;
use crate::texture::{Rgb, Texture, picture};
use std::f32::consts::{PI, TAU};

/// Width and height of the clip.
pub(crate) const SIZE: (usize, usize) = (320, 180);
/// How far the camera may wander, in pixels along each axis.
const MARGIN: usize = 24;
/// Frames of each scene.
pub(crate) const LENGTHS: [usize; 2] = [56, 40];
/// Frames a second.
pub(crate) const RATE: usize = 24;

/// All frames one after the other as raw 4:2:0, at `scale` times [`SIZE`].
pub(crate) fn frames(scale: usize) -> Vec<u8> {
    let scenes = [(chart(), ball()), (street(), bus())];
    let mut bytes = Vec::new();
    for (number, ((still, mover), length)) in scenes.iter().zip(LENGTHS).enumerate() {
        for t in 0..length {
            let layers = [(still, (0.0, 0.0)), (mover, mover_at(number, t as f64))];
            bytes.extend(picture(&layers, camera_at(number, t as f64), SIZE, scale));
        }
    }
    bytes
}

/// Top left corner of the picture at frame `t` of a scene: a slow figure, at most about a pixel a frame.
fn camera_at(scene: usize, t: f64) -> (f64, f64) {
    let phase = 1.7 * scene as f64;
    let swing = |period: f64, start: f64| 12.0 + 10.0 * (std::f64::consts::TAU * t / period + start).sin();
    (swing(71.0, phase), swing(89.0, 0.9 - phase))
}

/// Top left corner of the moving thing at frame `t` of a scene.
fn mover_at(scene: usize, t: f64) -> (f64, f64) {
    match scene {
        0 => (30.0 + 2.3 * t, 172.0 - 30.0 * (t * 0.11).sin().abs()),
        _ => (250.0 - 2.7 * t, 168.0),
    }
}

/// Star, rings, gratings and text in falling sizes.
fn chart() -> Texture {
    let mut scene = Texture::new(SIZE.0 + MARGIN, SIZE.1 + MARGIN);
    scene.paint(|x, y| {
        let cloud = 0.03 * ((x * 0.11).sin() + (y * 0.13 + x * 0.05).cos());
        Some([0.78 + cloud - y / 1500.0, 0.76 + cloud - y / 1700.0, 0.70 + cloud - y / 1400.0])
    });
    star(&mut scene, (88.0, 116.0), 66.0);
    rings(&mut scene, (268.0, 70.0), 48.0);
    gratings(&mut scene, (26.0, 24.0));
    scene.paint_in([172.0, 124.0, 150.0, 62.0], |_, _| Some([0.10, 0.12, 0.16]));
    let ink = [0.93, 0.92, 0.86];
    let mut y = 129.0;
    for (dot, line) in [
        (1.6, "SUBPEL 0123456"),
        (1.2, "SEVERAL FRAMES HOLD"),
        (1.0, "WHAT NONE OF THEM HOLDS"),
        (0.85, "ALONE. QUARTZ JACK 3579"),
        (0.7, "FIVE DOZEN WIZARDS 2468-0"),
        (0.6, "BY HALVES OF A PIXEL 1/2"),
    ] {
        text(&mut scene, (177.0, y), dot, line, ink);
        y += dot * 7.0 + 2.6;
    }
    scene
}

/// Spokes that pass 0.5 cycles a pixel at a third of the radius and 0.9 at the hub.
fn star(scene: &mut Texture, (cx, cy): (f32, f32), radius: f32) {
    scene.paint_in([cx - radius, cy - radius, 2.0 * radius, 2.0 * radius], |x, y| {
        let r = (x - cx).hypot(y - cy);
        let spokes = (72.0 * (y - cy).atan2(x - cx)).sin() > 0.0;
        match r {
            _ if r > radius => None,
            _ if r < 12.7 => Some([0.70, 0.22, 0.16]),
            _ if spokes => Some([0.13, 0.17, 0.33]),
            _ => Some([0.95, 0.93, 0.86]),
        }
    });
}

/// A zone plate: from 0 in the middle to 0.85 cycles a pixel at the rim.
fn rings(scene: &mut Texture, (cx, cy): (f32, f32), radius: f32) {
    scene.paint_in([cx - radius, cy - radius, 2.0 * radius, 2.0 * radius], |x, y| {
        let r2 = (x - cx).powi(2) + (y - cy).powi(2);
        let wave = 0.5 + 0.42 * (PI * 0.85 / radius * r2).cos();
        (r2 < radius * radius).then_some([0.10 + 0.85 * wave, 0.18 + 0.70 * wave, 0.22 + 0.52 * wave])
    });
}

/// Patches of lines at 0.4 to 0.8 cycles a pixel, upright, level and slanted.
fn gratings(scene: &mut Texture, (left, top): (f32, f32)) {
    for (row, (dx, dy)) in [(1.0, 0.0), (0.6, 0.8)].into_iter().enumerate() {
        for (column, cycles) in [0.4, 0.5, 0.6, 0.7, 0.8].into_iter().enumerate() {
            let (x0, y0) = (left + 34.0 * column as f32, top + 12.0 * row as f32);
            scene.paint_in([x0, y0, 31.0, 10.0], |x, y| {
                let wave = 0.5 + 0.45 * (TAU * cycles * (x * dx + y * dy)).sin();
                Some([wave, wave, wave])
            });
        }
    }
}

/// A line of text whose dots are squares of `dot` pixels.
fn text(scene: &mut Texture, (left, top): (f32, f32), dot: f32, line: &str, ink: Rgb) {
    let advance = dot * (font::COLUMNS + 1) as f32;
    for (n, letter) in line.chars().enumerate() {
        let x0 = left + advance * n as f32;
        scene.paint_in([x0, top, advance, dot * font::ROWS as f32], |x, y| {
            font::dot(letter, ((x - x0) / dot) as usize, ((y - top) / dot) as usize).then_some(ink)
        });
    }
}

/// Brick and plaster houses with blinds, a shop sign, a fence and a road.
fn street() -> Texture {
    let mut scene = Texture::new(SIZE.0 + MARGIN, SIZE.1 + MARGIN);
    scene.paint(|_, y| Some([0.55 + y / 700.0, 0.70 + y / 900.0, 0.88]));
    scene.paint_in([0.0, 164.0, 344.0, 40.0], |x, y| {
        let grain = 0.02 * ((x * 1.3).sin() * (y * 2.9).cos());
        Some([0.34 + grain, 0.34 + grain, 0.36 + grain])
    });
    brick_house(&mut scene, [8.0, 30.0, 120.0, 134.0]);
    plaster_house(&mut scene, [132.0, 52.0, 96.0, 112.0]);
    brick_house(&mut scene, [232.0, 18.0, 104.0, 146.0]);
    scene.paint_in([138.0, 118.0, 84.0, 14.0], |_, _| Some([0.12, 0.30, 0.24]));
    text(&mut scene, (144.5, 121.5), 1.0, "CAFE NYQUIST", [0.96, 0.91, 0.72]);
    scene.paint_in([138.0, 134.0, 84.0, 30.0], |_, _| Some([0.86, 0.84, 0.78]));
    for (n, line) in ["COFFEE 2.40", "TEA 2.10", "CAKE 3.50"].into_iter().enumerate() {
        text(&mut scene, (145.0, 138.0 + 8.0 * n as f32), 0.8, line, [0.18, 0.16, 0.14]);
    }
    fence(&mut scene, [0.0, 150.0, 128.0, 18.0]);
    fence(&mut scene, [232.0, 150.0, 112.0, 18.0]);
    scene
}

/// Bricks of 5 x 2.4 pixels with joints of half a pixel, and windows.
fn brick_house(scene: &mut Texture, [left, top, width, height]: [f32; 4]) {
    scene.paint_in([left, top, width, height], |x, y| {
        let (row, in_row) = (((y - top) / 2.4).floor(), (y - top).rem_euclid(2.4));
        let along = x - left + 2.5 * (row % 2.0);
        let shade = 0.05 * ((along / 5.0).floor() * 12.9 + row * 78.2).sin();
        let joint = in_row < 0.5 || along.rem_euclid(5.0) < 0.5;
        Some(if joint { [0.72, 0.68, 0.62] } else { [0.56 + shade, 0.27 + shade, 0.20 + shade] })
    });
    windows(scene, [left, top, width, height]);
}

/// A light wall with windows.
fn plaster_house(scene: &mut Texture, [left, top, width, height]: [f32; 4]) {
    scene.paint_in([left, top, width, height], |x, _| Some([0.86 - x / 4000.0, 0.80, 0.66]));
    windows(scene, [left, top, width, 62.0]);
}

/// Windows with blinds of 0.45 to 0.75 cycles a pixel, a little different each.
fn windows(scene: &mut Texture, [left, top, width, height]: [f32; 4]) {
    let (columns, rows) = ((width / 24.0) as usize, (height / 32.0) as usize);
    for (n, (column, row)) in (0..rows).flat_map(|r| (0..columns).map(move |c| (c, r))).enumerate() {
        let (x0, y0) = (left + 5.0 + 24.0 * column as f32, top + 7.0 + 30.0 * row as f32);
        let cycles = 0.45 + 0.06 * (n % 6) as f32;
        scene.paint_in([x0, y0, 15.0, 20.0], |x, y| {
            let frame = x < x0 + 1.0 || x > x0 + 14.0 || y < y0 + 1.0 || y > y0 + 19.0 || (x - x0 - 7.5).abs() < 0.4;
            let wave = 0.5 + 0.5 * (TAU * cycles * y).sin();
            Some(if frame { [0.94, 0.94, 0.92] } else { [0.18 + 0.6 * wave, 0.22 + 0.55 * wave, 0.28 + 0.45 * wave] })
        });
    }
}

/// Upright bars 0.7 pixels wide, one every 1.7 pixels, between two rails.
fn fence(scene: &mut Texture, [left, top, width, height]: [f32; 4]) {
    scene.paint_in([left, top, width, height], |x, y| {
        let rail = (y - top - 2.5).abs() < 0.5 || (y - top - height + 2.5).abs() < 0.5;
        (rail || x.rem_euclid(1.7) < 0.7).then_some([0.10, 0.12, 0.13])
    });
}

/// A chequered ball of 18 pixels.
fn ball() -> Texture {
    let mut mover = Texture::new(22, 22);
    mover.paint(|x, y| {
        let checks = ((x / 2.2).floor() + (y / 2.2).floor()).rem_euclid(2.0) < 1.0;
        let color = if checks { [0.88, 0.40, 0.10] } else { [0.98, 0.86, 0.30] };
        ((x - 11.0).hypot(y - 11.0) < 9.0).then_some(color)
    });
    mover
}

/// A small bus with its line on the side.
fn bus() -> Texture {
    let mut mover = Texture::new(48, 22);
    mover.paint_in([1.0, 1.0, 46.0, 16.0], |_, _| Some([0.78, 0.16, 0.14]));
    mover.paint_in([3.0, 2.5, 42.0, 4.0], |x, _| {
        Some(if x.rem_euclid(6.0) < 5.2 { [0.75, 0.86, 0.90] } else { [0.20, 0.06, 0.06] })
    });
    text(&mut mover, (7.5, 7.6), 0.8, "LINE 42", [0.98, 0.95, 0.85]);
    mover.paint_in([0.0, 13.0, 48.0, 8.0], |x, y| {
        let wheel = (x - 10.0).hypot(y - 17.0).min((x - 37.0).hypot(y - 17.0));
        (wheel < 3.6).then_some(if wheel < 1.5 { [0.7; 3] } else { [0.08; 3] })
    });
    mover
}
