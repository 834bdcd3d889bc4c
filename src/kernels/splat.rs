//! The heart of the reconstruction: reading a large picture at sub-pixel positions and the adjoint of that, sixteen
//! low-resolution samples at a time.
//!
//! Rows of the large picture are stored phase by phase (columns 0, s, 2s, .. then 1, s+1, ..), so sixteen neighbouring
//! low-resolution samples that move alike read and write sixteen *contiguous* values for each tap of the quadratic
//! B-spline, each sample with weights of its own. Samples whose positions differ by up to one large pixel share a
//! [`Job`]: the kernel then has four taps an axis instead of three; two where all lie right between two pixels, as those of the
//! reference do at even scales. Weights are computed anew from 8-bit fractions each time, which is cheaper than reading them.
//!
//! The B-spline is positive and its images of the spectrum are as weak as those of cubic interpolation with four taps,
//! so what a sample sees depends little on where between the pixels it lies; the rest of the point-spread function is a
//! symmetric filter applied to whole rows (`fuse::psf`). Reading and writing use the same numbers, so one is the
//! adjoint of the other.

use std::array::from_fn;

use super::ahead::fetch_ahead;
use super::levels;

/// Low-resolution samples of a job.
pub(crate) const LANES: usize = 16;
/// Units of a job's fractions in one large pixel.
pub(crate) const FRACTION: f32 = 128.0;
/// Units of a job's weights.
pub(crate) const WEIGHT: f32 = 255.0;
/// Units of a spline's weights: so many that they are whole numbers.
const WHOLE: f32 = 2.0 * FRACTION * FRACTION;
/// Jobs from one that is done to the one that is fetched, and that one's samples: 4 KiB, as the CPU by itself stops at every page.
const AHEAD: usize = 64;

type Lane = [f32; LANES];

/// Sixteen horizontally consecutive samples of one frame: where they lie between large pixels, and how far they count. One cache line.
///
/// Sample `i` lies `fx[i] / 128` columns and `fy[i] / 128` rows beyond the middle between the first two taps; both are
/// in [0, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Job {
    /// Confidence, 255 for full; 0 also for lanes that the job does not hold.
    pub(crate) weight: [u8; LANES],
    pub(crate) fx: [u8; LANES],
    pub(crate) fy: [u8; LANES],
    /// The first sample, counted through the plane.
    pub(crate) at: u32,
    /// Row of the first tap; may be outside the picture, which is mirrored.
    pub(crate) row: i32,
    /// Place of the first tap of lane 0 within its phase.
    pub(crate) place: u32,
    /// Phase of that tap.
    pub(crate) phase: u8,
    /// Taps along x and y that have weight in any lane: 2 to 4.
    pub(crate) taps: [u8; 2],
}

/// Rows of a large picture in memory: all of them, or a window that moves down and uses its memory again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Floats of a row.
    pub(crate) stride: usize,
    /// Rows of the picture.
    pub(crate) height: usize,
    /// Row `y` lies at `y & mask`.
    pub(crate) mask: usize,
    /// Place of tap `k` of a job whose first tap has phase `p`: `taps[p][k]`.
    pub(crate) taps: &'a [[usize; 4]],
}

impl Rows<'_> {
    /// Start of row `y`, mirrored at the borders.
    #[inline(always)]
    fn start(&self, y: i32) -> usize {
        let last = self.height as i32 - 1;
        let y = if y < 0 { -1 - y } else { y };
        let y = if y > last { 2 * last + 1 - y } else { y };
        (y.clamp(0, last) as usize & self.mask) * self.stride
    }
}

/// The samples of a plane, row by row, to be read sixteen at a time from any of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Samples<'a> {
    plane: &'a [f32],
    /// The last fifteen samples, or all if they are fewer, and zeros: for jobs that reach beyond the end.
    end: [f32; 2 * LANES - 2],
}

impl<'a> Samples<'a> {
    pub(crate) fn new(plane: &'a [f32]) -> Self {
        let last = &plane[Self::end_of(plane)..];
        let mut end = [0.0; 2 * LANES - 2];
        end[..last.len()].copy_from_slice(last);
        Self { plane, end }
    }

