//! One pass of an iteration over a stretch of rows: filter, read, compare, write back and filter again, without leaving
//! the cache.
//!
//! Rows of the filtered picture (`H x`) and of the sums (`S' u`) live only as long as they are needed, in rings of a few
//! dozen rows. The pass moves down bin by bin: it filters the rows that the jobs of a bin read, runs the jobs, and hands
//! on every row whose sum is complete. Stretches of rows overlap by the reach of a job and a filter; every row of a sum has the same
//! terms in the same order in all of them, so results do not depend on how a picture is shared.

use std::ops::Range;

use rayon::prelude::*;

use super::grid::{Grid, mirrored};
use super::lines::Lines;
use super::observe::{BIN, Observation, Run};
use super::psf::{Blur, Psf};
use super::reduce::Reducer;
use super::shares::{Shares, Stretch};
use crate::cores::Work;
use crate::frame::AxisMap;
use crate::kernels::CpuLevel;
use crate::kernels::filters::{Slices, filter_across};
use crate::kernels::splat::Rows;

/// Rows that are worth a task.
const LEAST_ROWS: usize = 64;
/// Rows that are filtered together: what a filter reads down a column is loaded once for all of them.
const TOGETHER: usize = 4;
/// Rows that a job reaches from its first tap.
const REACH: usize = 3;

/// What all passes over one geometry share.
#[derive(Debug)]
pub(super) struct Optics {
    pub(super) cpu: CpuLevel,
    pub(super) grid: Grid,
    /// Point-spread filters, (vertical, horizontal).
    psf: [Psf; 2],
    /// Rows of a ring, a power of two.
    ring: usize,
}

/// Buffers of one task.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    picture: Lines,
    sums: Lines,
    /// Rows on their way through a filter.
    rows: Lines,
    result: Lines,
}

/// The window of rows that a pass hands to its jobs.
pub(super) struct Window<'a> {
    pub(super) rows: Rows<'a>,
    /// `H x`, where there is a picture.
    pub(super) picture: &'a [f32],
    /// Sums to write to.
    pub(super) sums: &'a mut [f32],
}

impl Optics {
    /// For planes whose axes map as `maps` (vertical, horizontal).
    pub(super) fn new(maps: (AxisMap, AxisMap), blur: Blur, cpu: CpuLevel) -> Self {
        let vertical = Psf::new(blur, maps.0.scale);
        let horizontal = if maps.1.scale == maps.0.scale { vertical.clone() } else { Psf::new(blur, maps.1.scale) };
        let psf = [vertical, horizontal];
        let reach = Reducer::reach(&psf[1]);
        let grid = Grid::new(maps.1.input, maps.0.output, maps.1.scale as usize, reach);
        let alive = 2 * BIN + 2 * psf[0].radius() + 2 * REACH + 2;
        Self { cpu, grid, psf, ring: alive.next_power_of_two() }
    }

    /// Point-spread filters, (vertical, horizontal).
    pub(super) fn psf(&self) -> [&Psf; 2] {
        [&self.psf[0], &self.psf[1]]
    }

    /// The same geometry with other filters that are no longer.
    pub(super) fn with_filters(&self, psf: [Psf; 2]) -> Self {
        Self { cpu: self.cpu, grid: self.grid.clone(), psf, ring: self.ring }
    }

    /// Row `y` of the filtered `picture`, margins of any content; `row` is scratch of one row.
    pub(super) fn blurred(&self, picture: &[f32], y: usize, row: &mut [f32], out: &mut [f32]) {
        self.filter_down(picture, usize::MAX, y..y + 1, row);
        self.filter_along(row, out);
    }

    /// The vertical half of `H x`: `rows` of `picture`, at most [`TOGETHER`], into `out`; row `y` of `picture` lies at `y & mask`.
    fn filter_down(&self, picture: &[f32], mask: usize, rows: Range<usize>, out: &mut [f32]) {
        let (stride, [vertical, _]) = (self.grid.stride(), &self.psf);
        let (mut from, to) = ([0; 32], [0, stride, 2 * stride, 3 * stride]);
        let from = &mut from[..rows.len() + 2 * vertical.radius()];
        let first = rows.start as isize - vertical.radius() as isize;
        from.iter_mut().zip(first..).for_each(|(at, y)| *at = (mirrored(y, self.grid.height) & mask) * stride);
        // Rings are near; of a picture the next rows are asked for while these are filtered.
        let ahead = if mask == usize::MAX { TOGETHER * stride } else { 0 };
        let slices = Slices { data: picture, from, length: stride, ahead };
        filter_across(self.cpu, out, &to[..rows.len()], &slices, vertical.taps());
    }

    /// The horizontal half of `H x`: one row, whose margins are filled for it.
    fn filter_along(&self, row: &mut [f32], out: &mut [f32]) {
        let (grid, [_, horizontal]) = (&self.grid, &self.psf);
        let (mut from, mut to) = ([0; 32], [0; 4]);
        let (from, to) = (&mut from[..grid.phases + 2 * horizontal.radius()], &mut to[..grid.phases]);
        from.iter_mut().zip(-(horizontal.radius() as isize)..).for_each(|(slot, x)| *slot = grid.slot(x));
        to.iter_mut().zip(0..).for_each(|(slot, x)| *slot = grid.slot(x));
        grid.fill_margins(row, horizontal.radius());
        let slices = Slices { data: row, from, length: grid.width / grid.phases, ahead: 0 };
        filter_across(self.cpu, out, to, &slices, horizontal.taps());
    }

