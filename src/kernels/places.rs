//! Sorting the samples of a low-resolution row into jobs: where each lies on the large grid, and which lie together.
//!
//! A job (`splat`) holds sixteen neighbouring samples whose cells differ by one large pixel at most along each axis.
//! Motion is smooth, so most sixteens make one job; those on a border of motion are split. The order of jobs is that of
//! the samples.

use super::levels;
use super::splat::{FRACTION, Job, LANES, WEIGHT};

/// A low-resolution row on its way to the large grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// Vertical displacement of each sample, in the units that `per_unit` converts to large pixels.
    pub(crate) dy: &'a [f32],
    /// Horizontal displacement.
    pub(crate) dx: &'a [f32],
    /// Confidence, 0..=1.
    pub(crate) weight: &'a [f32],
    /// Large row and column of sample 0 without motion, less half a pixel.
    pub(crate) origin: [f32; 2],
    /// Large pixels per unit of displacement, (vertical, horizontal).
    pub(crate) per_unit: [f32; 2],
    /// Large columns from one sample to the next; also the phases of a row.
    pub(crate) scale: usize,
    /// Rows and columns of the large picture.
    pub(crate) size: [usize; 2],
    /// Places before column 0 in each phase.
    pub(crate) margin: usize,
    /// Number of sample 0.
    pub(crate) first: u32,
    /// Rows of a bin.
    pub(crate) bin: usize,
}

/// Lists grow and shrink by so many jobs: pieces of memory of a few sizes are used again, those of all sizes leave gaps.
const STEP: usize = 128;

/// Jobs in the order of their samples.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobList {
    pub(crate) jobs: Vec<Job>,
    /// (bin, first job) wherever the bin changes.
    pub(crate) runs: Vec<(u32, u32)>,
}

impl JobList {
    /// Empties the list, with room for `jobs` jobs; of more room only what the last jobs needed is kept.
    ///
    /// Otherwise every list would in time become as long as its worst frame made it.
    pub(crate) fn restart(&mut self, jobs: usize) {
        self.jobs.shrink_to(jobs.max(self.jobs.len().next_multiple_of(STEP)));
        self.jobs.clear();
        self.runs.clear();
        self.jobs.reserve_exact(jobs);
    }

    /// Makes room for some more jobs if there is none: an eighth, where a vector by itself would double.
    #[inline(always)]
    fn make_room(&mut self) {
        if self.jobs.len() == self.jobs.capacity() {
            self.jobs.reserve_exact((self.jobs.len() / 8).next_multiple_of(STEP));
        }
    }
}

type Lane = [f32; LANES];

/// Positions of sixteen samples relative to where lane 0 would be without motion along x: cell (place of the first
/// tap) and fraction, for rows and columns.
struct Lanes {
    cell: [[i32; LANES]; 2],
    fraction: [Lane; 2],
    weight: Lane,
}

/// `value`, a whole number of magnitude below 2^22, as an integer; anything for other values.
///
/// A cast saturates, for which the compiler goes lane by lane; this is one addition for all.
#[inline(always)]
pub(super) fn whole(value: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((value + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
}

#[inline(always)]
fn locate(row: &Places<'_>, column: usize, dy: &Lane, dx: &Lane, weight: &Lane) -> Lanes {
    let start = (column * row.scale) as f32;
    let (bottom, right) = (row.size[0] as f32 - 1.0, row.size[1] as f32 - 1.0);
    let mut lanes = Lanes { cell: [[0; LANES]; 2], fraction: [[0.0; LANES]; 2], weight: [0.0; LANES] };
    for i in 0..LANES {
        let y = row.origin[0] + row.per_unit[0] * dy[i];
        let x = row.origin[1] + row.per_unit[1] * dx[i];
        let absolute = x + start + (row.scale * i) as f32;
        let inside = (y >= -1.0) & (y <= bottom) & (absolute >= -1.0) & (absolute <= right);
        lanes.weight[i] = if inside { weight[i] } else { 0.0 };
        let (cy, cx) = (y.floor(), x.floor());
        (lanes.cell[0][i], lanes.cell[1][i]) = (whole(cy), whole(cx));
        (lanes.fraction[0][i], lanes.fraction[1][i]) = (y - cy, x - cx);
    }
    lanes
}

/// Lowest and highest cell of the samples that count.
#[inline(always)]
fn bounds(cell: &[i32; LANES], weight: &Lane) -> (i32, i32) {
    let (mut low, mut high) = ([i32::MAX; LANES], [i32::MIN; LANES]);
    for i in 0..LANES {
        low[i] = if weight[i] > 0.0 { cell[i] } else { i32::MAX };
        high[i] = if weight[i] > 0.0 { cell[i] } else { i32::MIN };
    }
    extremes(low, high)
}

/// Least of the first numbers and greatest of the second ones.
///
/// Of whole numbers, because those have an instruction for all lanes, and by halves, because compilers use it then.
#[inline(always)]
pub(super) fn extremes(mut low: [i32; LANES], mut high: [i32; LANES]) -> (i32, i32) {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            low[i] = low[i].min(low[i + half]);
            high[i] = high[i].max(high[i + half]);
        }
    }
    (low[0], high[0])
}