    pub(crate) fn plane(&self) -> &'a [f32] {
        self.plane
    }

    /// Where the last samples begin.
    fn end_of(plane: &[f32]) -> usize {
        (plane.len() + 1).saturating_sub(LANES)
    }

    /// The samples of a job that begins at `at`; lanes that it does not hold have any value of the plane, or 0.
    #[inline(always)]
    pub(crate) fn lane(&self, at: u32) -> Lane {
        let at = at as usize;
        // The choice is between places, not values: those need not go through memory.
        let inside = self.plane.get(at..at + LANES);
        load(inside.unwrap_or_else(|| &self.end[at - Self::end_of(self.plane)..]), 0)
    }
}

#[inline(always)]
fn load(data: &[f32], start: usize) -> Lane {
    let mut lane = [0.0; LANES];
    lane.copy_from_slice(&data[start..start + LANES]);
    lane
}

/// Weights of the quadratic B-spline for `N` taps, in units of 1 / [`WHOLE`]; a sample lies `units / 128` beyond the middle between
/// the first two taps: 0 if `N` is 2, below 1 if it is 3.
#[inline(always)]
fn spline<const N: usize>(units: &[u8; LANES]) -> [Lane; N] {
    let mut out = [[0.0; LANES]; N];
    if N == 2 {
        return [[0.5 * WHOLE; LANES]; N];
    }
    for i in 0..LANES {
        let t = f32::from(units[i]);
        let beyond = N == 4 && t >= FRACTION;
        let f = if beyond { t - FRACTION } else { t };
        let first = (FRACTION - f) * (FRACTION - f);
        let last = f * f;
        let middle = WHOLE - first - last;
        if N == 4 {
            out[0][i] = if beyond { 0.0 } else { first };
            out[1][i] = if beyond { first } else { middle };
            out[2][i] = if beyond { middle } else { last };
            out[3][i] = if beyond { last } else { 0.0 };
        } else {
            out[0][i] = first;
            out[1][i] = middle;
            out[2][i] = last;
        }
    }
    out
}

/// Confidences of a job in units of `1 / WHOLE^2`.
#[inline(always)]
fn weights(job: &Job) -> Lane {
    let mut out = [0.0; LANES];
    for (out, weight) in out.iter_mut().zip(job.weight) {
        *out = f32::from(weight) * (1.0 / WEIGHT / (WHOLE * WHOLE));
    }
    out
}

/// Weights of a job's taps along both axes, in units of 1 / [`WHOLE`].
struct Taps<const NX: usize, const NY: usize> {
    x: [Lane; NX],
    y: [Lane; NY],
}

impl<const NX: usize, const NY: usize> Taps<NX, NY> {
    #[inline(always)]
    fn new(job: &Job) -> Self {
        Self { x: spline(&job.fx), y: spline(&job.fy) }
    }

    /// What the samples read from `picture`, in units of `1 / WHOLE^2`.
    #[inline(always)]
    fn read(&self, picture: &[f32], places: &TapPlaces<NX, NY>) -> Lane {
        assert!(places.floats <= picture.len(), "a picture of {} floats", picture.len());
        let mut total = [0.0; LANES];
        for ky in 0..NY {
            let mut row = [0.0; LANES];
            for kx in 0..NX {
                // SAFETY: checked above.
                let values = unsafe { places.lane(picture, kx, ky) };
                for i in 0..LANES {
                    row[i] += self.x[kx][i] * values[i];
                }
            }
            for i in 0..LANES {
                total[i] += self.y[ky][i] * row[i];
            }
        }
        total
    }

    /// Adds `value` of every sample, in units of `1 / WHOLE^2`, to `picture` at its taps. The taps of one phase overlap: they are kept
    /// apart in time, so that a load seldom waits for the store before it.
    #[inline(always)]
    fn write(&self, picture: &mut [f32], places: &TapPlaces<NX, NY>, value: &Lane) {
        assert!(places.floats <= picture.len(), "a picture of {} floats", picture.len());
        for kx in 0..NX {
            let mut column = [0.0; LANES];
            for i in 0..LANES {
                column[i] = self.x[kx][i] * value[i];
            }
            for ky in 0..NY {
                // SAFETY: checked above.
                let slot = unsafe { places.lane_mut(picture, kx, ky) };
                for i in 0..LANES {
                    slot[i] += self.y[ky][i] * column[i];
                }
            }
        }
    }
}

