//! How strongly a picture was compressed, estimated from the picture itself: how much rougher it is across the borders
//! of 8 x 8 transform blocks than between them (the ratio of Wang, Bovik and Evans 2000, doi:10.1109/ICIP.2000.899622,
//! and its relatives, here with a law to an error in samples).
//!
//! For frames whose decoder tells nothing. It sees codecs with 8 x 8 blocks, no filter over their borders and the grid
//! at the picture's top left corner: JPEG, MPEG-1, -2, -4 and H.263. It is blind to H.264, HEVC, VP9 and AV1, whose
//! borders are filtered, to pictures that were cropped or scaled after decoding, and to weak compression: doubt is 0.
//! What it measured is in docs/compression.md.

use rayon::prelude::*;

/// Size of the transform blocks.
const BLOCK: usize = 8;
/// Pictures with fewer rows or columns are not judged: chance decides there.
const LEAST_SIZE: usize = 8 * BLOCK;
/// Steps are counted up to this height (8-bit scale): edges of the scene are not coding.
const HIGHEST_STEP: f32 = 24.0;
/// Borders must be this much rougher, in both directions, than the roughest of the other places.
const LEAST_RATIO: f64 = 1.02;
/// Deviation of the coding error for a roughness of borders: `SCALE * excess^POWER`, measured.
const SCALE: f64 = 3.0;
const POWER: f64 = 0.63;

/// Mean steps at the columns (or rows) `i` with `i % 8` = 0 to 7, where 0 is a border.
type Phases = [f64; BLOCK];

/// Expected standard deviation of the coding error of a luma plane on the 8-bit scale; 0 if it shows no blocks.
///
/// `luma` is `height x width`, row by row, on the 8-bit scale. O(pixels).
///
/// # Panics
/// If `luma` has not `height * width` samples.
pub(crate) fn blockiness(luma: &[f32], height: usize, width: usize) -> f32 {
    assert_eq!(luma.len(), height * width, "samples of a {width}x{height} plane");
    if height < LEAST_SIZE || width < LEAST_SIZE {
        return 0.0;
    }
    let [across, down] = steps(luma, height, width).map(excess);
    let (Some(across), Some(down)) = (across, down) else { return 0.0 };
    let deviation = SCALE * (0.5 * (across + down)).powf(POWER);
    if deviation.is_finite() { deviation as f32 } else { 0.0 }
}

/// How much rougher borders are than the middles of blocks, if they are so beyond doubt.
///
/// The places beside a border are left out: filters and motion carry its step there.
fn excess(phases: Phases) -> Option<f64> {
    let inner = &phases[2..BLOCK - 1];
    let roughest = inner.iter().copied().fold(0.0, f64::max);
    let mean = inner.iter().sum::<f64>() / inner.len() as f64;
    (phases[0] > LEAST_RATIO * roughest).then_some(phases[0] - mean)
}

/// Steps between columns and between rows, by their place in the grid.
fn steps(luma: &[f32], height: usize, width: usize) -> [Phases; 2] {
    let row = |y: usize| &luma[y * width..(y + 1) * width];
    let rows: Vec<(Phases, f64)> = (2..height - 1)
        .into_par_iter()
        .with_min_len(16)
        .map(|y| (along(row(y)), between([row(y - 2), row(y - 1), row(y), row(y + 1)])))
        .collect();
    // Added in the order of rows: the same for any number of threads.
    let mut sums = [[0.0; BLOCK]; 2];
    let mut counts = [[0.0; BLOCK]; 2];
    for (y, (columns, step)) in (2..).zip(&rows) {
        sums[0].iter_mut().zip(columns).for_each(|(sum, column)| *sum += column);
        sums[1][y % BLOCK] += step;
        counts[1][y % BLOCK] += width as f64;
    }
    for x in 2..width - 1 {
        counts[0][x % BLOCK] += rows.len() as f64;
    }
    [0, 1].map(|axis| std::array::from_fn(|phase| sums[axis][phase] / counts[axis][phase]))
}

/// The step from `b` to `c` beyond what the slopes on both sides of it explain.
fn step([a, b, c, d]: [f32; 4]) -> f32 {
    ((c - b) - 0.5 * ((b - a) + (d - c))).abs().min(HIGHEST_STEP)
}

/// Sums of the steps along a row, by their column's place in the grid.
fn along(row: &[f32]) -> Phases {
    let mut sums = [0.0; BLOCK];
    for (x, four) in (2..).zip(row.windows(4)) {
        sums[x % BLOCK] += f64::from(step([four[0], four[1], four[2], four[3]]));
    }
    sums
}

