//! Which encoder, and how it is set up: time base, colour tags, options, and the errors of wrong ones.

use std::ffi::c_int;
use std::path::Path;

use ffmpeg_next::ffi;

use super::encoder::EncoderSpec;
use super::ffi::{Dictionary, c_string, copied, error_text, rational, set_raw_enum};
use super::format_choice::needs_full;
use super::info::VideoInfo;
use super::log;
use super::pixel::Native;
use crate::color::Range;
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout};

/// What of the container an encoder has to know.
pub(super) struct Container<'a> {
    pub(super) format: *const ffi::AVOutputFormat,
    pub(super) path: &'a Path,
    pub(super) pipe: bool,
}

impl Container<'_> {
    /// FFmpeg's short name.
    pub(super) fn name(&self) -> String {
        // SAFETY: formats of FFmpeg are static.
        unsafe { copied((*self.format).name) }
    }

    /// Whether frames have no times of their own in it, or only multiples of the frame distance.
    pub(super) fn has_fixed_rate(&self) -> bool {
        matches!(self.name().as_str(), "yuv4mpegpipe" | "avi")
    }
}

/// The encoder the user named, or the usual one of the container.
pub(super) fn find_codec(spec: &EncoderSpec, container: &Container<'_>) -> Result<*const ffi::AVCodec> {
    let by_name = |name: &str| -> Result<*const ffi::AVCodec> {
        let text = c_string(name)?;
        // SAFETY: a valid string; the result is static or null.
        Ok(unsafe { ffi::avcodec_find_encoder_by_name(text.as_ptr()) })
    };
    if let Some(name) = &spec.codec {
        let codec = by_name(name)?;
        // SAFETY: not null in the second test.
        if codec.is_null() || unsafe { super::ffi::raw_enum!(codec, type_) } != 0 {
            return Err(Error::new(Kind::Unavailable, format!("this FFmpeg has no video encoder {name:?}"))
                .hint("`ffmpeg -encoders` lists what it has"));
        }
        return Ok(codec);
    }
    if container.pipe {
        return by_name("wrapped_avframe");
    }
    // SAFETY: the format is FFmpeg's own and the id one it knows.
    unsafe {
        let holds = |id: ffi::AVCodecID| ffi::avformat_query_codec(container.format, id, 0) == 1;
        let formats = copied((*container.format).name);
        let usual = if formats.split(',').any(|f| f == "webm") {
            "libvpx-vp9"
        } else if holds(ffi::AVCodecID::AV_CODEC_ID_H264) && !formats.starts_with("image2") && formats != "rawvideo" {
            "libx264"
        } else {
            ""
        };
        if !usual.is_empty() {
            let codec = by_name(usual)?;
            if codec.is_null() {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("this FFmpeg has no encoder {usual}, the default for this container"),
                )
                .hint("name another with --codec"));
            }
            return Ok(codec);
        }
        let url = super::open::file_url(container.path)?;
        let id = ffi::av_guess_codec(
            container.format,
            std::ptr::null(),
            url.as_ptr(),
            std::ptr::null(),
            ffi::AVMediaType::AVMEDIA_TYPE_VIDEO,
        );
        let codec = ffi::avcodec_find_encoder(id);
        if codec.is_null() {
            return Err(Error::new(Kind::Unavailable, format!("no encoder is known for {}", container.path.display()))
                .hint("name one with --codec"));
        }
        Ok(codec)
    }
}

/// Fills the context's fields.
///
/// # Safety
/// `context` is fresh, `codec` its codec, the container's format is FFmpeg's own.
pub(super) unsafe fn configure(
    context: *mut ffi::AVCodecContext,
    codec: *const ffi::AVCodec,
    native: &Native,
    source: &VideoInfo,
    layout: &PictureLayout,
    spec: &EncoderSpec,
    container: &Container<'_>,
) {
    // SAFETY: by the caller's promise.
    unsafe {
        (*context).width = layout.width as c_int;
        (*context).height = layout.height as c_int;
        set_raw_enum!(context, pix_fmt, native.format.0);
        (*context).sample_aspect_ratio = rational(source.sample_aspect.0, source.sample_aspect.1);
        let (num, den) = source.frame_rate;
        if num > 0 {
            (*context).framerate = rational(num, den);
        }
        (*context).time_base = encoder_time_base(codec, source, container);
        (*context).thread_count = spec.threads as c_int;
        (*context).bits_per_raw_sample = c_int::from(native.depth);
        configure_color(context, native, source, layout);
        if (*container.format).flags & ffi::AVFMT_GLOBALHEADER != 0 {
            (*context).flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
        }
        if container.pipe {
            (*context).strict_std_compliance = -1;
        }
    }
}

