//! Opening inputs safely: local files only, no format that opens further files, limits on what a header may claim.
//!
//! A name is never passed to FFmpeg as it is: `http:x.mp4` is a legal file name, so every path becomes `file:` plus
//! the path. Playlists and scripts (hls, concat, dash, ...) are kept out by allowing all formats but a list of those, because the
//! extension of a file says nothing about what it is read as.

use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use ffmpeg_next::{ffi, format};

use super::ffi::{Dictionary, check, copied, error_text, streams};
use super::log;
use crate::error::{Error, Kind, Result};

/// What to read and how far to trust it.
#[derive(Debug, Clone)]
pub struct InputSpec {
    /// A file, a numbered sequence (`%04d.png`), or `-` for y4m on standard input.
    pub path: PathBuf,
    /// Lets FFmpeg follow network addresses and formats that open further files.
    pub allow_network: bool,
    /// Frames a second of a numbered sequence; 25 if not given.
    pub sequence_rate: Option<(i32, i32)>,
    /// Most pixels a picture may have.
    pub max_pixels: u64,
}

impl InputSpec {
    /// 8192 x 8192: film scans at 8K fit, a header that lies does not fill the memory.
    pub const DEFAULT_MAX_PIXELS: u64 = 1 << 26;

    /// A local file with the default limits.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), allow_network: false, sequence_rate: None, max_pixels: Self::DEFAULT_MAX_PIXELS }
    }

    /// Whether this is standard input.
    pub fn is_pipe(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    fn is_url(&self) -> bool {
        self.allow_network && self.path.to_str().is_some_and(|p| p.contains("://"))
    }

    /// Whether this names a numbered sequence rather than one file.
    pub fn is_sequence(&self) -> bool {
        is_sequence_pattern(&self.path) && !self.path.exists()
    }
}

/// Whether the file name holds one `%d` or `%0Nd`.
pub fn is_sequence_pattern(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let Some((_, rest)) = name.split_once('%') else { return false };
    let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    digits.starts_with('d') && !digits.contains('%')
}

/// Formats that open other files or devices by themselves.
const OPEN_OTHERS: &[&str] = &[
    "hls",
    "applehttp",
    "concat",
    "concatf",
    "dash",
    "sdp",
    "rtsp",
    "rtp",
    "sap",
    "imf",
    "vobsub",
    "lavfi",
    "image2",
    "webm_dash_manifest",
    "mpjpeg",
    "ffmetadata",
    "tty",
    "bin",
    "xbin",
    "adf",
    "idf",
    "txd",
    "ipmovie",
    "rtmp",
    "tedcaptions",
    "alias_pix",
    "avisynth",
    "vapoursynth",
];