    /// Fills `out` (`finish` gets the row's number, its place there and the row of `H' S' u`), after `work` on every run of jobs
    /// that writes to it; with a `picture` the jobs can read `H picture`. The rows are shared among `tasks`.
    pub(super) fn sweep(
        &self,
        observation: &Observation,
        out: &mut [f32],
        picture: Option<&[f32]>,
        tasks: &mut Vec<Scratch>,
        work: impl Fn(&Run, Window<'_>) + Sync,
        finish: impl Fn(usize, &mut [f32], &[f32]) + Sync,
    ) {
        self.ready(tasks);
        let shares = Shares::new(out, self.grid.stride());
        tasks.par_iter_mut().for_each(|scratch| {
            while let Some(stretch) = shares.begin() {
                self.fill(observation, stretch, picture, scratch, &work, &finish);
            }
        });
    }

    /// Makes a task for each thread, fewer for small pictures, as what tasks do overlaps by the reach of a filter.
    pub(super) fn ready(&self, tasks: &mut Vec<Scratch>) {
        let most = self.grid.height.div_ceil(LEAST_ROWS);
        tasks.resize_with(rayon::current_num_threads().clamp(1, most), Scratch::default);
    }

    /// Fills a stretch of rows, as far as it goes on; see [`Self::sweep`].
    pub(super) fn fill(
        &self,
        observation: &Observation,
        mut stretch: Stretch<'_, '_>,
        picture: Option<&[f32]>,
        scratch: &mut Scratch,
        work: &impl Fn(&Run, Window<'_>),
        finish: &impl Fn(usize, &mut [f32], &[f32]),
    ) {
        let here = Work::begin();
        let (mask, radius) = (self.ring - 1, self.psf[0].radius());
        scratch.resize(self.ring, self.grid.stride(), picture.is_some());
        let mut descent = self.descent(stretch.start());
        let (mut done, mut complete) = (stretch.start(), 0usize);
        loop {
            let ready = stretch.end().min(complete.saturating_sub(radius));
            while done < ready {
                let rows = done..ready.min(done + TOGETHER);
                self.filter_down(&scratch.sums, mask, rows.clone(), &mut scratch.rows);
                for (y, row) in rows.zip(scratch.rows.chunks_exact_mut(self.grid.stride())) {
                    self.grid.fold_margins(row);
                    self.filter_along(row, &mut scratch.result);
                    finish(y, stretch.row(y), &scratch.result);
                    done += 1;
                }
            }
            if done == stretch.end() {
                if !stretch.go_on() {
                    return;
                }
                here.goes_on();
                continue;
            }
            self.descend(&mut descent, observation, (picture, true), scratch, work);
            let end = descent.bin == observation.bins();
            complete = if end { usize::MAX } else { (descent.bin * BIN).min(self.grid.height.saturating_sub(REACH)) };
        }
    }

    /// Runs `work` on every run of jobs that reads `H picture` for rows `range` or around them; nothing is written.
    pub(super) fn read(
        &self,
        observation: &Observation,
        range: Range<usize>,
        picture: &[f32],
        scratch: &mut Scratch,
        mut work: impl FnMut(&Run, Window<'_>),
    ) {
        scratch.resize(self.ring, self.grid.stride(), true);
        let mut descent = self.descent(range.start);
        // What lies below the picture is mirrored into its last rows.
        let needed = range.end + self.psf[0].radius();
        let last = if needed + REACH >= self.grid.height { observation.bins() } else { needed.div_ceil(BIN) };
        while descent.bin < last {
            self.descend(&mut descent, observation, (Some(picture), false), scratch, &mut work);
        }
    }

    /// The way down to rows `start` and after: it begins with the first bin whose jobs reach them.
    fn descent(&self, start: usize) -> Descent {
        let bin = start.saturating_sub(self.psf[0].radius() + REACH) / BIN;
        Descent { bin, ready: bin * BIN }
    }

    /// Runs `work` on the jobs of one bin, with all rows there that they reach: of `picture`, if there is one, and of sums, if
    /// they are written.
    fn descend(
        &self,
        descent: &mut Descent,
        observation: &Observation,
        (picture, writes): (Option<&[f32]>, bool),
        scratch: &mut Scratch,
        mut work: impl FnMut(&Run, Window<'_>),
    ) {
        let (grid, stride, mask) = (&self.grid, self.grid.stride(), self.ring - 1);
        let rows = Rows { stride, height: grid.height, mask, taps: &grid.taps };
        let ahead = ((descent.bin + 1) * BIN + REACH).min(grid.height);
        while descent.ready < ahead {
            let group = descent.ready..ahead.min(descent.ready + TOGETHER);
            descent.ready = group.end;
            if let Some(picture) = picture {
                self.filter_down(picture, usize::MAX, group.clone(), &mut scratch.rows);
            }
            for (y, row) in group.zip(scratch.rows.chunks_exact_mut(stride)) {
                let at = (y & mask) * stride;
                if writes {
                    scratch.sums[at..at + stride].fill(0.0);
                }
                if picture.is_some() {
                    let out = &mut scratch.picture[at..at + stride];
                    self.filter_along(row, out);
                    grid.fill_margins(out, 4);
                }
            }
        }
        for run in observation.bin(descent.bin) {
            work(run, Window { rows, picture: &scratch.picture, sums: &mut scratch.sums });
        }
        descent.bin += 1;
    }
}

/// How far a task has come.
struct Descent {
    /// The next bin.
    bin: usize,
    /// The first row that is not filtered, or not emptied, yet.
    ready: usize,
}

impl Scratch {
    fn resize(&mut self, ring: usize, stride: usize, picture: bool) {
        self.sums.resize(ring * stride);
        if picture {
            self.picture.resize(ring * stride);
        }
        self.rows.resize(TOGETHER * stride);
        self.result.resize(stride);
    }
}
