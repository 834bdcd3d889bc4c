//! Owners of FFmpeg's objects and the checks around its calls: the smallest layer that makes the rest ordinary Rust.
//!
//! Each owner frees what it holds exactly once. Enum fields that a file can fill with any number are read as plain
//! integers ([`raw_enum!`]), because a Rust enum with an unknown value is undefined behaviour.

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use ffmpeg_next::ffi;

use crate::error::{Error, Kind, Result};

/// Reads a field whose C type is an enum as an integer.
macro_rules! raw_enum {
    ($pointer:expr, $field:ident) => {
        std::ptr::addr_of!((*$pointer).$field).cast::<i32>().read()
    };
}
/// Writes a field whose C type is an enum as an integer.
macro_rules! set_raw_enum {
    ($pointer:expr, $field:ident, $value:expr) => {
        std::ptr::addr_of_mut!((*$pointer).$field).cast::<i32>().write($value)
    };
}
pub(super) use {raw_enum, set_raw_enum};

/// "No timestamp".
pub(super) const NO_TIME: i64 = ffi::AV_NOPTS_VALUE;

/// `AVERROR(EAGAIN)`: more input is needed before there is output.
pub(super) const AGAIN: c_int = ffi::AVERROR(libc::EAGAIN);

/// FFmpeg's text for an error code.
pub(super) fn error_text(code: c_int) -> String {
    ffmpeg_next::Error::from(code).to_string()
}

/// The kind of a failed FFmpeg call: what the operating system said, or `otherwise`.
pub(super) fn error_kind(code: c_int, otherwise: Kind) -> Kind {
    match -code {
        libc::ENOSPC | libc::EDQUOT | libc::ENOMEM | libc::EFBIG => Kind::Resource,
        libc::EIO | libc::EPIPE => Kind::Io,
        _ => otherwise,
    }
}

/// Turns a negative return value into an error that says what was being done.
pub(super) fn check(code: c_int, kind: Kind, doing: impl FnOnce() -> String) -> Result<c_int> {
    if code >= 0 {
        return Ok(code);
    }
    Err(Error::new(error_kind(code, kind), format!("{}: {}", doing(), error_text(code))))
}

/// A C string; an inner NUL is a usage error.
pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Kind::Usage, format!("{text:?} holds a NUL character")))
}

/// Text that FFmpeg owns, copied; empty for null.
///
/// # Safety
/// `text` is null or a NUL-terminated string.
pub(super) unsafe fn copied(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A time base or ratio as FFmpeg has it.
pub(super) fn rational(num: i32, den: i32) -> ffi::AVRational {
    ffi::AVRational { num, den }
}

/// `time` in units of `from` as units of `to`, rounded to nearest; "no time" stays.
pub(super) fn rescale(time: i64, from: ffi::AVRational, to: ffi::AVRational) -> i64 {
    if time == NO_TIME || from.den == 0 || to.num == 0 {
        return time;
    }
    // SAFETY: a pure function of numbers.
    unsafe {
        let rounding = ffi::AVRounding::AV_ROUND_NEAR_INF;
        ffi::av_rescale_q_rnd(time, from, to, rounding)
    }
}

/// An owned `AVDictionary`.
#[derive(Debug)]
pub(super) struct Dictionary(pub(super) *mut ffi::AVDictionary);

impl Dictionary {
    pub(super) fn new() -> Self {
        Self(ptr::null_mut())
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let (k, v) = (c_string(key)?, c_string(value)?);
        // SAFETY: both strings live across the call; FFmpeg copies them.
        let code = unsafe { ffi::av_dict_set(&mut self.0, k.as_ptr(), v.as_ptr(), 0) };
        check(code, Kind::Resource, || format!("setting option {key}")).map(drop)
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> Vec<(String, String)> {
        // SAFETY: `self.0` is a dictionary or null, both allowed.
        unsafe { entries_of(self.0) }
    }
}

impl Drop for Dictionary {
    fn drop(&mut self) {
        // SAFETY: owned; freeing null is allowed.
        unsafe { ffi::av_dict_free(&mut self.0) };
    }
}

/// Entries of a dictionary that FFmpeg owns.
///
/// # Safety
/// `dictionary` is null or valid.
pub(super) unsafe fn entries_of(dictionary: *const ffi::AVDictionary) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut entry = ptr::null();
    loop {
        // SAFETY: by the caller's promise; the empty key with IGNORE_SUFFIX walks all entries.
        entry = unsafe { ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX as c_int) };
        if entry.is_null() {
            return all;
        }
        // SAFETY: an entry has two valid strings.
        all.push(unsafe { (copied((*entry).key), copied((*entry).value)) });
    }
}

