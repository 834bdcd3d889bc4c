//! A program laid out for one size of its input: where every picture lies, and in which order units of work are taken.
//!
//! Steps are put in groups of a few. Within a group, every step follows the one that it reads at a distance of a few rows, so
//! that what passes between them is kept for a few rows only, in a ring, and stays in the cache. What leaves a group is kept
//! whole. The order is fixed, and a unit needs only units before it.
//!
//! Units are divided into lanes by their columns, each in that order, and a worker keeps to a lane while it can. So what it reads
//! it mostly wrote itself, which counts where cores do not share a cache: two such cores took 1.4 times as long before. The first
//! unit of all that are not done heads its lane and needs nothing that is missing; so workers that take what is ready from the
//! heads of lanes can never wait for each other in a circle, however many they are.

use super::memory::huge_bytes;
use super::product::BLOCK;
use super::program::{Action, Program, Reading, Step, StepId};
use super::unit::ROWS;
use super::weights::{DIRECT_PIXELS, Way};

/// Bytes of weights and rings in a group: less than half of the 32 MiB that cores share. Of 7, 10, 14 and 20 MiB the best for 64
/// channels at 480 columns, by 1 to 3 %.
const GROUP_BYTES: usize = 14 << 20;
/// The same where a worker has a picture of its own, as the others have theirs: two share the cache then. Of 5, 8, 11, 14 and 20 MiB
/// the best, by 1 to 9 %.
const LONE_GROUP_BYTES: usize = 11 << 20;
/// Convolutions in a group, at most.
const GROUP_LAYERS: usize = 8;
/// Steps in a group, at least, where there is a choice.
const GROUP_STEPS: usize = 3;
/// Groups of rows that a step stays behind one that it reads with the rows around.
const BEHIND: usize = 2;
/// Share of the columns of a unit that may be lost so that every lane has as many units.
const LEAST_SHARE: f64 = 0.6;
/// Numbers after a plane, so that planes are not multiples of 4 KiB apart.
const APART: usize = 5 * BLOCK;

/// Where a picture lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// First number of the first block.
    pub(super) start: usize,
    /// Numbers of a row.
    pub(super) row: usize,
    /// Rows that are kept.
    pub(super) stored: usize,
    /// Numbers from a block to the next.
    pub(super) plane: usize,
}

/// A step for one size.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Groups of rows.
    pub(super) groups: usize,
    /// Units of a group of rows, side by side.
    pub(super) across: usize,
    /// Where its picture lies; the output has none.
    pub(super) place: Option<Place>,
    /// The number of its first group among all.
    pub(super) first: usize,
    /// What it needs before it can run.
    pub(super) needs: Vec<(StepId, Reading)>,
    /// Steps that have to be over before it may write where their pictures were.
    pub(super) after: Vec<StepId>,
    /// Who reads its picture, if that is kept as a ring.
    pub(super) ring: Vec<(StepId, usize)>,
    /// Who reads the picture that it is written over, row by row, and how far around.
    pub(super) over: Vec<(StepId, usize)>,
}

/// A unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnitId {
    pub(super) step: u32,
    pub(super) group: u32,
    pub(super) across: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of the program that it is for.
    pub(super) program: u64,
    pub(super) input: (usize, usize),
    /// Rows and columns of the result.
    pub(super) output: (usize, usize),
    pub(super) steps: Vec<Laid>,
    /// All units.
    pub(super) lanes: Vec<Vec<UnitId>>,
    pub(super) workers: usize,
    /// Numbers of all pictures, and of the row of zeros before them.
    pub(super) floats: usize,
    /// Numbers of scratch memory of a worker, for pixels and for sums.
    pub(super) scratch: (usize, usize),
    /// Groups of rows of all steps.
    pub(super) counters: usize,
}

