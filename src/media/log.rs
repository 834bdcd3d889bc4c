//! What FFmpeg says while it works: collected instead of printed.
//!
//! Demuxers and decoders report much of the damage in a file only in words (a file that ends early, concealed
//! macroblocks), so their error messages are counted as damage, and shown if the user wants details. Messages of
//! other parts are kept as the likely cause of the next failed call. Several files may be open at once: what the thread of a
//! call has said goes before what others have.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use ffmpeg_next::ffi;

/// Messages kept; older ones are dropped, their number is not.
const KEPT: usize = 64;

#[derive(Debug, Default)]
struct Collected {
    /// The thread that said it, and what it said.
    lines: VecDeque<(u64, String)>,
    input_errors: u64,
    last_input_error: String,
}

static COLLECTED: Mutex<Option<Collected>> = Mutex::new(None);
static INSTALLED: Once = Once::new();
/// Number of the next thread that says something.
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Number of this thread, 0 as long as it has none.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Whether what this thread says of an input is known already.
    static REPEATING: Cell<bool> = const { Cell::new(false) };
}

fn with<T>(f: impl FnOnce(&mut Collected) -> T) -> T {
    f(COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Collected::default))
}

/// Starts collecting; later calls do nothing.
pub(super) fn install() {
    INSTALLED.call_once(|| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `collect` has the callback's signature and may be called from any thread.
        unsafe {
            ffi::av_log_set_level(ffi::AV_LOG_WARNING);
            ffi::av_log_set_callback(Some(collect));
        }
        // The type of a variable argument list differs elsewhere: FFmpeg stays silent, damage is seen by codes only.
        #[cfg(not(target_arch = "x86_64"))]
        // SAFETY: sets a number.
        unsafe {
            ffi::av_log_set_level(ffi::AV_LOG_QUIET);
        }
    });
}

/// Whether messages are collected on this machine; otherwise damage is seen by codes and flags only.
pub(super) const COLLECTS: bool = cfg!(target_arch = "x86_64");

/// Number of errors that demuxers and decoders have reported so far in this process, and the last one's text.
pub(super) fn input_errors() -> (u64, String) {
    with(|c| (c.input_errors, c.last_input_error.clone()))
}

/// The last message, if any, of this thread rather than of others (codecs have threads of their own): the likely cause of a call
/// that has just failed.
pub(super) fn last_message() -> Option<String> {
    let this = this_thread();
    with(|c| {
        let own = c.lines.iter().rfind(|(thread, _)| *thread == this);
        own.or(c.lines.back()).map(|(_, line)| line.clone())
    })
}

/// Drops what this thread said so far, before a call whose failure its own words are to explain.
pub(super) fn forget() {
    let this = this_thread();
    with(|c| c.lines.retain(|(thread, _)| *thread != this));
}

/// Does what has been done before with the same input: what this thread says of it meanwhile is not counted again.
pub(super) fn repeating<T>(work: impl FnOnce() -> T) -> T {
    let before = REPEATING.replace(true);
    let done = work();
    REPEATING.set(before);
    done
}

fn this_thread() -> u64 {
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn collect(context: *mut c_void, level: c_int, format: *const c_char, args: *mut ffi::__va_list_tag) {
    if level > ffi::AV_LOG_ERROR {
        return;
    }
    let mut line = [0 as c_char; 512];
    let mut prefix: c_int = 0;
    // SAFETY: FFmpeg hands over a valid format and argument list; the buffer's size is given.
    unsafe {
        ffi::av_log_format_line2(context, level, format, args, line.as_mut_ptr(), line.len() as c_int, &mut prefix);
    }
    // SAFETY: the function above terminates the line.
    let text = unsafe { super::ffi::copied(line.as_ptr()) }.trim().to_owned();
    // SAFETY: `context` is null or points to an object that starts with its class.
    let of_input = !REPEATING.get() && unsafe { reads_input(context) };
    let this = this_thread();
    with(|c| {
        if of_input {
            c.input_errors += 1;
            c.last_input_error.clone_from(&text);
        }
        if c.lines.len() == KEPT {
            c.lines.pop_front();
        }
        c.lines.push_back((this, text));
    });
}

/// Whether a message comes from a demuxer or decoder.
///
/// # Safety
/// `context` is null or points to a struct whose first field is a pointer to its `AVClass`.
#[cfg(target_arch = "x86_64")]
unsafe fn reads_input(context: *mut c_void) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        if context.is_null() {
            return false;
        }
        let class = *context.cast::<*const ffi::AVClass>();
        if class.is_null() {
            return false;
        }
        let category = match (*class).get_category {
            Some(category) => category(context) as i32,
            None => super::ffi::raw_enum!(class, category),
        };
        category == ffi::AVClassCategory::AV_CLASS_CATEGORY_DEMUXER as i32
            || category == ffi::AVClassCategory::AV_CLASS_CATEGORY_DECODER as i32
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Says `text` as FFmpeg's H.264 decoder would.
    fn say(text: &std::ffi::CStr) {
        install();
        // SAFETY: a decoder's context, freed here; the text has nothing that is to be filled in.
        unsafe {
            let mut decoder = ffi::avcodec_alloc_context3(ffi::avcodec_find_decoder(ffi::AVCodecID::AV_CODEC_ID_H264));
            ffi::av_log(decoder.cast(), ffi::AV_LOG_ERROR, text.as_ptr());
            ffi::avcodec_free_context(&mut decoder);
        }
    }

    #[test]
    fn what_this_thread_said_goes_before_what_others_said() {
        say(c"own words");
        std::thread::scope(|scope| scope.spawn(|| say(c"other words")).join()).expect("said");
        assert!(last_message().is_some_and(|said| said.contains("own words")), "{:?}", last_message());
        forget();
        assert!(!last_message().is_some_and(|said| said.contains("own words")), "forgotten");
    }

    #[test]
    fn what_is_said_again_does_not_count() {
        // Other tests of this process say something, too: in one of many times nothing comes between.
        let last = |text: &str| input_errors().1.contains(text);
        let counted = || {
            say(c"for the first time");
            last("for the first time")
        };
        assert!((0..100).any(|_| counted()), "what is said once counts");
        repeating(|| say(c"once more"));
        assert!(!last("once more"), "what is said again does not");
        assert!((0..100).any(|_| counted()), "and then all does");
    }
}