/// Sum of the steps between the second and third of four rows.
fn between([a, b, c, d]: [&[f32]; 4]) -> f64 {
    let columns = a.iter().zip(b).zip(c.iter().zip(d));
    columns.map(|((a, b), (c, d))| f64::from(step([*a, *b, *c, *d]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEIGHT: usize = 144;
    const WIDTH: usize = 200;

    /// A number in -0.5..0.5 that looks like chance.
    fn chance(seed: usize) -> f32 {
        let mixed = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 40) as f32) / 16_777_216.0 - 0.5
    }

    /// Waves of all directions and many lengths, weaker the shorter, and some noise.
    fn scene(noise: f32) -> Vec<f32> {
        let wave = |k: usize, y: f32, x: f32| {
            let (length, turn) = (2.5 * 1.13f32.powi(k as i32), 7.0 * chance(3 * k));
            let (sin, cos) = turn.sin_cos();
            1.2 * length.sqrt() * (std::f32::consts::TAU * (cos * x + sin * y) / length + 9.0 * chance(5 * k)).sin()
        };
        let at = |y: usize, x: usize| {
            let sum: f32 = (0..30).map(|k| wave(k, y as f32, x as f32)).sum();
            128.0 + sum + 3.46 * noise * chance(1_000 + y * WIDTH + x)
        };
        (0..HEIGHT * WIDTH).map(|i| at(i / WIDTH, i % WIDTH)).collect()
    }

    /// The orthonormal cosine transform of 8 samples, frequency by sample.
    fn cosines() -> [[f32; BLOCK]; BLOCK] {
        std::array::from_fn(|u| {
            let gain = if u == 0 { 0.125f32.sqrt() } else { 0.5 };
            std::array::from_fn(|x| gain * (std::f32::consts::PI * (2 * x + 1) as f32 * u as f32 / 16.0).cos())
        })
    }

    /// The picture as a codec with one step for all frequencies leaves it, its grid starting at (`from`, `from`).
    fn coded(luma: &[f32], quantiser: f32, from: usize) -> Vec<f32> {
        let (t, mut out) = (cosines(), luma.to_vec());
        let pairs = || (0..BLOCK * BLOCK).map(|i| (i / BLOCK, i % BLOCK));
        for top in (from..HEIGHT - BLOCK + 1).step_by(BLOCK) {
            for left in (from..WIDTH - BLOCK + 1).step_by(BLOCK) {
                let at = |y: usize, x: usize| (top + y) * WIDTH + left + x;
                let level = |(v, u): (usize, usize)| {
                    let sum: f32 = pairs().map(|(y, x)| t[v][y] * t[u][x] * luma[at(y, x)]).sum();
                    (sum / quantiser).round() * quantiser
                };
                let levels: Vec<f32> = pairs().map(level).collect();
                for (y, x) in pairs() {
                    out[at(y, x)] = pairs().zip(&levels).map(|((v, u), level)| t[v][y] * t[u][x] * level).sum();
                }
            }
        }
        out
    }

    fn deviation(a: &[f32], b: &[f32]) -> f32 {
        (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32).sqrt()
    }

    #[test]
    fn pictures_that_were_not_compressed_have_no_error() {
        for noise in [0.0, 1.5, 6.0, 20.0] {
            assert_eq!(blockiness(&scene(noise), HEIGHT, WIDTH), 0.0, "noise {noise}");
        }
        assert_eq!(blockiness(&vec![77.0; HEIGHT * WIDTH], HEIGHT, WIDTH), 0.0, "grey");
    }

    #[test]
    fn stronger_compression_means_a_larger_error_near_the_true_one() {
        let scene = scene(1.5);
        let mut before = 0.0;
        for quantiser in [12.0, 20.0, 32.0, 48.0] {
            let coded = coded(&scene, quantiser, 0);
            let (found, real) = (blockiness(&coded, HEIGHT, WIDTH), deviation(&scene, &coded));
            assert!(
                found > before && found > 0.4 * real && found < 2.5 * real,
                "step {quantiser}: {found}, not {real}"
            );
            before = found;
        }
    }

    #[test]
    fn a_grid_in_another_place_is_not_seen() {
        let scene = scene(1.5);
        assert_eq!(blockiness(&coded(&scene, 32.0, 4), HEIGHT, WIDTH), 0.0);
    }

    #[test]
    fn small_and_broken_pictures_have_no_error() {
        assert_eq!(blockiness(&[], 0, 0), 0.0, "empty");
        assert_eq!(blockiness(&vec![0.0; 63 * 200], 63, 200), 0.0, "low");
        assert_eq!(blockiness(&vec![f32::NAN; HEIGHT * WIDTH], HEIGHT, WIDTH), 0.0, "no numbers");
    }
}