/// Base of the group that holds the first sample left and the most others.
fn largest_group(lanes: &Lanes) -> [i32; 2] {
    let first = lanes.weight.iter().position(|w| *w > 0.0).unwrap_or(0);
    let [y, x] = [lanes.cell[0][first], lanes.cell[1][first]];
    let size = |base: &[i32; 2]| {
        let within = |i: usize, axis: usize| matches!(lanes.cell[axis][i].wrapping_sub(base[axis]), 0 | 1);
        (0..LANES).filter(|&i| lanes.weight[i] > 0.0 && within(i, 0) && within(i, 1)).count()
    };
    // The last of equals wins: the plainest.
    [[y - 1, x - 1], [y - 1, x], [y, x - 1], [y, x]].into_iter().max_by_key(size).unwrap_or([y, x])
}

/// Makes a job of the samples with cells `base` or one more, and takes their weight.
#[inline(always)]
fn push(row: &Places<'_>, column: usize, lanes: &mut Lanes, base: [i32; 2], out: &mut JobList) {
    let place = (column * row.scale) as i32 + base[1] + (row.margin * row.scale) as i32;
    let mut job = Job {
        weight: [0; LANES],
        fx: [0; LANES],
        fy: [0; LANES],
        at: row.first + column as u32,
        row: base[0],
        place: place as u32 / row.scale as u32,
        phase: (place as u32 % row.scale as u32) as u8,
        taps: [2; 2],
    };
    let (mut far_x, mut far_y) = (0, 0);
    for i in 0..LANES {
        let (by, bx) = (lanes.cell[0][i].wrapping_sub(base[0]), lanes.cell[1][i].wrapping_sub(base[1]));
        let own = (by as u32 <= 1) & (bx as u32 <= 1) & (lanes.weight[i] > 0.0);
        let units = |beyond: i32, fraction: f32| {
            let units = (beyond as f32 + fraction) * FRACTION + 0.5;
            if own { whole(units.min(255.0).floor()) } else { 0 }
        };
        let (uy, ux) = (units(by, lanes.fraction[0][i]), units(bx, lanes.fraction[1][i]));
        let weight = if own { lanes.weight[i] * WEIGHT + 0.5 } else { 0.0 };
        far_x |= ux;
        far_y |= uy;
        job.weight[i] = whole(weight.floor()) as u8;
        job.fy[i] = uy as u8;
        job.fx[i] = ux as u8;
        lanes.weight[i] = if own { 0.0 } else { lanes.weight[i] };
    }
    job.taps = [far_x, far_y].map(taps_to);
    let bin = (job.row.clamp(0, row.size[0] as i32 - 1) as usize / row.bin) as u32;
    if out.runs.last().is_none_or(|(last, _)| *last != bin) {
        out.runs.push((bin, out.jobs.len() as u32));
    }
    out.make_room();
    out.jobs.push(job);
}

/// Taps of samples whose distances, all bits of them together, are `far`: the third begins to count right beyond the middle between the first
/// two, the fourth a pixel further.
fn taps_to(far: i32) -> u8 {
    match far {
        0 => 2,
        far if far < FRACTION as i32 => 3,
        _ => 4,
    }
}

/// The lane of `values` from `start`, filled up with `rest`.
#[inline(always)]
fn lane(values: &[f32], start: usize, rest: f32) -> Lane {
    let mut out = [rest; LANES];
    if let Some(full) = values.get(start..start + LANES) {
        out.copy_from_slice(full);
    } else {
        out[..values.len() - start].copy_from_slice(&values[start..]);
    }
    out
}

levels! {
    /// Appends the jobs of a row to `out`. Samples without weight, and those that look outside the picture, are left out.
    ///
    /// Panics if `dy`, `dx` and `weight` differ in length.
    pub(crate) fn place_row(row: &Places<'_>, out: &mut JobList) {
        assert!(row.dy.len() == row.weight.len() && row.dx.len() == row.weight.len(), "one vector a sample");
        for column in (0..row.weight.len()).step_by(LANES) {
            let mut weight = lane(row.weight, column, 0.0);
            for weight in &mut weight {
                *weight = if *weight * WEIGHT >= 0.5 { *weight } else { 0.0 };
            }
            let mut lanes = locate(row, column, &lane(row.dy, column, 0.0), &lane(row.dx, column, 0.0), &weight);
            loop {
                let ((low_y, high_y), (low_x, high_x)) =
                    (bounds(&lanes.cell[0], &lanes.weight), bounds(&lanes.cell[1], &lanes.weight));
                if low_y > high_y {
                    break;
                }
                let one = high_y - low_y <= 1 && high_x - low_x <= 1;
                let base = if one { [low_y, low_x] } else { largest_group(&lanes) };
                push(row, column, &mut lanes, base, out);
                if one {
                    break;
                }
            }
        }
    }
}
