//! Runs a network on pictures of any size, in pieces where memory asks for it.
//!
//! A piece is computed with everything that can change its result: as many pixels around it as the network reaches, so a
//! picture in pieces is the picture made at once, to rounding, and there are no seams. (A network that averages over whole
//! pictures, such as RCAN, has no such bound; its pieces overlap by [`UNBOUNDED_REACH`] and differ slightly.)
//!
//! Sides that the network cannot take are filled up with mirrored pixels and cut off again. What the pixels mean is not known
//! here.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView3, ArrayViewMut3, s};

use super::candle::{Device, OnDevice};
use super::engine::{Engine, Pair};
use super::network::{Input, Network};
use super::reference::Picture;
use super::settings::{Settings, Tile};
use crate::error::{Error, Kind, Result};
use crate::kernels::CpuLevel;

/// Executors divide pictures into blocks of 4 x 4; pieces begin at a multiple of this, in units that the network takes, so
/// that most sums are rounded as in the whole picture.
const ALIGNMENT: usize = 16;
/// Overlap of pieces where every pixel depends on all others.
const UNBOUNDED_REACH: usize = 64;
/// Most pieces along an axis.
const MOST_PIECES: usize = 64;

/// A network ready to run.
#[derive(Debug)]
pub struct Runner {
    executor: Executor,
    input: Input,
    scale: usize,
    multiple: usize,
    reach: Option<usize>,
    tile: Tile,
    /// Most bytes of one run; sinks when a device turns out to have less.
    memory: AtomicU64,
    /// How pictures of the size met last are divided, with that size and the limit that it was done for.
    divided: Mutex<Option<Divided>>,
}

/// What computes.
#[derive(Debug)]
enum Executor {
    /// The processor.
    Engine(Box<Engine>),
    /// Another device; with the bytes that it takes for each pixel of the input.
    Device(Box<OnDevice>, u64),
}

type Divided = ((usize, usize), u64, Arc<[Piece]>);

/// Rows and columns of one piece: what it answers for, and what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    own: [Range<usize>; 2],
    read: [Range<usize>; 2],
}

impl Runner {
    /// Packs the weights of `network` for a CPU level, or copies them to another device. Pictures are run in pieces as `settings`
    /// say, with at most `memory` bytes for a run where that is left open.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the device cannot be used.
    pub fn new(network: &Network, settings: Settings, memory: u64, cpu: CpuLevel) -> Result<Self> {
        let executor = match settings.device {
            Device::Cpu => Executor::Engine(Box::new(Engine::new(network, settings.precision, cpu))),
            device => Executor::Device(Box::new(OnDevice::new(network, &device)?), network.unfolded_bytes()),
        };
        let &Network { input, scale, multiple, .. } = network;
        let (reach, memory, divided) = (network.reach(), AtomicU64::new(memory), Mutex::default());
        Ok(Self { executor, input, scale, multiple, reach, tile: settings.tile, memory, divided })
    }

    /// What pictures have to be.
    pub fn input(&self) -> Input {
        self.input
    }

    /// Pixels along each axis of the result for one of the input.
    pub fn scale(&self) -> usize {
        self.scale
    }

    /// Bytes of the weights.
    pub fn weights(&self) -> u64 {
        if let Executor::Engine(engine) = &self.executor { engine.weights() } else { 0 }
    }

    /// Bytes that a run on so many pictures of `rows x columns` pixels at once takes here, on the current pool (on another device,
    /// there).
    pub fn memory(&self, pictures: usize, rows: usize, columns: usize) -> u64 {
        let pieces = self.pieces((rows, columns));
        let workers = rayon::current_num_threads();
        let bytes = |piece: &Piece| self.bytes(pictures, workers, (piece.read[0].len(), piece.read[1].len()));
        let piece = pieces.iter().map(bytes).max().unwrap_or(0);
        // Pieces that are not the whole picture are computed beside it.
        let beside = |piece: &Piece| {
            let pixels = piece.read[0].len() * piece.read[1].len();
            4 * (pictures * self.input.channels() * pixels * (1 + self.scale * self.scale)) as u64
        };
        piece + if pieces.len() > 1 { pieces.iter().map(beside).max().unwrap_or(0) } else { 0 }
    }

