//! One axis of a resampling: its weights and how rows are best computed from them.
//!
//! What the weights have in common decides: integer scales repeat their weights every `scale` outputs, so each
//! phase is a sum of shifted copies of the row; everything else goes through transposed groups of rows.

use super::filter::Filter;
use crate::frame::AxisMap;
use crate::kernels::resampling::{LANES, from_groups, interleave, to_groups, weighted_groups, weighted_rows};
use crate::kernels::{CpuLevel, taps::Taps};
use std::ops::Range;

/// The weights of one axis and the way to apply them along rows.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) taps: Taps,
    method: Method,
}

/// How rows are computed.
#[derive(Debug, PartialEq)]
enum Method {
    /// Output `o` is input `o`.
    Copy,
    /// Output `o` is the sample at its window's start.
    Pick,
    /// In `inner`, output `o + period` has the weights of output `o`, one sample further.
    Phases { period: usize, inner: Range<usize> },
    /// Nothing in common.
    Groups,
}

impl Axis {
    /// Weights of `filter` for `map`.
    pub(super) fn new(map: AxisMap, filter: Filter) -> Self {
        let taps = filter.taps(map);
        let method = Method::of(&taps, map.scale);
        Self { taps, method }
    }

    /// Whether every output sample is the input sample of the same index.
    pub(super) fn is_identity(&self) -> bool {
        self.method == Method::Copy
    }

    /// Samples of scratch that [`Self::rows`] needs.
    pub(super) fn scratch(&self) -> usize {
        match &self.method {
            Method::Copy | Method::Pick => 0,
            Method::Phases { inner, .. } => inner.len(),
            Method::Groups => (self.taps.input() + self.taps.output()) * LANES,
        }
    }

    /// Resamples up to [`LANES`] rows into rows of `taps.output()` samples, one behind the other in `out`.
    pub(super) fn rows(&self, rows: &[&[f32]], out: &mut [f32], scratch: &mut [f32], cpu: CpuLevel) {
        let width = self.taps.output();
        if self.method == Method::Groups {
            let (input, output) = scratch.split_at_mut(self.taps.input() * LANES);
            to_groups(cpu, input, rows);
            weighted_groups(cpu, output, input, &self.taps);
            return from_groups(cpu, out, width, output);
        }
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
            match &self.method {
                Method::Copy => out.copy_from_slice(row),
                Method::Phases { period, inner } => self.phases(row, out, scratch, (*period, inner), cpu),
                Method::Pick | Method::Groups => {
                    for (o, sample) in out.iter_mut().enumerate() {
                        *sample = row[self.taps.start(o)];
                    }
                }
            }
        }
    }

    /// One row with repeating weights: the phases of the inner part interleaved, the borders sample by sample.
    fn phases(&self, row: &[f32], out: &mut [f32], scratch: &mut [f32], inner: (usize, &Range<usize>), cpu: CpuLevel) {
        let (period, inner) = inner;
        let length = inner.len() / period;
        for (r, phase) in scratch.chunks_exact_mut(length).enumerate() {
            let window = &row[self.taps.start(inner.start + r)..];
            match self.taps.weights(inner.start + r) {
                [1.0] => phase.copy_from_slice(&window[..length]),
                weights => weighted_rows(cpu, phase, window, 1, weights),
            }
        }
        interleave(cpu, &mut out[inner.clone()], scratch, period);
        for o in (0..inner.start).chain(inner.end..out.len()) {
            let products = row[self.taps.start(o)..].iter().zip(self.taps.weights(o)).map(|(x, w)| w * x);
            out[o] = products.reduce(|sum, product| sum + product).unwrap_or(0.0);
        }
    }
}

impl Method {
    fn of(taps: &Taps, scale: f64) -> Self {
        let mut outputs = 0..taps.output();
        let picks = taps.count() == 1 && outputs.all(|o| taps.weights(o) == [1.0]);
        if picks && taps.input() == taps.output() && (0..taps.output()).all(|o| taps.start(o) == o) {
            return Self::Copy;
        }
        let period = scale.round().max(1.0) as usize;
        let inner = repeating(taps, period);
        // Shorter rows are all border.
        match inner.len() >= 16 * period {
            true => Self::Phases { period, inner },
            false if picks => Self::Pick,
            false => Self::Groups,
        }
    }
}

/// The outputs around the middle whose weights repeat every `period` outputs, one input sample further each time.
fn repeating(taps: &Taps, period: usize) -> Range<usize> {
    let repeats =
        |o: &usize| taps.start(o + period) == taps.start(*o) + 1 && taps.weights(o + period) == taps.weights(*o);
    let comparable = taps.output().saturating_sub(period);
    let middle = comparable / 2;
    let start = middle - (0..middle).rev().take_while(repeats).count();
    let end = middle + (middle..comparable).take_while(repeats).count();
    if start == end {
        return 0..0;
    }
    start..end + period - (end + period - start) % period
}
