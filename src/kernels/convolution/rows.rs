//! Steps that are not convolutions, a few rows at a time: plain code, the same at every CPU level.

use super::product::BLOCK;
use super::program::{Action, Each, Step, between};
use super::unit::{Plane, ROWS};

/// Planes of numbers one after the other, as the network's callers have them: where row `y` of channel `c` starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planar<P> {
    pub(super) start: P,
    /// Numbers from a channel to the next, and from a row to the next.
    pub(super) strides: (isize, isize),
}

impl<P> Planar<P> {
    fn offset(&self, channel: usize, y: usize) -> isize {
        channel as isize * self.strides.0 + y as isize * self.strides.1
    }
}

/// What a step reads and writes.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// Of each picture taken: its planes, rows and columns.
    pub(super) taken: &'a [(&'a [Plane], usize, usize)],
    /// Its channels.
    pub(super) channels: &'a [usize],
    pub(super) targets: &'a [Plane],
    /// Of what is made.
    pub(super) rows: usize,
    /// See above.
    pub(super) columns: usize,
    /// The first row.
    pub(super) y: usize,
    pub(super) input: Planar<*const f32>,
    pub(super) output: Planar<*mut f32>,
}

/// Takes a step for a group of rows.
///
/// # Safety
/// All planes have memory, nobody writes what is read, and nobody else uses what is written; input and output have the
/// channels, rows and columns that the step is about.
pub(super) unsafe fn run(step: &Step, rows: &Rows<'_>) {
    // SAFETY: what the caller says, of all.
    unsafe {
        match &step.action {
            Action::Convolve(_) => unreachable!("convolutions have their own units"),
            Action::Input => input(rows, step.channels),
            Action::Each(each) => function(rows, each),
            Action::Add(factor) => add(rows, *factor),
            Action::Multiply => multiply(rows),
            Action::Concat => {
                let from = |n: usize| (0..rows.channels[n]).map(move |channel| (n, channel));
                let names: Vec<_> = (0..rows.taken.len()).flat_map(from).collect();
                gather(rows, step.channels, |channel, y, x| (names[channel], y, x));
            }
            Action::Repeat(r) => repeat(rows, *r),
            Action::Bilinear(r) => bilinear(rows, *r),
            Action::Shuffle(r) => {
                let from = |c: usize, y: usize, x: usize| ((0, c * r * r + y % r * r + x % r), y / r, x / r);
                gather(rows, step.channels, from);
            }
            Action::Unshuffle(r) => {
                let from = |c: usize, y: usize, x: usize| ((0, c / (r * r)), y * r + c % (r * r) / r, x * r + c % r);
                gather(rows, step.channels, from);
            }
            Action::Pool(r) => pool(rows, *r),
            Action::Mean => mean(rows),
            Action::Output { shuffle, base } => output(rows, step.channels, *shuffle, *base),
        }
    }
}

/// The pixels of a row of a plane.
unsafe fn row<'a>(plane: &Plane, y: usize, columns: usize) -> &'a [f32] {
    // SAFETY: the caller says that the plane has this row, and that nobody writes it meanwhile.
    unsafe { std::slice::from_raw_parts(plane.pixel(y, 0), columns * BLOCK) }
}

/// The same, to be written.
unsafe fn row_mut<'a>(plane: &Plane, y: usize, columns: usize) -> &'a mut [f32] {
    // SAFETY: the caller says that the plane has this row, and that nobody else uses it meanwhile.
    unsafe { std::slice::from_raw_parts_mut(plane.pixel(y, 0), columns * BLOCK) }
}

/// Rows of the unit.
fn lines(rows: &Rows<'_>) -> std::ops::Range<usize> {
    rows.y..rows.rows.min(rows.y + ROWS)
}

unsafe fn input(rows: &Rows<'_>, channels: usize) {
    for y in lines(rows) {
        for (block, target) in rows.targets.iter().enumerate() {
            // SAFETY: what the caller of `run` says, here and below.
            let to = unsafe { row_mut(target, y, rows.columns) }.as_chunks_mut::<BLOCK>().0;
            // SAFETY: as above.
            let from = |lane: usize| unsafe { planar_row(rows, block * BLOCK + lane, y) };
            match BLOCK.min(channels - block * BLOCK) {
                1 => to.iter_mut().zip(from(0)).for_each(|(to, value)| {
                    *to = [0.0; BLOCK];
                    to[0] = *value;
                }),
                3 => to.iter_mut().zip(from(0).iter().zip(from(1)).zip(from(2))).for_each(|(to, ((r, g), b))| {
                    *to = [0.0; BLOCK];
                    to[..3].copy_from_slice(&[*r, *g, *b]);
                }),
                lanes => {
                    to.fill([0.0; BLOCK]);
                    (0..lanes).for_each(|lane| to.iter_mut().zip(from(lane)).for_each(|(to, from)| to[lane] = *from));
                }
            }
        }
    }
}

