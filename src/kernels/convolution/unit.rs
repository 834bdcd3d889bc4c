//! One unit of work of a convolution: a few rows and columns of all output channels, from pixels to finished values.

#![allow(clippy::needless_range_loop, reason = "loops over several arrays in registers read best with an index")]

use super::isa::for_each_isa;
use super::product::{BLOCK, Kind, Products, multiply};
use super::simd::Simd;
use super::transform::{MADE, PLACES, Points, TILE};
use super::weights::{DIRECT_PIXELS, Finish, Layer, NONE, RELU, SLOPES, Way};

/// Rows of a unit.
pub(super) const ROWS: usize = 4;

/// One block of channels of a picture: rows of pixels of [`BLOCK`] numbers, with a column of zeros before and after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) start: *mut f32,
    /// Numbers from a row to the next.
    pub(super) row: usize,
    /// Rows that are kept; row `y` is at `y % stored`.
    pub(super) stored: usize,
}

impl Plane {
    /// Row `y`, from the column of zeros before it.
    ///
    /// # Safety
    /// The plane has memory, and its picture has the row.
    #[inline(always)]
    pub(super) unsafe fn line(&self, y: usize) -> *mut f32 {
        // SAFETY: the row lies within the plane.
        unsafe { self.start.add(y % self.stored * self.row) }
    }

    /// Pixel `x` of row `y`.
    ///
    /// # Safety
    /// As `line`, and the picture has the column.
    #[inline(always)]
    pub(super) unsafe fn pixel(&self, y: usize, x: usize) -> *mut f32 {
        // SAFETY: the pixel lies within the row.
        unsafe { self.line(y).add((x + 1) * BLOCK) }
    }
}

/// What a unit reads and writes.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    pub(super) sources: &'a [Plane],
    pub(super) targets: &'a [Plane],
    pub(super) residuals: [&'a [Plane]; 2],
    pub(super) finish: &'a Finish,
    /// Of the picture.
    pub(super) rows: usize,
    /// See above.
    pub(super) columns: usize,
    /// The first row.
    pub(super) y: usize,
    /// Columns, from and to; the first a multiple of 4.
    pub(super) x: (usize, usize),
    /// A row of zeros.
    pub(super) zeros: *const f32,
    /// Scratch memory for pixels, and numbers from a block and from a place to the next.
    pub(super) pixels: *mut f32,
    /// See above.
    pub(super) pixels_strides: (usize, usize),
    /// Scratch memory for sums, and the same.
    pub(super) sums: *mut f32,
    /// See above.
    pub(super) sums_strides: (usize, usize),
}

/// Computes a unit.
///
/// # Safety
/// All planes and the scratch memory that `unit` names have memory of the sizes that `layer` was made for, nobody writes what it
/// reads, and nobody else uses what it writes.
pub(super) unsafe fn run(layer: &Layer, unit: &Unit<'_>) {
    let pixels = unit.x.1 - unit.x.0;
    let mut products = Products {
        steps: &layer.steps,
        groups: &layer.groups,
        pixels,
        places: ROWS.min(unit.rows - unit.y),
        from: unit.pixels,
        from_place: layer.from.1,
        weights: layer.weights.pointer(),
        weights_place: 0,
        sums: unit.sums,
        sums_place: layer.sums.1,
        sums_block: layer.sums.0,
    };
    // SAFETY: what the caller says, of all four.
    unsafe {
        match layer.way {
            Way::Tiles { .. } => {
                products.pixels = pixels.div_ceil(MADE);
                products.places = PLACES;
                products.weights_place = layer.weights_place;
                split(layer.isa, unit);
                multiply(layer.isa, &products);
                join(layer.isa, unit);
            }
            Way::Direct { reach, repeated } => {
                gather(unit, reach, repeated);
                multiply(layer.isa, &products);
                finish_rows(layer.isa, unit);
            }
        }
    }
}