/// An opened input, its streams known.
pub(super) struct Input {
    context: format::context::Input,
    path: PathBuf,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Input {
    /// Opens `spec` and finds its streams.
    pub(super) fn open(spec: &InputSpec) -> Result<Self> {
        log::install();
        if !spec.is_pipe() && !spec.is_url() && !spec.is_sequence() {
            check_file(&spec.path)?;
        }
        let (url, demuxer, options) = plan(spec)?;
        let input = Self::open_with(spec, &url, demuxer, options)?;
        // SAFETY: the context is valid; no per-stream options.
        let code = unsafe { ffi::avformat_find_stream_info(input.as_ptr(), ptr::null_mut()) };
        check(code, Kind::Input, || "reading the streams".into()).map_err(|e| e.file(&spec.path))?;
        Ok(input)
    }

    /// Opens a file of packets that this program has written. They come as they are: nothing is looked up in them, and none is read
    /// ahead.
    pub(super) fn open_packets(path: &Path) -> Result<Self> {
        log::install();
        check_file(path)?;
        let mut options = Dictionary::new();
        options.set("format_whitelist", "nut")?;
        options.set("protocol_whitelist", "file")?;
        options.set("fflags", "noparse+nofillin")?;
        Self::open_with(&InputSpec::local(path), &file_url(path)?, ptr::null(), options)
    }

    fn open_with(
        spec: &InputSpec,
        url: &CStr,
        demuxer: *const ffi::AVInputFormat,
        mut options: Dictionary,
    ) -> Result<Self> {
        log::forget();
        let mut context = ptr::null_mut();
        // SAFETY: `url` and `options` live across the call; on failure FFmpeg frees the context and leaves null.
        let code = unsafe { ffi::avformat_open_input(&mut context, url.as_ptr(), demuxer, &mut options.0) };
        if code < 0 {
            return Err(refused(spec, code));
        }
        // SAFETY: opened above, owned from here on.
        let context = unsafe { format::context::Input::wrap(context) };
        Ok(Self { context, path: spec.path.clone() })
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVFormatContext {
        // SAFETY: hands out the pointer only; who uses it holds `self`, and no two threads share an `Input`.
        unsafe { self.context.as_ptr().cast_mut() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn streams(&self) -> &[*mut ffi::AVStream] {
        // SAFETY: the context is valid while `self` is, and so are its streams.
        unsafe { streams(self.as_ptr()) }
    }

    /// Side data of a stream as (type, bytes).
    pub(super) fn side_data(&self, stream: usize) -> Vec<(i32, Vec<u8>)> {
        let Some(stream) = self.context.stream(stream) else { return Vec::new() };
        let of = |data: ffmpeg_next::packet::SideData<'_>| {
            // SAFETY: the side data is valid while the stream is; the type is read as an integer.
            let kind = unsafe { super::ffi::raw_enum!(data.as_ptr(), type_) };
            (kind, data.data().to_vec())
        };
        stream.side_data().map(of).collect()
    }

    /// Short name of the container.
    pub(super) fn format_name(&self) -> String {
        // SAFETY: an opened input has a format with a static name.
        unsafe { copied((*(*self.as_ptr()).iformat).name) }
    }

    /// Goes to the last key frame at or before `target`, in ticks of `stream` or microseconds if that is -1. `false`
    /// if the container has no index to do so by: it is then where it was.
    pub(super) fn seek_before(&self, stream: i32, target: i64) -> bool {
        let context = self.as_ptr();
        // SAFETY: the context is open, its format static, its streams valid.
        unsafe {
            let clockless = ffi::AVFMT_TS_DISCONT | ffi::AVFMT_NOTIMESTAMPS;
            let indexed = |s: &*mut ffi::AVStream| ffi::avformat_index_get_entries_count(*s) > 1;
            if (*(*context).iformat).flags & clockless != 0 || !self.streams().iter().any(indexed) {
                return false;
            }
            ffi::avformat_seek_file(context, stream, i64::MIN, target, target, 0) >= 0
        }
    }

    /// Whether times in this container are a running clock (broadcast streams) rather than counted from the start.
    pub(super) fn has_running_clock(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*(*self.as_ptr()).iformat).flags & ffi::AVFMT_TS_DISCONT != 0 }
    }
}

/// Reads nothing yet: says in plain words why a path cannot be a video.
fn check_file(path: &Path) -> Result<()> {
    let unusable = |what: &str| Error::new(Kind::Input, what.to_owned()).file(path);
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(unusable("no such file").hint("check the name and the folder"))
        }
        Err(e) => Err(unusable("cannot be opened").caused_by(e)),
        Ok(m) if m.is_dir() => {
            Err(unusable("is a folder, not a video").hint("a numbered sequence is given as FOLDER/%04d.png"))
        }
        Ok(m) if !m.is_file() => Err(unusable("is not a regular file")
            .hint("y4m is read from a pipe with - as input: cat PIPE | subpel upscale - OUT")),
        Ok(m) if m.len() == 0 => Err(unusable("is empty (0 bytes)")),
        Ok(_) => std::fs::File::open(path).map(drop).map_err(|e| unusable("cannot be opened").caused_by(e)),
    }
}

/// The URL, the forced demuxer and the options for opening `spec`.
fn plan(spec: &InputSpec) -> Result<(CString, *const ffi::AVInputFormat, Dictionary)> {
    let mut options = Dictionary::new();
    let mut demuxer = ptr::null();
    let find = |name: &CStr| unsafe {
        // SAFETY: a valid string; the result is static or null.
        ffi::av_find_input_format(name.as_ptr())
    };
    let url = if spec.is_pipe() {
        demuxer = find(c"yuv4mpegpipe");
        options.set("protocol_whitelist", "pipe")?;
        c"pipe:0".to_owned()
    } else if spec.is_url() {
        super::ffi::c_string(&spec.path.to_string_lossy())?
    } else if spec.is_sequence() {
        sequence_url(&spec.path)?
    } else {
        file_url(&spec.path)?
    };
    if spec.is_sequence() {
        demuxer = find(c"image2");
        let (num, den) = spec.sequence_rate.unwrap_or((25, 1));
        options.set("framerate", &format!("{num}/{den}"))?;
        let first = sequence_files(&spec.path).first().map(|(number, _)| *number);
        let missing = || Error::new(Kind::Input, "no file of this numbered sequence exists").file(&spec.path);
        options.set("start_number", &first.ok_or_else(missing)?.to_string())?;
        options.set("pattern_type", "sequence")?;
    } else if !spec.allow_network && demuxer.is_null() {
        options.set("format_whitelist", &allowed_formats())?;
    }
    if !spec.allow_network && !spec.is_pipe() {
        options.set("protocol_whitelist", "file")?;
    }
    Ok((url, demuxer, options))
}

