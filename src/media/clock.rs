//! Presentation times: taken from the file where it has them, made up only where it has none, always increasing.

/// Gives each frame its time, in ticks of the stream's time base.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    step: i64,
    last: Option<i64>,
    synthesised: u64,
    moved: u64,
}

impl Clock {
    /// `step` is the usual distance of two frames, at least one tick.
    pub(super) fn new(step: i64) -> Self {
        Self { step: step.max(1), last: None, synthesised: 0, moved: 0 }
    }

    /// The time of the next frame, for which the file says `told`.
    ///
    /// Without a time it follows the last frame by one step. A time that does not come after the last one cannot be
    /// written to any container: the frame is kept, one tick after the last.
    pub(super) fn place(&mut self, told: Option<i64>) -> i64 {
        let time = match (told, self.last) {
            (Some(t), Some(last)) if t <= last => {
                self.moved += 1;
                last.saturating_add(1)
            }
            (Some(t), _) => t,
            (None, last) => {
                self.synthesised += 1;
                last.map_or(0, |l| l.saturating_add(self.step))
            }
        };
        self.last = Some(time);
        time
    }

    /// The usual distance of two frames in ticks.
    pub(super) fn step(&self) -> i64 {
        self.step
    }

    /// Frames without a time in the file.
    pub(super) fn synthesised(&self) -> u64 {
        self.synthesised
    }

    /// Frames whose time in the file was not after the one before.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_always_increase(told in proptest::collection::vec(proptest::option::of(-1000i64..1000), 1..60), step in -3i64..50) {
            let mut clock = Clock::new(step);
            let times: Vec<i64> = told.iter().map(|t| clock.place(*t)).collect();
            prop_assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
        }

        #[test]
        fn increasing_times_are_kept_exactly(mut told in proptest::collection::vec(any::<i32>(), 1..60)) {
            told.sort_unstable();
            told.dedup();
            let mut clock = Clock::new(40);
            for t in told {
                prop_assert_eq!(clock.place(Some(i64::from(t))), i64::from(t));
            }
            prop_assert_eq!((clock.synthesised(), clock.moved()), (0, 0));
        }
    }

    #[test]
    fn missing_times_follow_by_one_step_and_are_counted() {
        let mut clock = Clock::new(40);
        let times: Vec<i64> = [Some(7), None, None, Some(200), Some(150)].into_iter().map(|t| clock.place(t)).collect();
        assert_eq!(times, [7, 47, 87, 200, 201], "times");
        assert_eq!((clock.synthesised(), clock.moved()), (2, 1), "counts");
    }
}