/// A row of a channel of the input.
unsafe fn planar_row<'a>(rows: &Rows<'a>, channel: usize, y: usize) -> &'a [f32] {
    // SAFETY: what the caller of `run` says.
    unsafe { std::slice::from_raw_parts(rows.input.start.offset(rows.input.offset(channel, y)), rows.columns) }
}

/// Calls `f` with every row of every block: its number, what the first picture has there, and what is made.
unsafe fn for_rows(rows: &Rows<'_>, f: impl Fn(usize, usize, &[f32], &mut [f32])) {
    for y in lines(rows) {
        for (block, (target, source)) in rows.targets.iter().zip(rows.taken[0].0).enumerate() {
            // SAFETY: what the caller of `run` says.
            let (from, to) = unsafe { (row(source, y, rows.columns), row_mut(target, y, rows.columns)) };
            f(block, y, from, to);
        }
    }
}

unsafe fn function(rows: &Rows<'_>, each: &Each) {
    let all = |f: &dyn Fn(f32) -> f32, from: &[f32], to: &mut [f32]| {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = f(*from));
    };
    let apply = |block: usize, _: usize, from: &[f32], to: &mut [f32]| match each {
        Each::Slopes(slopes) => {
            let of = |lane: usize| slopes.get(block * BLOCK + lane).copied().unwrap_or(0.0);
            let slopes: [f32; BLOCK] = std::array::from_fn(of);
            for (to, from) in to.as_chunks_mut::<BLOCK>().0.iter_mut().zip(from.as_chunks::<BLOCK>().0) {
                *to = std::array::from_fn(|lane| if from[lane] < 0.0 { slopes[lane] * from[lane] } else { from[lane] });
            }
        }
        Each::Relu => to.iter_mut().zip(from).for_each(|(to, from)| *to = from.max(0.0)),
        Each::Tanh => all(&f32::tanh, from, to),
        Each::Sigmoid => all(&|x| 1.0 / (1.0 + (-x).exp()), from, to),
        Each::Scale { factor, offset } => {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = factor * from + offset);
        }
    };
    // SAFETY: what the caller of `run` says.
    unsafe { for_rows(rows, apply) }
}

unsafe fn add(rows: &Rows<'_>, factor: f32) {
    let apply = |block: usize, y: usize, from: &[f32], to: &mut [f32]| {
        // SAFETY: what the caller of `run` says; both pictures have the same size.
        let second = unsafe { row(&rows.taken[1].0[block], y, rows.columns) };
        to.iter_mut().zip(from.iter().zip(second)).for_each(|(to, (a, b))| *to = factor * a + b);
    };
    // SAFETY: what the caller of `run` says.
    unsafe { for_rows(rows, apply) }
}

unsafe fn multiply(rows: &Rows<'_>) {
    let apply = |block: usize, _: usize, from: &[f32], to: &mut [f32]| {
        // SAFETY: what the caller of `run` says; the second picture has one pixel.
        let factors = unsafe { row(&rows.taken[1].0[block], 0, 1) };
        for (to, from) in to.chunks_exact_mut(BLOCK).zip(from.chunks_exact(BLOCK)) {
            to.iter_mut().zip(from.iter().zip(factors)).for_each(|(to, (a, b))| *to = a * b);
        }
    };
    // SAFETY: what the caller of `run` says.
    unsafe { for_rows(rows, apply) }
}

unsafe fn repeat(rows: &Rows<'_>, r: usize) {
    let (sources, _, columns) = rows.taken[0];
    for y in lines(rows) {
        for (target, source) in rows.targets.iter().zip(sources) {
            // SAFETY: what the caller of `run` says.
            let (from, to) = unsafe { (row(source, y / r, columns), row_mut(target, y, rows.columns)) };
            for (to, from) in to.chunks_exact_mut(BLOCK * r).zip(from.chunks_exact(BLOCK)) {
                to.chunks_exact_mut(BLOCK).for_each(|to| to.copy_from_slice(from));
            }
        }
    }
}

unsafe fn bilinear(rows: &Rows<'_>, r: usize) {
    let (sources, height, width) = rows.taken[0];
    for y in lines(rows) {
        let (above, down) = between(y, r);
        let below = (above + 1).min(height - 1);
        for (target, source) in rows.targets.iter().zip(sources) {
            // SAFETY: what the caller of `run` says, here and below.
            let (first, second) = unsafe { (row(source, above, width), row(source, below, width)) };
            // SAFETY: as above.
            let to = unsafe { row_mut(target, y, rows.columns) };
            let ([first, second], to) = ([first, second].map(|row| row.as_chunks::<BLOCK>().0), to.as_chunks_mut().0);
            for (x, to) in to.iter_mut().enumerate() {
                let (left, across) = between(x, r);
                let right = (left + 1).min(width - 1);
                let line =
                    |row: &[[f32; BLOCK]], lane: usize| (1.0 - across) * row[left][lane] + across * row[right][lane];
                *to = std::array::from_fn::<f32, BLOCK, _>(|lane| {
                    (1.0 - down) * line(first, lane) + down * line(second, lane)
                });
            }
        }
    }
}

