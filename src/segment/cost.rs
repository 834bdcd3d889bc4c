//! How long a job takes on so many workers: a model of the tasks, of what goes wrong with them, and of the join.
//!
//! `S` tasks wait in one queue, `N` workers take one after the other, and the join follows the last. A task takes
//!
//! ```text
//! t = (b + c f + d o) X
//! ```
//!
//! seconds: `b` until a worker that is free makes its first frame, `c` for each of its `f` frames, `d` for each of the `o`
//! frames it only reads (neighbours beyond its ends, and those from the key frame on), and `X` of how slow the worker is just
//! then. A worker dies at the rate `r`; its task waits again `D` seconds later, the worker comes back after `R`. So a task
//! needs `exp(r t)` attempts and `(exp(r t) - 1) / r` seconds of workers on average, and no schedule is quicker than
//!
//! ```text
//! max(sum((exp(r t) - 1) / r) / N, longest t) <= T <= sum(...) / N + (1 - 1/N) longest t        (Graham 1969, without deaths)
//! ```
//!
//! [`Workload::predict`] says where between: workers begin together and get out of step, each a renewal process whose
//! steps are attempts. The queue is empty at the time `T0` by which `N` of them are expected to have begun as many attempts
//! as there are; then what is still under way has to end, which takes as long as the last of `min(N, S)` of them:
//!
//! ```text
//! N u(T0) = sum(exp(r t)),        T = T0 + integral of 1 - (1 - p(x))^min(N, S) dx
//! ```
//!
//! `u(T)`: attempts a worker has begun by `T`, its first included; `p(x)`: chance that a worker's last task, or its
//! repetition, is not done `x` after `T0`. Both are sums on a grid of a hundredth of a mean task. The speed-up is
//! `(c F) / (T + J)`, where one piece of all `F` frames on one worker is compared with the segments and the join's `J`
//! seconds, which no number of workers makes shorter (Amdahl 1967).
//!
//! What it leaves out: a file system or scheduler that is too slow for so many, priorities of others, deaths of the join.
//! [`super::simulate`] plays the same job event by event; docs/cluster.md has both side by side.

use std::time::{Duration, Instant};

use super::index::key_before;
use super::job::{SegmentJob, Trust};
use super::receipt::State;
use crate::error::Result;
use crate::kernels::CpuLevel;
use crate::pipeline::{Forecast, open_for};

/// What has to be done, in seconds of a worker that is neither fast nor slow.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Of each task, its start not included.
    pub tasks: Vec<f64>,
    /// Of the join.
    pub join: f64,
    /// Of the whole video in one piece, by one worker.
    pub alone: f64,
}

/// What frames cost, in seconds of one worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameCosts {
    /// To read a frame, make its picture and write that.
    pub make: f64,
    /// To read and compare a frame of which no picture is made.
    pub read: f64,
    /// To read a finished picture and encode it in the join.
    pub join: f64,
    /// Frames beyond each end of a segment that it needs.
    pub overlap: u64,
    /// Frames between the key frame from which a segment is decoded and its first, on average.
    pub preroll: f64,
}

/// What happens to tasks and workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Seconds until a free worker makes the first frame of a task: scheduler, process, opening of files.
    pub start: f64,
    /// Deaths of a worker in an hour of work.
    pub deaths_per_hour: f64,
    /// Seconds from a death until its task waits again.
    pub requeue: f64,
    /// Seconds from a death until the worker takes tasks again.
    pub repair: f64,
    /// Usual tasks take between `1 - spread` and `1 + spread` of their time.
    pub spread: f64,
    /// Share of tasks that are stragglers.
    pub stragglers: f64,
    /// Stragglers take between once and this many times their time.
    pub slowest: f64,
}