for_each_isa! {
    /// Pixels of all source blocks into places of tiles.
    ///
    /// # Safety
    /// As [`run`].
    pub(super) unsafe fn split(unit: &Unit<'_>) = split_as;
}

#[inline(always)]
unsafe fn split_as<K: Kind>(unit: &Unit<'_>) {
    let tiles = (unit.x.1 - unit.x.0).div_ceil(MADE);
    let (block, place) = unit.pixels_strides;
    let to = unit.pixels.cast::<K::Number>();
    // SAFETY: rows outside the picture are read from the row of zeros; tiles lie within the padded rows and the scratch memory.
    unsafe {
        let points = Points::<K::Vector>::new();
        let zero = K::Vector::splat(0.0);
        for (n, source) in unit.sources.iter().enumerate() {
            let mut lines = [unit.zeros; TILE];
            for (i, line) in lines.iter_mut().enumerate() {
                let y = unit.y + i;
                if (1..=unit.rows).contains(&y) {
                    *line = source.line(y - 1).add(unit.x.0 * BLOCK);
                }
            }
            for lane in (0..BLOCK).step_by(K::Vector::N) {
                for tile in 0..tiles {
                    let at = tile * MADE * BLOCK + lane;
                    let mut half = [[zero; TILE]; TILE];
                    for j in 0..TILE {
                        let mut column = [zero; TILE];
                        for i in 0..TILE {
                            column[i] = K::Vector::load(lines[i].add(at + j * BLOCK));
                        }
                        let column = points.split(column);
                        for i in 0..TILE {
                            half[i][j] = column[i];
                        }
                    }
                    let to = to.add(n * block + tile * BLOCK + lane);
                    for i in 0..TILE {
                        let row = points.split(half[i]);
                        for j in 0..TILE {
                            K::put(row[j], to.add((i * TILE + j) * place));
                        }
                    }
                }
            }
        }
    }
}

for_each_isa! {
    /// Places of tiles into finished pixels.
    ///
    /// # Safety
    /// As [`run`].
    pub(super) unsafe fn join(unit: &Unit<'_>) = join_as;
}

#[inline(always)]
unsafe fn join_as<K: Kind>(unit: &Unit<'_>) {
    // SAFETY: what the caller says.
    unsafe {
        match (unit.finish.activation, unit.finish.residuals) {
            (NONE, 0) => join_with::<K, NONE, 0>(unit),
            (NONE, 1) => join_with::<K, NONE, 1>(unit),
            (NONE, _) => join_with::<K, NONE, 2>(unit),
            (RELU, 0) => join_with::<K, RELU, 0>(unit),
            (RELU, 1) => join_with::<K, RELU, 1>(unit),
            (RELU, _) => join_with::<K, RELU, 2>(unit),
            (_, 0) => join_with::<K, SLOPES, 0>(unit),
            (_, 1) => join_with::<K, SLOPES, 1>(unit),
            (_, _) => join_with::<K, SLOPES, 2>(unit),
        }
    }
}

#[inline(always)]
unsafe fn join_with<K: Kind, const ACTIVATION: u8, const RESIDUALS: usize>(unit: &Unit<'_>) {
    let tiles = (unit.x.1 - unit.x.0).div_ceil(MADE);
    let (block, place) = unit.sums_strides;
    let rows = ROWS.min(unit.rows - unit.y);
    // SAFETY: only pixels of the picture are read and written, and sums of the scratch memory.
    unsafe {
        let points = Points::<K::Vector>::new();
        let zero = K::Vector::splat(0.0);
        for (n, target) in unit.targets.iter().enumerate() {
            let mut to = [std::ptr::null_mut(); MADE];
            let mut past = [[std::ptr::null::<f32>(); MADE]; 2];
            for i in 0..rows {
                to[i] = target.pixel(unit.y + i, unit.x.0);
                for r in 0..RESIDUALS {
                    past[r][i] = unit.residuals[r][n].pixel(unit.y + i, unit.x.0);
                }
            }
            for lane in (0..BLOCK).step_by(K::Vector::N) {
                let last = Last::<K::Vector, ACTIVATION, RESIDUALS>::new(unit.finish, n * BLOCK + lane);
                for tile in 0..tiles {
                    let sums = unit.sums.add(n * block + tile * BLOCK + lane);
                    let mut half = [[zero; TILE]; MADE];
                    for j in 0..TILE {
                        let mut column = [zero; TILE];
                        for i in 0..TILE {
                            column[i] = K::Vector::load(sums.add((i * TILE + j) * place));
                        }
                        let column = points.join(column);
                        for i in 0..MADE {
                            half[i][j] = column[i];
                        }
                    }
                    let at = tile * MADE * BLOCK + lane;
                    let columns = MADE.min(unit.columns - unit.x.0 - tile * MADE);
                    if rows == MADE && columns == MADE {
                        for i in 0..MADE {
                            let row = points.join(half[i]);
                            for j in 0..MADE {
                                let at = at + j * BLOCK;
                                let value = last.of(row[j], [past[0][i], past[1][i]], at);
                                value.store(to[i].add(at));
                            }
                        }
                    } else {
                        for i in 0..rows {
                            let row = points.join(half[i]);
                            for j in 0..columns {
                                let at = at + j * BLOCK;
                                let value = last.of(row[j], [past[0][i], past[1][i]], at);
                                value.store(to[i].add(at));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is done to sums of a vector of channels.
#[derive(Clone, Copy)]
struct Last<V, const ACTIVATION: u8, const RESIDUALS: usize> {
    bias: V,
    slope: V,
    zero: V,
    factors: [V; 2],
}

impl<V: Simd, const ACTIVATION: u8, const RESIDUALS: usize> Last<V, ACTIVATION, RESIDUALS> {
    /// # Safety
    /// The CPU has the instructions of `V`, and the layer has a vector of channels from `channel`.
    #[inline(always)]
    unsafe fn new(finish: &Finish, channel: usize) -> Self {
        // SAFETY: what the caller says; biases and slopes are there for whole blocks, or not at all.
        unsafe {
            let zero = V::splat(0.0);
            let of = |values: &[f32]| if values.is_empty() { zero } else { V::load(values.as_ptr().add(channel)) };
            let factors = [V::splat(finish.factors[0]), V::splat(finish.factors[1])];
            Self { bias: of(&finish.bias), slope: of(&finish.slopes), zero, factors }
        }
    }

    /// # Safety
    /// The residuals can be read at `at`.
    #[inline(always)]
    unsafe fn of(&self, sum: V, past: [*const f32; 2], at: usize) -> V {
        let mut value = sum.add(self.bias);
        if ACTIVATION == RELU {
            value = value.max(self.zero);
        }
        if ACTIVATION == SLOPES {
            value = self.slope.fma(value.min(self.zero), value.max(self.zero));
        }
        if RESIDUALS > 0 {
            // SAFETY: what the caller says.
            value = value.fma(self.factors[0], unsafe { V::load(past[0].add(at)) });
        }
        if RESIDUALS > 1 {
            // SAFETY: as above.
            value = value.fma(self.factors[1], unsafe { V::load(past[1].add(at)) });
        }
        value
    }
}

/// Copies what a unit of direct convolution sees, with what lies outside the picture.
unsafe fn gather(unit: &Unit<'_>, (above, before): (usize, usize), repeated: bool) {
    let (block, row) = unit.pixels_strides;
    let (rows, columns) = (ROWS.min(unit.rows - unit.y), unit.x.1 - unit.x.0);
    let seen = columns + 2 * before;
    // Columns that lie in the picture.
    let first = before.saturating_sub(unit.x.0);
    let end = (unit.columns + before - unit.x.0).min(seen);
    // SAFETY: rows and columns are limited to the picture, and the scratch memory has place for all that is seen.
    unsafe {
        for (n, source) in unit.sources.iter().enumerate() {
            for i in 0..rows + 2 * above {
                let to = unit.pixels.add(n * block + i * row);
                let y = (unit.y + i).saturating_sub(above).min(unit.rows - 1);
                let is_inside = unit.y + i >= above && unit.y + i - above < unit.rows;
                if !is_inside && !repeated {
                    to.write_bytes(0, seen * BLOCK);
                    continue;
                }
                let from = source.pixel(y, unit.x.0 + first - before);
                from.copy_to_nonoverlapping(to.add(first * BLOCK), (end - first) * BLOCK);
                for x in (0..first).chain(end..seen) {
                    let to = to.add(x * BLOCK);
                    if repeated {
                        let nearest = if x < first { 0 } else { unit.columns - 1 };
                        source.pixel(y, nearest).copy_to_nonoverlapping(to, BLOCK);
                    } else {
                        to.write_bytes(0, BLOCK);
                    }
                }
            }
        }
    }
    debug_assert!(columns <= DIRECT_PIXELS, "a unit of {columns} columns");
}

for_each_isa! {
    /// Sums of rows of pixels into finished pixels.
    ///
    /// # Safety
    /// As [`run`].
    pub(super) unsafe fn finish_rows(unit: &Unit<'_>) = finish_rows_as;
}

#[inline(always)]
unsafe fn finish_rows_as<K: Kind>(unit: &Unit<'_>) {
    // SAFETY: what the caller says.
    unsafe {
        match (unit.finish.activation, unit.finish.residuals) {
            (NONE, 0) => finish_rows_with::<K, NONE, 0>(unit),
            (NONE, 1) => finish_rows_with::<K, NONE, 1>(unit),
            (NONE, _) => finish_rows_with::<K, NONE, 2>(unit),
            (RELU, 0) => finish_rows_with::<K, RELU, 0>(unit),
            (RELU, 1) => finish_rows_with::<K, RELU, 1>(unit),
            (RELU, _) => finish_rows_with::<K, RELU, 2>(unit),
            (_, 0) => finish_rows_with::<K, SLOPES, 0>(unit),
            (_, 1) => finish_rows_with::<K, SLOPES, 1>(unit),
            (_, _) => finish_rows_with::<K, SLOPES, 2>(unit),
        }
    }
}

#[inline(always)]
unsafe fn finish_rows_with<K: Kind, const ACTIVATION: u8, const RESIDUALS: usize>(unit: &Unit<'_>) {
    let (block, row) = unit.sums_strides;
    // SAFETY: only pixels of the picture are read and written, and sums of the scratch memory.
    unsafe {
        for (n, target) in unit.targets.iter().enumerate() {
            for lane in (0..BLOCK).step_by(K::Vector::N) {
                let last = Last::<K::Vector, ACTIVATION, RESIDUALS>::new(unit.finish, n * BLOCK + lane);
                for i in 0..ROWS.min(unit.rows - unit.y) {
                    let sums = unit.sums.add(n * block + i * row + lane);
                    let to = target.pixel(unit.y + i, unit.x.0).add(lane);
                    let mut past = [std::ptr::null::<f32>(); 2];
                    for r in 0..RESIDUALS {
                        past[r] = unit.residuals[r][n].pixel(unit.y + i, unit.x.0).add(lane);
                    }
                    for x in 0..unit.x.1 - unit.x.0 {
                        let sum = K::Vector::load(sums.add(x * BLOCK));
                        last.of(sum, past, x * BLOCK).store(to.add(x * BLOCK));
                    }
                }
            }
        }
    }
}