impl Plan {
    /// Lays `program` out for an input of so many rows and columns, and for so many workers, though any number may come.
    pub(crate) fn new(program: &Program, rows: usize, columns: usize, workers: usize) -> Self {
        let mut steps = laid(program, (rows, columns), workers);
        let groups = grouped(program, &steps, if workers == 1 { LONE_GROUP_BYTES } else { GROUP_BYTES });
        let (output, width) = (result(program, &steps), steps.iter().map(|step| step.columns).max().unwrap_or(0));
        let zeros = padded(width) * BLOCK;
        let floats = zeros + placed(program, &mut steps, &groups, zeros);
        let mut order = Vec::new();
        for group in &groups {
            take_turns(&steps, &delays(&steps, group.clone()), group.clone(), &mut order);
        }
        let layers = program.steps.iter().filter_map(Step::layer);
        let scratch = layers.map(|layer| layer.scratch()).fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
        let scratch = (scratch.0.next_multiple_of(BLOCK), scratch.1);
        let counters = steps.iter().map(|step| step.groups).sum();
        let lanes = lanes(program, &steps, order, workers);
        Self { program: program.id, input: (rows, columns), output, steps, lanes, workers, floats, scratch, counters }
    }

    /// Bytes of memory of a run with so many workers.
    pub(crate) fn bytes(&self, workers: usize) -> u64 {
        let pages = huge_bytes(self.floats) + huge_bytes(workers * self.scratch_of_worker());
        (pages
            + 4 * (self.counters + self.steps.len())
            + self.lanes.iter().map(Vec::len).sum::<usize>() * size_of::<UnitId>()) as u64
    }

    /// Numbers of scratch memory of a worker.
    pub(super) fn scratch_of_worker(&self) -> usize {
        (self.scratch.0 + self.scratch.1).next_multiple_of(BLOCK)
    }

    /// What it was laid out for: rows and columns of the input, and workers.
    pub(crate) fn is_for(&self, input: (usize, usize), workers: usize) -> bool {
        (self.input, self.workers) == (input, workers)
    }

    /// What memory is laid out for: the program, rows and columns of the input, and workers.
    pub(super) fn owner(&self) -> (u64, (usize, usize), usize) {
        (self.program, self.input, self.workers)
    }

    /// Rows and columns of the result.
    pub(crate) fn output(&self) -> (usize, usize) {
        self.output
    }
}

/// Columns of a row in memory.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(4) + 2
}

/// Sizes of all steps, without places.
fn laid(program: &Program, input: (usize, usize), workers: usize) -> Vec<Laid> {
    let mut steps: Vec<Laid> = Vec::new();
    let mut first = 0;
    for step in &program.steps {
        let taken: Vec<_> = step.takes.iter().map(|&t| (steps[t].rows, steps[t].columns)).collect();
        let (rows, columns) = step.size(&taken, input);
        assert!(rows > 0 && columns > 0, "a picture without pixels");
        let across = match step.layer().map(|layer| layer.way) {
            Some(Way::Tiles { most }) => shared_out(columns.div_ceil(4), most, workers),
            Some(Way::Direct { .. }) => columns.div_ceil(DIRECT_PIXELS),
            None => 1,
        };
        let groups = rows.div_ceil(ROWS);
        let needs = step.takes.iter().enumerate().map(|(n, &t)| (t, step.reading(n))).collect();
        let (after, ring, over) = (Vec::new(), Vec::new(), Vec::new());
        steps.push(Laid { rows, columns, groups, across, place: None, first, needs, after, ring, over });
        first += groups;
    }
    steps
}

/// Units for so many tiles, each of `most` or fewer: as many for each worker, if they do not become much smaller.
fn shared_out(tiles: usize, most: usize, workers: usize) -> usize {
    let units = tiles.div_ceil(most);
    let even = units.next_multiple_of(workers.max(1));
    if units > 1 && tiles as f64 >= LEAST_SHARE * (most * even) as f64 { even } else { units }
}

/// Divides the units into lanes of neighbouring columns, one for each worker where pictures are wide enough for that.
fn lanes(program: &Program, steps: &[Laid], order: Vec<UnitId>, workers: usize) -> Vec<Vec<UnitId>> {
    let is_tiled = |step: &Step| step.layer().is_some_and(|layer| matches!(layer.way, Way::Tiles { .. }));
    let tiled = program.steps.iter().zip(steps).filter(|(step, _)| is_tiled(step));
    let count = tiled.map(|(_, laid)| laid.across).min().unwrap_or(1).min(workers).max(1);
    let mut lanes = vec![Vec::new(); count];
    for unit in order {
        let lane = match steps[unit.step as usize].across {
            // Whole rows: by turns.
            1 => unit.group as usize % count,
            across => unit.across as usize * count / across,
        };
        lanes[lane].push(unit);
    }
    lanes
}

