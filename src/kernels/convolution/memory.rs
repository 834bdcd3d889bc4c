//! Memory that starts at a cache line, for many threads that each write their own part.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Zeroed numbers, of which threads write disjoint parts through a pointer.
pub(super) struct Arena {
    start: NonNull<f32>,
    floats: usize,
}

// SAFETY: an arena is plain memory; who uses its pointer has to say why nobody else does.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// So many zeros.
    pub(super) fn new(floats: usize) -> Self {
        let layout = layout(floats);
        // SAFETY: the layout has at least one line.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast()) else { handle_alloc_error(layout) };
        Self { start, floats }
    }

    /// A copy of `values`, padded with zeros.
    pub(super) fn of(values: &[f32]) -> Self {
        let arena = Self::new(values.len());
        // SAFETY: nobody else knows the memory yet, and it is as large as the values.
        unsafe { arena.pointer().copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        arena
    }

    pub(super) fn floats(&self) -> usize {
        self.floats
    }

    pub(super) fn pointer(&self) -> *mut f32 {
        self.start.as_ptr()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: made with this layout in `new`.
        unsafe { dealloc(self.start.as_ptr().cast(), layout(self.floats)) }
    }
}

fn layout(floats: usize) -> Layout {
    let bytes = floats.max(1).checked_mul(4).and_then(|bytes| bytes.checked_next_multiple_of(LINE));
    match bytes.map(|bytes| Layout::from_size_align(bytes, LINE)) {
        Some(Ok(layout)) => layout,
        _ => panic!("a picture of {floats} numbers"),
    }
}
