//! The rows of a picture, shared among tasks as they come.
//!
//! A task that fills a stretch of rows from top to bottom pays for its first ones (filters reach across the border), so stretches
//! should be long; but equal ones are not done at the same time, as motion has its borders somewhere and threads have other work. So
//! a task takes one share of a few dozen rows after the other, as long as nobody has taken the next one, and then goes to the
//! middle of the longest stretch that is left. Who fills a row does not show in it.

use std::sync::{Mutex, PoisonError};

/// Rows of a share.
const ROWS: usize = 32;

/// Rows that wait to be filled.
#[derive(Debug)]
pub(super) struct Shares<'a> {
    /// Shares from top to bottom, `None` once taken.
    left: Mutex<Vec<Option<&'a mut [f32]>>>,
    stride: usize,
}

/// Successive rows that one task fills.
#[derive(Debug)]
pub(super) struct Stretch<'s, 'a> {
    shares: &'s Shares<'a>,
    /// Number of the share it has come to.
    at: usize,
    rows: &'a mut [f32],
}

impl<'a> Shares<'a> {
    /// The rows of `picture`, each of `stride` numbers.
    pub(super) fn new(picture: &'a mut [f32], stride: usize) -> Self {
        Self { left: Mutex::new(picture.chunks_mut(ROWS * stride).map(Some).collect()), stride }
    }

    /// Rows for a task that has none; `None` when all are taken.
    pub(super) fn begin(&self) -> Option<Stretch<'_, 'a>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let at = place_to_begin(left.iter().map(Option::is_some))?;
        let rows = left.get_mut(at)?.take()?;
        Some(Stretch { shares: self, at, rows })
    }
}

/// The middle of the longest free stretch, as somebody may be on the way to its start; the start if that is the first of all.
fn place_to_begin(free: impl Iterator<Item = bool>) -> Option<usize> {
    let (mut longest, mut start) = (0..0, 0);
    for (at, is_free) in free.chain([false]).enumerate() {
        if !is_free {
            if at - start > longest.len() {
                longest = start..at;
            }
            start = at + 1;
        }
    }
    match longest {
        range if range.is_empty() => None,
        range if range.start == 0 => Some(0),
        range => Some(range.start + range.len() / 2),
    }
}

impl Stretch<'_, '_> {
    /// The first row of the share it has come to.
    pub(super) fn start(&self) -> usize {
        self.at * ROWS
    }

    /// The row after its last one.
    pub(super) fn end(&self) -> usize {
        self.start() + self.rows.len() / self.shares.stride
    }

    /// Row `y` of those from [`Self::start`] to [`Self::end`].
    pub(super) fn row(&mut self, y: usize) -> &mut [f32] {
        let stride = self.shares.stride;
        &mut self.rows[(y - self.at * ROWS) * stride..][..stride]
    }

    /// Goes on to the share that follows, unless it is taken or there is none.
    pub(super) fn go_on(&mut self) -> bool {
        let mut left = self.shares.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.get_mut(self.at + 1).and_then(Option::take) {
            Some(rows) => {
                (self.at, self.rows) = (self.at + 1, rows);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_begin_far_from_each_other() {
        let begin = |free: &[bool]| place_to_begin(free.iter().copied());
        assert_eq!(begin(&[true; 9]), Some(0), "the first one at the top");
        assert_eq!(begin(&[false, true, true, true, true]), Some(3), "the next one in the middle");
        assert_eq!(begin(&[false, true, false, true, true, true, false, true]), Some(4), "of the longest");
        assert_eq!(begin(&[false, false, true]), Some(2), "the last one");
        assert_eq!((begin(&[false; 4]), begin(&[])), (None, None), "nothing left");
    }

    #[test]
    fn every_row_is_filled_once_whoever_takes_it() {
        for (height, tasks) in [(1, 1), (31, 2), (32, 2), (200, 1), (200, 3), (1080, 2), (1080, 7)] {
            let stride = 3;
            let mut picture = vec![0.0; height * stride];
            let shares = Shares::new(&mut picture, stride);
            std::thread::scope(|scope| {
                for _ in 0..tasks {
                    scope.spawn(|| {
                        while let Some(mut stretch) = shares.begin() {
                            let mut y = stretch.start();
                            loop {
                                for y in y..stretch.end() {
                                    stretch.row(y).iter_mut().for_each(|v| *v += 1.0 + y as f32);
                                }
                                y = stretch.end();
                                if !stretch.go_on() {
                                    break;
                                }
                                assert_eq!(stretch.start(), y, "shares follow each other");
                            }
                        }
                    });
                }
            });
            let wanted: Vec<f32> = (0..height * stride).map(|i| 1.0 + (i / stride) as f32).collect();
            assert_eq!(picture, wanted, "{height} rows, {tasks} tasks");
        }
    }
}