/// Where the taps of a job lie: all of them in any picture of `floats` floats or more.
struct TapPlaces<const NX: usize, const NY: usize> {
    /// Where the rows of the taps start, and where the taps lie in a row.
    rows: [usize; NY],
    columns: [usize; NX],
    floats: usize,
}

impl<const NX: usize, const NY: usize> TapPlaces<NX, NY> {
    /// Panics if a tap leaves its row.
    #[inline(always)]
    fn new(job: &Job, window: &Rows<'_>, rows: &TapRows) -> Self {
        let offsets = &window.taps[usize::from(job.phase)];
        let columns: [usize; NX] = from_fn(|k| offsets[k] + job.place as usize);
        let last = columns.iter().fold(0, |last, column: &usize| last.max(*column));
        assert!(rows.stride.checked_sub(LANES).is_some_and(|most| last <= most), "a tap in column {last}");
        Self { rows: from_fn(|k| rows.starts[k]), columns, floats: rows.floats }
    }

    /// What tap (`kx`, `ky`) finds. Checked one by one, taps took 1.11 of the time.
    ///
    /// # Safety
    /// The picture has [`Self::floats`] floats.
    #[inline(always)]
    unsafe fn lane<'p>(&self, picture: &'p [f32], kx: usize, ky: usize) -> &'p Lane {
        // SAFETY: the column is one of sixteen in the row, and the row one in so many floats: see `new` here and of `TapRows`.
        unsafe { &*picture.as_ptr().add(self.rows[ky] + self.columns[kx]).cast() }
    }

    /// [`Self::lane`], to be written.
    ///
    /// # Safety
    /// The picture has [`Self::floats`] floats.
    #[inline(always)]
    unsafe fn lane_mut<'p>(&self, picture: &'p mut [f32], kx: usize, ky: usize) -> &'p mut Lane {
        // SAFETY: as above.
        unsafe { &mut *picture.as_mut_ptr().add(self.rows[ky] + self.columns[kx]).cast() }
    }
}

/// The four rows from `first` on, mirrored at the borders: where they start, in any picture of `floats` floats or more.
struct TapRows {
    first: i32,
    starts: [usize; 4],
    stride: usize,
    floats: usize,
}

impl TapRows {
    /// Panics if a row leaves the picture.
    #[inline(always)]
    fn new(window: &Rows<'_>, first: i32, floats: usize) -> Self {
        let starts: [usize; 4] = from_fn(|k| window.start(first.wrapping_add(k as i32)));
        let last = starts.iter().fold(0, |last, start: &usize| last.max(*start));
        assert!(floats.checked_sub(window.stride).is_some_and(|most| last <= most), "a row at {last} of {floats}");
        Self { first, starts, stride: window.stride, floats }
    }
}

/// What to do with each job: see the kernels.
trait Work {
    fn job<const NX: usize, const NY: usize>(&mut self, job: &Job, places: &TapPlaces<NX, NY>);
}

/// Does the work with all jobs; its pictures have so many floats.
#[inline(always)]
fn each(window: &Rows<'_>, jobs: &[Job], floats: usize, work: &mut impl Work) {
    let Some(first) = jobs.first() else { return };
    let mut rows = TapRows::new(window, first.row, floats);
    for job in jobs {
        fetch_ahead(job, AHEAD);
        if job.row != rows.first {
            rows = TapRows::new(window, job.row, floats);
        }
        match job.taps {
            [2, 2] => work.job(job, &TapPlaces::<2, 2>::new(job, window, &rows)),
            [2, 3] => work.job(job, &TapPlaces::<2, 3>::new(job, window, &rows)),
            [2, _] => work.job(job, &TapPlaces::<2, 4>::new(job, window, &rows)),
            [3, 2] => work.job(job, &TapPlaces::<3, 2>::new(job, window, &rows)),
            [3, 3] => work.job(job, &TapPlaces::<3, 3>::new(job, window, &rows)),
            [3, _] => work.job(job, &TapPlaces::<3, 4>::new(job, window, &rows)),
            [_, 2] => work.job(job, &TapPlaces::<4, 2>::new(job, window, &rows)),
            [_, 3] => work.job(job, &TapPlaces::<4, 3>::new(job, window, &rows)),
            [_, _] => work.job(job, &TapPlaces::<4, 4>::new(job, window, &rows)),
        }
    }
}