/// # Safety
/// `context` is valid.
pub(super) unsafe fn configure_color(
    context: *mut ffi::AVCodecContext,
    native: &Native,
    source: &VideoInfo,
    layout: &PictureLayout,
) {
    let color = layout.color;
    let matrix = match (native.family, layout.family) {
        (ColorFamily::Rgb, _) => 0,
        (ColorFamily::YCbCr, ColorFamily::Rgb) => color.matrix_or_default(layout.height),
        _ => color.matrix,
    };
    let range = match color.range {
        _ if needs_full(native) => 2,
        Range::Full => 2,
        Range::Limited => 1,
        Range::Unspecified if native.family == ColorFamily::YCbCr && layout.family == ColorFamily::Rgb => 1,
        Range::Unspecified => 0,
    };
    // SAFETY: by the caller's promise; the numbers are H.273 code points as read.
    unsafe {
        set_raw_enum!(context, color_primaries, i32::from(color.primaries));
        set_raw_enum!(context, color_trc, i32::from(color.transfer));
        set_raw_enum!(context, colorspace, i32::from(matrix));
        set_raw_enum!(context, color_range, range);
        set_raw_enum!(context, chroma_sample_location, source.chroma_location);
    }
}

/// The source's own time base, so that every time is exact; the frame distance for codecs and containers with fixed
/// rates, which take the rate of the video from it.
///
/// # Safety
/// `codec` is from FFmpeg's registry.
pub(super) unsafe fn encoder_time_base(
    codec: *const ffi::AVCodec,
    source: &VideoInfo,
    container: &Container<'_>,
) -> ffi::AVRational {
    let (num, den) = source.frame_rate;
    // SAFETY: by the caller's promise.
    let (fixed_rates, short) =
        unsafe { (!(*codec).supported_framerates.is_null(), copied((*codec).name).starts_with("mpeg4")) };
    if num > 0 && (container.has_fixed_rate() || fixed_rates || (short && source.time_base.1 > 65_535)) {
        return rational(den, num);
    }
    rational(source.time_base.0, source.time_base.1)
}

/// Options for the encoder: its own, the user's, and what HDR needs said twice.
pub(super) fn options_for(
    spec: &EncoderSpec,
    name: &str,
    context: *mut ffi::AVCodecContext,
    source: &VideoInfo,
) -> Result<Dictionary> {
    let mut options = Dictionary::new();
    // SAFETY: private data of a fresh context, or null.
    let has = |key: &std::ffi::CStr| unsafe {
        let private = (*context).priv_data;
        !private.is_null() && !ffi::av_opt_find(private, key.as_ptr(), std::ptr::null(), 0, 0).is_null()
    };
    if let Some(crf) = spec.crf {
        if !has(c"crf") {
            return Err(Error::new(Kind::Usage, format!("encoder {name} has no --crf"))
                .hint("set its own options with --encoder-option NAME=VALUE"));
        }
        options.set("crf", &crf.to_string())?;
        if name.starts_with("libvpx") {
            options.set("b", "0")?;
        }
    } else if let Some(crf) = default_crf(name) {
        options.set("crf", crf)?;
        if name.starts_with("libvpx") {
            options.set("b", "0")?;
        }
    }
    if spec.in_parts {
        // SAFETY: a fresh context has its codec.
        refuse_in_parts(spec, name, has(c"crf"), unsafe { (*context).codec_id })?;
    }
    let parts = part_option(name).filter(|_| spec.in_parts);
    let words = |(key, value): (&'static str, &str)| (key, value.to_owned());
    let own = quiet_option(name).map(words).into_iter().chain(super::hdr::encoder_option(name, &source.hdr));
    let own = own.chain(parts.map(words));
    let users = spec.options.iter().map(|(k, v)| (k.as_str(), v.clone()));
    for (key, value) in own.chain(users) {
        // Lists of parameters are added to, or the user's would drop the HDR metadata.
        let joined = options.entries().into_iter().find(|(k, _)| k == key && k.ends_with("-params"));
        options.set(key, &joined.map_or(value.clone(), |(_, ours)| format!("{ours}:{value}")))?;
    }
    Ok(options)
}

/// Has encoders that write to standard error by themselves say no more than what is wrong.
fn quiet_option(name: &str) -> Option<(&'static str, &'static str)> {
    (name == "libx265").then_some(("x265-params", "log-level=warning"))
}

/// What has encoders make parts that fit together: headers that depend neither on the pictures nor on the machine, and no picture that
/// needs one of another part. The others do so by themselves.
fn part_option(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        "libx264" | "libx264rgb" => Some(("x264-params", "stitchable=1")),
        // Its headers tell the kind of processor, unless it is asked not to.
        "libx265" => Some(("x265-params", "open-gop=0:info=0")),
        _ => None,
    }
}