impl Default for Conditions {
    /// A cluster in use: two seconds to start, tasks a tenth quicker or slower, one of twenty up to three times as slow, a
    /// worker lost in a thousand hours, and Slurm as it comes, which waits 300 s for a node and 120 s before it starts a task
    /// again.
    fn default() -> Self {
        Self {
            start: 2.0,
            deaths_per_hour: 0.001,
            requeue: 420.0,
            repair: 3600.0,
            spread: 0.1,
            stragglers: 0.05,
            slowest: 3.0,
        }
    }
}

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Seconds until all segments are whole.
    pub seconds: f64,
    /// The same with the join.
    pub with_join: f64,
    /// Seconds of workers.
    pub busy: f64,
    /// Attempts.
    pub attempts: f64,
    /// How many times quicker than in one piece on one worker.
    pub speedup: f64,
}

/// Parts of a mean task in the grid.
const PARTS: f64 = 100.0;
/// Most parts of the longest task.
const MOST_PARTS: f64 = 20_000.0;
/// Attempts of a worker beyond which it does not matter that all began together.
const OUT_OF_STEP: f64 = 60.0;
/// Values that stand for a distribution.
const VALUES: usize = 64;

impl Conditions {
    /// How slow a worker is for a task, where `kind` and `place` are evenly distributed between 0 and 1.
    pub(super) fn slowness(&self, kind: f64, place: f64) -> f64 {
        if kind < self.stragglers {
            1.0 + (self.slowest - 1.0) * place
        } else {
            1.0 + self.spread * (2.0 * place - 1.0)
        }
    }

    /// Deaths in a second of work.
    pub(super) fn rate(&self) -> f64 {
        self.deaths_per_hour / 3600.0
    }
}

impl Workload {
    /// The tasks of `segments` (first frame, and the one after the last), each made by itself.
    pub fn planned(segments: &[(u64, u64)], costs: &FrameCosts) -> Self {
        let frames: u64 = segments.iter().map(|(first, end)| end - first).sum();
        let whole = |&(first, end): &(u64, u64)| {
            let beyond = costs.overlap.min(first) + costs.overlap.min(frames.saturating_sub(end));
            let preroll = if first == 0 { 0.0 } else { costs.preroll };
            costs.make * (end - first) as f64 + costs.read * (beyond as f64 + preroll)
        };
        Self {
            tasks: segments.iter().map(whole).collect(),
            join: costs.join * frames as f64,
            alone: costs.make * frames as f64,
        }
    }

    /// What is missing of `job`, at the pace of the segments that are whole; `None` if none is. The join is not known.
    ///
    /// # Errors
    /// Those of looking at the job.
    pub fn of_receipts(job: &SegmentJob) -> Result<Option<Self>> {
        let (mut seconds, mut frames, mut missing) = (0.0, 0, Vec::new());
        for (number, state) in (1..).zip(job.states(Trust::Receipt)?) {
            let (first, end) = job.range(number);
            match state {
                State::Whole(receipt) => {
                    seconds += receipt.seconds;
                    frames += end - first;
                }
                _ => missing.push((end - first) as f64),
            }
        }
        if frames == 0 || missing.is_empty() {
            return Ok(None);
        }
        let pace = seconds / frames as f64;
        let tasks = missing.iter().map(|frames| frames * pace).collect();
        Ok(Some(Self { tasks, join: 0.0, alone: pace * job.manifest().frames as f64 }))
    }

    /// All segments of `job`, at the pace of its first frames on this machine, which are read and enlarged for that; whatever
    /// is whole is not looked at. The join is not known.
    ///
    /// # Errors
    /// Those of reading the input and of enlarging.
    pub fn of_first_frames(job: &SegmentJob) -> Result<Self> {
        let manifest = job.manifest();
        let options = manifest.params.options()?;
        let mut reader = open_for(&options, &job.input(None)?, 0, CpuLevel::detect())?;
        let layout = reader.info().layout.clone();
        let (mut reading, mut frames) = (Duration::ZERO, 0);
        let forecast = Forecast::measure(&options, &layout, &mut || {
            let begun = Instant::now();
            let frame = reader.next_frame();
            reading += begun.elapsed();
            frames += 1;
            frame
        })?;
        let read = reading.as_secs_f64() / f64::from(frames.max(1));
        let mut preroll = 0.0;
        for &(first, _) in &manifest.segments {
            let needed = first.saturating_sub(manifest.overlap);
            // Where nothing can be found by its time, all that lies before is decoded.
            let key = if manifest.timed { key_before(job.folder(), needed)? } else { None };
            preroll += (needed - key.map_or(0, |(key, _)| key)) as f64;
        }
        let costs = FrameCosts {
            make: forecast.seconds_per_frame.max(read),
            read,
            join: 0.0,
            overlap: manifest.overlap,
            preroll: preroll / manifest.segments.len().max(1) as f64,
        };
        Ok(Self::planned(&manifest.segments, &costs))
    }