struct BackProject<'a> {
    samples: &'a Samples<'a>,
    picture: &'a [f32],
    sums: &'a mut [f32],
    dead: f32,
    bound: f32,
}

impl Work for BackProject<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, job: &Job, places: &TapPlaces<NX, NY>) {
        let (taps, samples) = (Taps::<NX, NY>::new(job), self.samples.lane(job.at));
        fetch_ahead(&self.samples.plane()[job.at as usize], LANES * AHEAD);
        let mut value = taps.read(self.picture, places);
        let weight = weights(job);
        for i in 0..LANES {
            let residual = samples[i] - value[i] * (1.0 / (WHOLE * WHOLE));
            let inside = residual.clamp(-self.dead, self.dead);
            value[i] = weight[i] * (residual.clamp(-self.bound, self.bound) - inside);
        }
        taps.write(self.sums, places, &value);
    }
}

struct Weights<'a>(&'a mut [f32]);

impl Work for Weights<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, job: &Job, places: &TapPlaces<NX, NY>) {
        Taps::<NX, NY>::new(job).write(self.0, places, &weights(job));
    }
}

struct Predict<'a> {
    picture: &'a [f32],
    out: std::slice::IterMut<'a, Lane>,
}

impl Work for Predict<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, job: &Job, places: &TapPlaces<NX, NY>) {
        let mut read = Taps::<NX, NY>::new(job).read(self.picture, places);
        for value in &mut read {
            *value *= 1.0 / (WHOLE * WHOLE);
        }
        self.out.next().into_iter().for_each(|out| *out = read);
    }
}