    /// Takes at most so many bytes for runs to come, where pieces are not given.
    pub fn limit(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// Takes the memory of runs on so many pictures of `rows x columns` pixels at once before they come, on the current pool.
    ///
    /// # Errors
    /// [`Kind::Resource`] if there is not enough.
    pub fn reserve(&self, pictures: usize, rows: usize, columns: usize) -> Result<()> {
        let pieces = self.pieces((rows, columns));
        let fill = |side: &Range<usize>| side.len().next_multiple_of(self.multiple);
        match (&self.executor, pieces.iter().max_by_key(|piece| piece.read[0].len() * piece.read[1].len())) {
            (Executor::Engine(engine), Some(Piece { read: [rows, columns], .. })) => {
                engine.reserve(pictures, fill(rows), fill(columns))
            }
            _ => Ok(()),
        }
    }

    fn execute(&self, pictures: &mut [Pair<'_>]) -> Result<()> {
        match &self.executor {
            Executor::Engine(engine) => engine.run_all(pictures),
            Executor::Device(device, _) => {
                pictures.iter_mut().try_for_each(|(input, out)| device.run(input.view(), out.view_mut()))
            }
        }
    }

    /// Runs the network: `input` is `channels x rows x columns`, `out` has [`Self::scale`] times the rows and columns.
    ///
    /// Where memory runs out smaller pieces are taken.
    ///
    /// # Errors
    /// [`Kind::Usage`] if sizes do not fit; [`Kind::Resource`] where even the smallest pieces are too large.
    pub fn run(&self, input: ArrayView3<'_, f32>, out: ArrayViewMut3<'_, f32>) -> Result<()> {
        self.run_all(&mut [(input, out)])
    }

    /// The same on pictures of one size at once, at most one for each thread of the current pool; results are the same.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn run_all(&self, pictures: &mut [Pair<'_>]) -> Result<()> {
        let Some((_, rows, columns)) = pictures.first().map(|(input, _)| input.dim()) else { return Ok(()) };
        for (input, out) in pictures.iter() {
            let (channels, high, wide) = input.dim();
            let ((_, made_high, made_wide), scale) = (out.dim(), self.scale());
            let fits = channels == self.input().channels() && (made_high, made_wide) == (rows * scale, columns * scale);
            if !fits || (high, wide) != (rows, columns) || rows * columns == 0 {
                let message =
                    format!("{channels} channels of {wide}x{high} to {made_wide}x{made_high} by a network x{scale}");
                return Err(Error::new(Kind::Usage, message));
            }
        }
        loop {
            let pieces = self.pieces((rows, columns));
            match self.run_pieces(&pieces, pictures) {
                Err(error) if error.kind() == Kind::Resource && self.tile == Tile::Auto => {
                    let used = self.largest(&pieces);
                    self.memory.store(used / 2, Ordering::Relaxed);
                    if self.largest(&self.pieces((rows, columns))) >= used {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    fn run_pieces(&self, pieces: &[Piece], pictures: &mut [Pair<'_>]) -> Result<()> {
        let (scale, multiple) = (self.scale, self.multiple);
        for Piece { own: [rows, columns], read: [from_rows, from_columns] } in pieces {
            let whole = rows == from_rows && columns == from_columns;
            let seen = s![.., from_rows.clone(), from_columns.clone()];
            let part = s![.., scaled(rows, scale), scaled(columns, scale)];
            if whole && rows.len().is_multiple_of(multiple) && columns.len().is_multiple_of(multiple) {
                let pairs = pictures.iter_mut().map(|(input, out)| (input.slice(seen), out.slice_mut(part)));
                self.execute(&mut pairs.collect::<Vec<_>>())?;
                continue;
            }
            let filled: Vec<Picture> = pictures.iter().map(|(input, _)| filled(input.slice(seen), multiple)).collect();
            let size = |(filled, (_, out)): (&Picture, &Pair<'_>)| {
                let (_, high, wide) = filled.dim();
                Picture::zeros((out.dim().0, high * scale, wide * scale))
            };
            let mut made: Vec<Picture> = filled.iter().zip(pictures.iter()).map(size).collect();
            let pairs = filled.iter().zip(&mut made).map(|(filled, made)| (filled.view(), made.view_mut()));
            self.execute(&mut pairs.collect::<Vec<_>>())?;
            let inside = |own: &Range<usize>, read: &Range<usize>| own.start - read.start..own.end - read.start;
            let (rows, columns) = (inside(rows, from_rows), inside(columns, from_columns));
            for ((_, out), made) in pictures.iter_mut().zip(&made) {
                let own = made.slice(s![.., scaled(&rows, scale), scaled(&columns, scale)]);
                out.slice_mut(part).assign(&own);
            }
        }
        Ok(())
    }

    /// Most bytes that one of the pieces takes.
    fn largest(&self, pieces: &[Piece]) -> u64 {
        pieces.iter().map(|piece| self.bytes(1, 0, (piece.read[0].len(), piece.read[1].len()))).max().unwrap_or(0)
    }

    /// Bytes of a run on so many pictures of so many rows and columns by so many threads. How pictures are divided must not depend on
    /// threads: that is asked for none.
    fn bytes(&self, pictures: usize, workers: usize, (rows, columns): (usize, usize)) -> u64 {
        let fill = |side: usize| side.next_multiple_of(self.multiple);
        match &self.executor {
            Executor::Engine(engine) => engine.memory_of(pictures, workers, fill(rows), fill(columns)),
            Executor::Device(_, each) => each * (fill(rows) * fill(columns)) as u64,
        }
    }

    /// How a picture is divided.
    fn pieces(&self, size: (usize, usize)) -> Arc<[Piece]> {
        let limit = self.memory.load(Ordering::Relaxed);
        let mut divided = self.divided.lock().unwrap_or_else(PoisonError::into_inner);
        match &*divided {
            Some((of, within, pieces)) if (*of, *within) == (size, limit) => Arc::clone(pieces),
            _ => {
                let pieces: Arc<[Piece]> = self.divide(size, limit).into();
                *divided = Some((size, limit, Arc::clone(&pieces)));
                pieces
            }
        }
    }

    fn divide(&self, size: (usize, usize), limit: u64) -> Vec<Piece> {
        let step = ALIGNMENT * self.multiple;
        let overlap = self.reach.unwrap_or(UNBOUNDED_REACH).next_multiple_of(step);
        let sides = match self.tile {
            Tile::Pixels(side) => {
                let side = side.clamp(1, size.0.max(size.1)).next_multiple_of(step);
                (side, side)
            }
            Tile::Auto => self.sides(size, limit, (step, overlap)),
        };
        let (down, across) = (divide(size.0, sides.0, overlap), divide(size.1, sides.1, overlap));
        let pair = |down: &Span, across: &Span| Piece {
            own: [down.own.clone(), across.own.clone()],
            read: [down.read.clone(), across.read.clone()],
        };
        down.iter().flat_map(|down| across.iter().map(move |across| pair(down, across))).collect()
    }

    /// Rows and columns of the pieces with the least work that fit into `limit` bytes, else of the smallest. They are multiples of
    /// `step` and overlap by `overlap`.
    fn sides(&self, (rows, columns): (usize, usize), limit: u64, (step, overlap): (usize, usize)) -> (usize, usize) {
        // What a piece along an axis of `whole` pixels in `n` pieces answers for, and the most that it reads.
        let side = |whole: usize, n: usize| whole.div_ceil(n).next_multiple_of(step).min(whole);
        let read = |whole: usize, n: usize| (side(whole, n) + if n > 1 { 2 * overlap } else { 0 }).min(whole);
        let counts = |whole: usize| (1..=MOST_PIECES).take_while(move |n| *n == 1 || whole.div_ceil(*n) >= step);
        let size = |(down, across): (usize, usize)| (read(rows, down), read(columns, across));
        let mut choices: Vec<(usize, usize)> =
            counts(rows).flat_map(|down| counts(columns).map(move |across| (down, across))).collect();
        choices.sort_by_key(|choice| size(*choice).0 * choice.0 * size(*choice).1 * choice.1);
        let fitting = choices.iter().copied().find(|choice| self.bytes(1, 0, size(*choice)) <= limit);
        let least = || choices.iter().copied().min_by_key(|choice| size(*choice).0 * size(*choice).1);
        let (down, across) = fitting.or_else(least).unwrap_or((1, 1));
        (side(rows, down), side(columns, across))
    }
}

/// Part of an axis: what a piece answers for, and what it is computed from.
struct Span {
    own: Range<usize>,
    read: Range<usize>,
}

/// Pieces of `side` pixels along an axis of `whole`, each with `overlap` on both sides inside the axis.
fn divide(whole: usize, side: usize, overlap: usize) -> Vec<Span> {
    let piece = |start: usize| {
        let end = (start + side).min(whole);
        Span { own: start..end, read: start.saturating_sub(overlap)..(end + overlap).min(whole) }
    };
    (0..whole).step_by(side.max(1)).map(piece).collect()
}

fn scaled(range: &Range<usize>, scale: usize) -> Range<usize> {
    range.start * scale..range.end * scale
}

/// A picture with its sides filled up to multiples by mirrored pixels, edge pixel not repeated.
fn filled(picture: ArrayView3<'_, f32>, multiple: usize) -> Picture {
    let (channels, rows, columns) = picture.dim();
    let mirrored = |at: usize, size: usize| {
        let period = 2 * (size - 1);
        let at = at % period.max(1);
        if at < size { at } else { period - at }
    };
    let size = (channels, rows.next_multiple_of(multiple), columns.next_multiple_of(multiple));
    Picture::from_shape_fn(size, |(c, y, x)| picture[[c, mirrored(y, rows), mirrored(x, columns)]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_an_axis_once_and_overlap_by_what_is_asked() {
        for whole in [1, 15, 16, 17, 100, 333] {
            for side in [16, 32, 400] {
                let pieces = divide(whole, side, 32);
                let mut next = 0;
                for Span { own, read } in &pieces {
                    assert_eq!(own.start, next, "{whole} by {side}");
                    assert_eq!(read.start, own.start.saturating_sub(32), "{whole} by {side}");
                    assert_eq!(read.end, (own.end + 32).min(whole), "{whole} by {side}");
                    next = own.end;
                }
                assert_eq!(next, whole, "{side}");
            }
        }
    }

    #[test]
    fn filling_mirrors_without_the_edge_pixel() {
        let picture = Picture::from_shape_fn((1, 1, 3), |(_, _, x)| x as f32);
        let filled = filled(picture.view(), 4);
        assert_eq!(filled.dim(), (1, 4, 4), "both sides");
        assert_eq!(filled.iter().take(4).copied().collect::<Vec<_>>(), [0.0, 1.0, 2.0, 1.0], "a row");
    }
}