/// Defines an owner of one FFmpeg object: `owner!(Name, CType, "what for", free)`.
macro_rules! owner {
    ($name:ident, $ctype:ident, $doc:literal, $alloc:expr, $free:ident) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub(super) struct $name(*mut ffi::$ctype);

        // SAFETY: the object is owned by this value alone and FFmpeg ties none of them to a thread.
        unsafe impl Send for $name {}

        impl $name {
            pub(super) fn new() -> Result<Self> {
                // SAFETY: allocation has no preconditions.
                let pointer = unsafe { $alloc };
                if pointer.is_null() {
                    return Err(Error::new(Kind::Resource, concat!("no memory for ", stringify!($ctype))));
                }
                Ok(Self(pointer))
            }

            pub(super) fn as_ptr(&self) -> *mut ffi::$ctype {
                self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: owned and freed once.
                unsafe { ffi::$free(&mut self.0) };
            }
        }
    };
}

owner!(Packet, AVPacket, "An owned packet.", ffi::av_packet_alloc(), av_packet_free);
owner!(Picture, AVFrame, "An owned frame of FFmpeg.", ffi::av_frame_alloc(), av_frame_free);

impl Packet {
    /// Drops the reference to the data, keeping the packet.
    pub(super) fn clear(&self) {
        // SAFETY: the packet is valid.
        unsafe { ffi::av_packet_unref(self.0) };
    }
}

impl Picture {
    /// Drops the reference to the picture, keeping the frame.
    pub(super) fn clear(&self) {
        // SAFETY: the frame is valid.
        unsafe { ffi::av_frame_unref(self.0) };
    }
}

/// An owned codec context, opened or not.
#[derive(Debug)]
pub(super) struct Codec(*mut ffi::AVCodecContext);

// SAFETY: owned by this value alone; FFmpeg's own worker threads are joined when it is freed.
unsafe impl Send for Codec {}

impl Codec {
    /// A context for `codec`, not opened.
    pub(super) fn new(codec: *const ffi::AVCodec) -> Result<Self> {
        // SAFETY: `codec` comes from avcodec_find_*; allocation copes with null.
        let pointer = unsafe { ffi::avcodec_alloc_context3(codec) };
        if pointer.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for a codec"));
        }
        Ok(Self(pointer))
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVCodecContext {
        self.0
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        // SAFETY: owned and freed once.
        unsafe { ffi::avcodec_free_context(&mut self.0) };
    }
}

/// A stream of a format context that outlives the returned borrow.
///
/// # Safety
/// `context` is a valid format context and stays so while the slice is used.
pub(super) unsafe fn streams<'a>(context: *const ffi::AVFormatContext) -> &'a [*mut ffi::AVStream] {
    // SAFETY: FFmpeg keeps `nb_streams` valid pointers at `streams`.
    unsafe {
        if (*context).nb_streams == 0 {
            return &[];
        }
        std::slice::from_raw_parts((*context).streams, (*context).nb_streams as usize)
    }
}

/// A packet's time as "known" or not.
pub(super) fn known(time: i64) -> Option<i64> {
    (time != NO_TIME).then_some(time)
}
