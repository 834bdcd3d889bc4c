//! Asking for memory before it is needed.
//!
//! A CPU follows what is read one after the other by itself, but not from one page of 4 KiB to the next, as it does not know where that one
//! lies. Where a few such streams are read at once, most of the waiting is at their pages' beginnings.

/// Asks for the cache line that lies `count` values after `value`; that may be anywhere. Nothing is waited for.
#[inline(always)]
pub(crate) fn fetch_ahead<T>(value: &T, count: usize) {
    fetch::<T, true>(value, count);
}

/// [`fetch_ahead`] for what is needed much later: as far as the second cache.
#[inline(always)]
pub(crate) fn fetch_far_ahead<T>(value: &T, count: usize) {
    fetch::<T, false>(value, count);
}

#[inline(always)]
fn fetch<T, const NEAR: bool>(value: &T, count: usize) {
    let place = std::ptr::from_ref(value).wrapping_add(count);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: all of them have the instruction; it reads no value, and passes over what is no memory.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if NEAR {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T1>(place.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
