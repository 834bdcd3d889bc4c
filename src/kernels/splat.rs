//! The heart of the reconstruction: reading a large picture at sub-pixel positions and the adjoint of that, sixteen
//! low-resolution samples at a time.
//!
//! Rows of the large picture are stored phase by phase (columns 0, s, 2s, .. then 1, s+1, ..), so sixteen neighbouring
//! low-resolution samples that move alike read and write sixteen *contiguous* values for each tap of the quadratic
//! B-spline, each sample with weights of its own. Samples whose positions differ by up to one large pixel share a
//! [`Job`]: the kernel then has four taps an axis instead of three. Weights are computed anew from 8-bit fractions
//! each time, which is cheaper than reading them.
//!
//! The B-spline is positive and its images of the spectrum are as weak as those of cubic interpolation with four taps,
//! so what a sample sees depends little on where between the pixels it lies; the rest of the point-spread function is a
//! symmetric filter applied to whole rows (`fuse::psf`). Reading and writing use the same numbers, so one is the
//! adjoint of the other.

use super::levels;

/// Low-resolution samples of a job.
pub(crate) const LANES: usize = 16;
/// Units of a job's fractions in one large pixel.
pub(crate) const FRACTION: f32 = 128.0;
/// Units of a job's weights.
pub(crate) const WEIGHT: f32 = 255.0;

type Lane = [f32; LANES];

/// Where sixteen horizontally consecutive samples of one frame lie between large pixels, and how far they count.
///
/// Sample `i` lies `fx[i] / 128` columns and `fy[i] / 128` rows beyond the middle between the first two taps; both are
/// in [0, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct Job {
    /// Confidence, 255 for full; 0 also for lanes that the job does not hold.
    pub(crate) weight: [u8; LANES],
    pub(crate) fx: [u8; LANES],
    pub(crate) fy: [u8; LANES],
}

/// Where the first taps of a job lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Row of the first tap; may be outside the picture, which is mirrored.
    pub(crate) row: i32,
    /// Place of the first tap of lane 0 within its phase.
    pub(crate) place: u32,
    /// Phase of that tap.
    pub(crate) phase: u8,
    /// Bit 0: a fourth tap along x, bit 1: along y.
    pub(crate) wide: u8,
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

/// Jobs of one frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jobs<'a> {
    pub(crate) heads: &'a [Head],
    pub(crate) jobs: &'a [Job],
    /// First sample of each, counted through the plane.
    pub(crate) at: &'a [u32],
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
fn widen(bytes: &[u8; LANES], unit: f32) -> Lane {
    let mut out = [0.0; LANES];
    for i in 0..LANES {
        out[i] = f32::from(bytes[i]) * unit;
    }
    out
}

#[inline(always)]
fn load(data: &[f32], start: usize) -> Lane {
    let mut lane = [0.0; LANES];
    lane.copy_from_slice(&data[start..start + LANES]);
    lane
}