/// Takes every number from where `from(channel, row, column)` says: picture and channel, row, column.
unsafe fn gather(
    rows: &Rows<'_>,
    channels: usize,
    from: impl Fn(usize, usize, usize) -> ((usize, usize), usize, usize),
) {
    for y in lines(rows) {
        for (block, target) in rows.targets.iter().enumerate() {
            // SAFETY: what the caller of `run` says, here and below.
            let to = unsafe { row_mut(target, y, rows.columns) };
            to.fill(0.0);
            for (lane, channel) in (block * BLOCK..channels.min(block * BLOCK + BLOCK)).enumerate() {
                for (x, to) in to[lane..].iter_mut().step_by(BLOCK).enumerate() {
                    let ((picture, channel), y, x) = from(channel, y, x);
                    let (planes, _, columns) = rows.taken[picture];
                    // SAFETY: as above.
                    let source = unsafe { row(&planes[channel / BLOCK], y, columns) };
                    *to = source[x * BLOCK + channel % BLOCK];
                }
            }
        }
    }
}

unsafe fn pool(rows: &Rows<'_>, r: usize) {
    let (sources, _, width) = rows.taken[0];
    for y in lines(rows) {
        for (target, source) in rows.targets.iter().zip(sources) {
            // SAFETY: what the caller of `run` says, here and below.
            let to = unsafe { row_mut(target, y, rows.columns) };
            to.fill(f32::MIN);
            for line in y * r..y * r + r {
                // SAFETY: as above.
                let from = unsafe { row(source, line, width) };
                for (to, from) in to.as_chunks_mut::<BLOCK>().0.iter_mut().zip(from.chunks_exact(r * BLOCK)) {
                    for pixel in from.as_chunks::<BLOCK>().0 {
                        to.iter_mut().zip(pixel).for_each(|(to, from)| *to = to.max(*from));
                    }
                }
            }
        }
    }
}

unsafe fn mean(rows: &Rows<'_>) {
    let (sources, height, width) = rows.taken[0];
    for (target, source) in rows.targets.iter().zip(sources) {
        let mut sums = [0f64; BLOCK];
        for y in 0..height {
            // SAFETY: what the caller of `run` says.
            for pixel in unsafe { row(source, y, width) }.chunks_exact(BLOCK) {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        // SAFETY: as above; what is made has one pixel.
        let to = unsafe { row_mut(target, 0, 1) };
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = (sum / (height * width) as f64) as f32);
    }
}

unsafe fn output(rows: &Rows<'_>, channels: usize, shuffle: usize, base: bool) {
    for y in lines(rows) {
        for (channel, part) in (0..channels).flat_map(|channel| (0..shuffle).map(move |part| (channel, part))) {
            let offset = rows.output.offset(channel, y * shuffle + part);
            // SAFETY: what the caller of `run` says, here and below.
            let to =
                unsafe { std::slice::from_raw_parts_mut(rows.output.start.offset(offset), rows.columns * shuffle) };
            // SAFETY: as above.
            let base = base.then(|| unsafe { planar_row(rows, channel, y) });
            let first = (channel * shuffle + part) * shuffle;
            // SAFETY: as above; the picture has a block for each of these channels.
            let from = |n: usize| unsafe { row(&rows.taken[0].0[(first + n) / BLOCK], y, rows.columns) };
            match shuffle {
                1 => spread::<1>(from(0), first % BLOCK, base, to),
                2 => spread::<2>(from(0), first % BLOCK, base, to),
                4 => spread::<4>(from(0), first % BLOCK, base, to),
                _ => {
                    for n in 0..shuffle {
                        let from = from(n)[(first + n) % BLOCK..].iter().step_by(BLOCK);
                        to[n..].iter_mut().step_by(shuffle).zip(from).for_each(|(to, from)| *to = *from);
                    }
                    let all = to.chunks_exact_mut(shuffle).zip(base.into_iter().flatten());
                    all.for_each(|(to, base)| to.iter_mut().for_each(|to| *to += base));
                }
            }
        }
    }
}

/// Writes `N` neighbouring channels of every pixel, from `lane`, one after the other.
fn spread<const N: usize>(from: &[f32], lane: usize, base: Option<&[f32]>, to: &mut [f32]) {
    let (from, to) = (from.as_chunks::<BLOCK>().0, to.as_chunks_mut::<N>().0);
    let taken = |from: &[f32; BLOCK]| from[lane..].first_chunk::<N>().copied().unwrap_or([0.0; N]);
    match base {
        Some(base) => to.iter_mut().zip(from.iter().zip(base)).for_each(|(to, (from, base))| {
            *to = taken(from).map(|value| value + base);
        }),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = taken(from)),
    }
}