    /// What is to be expected of `workers` under `conditions`.
    pub fn predict(&self, workers: usize, conditions: &Conditions) -> Prediction {
        let times = Times::of(&self.tasks, conditions);
        let rate = conditions.rate();
        let attempts = times.mean(|t| (rate * t).exp()) * self.tasks.len() as f64;
        let needed = |t: f64| if rate > 0.0 { (rate * t).exp_m1() / rate } else { t };
        let busy = times.mean(needed) * self.tasks.len() as f64;
        let seconds =
            if self.tasks.is_empty() { 0.0 } else { self.makespan(workers.max(1), &times, attempts, conditions) };
        let with_join = seconds + self.join;
        Prediction { seconds, with_join, busy, attempts, speedup: self.alone / with_join }
    }

    /// Seconds until the last task is done.
    fn makespan(&self, workers: usize, times: &Times, attempts: f64, conditions: &Conditions) -> f64 {
        let grid = Grid::new(times, conditions);
        let (many, tasks) = (workers as f64, self.tasks.len() as f64);
        let (empty, begun) = if tasks <= many { (0.0, vec![tasks / many]) } else { grid.begun(attempts / many) };
        (empty + grid.tail(&begun, many)) * grid.step
    }
}

/// Times of tasks as equally likely values with weights.
struct Times(Vec<(f64, f64)>);

impl Times {
    fn of(tasks: &[f64], conditions: &Conditions) -> Self {
        let mut sorted: Vec<f64> = tasks.iter().map(|t| (t + conditions.start).max(1e-3)).collect();
        sorted.sort_by(f64::total_cmp);
        let count = VALUES.min(sorted.len()).max(1);
        let mut times = Vec::new();
        for chunk in 0..count {
            let part = &sorted[chunk * sorted.len() / count..(chunk + 1) * sorted.len() / count];
            let mean = part.iter().sum::<f64>() / part.len().max(1) as f64;
            let weight = part.len() as f64 / sorted.len().max(1) as f64 / VALUES as f64;
            for place in (0..VALUES).map(|i| (i as f64 + 0.5) / VALUES as f64) {
                let usual = (mean * conditions.slowness(1.0, place), weight * (1.0 - conditions.stragglers));
                times.push(usual);
                if conditions.stragglers > 0.0 {
                    times.push((mean * conditions.slowness(0.0, place), weight * conditions.stragglers));
                }
            }
        }
        Self(times)
    }

    fn mean(&self, value: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().map(|(time, weight)| value(*time) * weight).sum()
    }

    fn longest(&self) -> f64 {
        self.0.iter().map(|(time, _)| *time).fold(0.0, f64::max)
    }
}

/// Distributions in steps of time.
struct Grid {
    /// Seconds of a step.
    step: f64,
    /// Chance that an attempt ends well after so many steps.
    done: Vec<f64>,
    /// Chance that its worker dies after so many steps.
    dead: Vec<f64>,
    /// Steps until a dead worker takes tasks again.
    repair: usize,
    /// Chance that a task is not done, by this attempt or the next one, after so many steps.
    left: Vec<f64>,
}

