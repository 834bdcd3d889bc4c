//! A job played event by event: the check on the model of [`super::cost`]. Nothing of it is used to make pictures.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::cost::{Conditions, Workload};

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Played {
    /// Seconds until all segments were whole.
    pub seconds: f64,
    /// Seconds of workers.
    pub busy: f64,
    /// Attempts.
    pub attempts: u64,
    /// Workers that died.
    pub deaths: u64,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker takes tasks, for the first time or again.
    Free,
    /// A task waits again.
    Returned(usize),
}

/// Plays `workload` on `workers`; the same `seed` gives the same.
///
/// Workers take tasks in their order, those of dead workers first. A worker may die only while it works.
pub fn simulate(workload: &Workload, workers: usize, conditions: &Conditions, seed: u64) -> Played {
    let mut stage = Stage {
        conditions: *conditions,
        random: Random(seed),
        events: BinaryHeap::new(),
        order: 0,
        played: Played { seconds: 0.0, busy: 0.0, attempts: 0, deaths: 0 },
    };
    let mut waiting: VecDeque<usize> = (0..workload.tasks.len()).collect();
    let mut idle = 0;
    for _ in 0..workers {
        stage.at(0.0, Event::Free);
    }
    while let Some(Reverse((time, _, event))) = stage.events.pop() {
        let now = time as f64 / 1e6;
        match event {
            Event::Free => idle += 1,
            Event::Returned(task) => waiting.push_front(task),
        }
        if idle > 0
            && let Some(task) = waiting.pop_front()
        {
            idle -= 1;
            stage.begin(now, task, workload.tasks[task]);
        }
    }
    stage.played
}

/// What is under way.
struct Stage {
    conditions: Conditions,
    random: Random,
    /// Microseconds and an order for what happens at once.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    played: Played,
}

impl Stage {
    fn at(&mut self, seconds: f64, event: Event) {
        self.order += 1;
        self.events.push(Reverse(((seconds * 1e6).round() as u64, self.order, event)));
    }

    /// A worker takes a task of `seconds`.
    fn begin(&mut self, now: f64, task: usize, seconds: f64) {
        let slowness = self.conditions.slowness(self.random.next(), self.random.next());
        let takes = (seconds + self.conditions.start) * slowness;
        // Infinite where nobody dies.
        let lives = -(1.0 - self.random.next()).ln() / self.conditions.rate();
        self.played.attempts += 1;
        self.played.busy += takes.min(lives);
        if lives < takes {
            self.played.deaths += 1;
            self.at(now + lives + self.conditions.requeue, Event::Returned(task));
            self.at(now + lives + self.conditions.repair, Event::Free);
        } else {
            self.played.seconds = self.played.seconds.max(now + takes);
            self.at(now + takes, Event::Free);
        }
    }
}

/// Evenly distributed numbers from 0 to below 1, the same on every machine: SplitMix64 (Steele, Lea, Flood 2014,
/// doi:10.1145/2714064.2660195).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::FrameCosts;
    use super::*;

    fn quiet() -> Conditions {
        Conditions { start: 1.0, deaths_per_hour: 0.0, spread: 0.0, stragglers: 0.0, ..Conditions::default() }
    }

    /// Segments of half to one and a half times `frames` frames, as scene cuts leave them.
    fn film(count: u64, frames: u64) -> Workload {
        let mut end = 0;
        let next = |n: u64| {
            let first = end;
            end += frames / 2 + (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % frames;
            (first, end)
        };
        let segments: Vec<_> = (0..count).map(next).collect();
        Workload::planned(&segments, &FrameCosts { make: 0.5, read: 0.1, join: 0.02, overlap: 2, preroll: 24.0 })
    }

    #[test]
    fn without_chance_tasks_go_in_waves() {
        let workload = Workload { tasks: vec![9.0; 10], join: 5.0, alone: 90.0 };
        for (workers, waves) in [(1, 10.0), (3, 4.0), (5, 2.0), (9, 2.0), (10, 1.0), (64, 1.0)] {
            let played = simulate(&workload, workers, &quiet(), 1);
            assert!((played.seconds - 10.0 * waves).abs() < 1e-3, "{workers} workers: {played:?}");
            assert_eq!((played.attempts, played.deaths), (10, 0), "{workers} workers");
            let told = workload.predict(workers, &quiet());
            assert!((told.seconds - played.seconds).abs() < 0.3, "{workers} workers: {told:?}");
            assert!((told.speedup - 90.0 / (told.seconds + 5.0)).abs() < 1e-9, "{workers} workers: with the join");
        }
    }

    #[test]
    fn deaths_cost_attempts_as_foretold() {
        let workload = film(4000, 240);
        let deadly = Conditions { deaths_per_hour: 2.0, ..Conditions::default() };
        let (played, told) = (simulate(&workload, 50, &deadly, 7), workload.predict(50, &deadly));
        assert!(played.deaths > 200, "{played:?}");
        assert_eq!(played.attempts, 4000 + played.deaths, "every death is another attempt");
        assert!((told.attempts / played.attempts as f64 - 1.0).abs() < 0.02, "{told:?} {played:?}");
        assert!((told.busy / played.busy - 1.0).abs() < 0.02, "{told:?} {played:?}");
    }

    #[test]
    fn the_model_is_within_a_twelfth_of_the_mean_of_many_plays() {
        let hard = Conditions { deaths_per_hour: 0.1, stragglers: 0.1, slowest: 4.0, ..Conditions::default() };
        let mut worst = (0.0, String::new());
        for (name, conditions) in [("quiet", quiet()), ("usual", Conditions::default()), ("hard", hard)] {
            for count in [100, 720, 2880] {
                let workload = film(count, 172_800 / count);
                for workers in [1, 10, 64, 100, 300, 1000] {
                    let plays = 100;
                    let sum: f64 = (0..plays).map(|seed| simulate(&workload, workers, &conditions, seed).seconds).sum();
                    let (mean, told) = (sum / plays as f64, workload.predict(workers, &conditions).seconds);
                    let error = told / mean - 1.0;
                    println!(
                        "{name:6} {count:5} tasks {workers:5} workers: {mean:9.1} played, {told:9.1} told, {:+.1} %",
                        100.0 * error
                    );
                    if error.abs() > worst.0 {
                        worst = (
                            error.abs(),
                            format!("{name}, {count} tasks, {workers} workers: {mean} played, {told} told"),
                        );
                    }
                }
            }
        }
        assert!(worst.0 < 1.0 / 12.0, "{}", worst.1);
    }
}
