//! Rows of numbers that start at a cache line, so that loads of sixteen do not straddle two.
//!
//! The heap gives addresses 16 bytes beyond a line for large buffers: each load of a whole vector then reads two lines.
//! Steps of the iteration take a fifteenth less time where rows start at one (the margins of a row are whole lines as
//! well, see `grid`), and a fiftieth less on huge pages: a step goes through several pictures at once, and looks a new page of
//! each up every other row. Nothing is computed here.

use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

use crate::kernels::pages::{HUGE, ask_for_huge, touch};

/// Numbers in a cache line.
const LINE: usize = 16;

/// Numbers of which the first lies at the start of a cache line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Lines {
    /// So many zeros. Their memory is taken from the system now, by all threads: stages are made while cores idle.
    pub(super) fn new(len: usize) -> Self {
        let mut data = vec![0.0; len + LINE - 1];
        ask_for_huge(&mut data);
        data.par_chunks_mut(HUGE / size_of::<f32>()).for_each(touch);
        // Where the address cannot be told the start of the memory does as well, only slower.
        let start = Some(data.as_ptr().align_offset(4 * LINE)).filter(|start| *start < LINE).unwrap_or(0);
        Self { data, start, len }
    }

    /// Makes room for so many; zeros if that is another number than before.
    pub(super) fn resize(&mut self, len: usize) {
        if self.len != len {
            *self = Self::new(len);
        }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_start_at_a_cache_line_and_hold_what_they_are_told_to() {
        for len in [0, 1, 16, 1000, 100_003] {
            let mut lines = Lines::new(len);
            assert_eq!((lines.len(), lines.as_ptr() as usize % 64), (len, 0), "{len} numbers");
            lines.fill(1.0);
            lines.resize(len);
            assert!(lines.iter().all(|v| *v == 1.0), "the same number stays");
            lines.resize(len + 1);
            assert!(lines.len() == len + 1 && lines.iter().all(|v| *v == 0.0), "another number is new");
        }
    }
}