/// Options that concern the rate of a whole video.
const RATES: &[&str] =
    &["b", "ab", "maxrate", "minrate", "bufsize", "rc_init_occupancy", "pass", "passlogfile", "stats"];
/// The same within lists of parameters.
const PARAMETER_RATES: &[&str] =
    &["bitrate", "pass", "stats", "vbv-maxrate", "vbv-bufsize", "vbv-init", "rc", "tbr", "mbr"];
/// Codecs whose pictures have rates of their own, though FFmpeg does not call them both lossless and each coded alone.
const ALONE: &[&str] = &["prores", "dnxhd", "cfhd", "jpeg2000", "dvvideo", "vc2", "hap", "ffv1"];

/// Refuses what cannot be encoded in parts: a rate that is controlled starts anew with each of them.
fn refuse_in_parts(spec: &EncoderSpec, name: &str, has_crf: bool, codec: ffi::AVCodecID) -> Result<()> {
    let listed = |key: &str, value: &str| {
        let keys = value.split(':').filter_map(|part| part.split('=').next()).map(|key| key.replace('_', "-"));
        (key.ends_with("-params") || key == "x264opts") && keys.into_iter().any(|key| PARAMETER_RATES.contains(&&*key))
    };
    if let Some((key, value)) = spec.options.iter().find(|(k, v)| RATES.contains(&k.as_str()) || listed(k, v)) {
        let message =
            format!("{key}={value} rules the rate of a whole video, which segments encoded by themselves do not know");
        return Err(Error::new(Kind::Usage, message).hint("take --crf, or leave out --encode-per-segment"));
    }
    // SAFETY: descriptors and their names are static.
    let by_itself = unsafe {
        let descriptor = ffi::avcodec_descriptor_get(codec);
        let properties = if descriptor.is_null() { 0 } else { (*descriptor).props };
        let has = |property: c_int| properties & property != 0;
        let lossless = has(ffi::AV_CODEC_PROP_LOSSLESS) && !has(ffi::AV_CODEC_PROP_LOSSY);
        let listed = !descriptor.is_null() && ALONE.contains(&copied((*descriptor).name).as_str());
        has(ffi::AV_CODEC_PROP_INTRA_ONLY) && lossless || listed
    };
    if has_crf || by_itself {
        return Ok(());
    }
    let message = "has no constant quality, so segments encoded by themselves would differ in theirs";
    Err(Error::new(Kind::Usage, format!("encoder {name} {message}"))
        .hint("take another --codec, or leave out --encode-per-segment"))
}

/// Quality that keeps what was rebuilt: near transparent, not archival.
pub(super) fn default_crf(name: &str) -> Option<&'static str> {
    match name {
        "libx264" | "libx264rgb" | "libx265" => Some("17"),
        "libvpx-vp9" | "libvpx" => Some("20"),
        "libaom-av1" | "libsvtav1" => Some("22"),
        _ => None,
    }
}

pub(super) fn refused(name: &str, code: c_int, layout: &PictureLayout) -> Error {
    let said = log::last_message().map_or(String::new(), |m| format!(" ({m})"));
    let size = format!("{}x{}", layout.width, layout.height);
    if code == ffi::AVERROR_OPTION_NOT_FOUND || -code == libc::EINVAL {
        return Error::new(Kind::Usage, format!("encoder {name} refused its options or the size {size}{said}"))
            .hint("check --crf, --encoder-option, --pix-fmt and the scale");
    }
    Error::new(
        super::ffi::error_kind(code, Kind::Unavailable),
        format!("encoder {name} could not be opened for {size}: {}{said}", error_text(code)),
    )
}

pub(super) fn refuse_unknown_options(left: &Dictionary, spec: &EncoderSpec, name: &str) -> Result<()> {
    let unknown: Vec<String> =
        left.entries().into_iter().map(|(k, _)| k).filter(|k| spec.options.iter().any(|(o, _)| o == k)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("encoder {name} does not know the option {}", unknown.join(", ")))
        .hint(format!("`ffmpeg -h encoder={name}` lists its options")))
}