fn result(program: &Program, steps: &[Laid]) -> (usize, usize) {
    let last = steps.len() - 1;
    let Action::Output { shuffle, .. } = program.steps[last].action else { panic!("a program without an output") };
    (steps[last].rows * shuffle, steps[last].columns * shuffle)
}

/// Ranges of steps that run as one wave, each of so many bytes at most where it can.
fn grouped(program: &Program, steps: &[Laid], most: usize) -> Vec<std::ops::Range<StepId>> {
    let last_use = last_uses(steps);
    // Numbers that are alive between the steps before `end` and those after it.
    let passing = |end: StepId| -> usize {
        let alive = (0..end).filter(|&step| last_use[step] >= end);
        alive.map(|step| program.steps[step].blocks() * steps[step].rows * steps[step].columns).sum()
    };
    let mut groups = Vec::new();
    let mut start = 0;
    while start < steps.len() {
        let end = longest(program, steps, start, most);
        let least = (start + GROUP_STEPS).min(end);
        let best = (least..=end).rev().min_by_key(|&end| passing(end)).unwrap_or(end);
        groups.push(start..best);
        start = best;
    }
    groups
}

/// The last step that takes each picture.
fn last_uses(steps: &[Laid]) -> Vec<StepId> {
    let mut last = vec![0; steps.len()];
    for (n, step) in steps.iter().enumerate() {
        step.needs.iter().for_each(|&(taken, _)| last[taken] = n);
    }
    last
}

/// The end of the longest group that can start at `start`.
fn longest(program: &Program, steps: &[Laid], start: StepId, most: usize) -> StepId {
    let (mut bytes, mut layers) = (0, 0);
    for n in start..steps.len() {
        let (step, laid) = (&program.steps[n], &steps[n]);
        let same = (laid.rows, laid.columns) == (steps[start].rows, steps[start].columns);
        let near = |&(taken, reading): &(StepId, Reading)| {
            taken < start || matches!(reading, Reading::Around(reach) if reach <= ROWS)
        };
        bytes += step.layer().map_or(0, |layer| layer.bytes());
        bytes += step.blocks() * BLOCK * 4 * padded(laid.columns) * laid.rows.min(4 * ROWS);
        layers += usize::from(step.layer().is_some());
        let fits = bytes <= most && layers <= GROUP_LAYERS;
        if n > start && !(same && fits && laid.needs.iter().all(near)) {
            return n;
        }
    }
    steps.len()
}

/// How many groups of rows each step of a group is behind its first.
fn delays(steps: &[Laid], group: std::ops::Range<StepId>) -> Vec<usize> {
    let mut delays: Vec<usize> = Vec::new();
    for step in group.clone() {
        let inner = steps[step].needs.iter().filter(|(taken, _)| *taken >= group.start);
        let delay = inner.map(|&(taken, reading)| {
            delays[taken - group.start] + if reading == Reading::Around(0) { 1 } else { BEHIND }
        });
        delays.push(delay.max().unwrap_or(0));
    }
    delays
}

/// Adds the units of a group in their order.
fn take_turns(steps: &[Laid], delays: &[usize], group: std::ops::Range<StepId>, order: &mut Vec<UnitId>) {
    let rows = steps[group.start].groups;
    let most = delays.iter().max().copied().unwrap_or(0);
    for turn in 0..rows + most {
        for (step, delay) in group.clone().zip(delays) {
            let Some(row) = turn.checked_sub(*delay).filter(|row| *row < rows) else { continue };
            let unit = |across: usize| UnitId { step: step as u32, group: row as u32, across: across as u32 };
            order.extend((0..steps[step].across).map(unit));
        }
    }
}

/// A piece of memory that one picture after the other may have.
struct Slot {
    blocks: usize,
    /// Rows and columns of the pictures, and rows that are kept.
    shape: (usize, usize, usize),
    place: Place,
    /// The group after which it is free.
    until: usize,
    /// The steps that made and read what is in it.
    users: Vec<StepId>,
    /// Those that read it.
    readers: Vec<(StepId, Reading)>,
}