impl Grid {
    fn new(times: &Times, conditions: &Conditions) -> Self {
        let step = (times.mean(|t| t) / PARTS).max(times.longest() / MOST_PARTS);
        let mut all = vec![0.0; (times.longest() / step).ceil() as usize + 2];
        for (time, weight) in &times.0 {
            // Between two steps, so that the mean stays.
            let at = (time / step).max(1.0);
            let (low, part) = (at.floor() as usize, at.fract());
            all[low] += weight * (1.0 - part);
            all[low + 1] += weight * part;
        }
        let rate = conditions.rate() * step;
        let survival = |i: usize| (-rate * i as f64).exp();
        let done: Vec<f64> = all.iter().enumerate().map(|(i, p)| p * survival(i)).collect();
        let mut longer = 1.0;
        let mut dead = Vec::with_capacity(all.len());
        for (i, p) in all.iter().enumerate() {
            longer -= p;
            dead.push((longer * (survival(i) - survival(i + 1))).max(0.0));
        }
        let repair = (conditions.repair / step).round() as usize;
        let requeue = (conditions.requeue / step).round() as usize;
        let left = Self::left(&all, &done, &dead, requeue);
        Self { step, done, dead, repair, left }
    }

    /// Chances that a task is not done after so many steps: by its first attempt, or by the second after a death.
    fn left(all: &[f64], done: &[f64], dead: &[f64], requeue: usize) -> Vec<f64> {
        let deadly = dead.iter().any(|p| *p > 0.0);
        let mut ends = vec![0.0; if deadly { 2 * all.len() + requeue } else { all.len() }];
        ends[..done.len()].copy_from_slice(done);
        for (i, p) in dead.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            for (j, q) in all.iter().enumerate() {
                ends[i + requeue + j] += p * q;
            }
        }
        let mut left = 1.0;
        let after = |p: &f64| {
            left -= p;
            f64::max(left, 0.0)
        };
        ends.iter().map(after).collect()
    }

    /// Steps until a worker is expected to have begun `wanted` attempts (more than one), and how many it begins at each.
    fn begun(&self, wanted: f64) -> (f64, Vec<f64>) {
        let means = |power: i32| {
            let one = |(i, p): (usize, &f64)| p * (i as f64).powi(power);
            let lost = |(i, p): (usize, &f64)| p * ((i + self.repair) as f64).powi(power);
            self.done.iter().enumerate().map(one).sum::<f64>() + self.dead.iter().enumerate().map(lost).sum::<f64>()
        };
        let mean = means(1);
        if wanted > OUT_OF_STEP {
            // Attempts begin evenly; those that count are within the longest task.
            let steps = mean * (wanted - means(2) / (2.0 * mean * mean));
            return (steps, vec![1.0 / mean; self.left.len() + 1]);
        }
        let (mut begun, mut sum) = (vec![1.0], 1.0);
        while sum < wanted {
            let now = begun.len();
            let from = |chances: &[f64], later: usize| {
                let first = now.saturating_sub(later);
                chances.iter().take(first + 1).enumerate().map(|(i, p)| p * begun.get(first - i).unwrap_or(&0.0)).sum()
            };
            let ended: f64 = from(&self.done, 0);
            let back: f64 = if now > self.repair { from(&self.dead, self.repair) } else { 0.0 };
            // No more than there are: the last ones are a part of a step.
            let next = (ended + back).min(wanted - sum);
            sum += next;
            begun.push(next);
        }
        ((begun.len() - 1) as f64, begun)
    }

    /// Steps from the last beginning in `begun` until all tasks of so many workers are done.
    fn tail(&self, begun: &[f64], workers: f64) -> f64 {
        let newest = begun.len() - 1;
        let first = (newest + 1).saturating_sub(self.left.len());
        let mut steps = 0.0;
        for x in 0..self.left.len() {
            let mut none = 1.0;
            for (i, share) in begun.iter().enumerate().skip(first) {
                let tasks = share * workers;
                let left = self.left.get(newest - i + x).copied().unwrap_or(0.0);
                // So many tasks, or one perhaps.
                none *= if tasks >= 1.0 { (1.0 - left).powf(tasks) } else { 1.0 - tasks * left };
            }
            steps += 1.0 - none;
            if none > 1.0 - 1e-9 {
                break;
            }
        }
        steps
    }
}