/// `file:` and the path, which may hold any bytes but NUL.
pub(super) fn file_url(path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec();
    #[cfg(not(unix))]
    let bytes = path.to_string_lossy().into_owned().into_bytes();
    CString::new([b"file:", &bytes[..]].concat())
        .map_err(|_| Error::new(Kind::Usage, "a file name holds a NUL character"))
}

/// All demuxers of this FFmpeg but those that open others, as FFmpeg's option wants them.
fn allowed_formats() -> String {
    let mut names = Vec::new();
    let mut state = ptr::null_mut();
    loop {
        // SAFETY: FFmpeg's own iteration; demuxers are static.
        let demuxer = unsafe { ffi::av_demuxer_iterate(&mut state) };
        if demuxer.is_null() {
            return names.join(",");
        }
        // SAFETY: as above.
        let name = unsafe { copied((*demuxer).name) };
        if !name.split(',').any(|part| OPEN_OTHERS.contains(&part)) {
            names.push(name);
        }
    }
}

/// The URL of a numbered sequence: per cent signs of its folder are not part of the pattern.
pub(super) fn sequence_url(pattern: &Path) -> Result<CString> {
    let name = pattern.file_name().unwrap_or_default();
    let folder = folder_of(pattern).to_string_lossy().replace('%', "%%");
    file_url(&Path::new(&folder).join(name))
}

/// The folder a path lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether `file` has a name that belongs to the numbered sequence `pattern`, whatever its folder, and its number.
pub(super) fn sequence_number(pattern: &Path, file: &Path) -> Option<u64> {
    let (prefix, rest) = pattern.file_name()?.to_str()?.split_once('%')?;
    let suffix = rest.split_once('d')?.1;
    let digits = file.file_name()?.to_str()?.strip_prefix(prefix)?.strip_suffix(suffix)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The files of a numbered sequence and their numbers, in order.
pub fn sequence_files(pattern: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder_of(pattern)) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path());
    let mut files: Vec<_> = paths.filter_map(|p| Some((sequence_number(pattern, &p)?, p))).collect();
    files.sort_unstable();
    files
}

/// The error of an input that FFmpeg would not open.
fn refused(spec: &InputSpec, code: c_int) -> Error {
    let said = log::last_message().unwrap_or_default();
    if said.contains("not on whitelist") || said.contains("not in whitelist") {
        return Error::new(Kind::Input, format!("is a playlist or another format that opens further files ({said})"))
            .hint("give the video file itself, or allow it with --allow-network if you trust it")
            .file(&spec.path);
    }
    let name = if spec.is_pipe() { Path::new("standard input") } else { &spec.path };
    // A header that ends too early is an "Input/output error" to some demuxers: it is the file all the same.
    let kind = if -code == libc::ENOMEM { Kind::Resource } else { Kind::Input };
    if spec.is_pipe() {
        return Error::new(kind, "is not y4m, the only format that is read from a pipe")
            .hint("ffmpeg -i FILE -f yuv4mpegpipe - | subpel upscale - OUT")
            .file(name);
    }
    Error::new(kind, format!("is not a video that FFmpeg can read: {}", error_text(code))).file(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_from_names() {
        for (name, yes) in [
            ("a/%04d.png", true),
            ("%d.png", true),
            ("f-%3d", true),
            ("100%.mkv", false),
            ("%s.png", false),
            ("plain.png", false),
            ("%d%d.png", false),
        ] {
            assert_eq!(is_sequence_pattern(Path::new(name)), yes, "{name}");
        }
    }

    #[test]
    fn formats_that_open_others_are_not_allowed() {
        let allowed = allowed_formats();
        let names: Vec<&str> = allowed.split(',').collect();
        for bad in ["hls", "concat", "dash", "sdp", "image2"] {
            assert!(!names.contains(&bad), "{bad} is allowed");
        }
        for good in ["mov", "matroska", "mpegts", "h264", "png_pipe", "yuv4mpegpipe"] {
            assert!(names.contains(&good), "{good} is missing");
        }
    }
}