impl Slot {
    /// Who has to have read the rows of the picture in it that `step` of group `number` is written over; `None` if `step` is not far
    /// enough behind them. Whoever needs fewer rows is also written where they were just read: in the cache.
    fn over(&self, step: StepId, group: &std::ops::Range<StepId>, delays: &[usize]) -> Option<Vec<(StepId, usize)>> {
        let delay = |step: StepId| delays[step - group.start];
        let over = self.readers.iter().map(|&(reader, reading)| {
            let Reading::Around(reach) = reading else { return None };
            // Earlier groups come first in every lane.
            let is_before =
                !group.contains(&reader) || reader < step && delay(reader) + reach.div_ceil(ROWS) <= delay(step);
            is_before.then_some((reader, reach))
        });
        over.collect()
    }
}

/// Finds a place for every picture, from `start`; the numbers that they take together.
fn placed(program: &Program, steps: &mut [Laid], groups: &[std::ops::Range<StepId>], start: usize) -> usize {
    let mut readers: Vec<Vec<(StepId, Reading)>> = vec![Vec::new(); steps.len()];
    for (n, step) in steps.iter().enumerate() {
        step.needs.iter().for_each(|&(taken, reading)| readers[taken].push((n, reading)));
    }
    let group_of = |step: StepId| groups.iter().position(|group| group.contains(&step)).unwrap_or(0);
    let mut slots: Vec<Slot> = Vec::new();
    let mut end = start;
    for (number, group) in groups.iter().enumerate() {
        let delays = delays(steps, group.clone());
        for step in group.clone() {
            if matches!(program.steps[step].action, Action::Output { .. }) {
                continue;
            }
            let kept = kept(steps, group, &delays, &readers[step], step);
            if kept < steps[step].groups {
                let reach = |reading: &Reading| if let Reading::Around(reach) = reading { *reach } else { 0 };
                steps[step].ring = readers[step].iter().map(|(reader, reading)| (*reader, reach(reading))).collect();
            }
            let laid = &steps[step];
            let (blocks, shape) = (program.steps[step].blocks(), (laid.rows, laid.columns, kept * ROWS));
            let until = readers[step].iter().map(|(reader, _)| group_of(*reader)).max().unwrap_or(number);
            let users: Vec<StepId> =
                std::iter::once(step).chain(readers[step].iter().map(|(reader, _)| *reader)).collect();
            let mut same = slots.iter_mut().filter(|slot| (slot.blocks, slot.shape) == (blocks, shape));
            let whole = kept == steps[step].groups;
            let found = same.find_map(|slot| match slot.over(step, group, &delays) {
                _ if slot.until < number => Some((slot, None)),
                Some(over) if slot.until == number && whole => Some((slot, Some(over))),
                _ => None,
            });
            if let Some((slot, over)) = found {
                steps[step].place = Some(slot.place);
                let before = std::mem::replace(&mut slot.users, users);
                match over {
                    Some(over) => steps[step].over = over,
                    None => steps[step].after = before,
                }
                (slot.until, slot.readers) = (until, readers[step].clone());
            } else {
                let row = padded(laid.columns) * BLOCK;
                let place = Place { start: end, row, stored: kept * ROWS, plane: kept * ROWS * row + APART };
                end += blocks * place.plane;
                steps[step].place = Some(place);
                slots.push(Slot { blocks, shape, place, until, users, readers: readers[step].clone() });
            }
        }
    }
    end - start
}

/// Groups of rows that are kept of a picture: all, unless all its readers are in the same group and not far behind.
fn kept(
    steps: &[Laid],
    group: &std::ops::Range<StepId>,
    delays: &[usize],
    readers: &[(StepId, Reading)],
    step: StepId,
) -> usize {
    if readers.iter().any(|(reader, _)| !group.contains(reader)) {
        return steps[step].groups;
    }
    let own = delays[step - group.start];
    let ring =
        readers.iter().map(|(reader, _)| delays[reader - group.start] - own + 2).max().unwrap_or(steps[step].groups);
    ring.min(steps[step].groups)
}