levels! {
    /// `sums += S' (w * u)` over the jobs, `u = clamp(r, +-bound) - clamp(r, +-dead)` of the residuals
    /// `limits` are (dead, bound) and `r = y - S picture`, `y` being `samples` and `S` the reading at their positions.
    ///
    /// The clamped residual is the residual times its Huber weight; what is left of it beyond `dead` is the way to the
    /// nearest value that the sample allows. Panics if a tap leaves `picture` or `sums`.
    pub(crate) fn back_project(
        rows: &Rows<'_>, jobs: &[Job], samples: &Samples<'_>, picture: &[f32], sums: &mut [f32],
        limits: (f32, f32),
    ) {
        let (dead, bound) = limits;
        let floats = picture.len().min(sums.len());
        each(rows, jobs, floats, &mut BackProject { samples, picture, sums, dead, bound });
    }

    /// `sums += S' w`: how densely the jobs cover the picture.
    pub(crate) fn splat_weights(rows: &Rows<'_>, jobs: &[Job], sums: &mut [f32]) {
        each(rows, jobs, sums.len(), &mut Weights(sums));
    }

    /// `out = S picture`: what the samples read, sixteen a job; lanes without weight hold no meaning.
    pub(crate) fn predict(rows: &Rows<'_>, jobs: &[Job], picture: &[f32], out: &mut [[f32; LANES]]) {
        each(rows, jobs, picture.len(), &mut Predict { picture, out: out.iter_mut() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::CpuLevel;
    use crate::kernels::testing::{bits, noise};

    const HEIGHT: usize = 20;
    const PHASES: usize = 2;
    /// Places of a phase.
    const SEGMENT: usize = 64;
    const STRIDE: usize = PHASES * SEGMENT;
    const TAPS: [[usize; 4]; PHASES] = [[0, SEGMENT, 1, SEGMENT + 1], [SEGMENT, 1, SEGMENT + 1, 2]];

    fn rows(height: usize) -> Rows<'static> {
        Rows { stride: STRIDE, height, mask: usize::MAX, taps: &TAPS }
    }

    /// Jobs of all numbers of taps on rows inside and outside the picture; as many samples as there are places for them.
    fn jobs() -> Vec<Job> {
        let random = noise(7, 1 << 14);
        let mut next = random.iter().map(|value| *value as usize).cycle();
        let mut byte = move |below: usize| (next.next().unwrap_or(0) * 131 + next.next().unwrap_or(0)) % below;
        let shapes = (2..=4).flat_map(|x| (2..=4).map(move |y| [x, y]));
        let job = |(n, taps): (usize, [u8; 2])| {
            let [below_x, below_y] = taps.map(|taps| [1, 128, 256][usize::from(taps) - 2]);
            Job {
                weight: from_fn(|_| byte(256) as u8),
                fx: from_fn(|_| byte(below_x) as u8),
                fy: from_fn(|_| byte(below_y) as u8),
                at: (n * LANES / 3) as u32,
                row: byte(HEIGHT + 4) as i32 - 3,
                place: byte(SEGMENT - LANES - 2) as u32,
                phase: byte(PHASES) as u8,
                taps,
            }
        };
        shapes.cycle().take(90).enumerate().map(job).collect()
    }

    #[test]
    fn every_level_gives_the_bits_of_the_baseline() {
        let (jobs, picture, plane) = (jobs(), noise(1, HEIGHT * STRIDE), noise(2, 90 * LANES / 3));
        let run = |level: CpuLevel| {
            let (mut sums, mut density) = (noise(3, HEIGHT * STRIDE), noise(4, HEIGHT * STRIDE));
            let mut read = vec![[0.0; LANES]; jobs.len()];
            let samples = Samples::new(&plane);
            back_project(level, &rows(HEIGHT), &jobs, &samples, &picture, &mut sums, (1.5, 40.0));
            splat_weights(level, &rows(HEIGHT), &jobs, &mut density);
            predict(level, &rows(HEIGHT), &jobs, &picture, &mut read);
            [bits(&sums), bits(&density), bits(read.as_flattened())]
        };
        for level in CpuLevel::available() {
            assert_eq!(run(CpuLevel::SCALAR), run(level), "{level:?}");
        }
    }

    #[test]
    fn samples_read_the_quadratic_spline_around_them_with_the_rows_mirrored() {
        let picture = noise(1, HEIGHT * STRIDE);
        let jobs = jobs();
        let mut read = vec![[0.0; LANES]; jobs.len()];
        predict(CpuLevel::SCALAR, &rows(HEIGHT), &jobs, &picture, &mut read);
        let spline = |distance: f64| match distance.abs() {
            near if near < 0.5 => 0.75 - near * near,
            far => 0.5 * (1.5 - far).max(0.0).powi(2),
        };
        let value = |row: i32, column: usize| {
            let last = HEIGHT as i32 - 1;
            let row = if row < 0 { -1 - row } else { row };
            let row = if row > last { 2 * last + 1 - row } else { row };
            f64::from(picture[row as usize * STRIDE + column % PHASES * SEGMENT + column / PHASES])
        };
        for (job, read) in jobs.iter().zip(&read) {
            for (i, read) in read.iter().enumerate() {
                let first = PHASES * (job.place as usize + i) + usize::from(job.phase);
                let [x, y] = [job.fx[i], job.fy[i]].map(|units| 0.5 + f64::from(units) / 128.0);
                let term = |ky: i32, kx: usize| {
                    spline(f64::from(ky) - y) * spline(kx as f64 - x) * value(job.row + ky, first + kx)
                };
                let wanted: f64 = (0..4).flat_map(|ky| (0..4).map(move |kx| (ky, kx))).map(|(y, x)| term(y, x)).sum();
                assert!((f64::from(*read) - wanted).abs() < 1e-3, "{job:?}, lane {i}: {read}, not {wanted}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a tap in column")]
    fn a_tap_beside_its_row_is_refused() {
        let job = Job { place: (SEGMENT - LANES + 1) as u32, phase: 1, ..jobs()[0] };
        predict(CpuLevel::detect(), &rows(HEIGHT), &[job], &[0.0; HEIGHT * STRIDE], &mut [[0.0; LANES]]);
    }

    #[test]
    #[should_panic(expected = "a row at")]
    fn a_row_beyond_the_picture_is_refused() {
        let job = Job { row: HEIGHT as i32 - 2, ..jobs()[0] };
        predict(CpuLevel::detect(), &rows(HEIGHT + 1), &[job; 1], &[0.0; HEIGHT * STRIDE], &mut [[0.0; LANES]]);
    }
}