/// Weights of the quadratic B-spline for `N` taps; `t` is the distance beyond the middle between the first two taps,
/// below 1 if `N` is 3.
#[inline(always)]
fn spline<const N: usize>(t: &Lane) -> [Lane; N] {
    let mut out = [[0.0; LANES]; N];
    for i in 0..LANES {
        let beyond = N == 4 && t[i] >= 1.0;
        let f = if beyond { t[i] - 1.0 } else { t[i] };
        let first = 0.5 * (1.0 - f) * (1.0 - f);
        let last = 0.5 * f * f;
        let middle = 1.0 - first - last;
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

/// Taps of a job along both axes, and where they lie.
struct Taps<const NX: usize, const NY: usize> {
    x: [Lane; NX],
    y: [Lane; NY],
    rows: [usize; NY],
    columns: [usize; NX],
}

impl<const NX: usize, const NY: usize> Taps<NX, NY> {
    #[inline(always)]
    fn new(head: &Head, job: &Job, rows: &Rows<'_>) -> Self {
        let offsets = &rows.taps[usize::from(head.phase)];
        Self {
            x: spline(&widen(&job.fx, 1.0 / FRACTION)),
            y: spline(&widen(&job.fy, 1.0 / FRACTION)),
            rows: std::array::from_fn(|k| rows.start(head.row + k as i32)),
            columns: std::array::from_fn(|k| offsets[k] + head.place as usize),
        }
    }

    /// What the samples read from `picture`.
    #[inline(always)]
    fn read(&self, picture: &[f32]) -> Lane {
        let mut total = [0.0; LANES];
        for ky in 0..NY {
            let mut row = [0.0; LANES];
            for kx in 0..NX {
                let values = load(picture, self.rows[ky] + self.columns[kx]);
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

    /// Adds `value` of every sample to `picture` at its taps. The taps of one phase overlap: they are kept apart in
    /// time, so that a load seldom waits for the store before it.
    #[inline(always)]
    fn write(&self, picture: &mut [f32], value: &Lane) {
        for kx in 0..NX {
            let mut column = [0.0; LANES];
            for i in 0..LANES {
                column[i] = self.x[kx][i] * value[i];
            }
            for ky in 0..NY {
                let start = self.rows[ky] + self.columns[kx];
                let slot = &mut picture[start..start + LANES];
                for i in 0..LANES {
                    slot[i] += self.y[ky][i] * column[i];
                }
            }
        }
    }
}

/// What to do with each job: see the kernels.
trait Work {
    fn job<const NX: usize, const NY: usize>(&mut self, at: usize, taps: &Taps<NX, NY>, weight: &Lane);
}

#[inline(always)]
fn each(rows: &Rows<'_>, jobs: Jobs<'_>, work: &mut impl Work) {
    for (at, (head, job)) in jobs.heads.iter().zip(jobs.jobs).enumerate() {
        let weight = widen(&job.weight, 1.0 / WEIGHT);
        match head.wide {
            0 => work.job(at, &Taps::<3, 3>::new(head, job, rows), &weight),
            1 => work.job(at, &Taps::<4, 3>::new(head, job, rows), &weight),
            2 => work.job(at, &Taps::<3, 4>::new(head, job, rows), &weight),
            _ => work.job(at, &Taps::<4, 4>::new(head, job, rows), &weight),
        }
    }
}

struct BackProject<'a> {
    samples: &'a Samples<'a>,
    at: &'a [u32],
    picture: &'a [f32],
    sums: &'a mut [f32],
    dead: f32,
    bound: f32,
}

impl Work for BackProject<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, at: usize, taps: &Taps<NX, NY>, weight: &Lane) {
        let mut value = taps.read(self.picture);
        let samples = self.samples.lane(self.at[at]);
        for i in 0..LANES {
            let residual = samples[i] - value[i];
            let inside = residual.clamp(-self.dead, self.dead);
            value[i] = weight[i] * (residual.clamp(-self.bound, self.bound) - inside);
        }
        taps.write(self.sums, &value);
    }
}

struct Weights<'a>(&'a mut [f32]);

impl Work for Weights<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, _: usize, taps: &Taps<NX, NY>, weight: &Lane) {
        taps.write(self.0, weight);
    }
}

struct Predict<'a> {
    picture: &'a [f32],
    out: &'a mut [Lane],
}

impl Work for Predict<'_> {
    #[inline(always)]
    fn job<const NX: usize, const NY: usize>(&mut self, at: usize, taps: &Taps<NX, NY>, _: &Lane) {
        self.out[at] = taps.read(self.picture);
    }
}

levels! {
    /// `sums += S' (w * u)` over the jobs, `u = clamp(r, +-bound) - clamp(r, +-dead)` of the residuals
    /// `limits` are (dead, bound) and `r = y - S picture`, `y` being `samples` and `S` the reading at their positions.
    ///
    /// The clamped residual is the residual times its Huber weight; what is left of it beyond `dead` is the way to the
    /// nearest value that the sample allows. Panics if a tap leaves `picture` or `sums`.
    pub(crate) fn back_project(
        rows: &Rows<'_>, jobs: Jobs<'_>, samples: &Samples<'_>, picture: &[f32], sums: &mut [f32],
        limits: (f32, f32),
    ) {
        let (dead, bound) = limits;
        each(rows, jobs, &mut BackProject { samples, at: jobs.at, picture, sums, dead, bound });
    }

    /// `sums += S' w`: how densely the jobs cover the picture.
    pub(crate) fn splat_weights(rows: &Rows<'_>, jobs: Jobs<'_>, sums: &mut [f32]) {
        each(rows, jobs, &mut Weights(sums));
    }

    /// `out = S picture`: what the samples read, sixteen a job; lanes without weight hold no meaning.
    pub(crate) fn predict(rows: &Rows<'_>, jobs: Jobs<'_>, picture: &[f32], out: &mut [[f32; LANES]]) {
        each(rows, jobs, &mut Predict { picture, out });
    }
}
