//! Huge pages of memory, for what is large and written at once.
//!
//! The system gives memory when it is first written, page by page: 3 µs for 4 KiB on a virtual machine, so 18 ms for the result of
//! a network at 1920x1080. On pages of 2 MiB that is a few.

/// Bytes of a page.
const PAGE: usize = 4 << 10;
/// Bytes of a huge page.
pub(crate) const HUGE: usize = 2 << 20;

/// Asks for huge pages where `values` lie, as far as they are whole ones and not written yet. What is in them stays.
pub(crate) fn ask_for_huge(values: &mut [f32]) {
    let start = values.as_mut_ptr().cast::<u8>();
    let before = start.align_offset(HUGE);
    let whole = size_of_val(values).saturating_sub(before) / HUGE * HUGE;
    if whole > 0 {
        // SAFETY: so many bytes from there on are part of the values.
        unsafe { advise(start.add(before), whole) };
    }
}

/// Has the system give the memory of `values` now, by writing to each of its pages: some of them are 0 then.
pub(crate) fn touch(values: &mut [f32]) {
    // What is known to be 0 would not be written otherwise.
    std::hint::black_box(values).iter_mut().step_by(PAGE / size_of::<f32>()).for_each(|value| *value = 0.0);
}

/// Asks for huge pages. Systems that do not have them say so, which does no harm.
///
/// # Safety
/// The bytes belong to the caller, and `start` is at the beginning of a page.
pub(super) unsafe fn advise(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the pages belong to the caller, and the advice changes nothing that is in them.
    unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_what_they_are_wherever_they_begin() {
        let mut values: Vec<f32> = (0..3 << 19).map(|n| n as f32).collect();
        for start in [0, 1, 1 << 19, (3 << 19) - 1, 3 << 19] {
            ask_for_huge(&mut values[start..]);
        }
        assert!(values.iter().enumerate().all(|(n, value)| *value == n as f32), "advice changes nothing");
        values.fill(1.0);
        touch(&mut values);
        let written: Vec<usize> = (0..values.len()).filter(|n| values[*n] == 0.0).collect();
        assert_eq!(written, (0..3 << 9).map(|page| page << 10).collect::<Vec<_>>(), "one of each page");
    }
}
