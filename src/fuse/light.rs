//! Differences in light between the frames of a window: what varies slowly over a picture, and the samples of neighbours as
//! they would be in the light of the reference.
//!
//! How the light differs is measured elsewhere (`register` for the whole picture, `confidence` for parts of it).

use rayon::prelude::*;

use super::observe::BAND;
use crate::cores::Pieces;
use crate::kernels::CpuLevel;
use crate::kernels::comparing::in_other_light;
use crate::kernels::splat::{LANES, Samples};

/// One plane of a frame, and what makes its samples values in the reference's light.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// `rows x columns`.
    pub(super) samples: &'a [f32],
    /// In the reference's light a sample is `gain * sample + offset - glow`.
    pub(super) gain: f32,
    /// See `gain`.
    pub(super) offset: f32,
    /// What is left of the difference in light, varying slowly over the picture.
    pub(super) glow: Option<&'a Glow>,
}

/// Room for planes in the reference's light, kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Lighting {
    planes: Vec<Vec<f32>>,
}

impl Lighting {
    /// The samples of `shown`, rows of `columns`, in the reference's light. Those that are in it already stay where they lie.
    pub(super) fn seen<'a>(&'a mut self, cpu: CpuLevel, shown: &[Shown<'a>], columns: usize) -> Vec<Samples<'a>> {
        if self.planes.len() < shown.len() {
            self.planes.resize_with(shown.len(), Vec::default);
        }
        let pairs = shown.iter().zip(&mut self.planes);
        pairs.map(|(shown, room)| Samples::new(shown.in_light(cpu, columns, room))).collect()
    }
}

impl<'a> Shown<'a> {
    /// The samples in the reference's light, in `room` if they are not in it already.
    fn in_light(&self, cpu: CpuLevel, columns: usize, room: &'a mut Vec<f32>) -> &'a [f32] {
        let Self { samples, gain, offset, glow } = *self;
        if (gain, offset) == (1.0, 0.0) && glow.is_none() {
            return samples;
        }
        room.resize(samples.len(), 0.0);
        let bands =
            room.par_chunks_mut(BAND * columns).zip(samples.par_chunks(BAND * columns)).enumerate().on_free_cores();
        bands.for_each_init(Default::default, |(line, ends), (band, (out, samples))| {
            for (n, (out, samples)) in out.chunks_mut(columns).zip(samples.chunks(columns)).enumerate() {
                match glow {
                    Some(glow) => glow.ends((band * BAND + n) as f32, columns, line, ends),
                    None => ends.resize(columns.div_ceil(LANES) + 1, 0.0),
                }
                in_other_light(cpu, out, samples, (gain, offset), ends);
            }
        });
        room
    }
}

/// A quantity that varies slowly, on nodes `spacing` samples apart (the first at `(spacing - 1) / 2`).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Glow {
    pub(super) spacing: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) nodes: Vec<f32>,
}

impl Glow {
    /// Value at row `y`, column `x`, bilinear between nodes and constant outside them.
    pub(super) fn at(&self, y: f32, x: f32) -> f32 {
        self.at_node(self.node(y), self.node(x))
    }

    /// The nodes as they are at row `y`, to be read with [`Self::on_line`]; the last one twice.
    pub(super) fn line(&self, y: f32, line: &mut Vec<f32>) {
        let node = self.node(y).clamp(0.0, (self.rows - 1) as f32);
        let upper = (node as usize).min(self.rows.saturating_sub(2));
        let (lower, down) = ((upper + 1).min(self.rows - 1), node - upper as f32);
        let nodes = |row: usize| &self.nodes[row * self.columns..][..self.columns];
        line.clear();
        line.extend(nodes(upper).iter().zip(nodes(lower)).map(|(a, b)| a + down * (b - a)));
        line.push(line[self.columns - 1]);
    }

    /// Value at column `x` of the row that `line` was made for.
    #[inline]
    pub(super) fn on_line(&self, line: &[f32], x: f32) -> f32 {
        let x = self.node(x).clamp(0.0, (self.columns - 1) as f32);
        let left = x as usize;
        line[left] + (x - left as f32) * (line[left + 1] - line[left])
    }

    /// Values at the columns `first + i * step` of the row that `line` was made for.
    pub(super) fn on_row(&self, line: &[f32], first: f32, step: f32, out: &mut [f32]) {
        let (start, a_cell) = (self.node(first), self.spacing as f32 / step);
        match a_cell {
            1.0 if start <= 0.0 => cells::<1>(&line[..=self.columns], start, out),
            2.0 if start <= 0.0 => cells::<2>(&line[..=self.columns], start, out),
            4.0 if start <= 0.0 => cells::<4>(&line[..=self.columns], start, out),
            _ => out.iter_mut().enumerate().for_each(|(i, out)| *out = self.on_line(line, first + step * i as f32)),
        }
    }

    /// Values of row `y` at every sixteenth column from 0 to one beyond `columns`. `line` is scratch.
    pub(super) fn ends(&self, y: f32, columns: usize, line: &mut Vec<f32>, ends: &mut Vec<f32>) {
        self.line(y, line);
        ends.clear();
        ends.resize(columns.div_ceil(LANES) + 1, 0.0);
        self.on_row(line, 0.0, LANES as f32, ends);
    }

