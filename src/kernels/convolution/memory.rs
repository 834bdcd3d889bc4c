//! Memory that starts at a cache line, for many threads that each write their own part.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::super::pages::{HUGE, advise};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory that the system does not give: so many bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoMemory(pub(crate) usize);

/// Zeroed numbers, of which threads write disjoint parts through a pointer.
pub(super) struct Arena {
    start: NonNull<f32>,
    floats: usize,
    layout: Layout,
}

// SAFETY: an arena is plain memory; who uses its pointer has to say why nobody else does.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// So many zeros.
    pub(super) fn new(floats: usize) -> Self {
        let layout = layout(floats, LINE);
        Self::zeroed(floats, layout, false).unwrap_or_else(|_| handle_alloc_error(layout))
    }

    /// The same on huge pages, where the system has them: what is used all the time then lies at places of its own in the caches,
    /// and the many streams of a unit need few entries of the table of pages.
    pub(super) fn huge(floats: usize) -> Result<Self, NoMemory> {
        Self::zeroed(floats, layout(floats, HUGE), true)
    }

    fn zeroed(floats: usize, layout: Layout, huge: bool) -> Result<Self, NoMemory> {
        // SAFETY: the layout has at least one line.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(NoMemory(layout.size()))?;
        if huge {
            // SAFETY: the pages belong to this memory alone.
            unsafe { advise(start.as_ptr(), layout.size()) };
        }
        // SAFETY: the memory is as large as its layout.
        unsafe { start.as_ptr().write_bytes(0, layout.size()) };
        Ok(Self { start: start.cast(), floats, layout })
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

    /// Bytes taken from the system.
    pub(super) fn bytes(&self) -> usize {
        self.layout.size()
    }

    pub(super) fn pointer(&self) -> *mut f32 {
        self.start.as_ptr()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: made with this layout.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// Bytes that [`Arena::huge`] takes for so many numbers.
pub(super) fn huge_bytes(floats: usize) -> usize {
    layout(floats, HUGE).size()
}

fn layout(floats: usize, align: usize) -> Layout {
    let bytes = floats.max(1).checked_mul(4).and_then(|bytes| bytes.checked_next_multiple_of(align));
    match bytes.map(|bytes| Layout::from_size_align(bytes, align)) {
        Some(Ok(layout)) => layout,
        _ => panic!("a picture of {floats} numbers"),
    }
}