    /// A sample's position in nodes.
    fn node(&self, position: f32) -> f32 {
        (position - (self.spacing as f32 - 1.0) / 2.0) / self.spacing as f32
    }

    /// The same at a place given in nodes.
    #[inline]
    pub(super) fn at_node(&self, row: f32, column: f32) -> f32 {
        let place = |p: f32, n: usize| {
            let p = p.clamp(0.0, (n - 1) as f32);
            let i = (p as usize).min(n.saturating_sub(2));
            (i, (i + 1).min(n - 1), p - i as f32)
        };
        let ((y0, y1, fy), (x0, x1, fx)) = (place(row, self.rows), place(column, self.columns));
        let (upper, lower) = (&self.nodes[y0 * self.columns..], &self.nodes[y1 * self.columns..]);
        let top = upper[x0] + fx * (upper[x1] - upper[x0]);
        let bottom = lower[x0] + fx * (lower[x1] - lower[x0]);
        top + fy * (bottom - top)
    }
}

/// [`Glow::on_row`] with `S` values from node to node, the first one `start` nodes (not above 0) from the first of `line`.
fn cells<const S: usize>(line: &[f32], start: f32, out: &mut [f32]) {
    let lead = ((-start * S as f32).ceil() as usize).min(out.len());
    out[..lead].fill(line[0]);
    let part: [f32; S] = std::array::from_fn(|i| start + (lead + i) as f32 / S as f32);
    let (cells, rest) = out[lead..].as_chunks_mut::<S>();
    for (pair, cell) in line.windows(2).zip(&mut *cells) {
        for (out, part) in cell.iter_mut().zip(&part) {
            *out = pair[0] + part * (pair[1] - pair[0]);
        }
    }
    let beyond = cells.iter_mut().skip(line.len() - 1).flatten();
    beyond.for_each(|out| *out = line[line.len() - 1]);
    let last = cells.len().min(line.len() - 2);
    for (out, part) in rest.iter_mut().zip(&part) {
        *out = line[last] + part * (line[last + 1] - line[last]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_seen_in_the_light_of_the_reference() {
        for (rows, columns) in [(1, 1), (3, 15), (20, 16), (40, 53)] {
            let plane: Vec<f32> = (0..rows * columns).map(|n| (n * 37 % 251) as f32).collect();
            let nodes = (0..20).map(|n| (n * n % 7) as f32 - 2.0).collect();
            let glow = Glow { spacing: 16, rows: 4, columns: 5, nodes };
            let own = Shown { samples: &plane, gain: 1.0, offset: 0.0, glow: None };
            let shown = [
                own,
                Shown { gain: 0.8, offset: 12.0, ..own },
                Shown { gain: 1.2, offset: -9.0, glow: Some(&glow), ..own },
            ];
            let mut lighting = Lighting::default();
            let seen = lighting.seen(CpuLevel::SCALAR, &shown, columns);
            assert!(std::ptr::eq(seen[0].plane(), &plane[..]), "what is in this light already is not copied");
            for (n, sample) in plane.iter().enumerate() {
                let (y, x) = (n / columns, n % columns);
                // Linear from the start of a job to that of the next.
                let (left, part) = (x / LANES * LANES, (x % LANES) as f32 / LANES as f32);
                let [from, to] = [left, left + LANES].map(|x| glow.at(y as f32, x as f32));
                let wanted = [0.8 * sample + 12.0, 1.2 * sample - 9.0 - (from + part * (to - from))];
                for (seen, wanted) in seen[1..].iter().zip(wanted) {
                    let got = seen.plane()[n];
                    assert!(
                        (got - wanted).abs() < 1e-3,
                        "{rows} x {columns}, row {y}, column {x}: {got}, not {wanted}"
                    );
                }
            }
            let smaller = Shown { samples: &plane[..1], gain: 2.0, ..own };
            let again = lighting.seen(CpuLevel::SCALAR, &[own, smaller], 1);
            assert_eq!(again[1].plane(), [2.0 * plane[0]], "room of another size is used again");
        }
    }

    #[test]
    fn a_row_is_what_its_columns_give_one_by_one() {
        for (spacing, columns) in [(4, 1), (4, 2), (4, 9), (16, 3), (1, 1)] {
            let nodes = (0..2 * columns).map(|n| (n * n * 5 % 13) as f32 - 4.0).collect();
            let glow = Glow { spacing, rows: 2, columns, nodes };
            let mut line = Vec::new();
            glow.line(1.3, &mut line);
            for (first, step) in [(0.0, 1.0), (0.0, 2.0), (0.5, 2.0), (0.0, 4.0), (1.5, 4.0), (7.0, 1.0), (0.0, 16.0)] {
                for length in [1, 3, 4 * columns - 1, 4 * columns, 6 * columns + 5] {
                    let mut out = vec![f32::NAN; length];
                    glow.on_row(&line, first, step, &mut out);
                    let wanted = |i: usize| glow.on_line(&line, first + step * i as f32);
                    assert_eq!(
                        out,
                        (0..length).map(wanted).collect::<Vec<_>>(),
                        "{spacing}, {columns}: {first}, {step}"
                    );
                }
            }
        }
    }
}
