//! The picture's encoder: which one, with which options, fed with planes of `f32`.

use std::ffi::c_int;
use std::path::Path;

use ffmpeg_next::ffi;

use super::ffi::{
    AGAIN, Codec, Dictionary, NO_TIME, Packet, Picture, c_string, check, copied, error_text, rational, rescale,
    set_raw_enum,
};
use super::format_choice::{choose, context_format, losses, needs_full, offered, planar_of, sws_matrix};
use super::log;
use super::pixel::{Converter, Native};
use super::reader::VideoInfo;
use crate::color::Range;
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, Frame, PictureLayout, Plane};
use crate::kernels::CpuLevel;

/// How to encode the picture.
#[derive(Debug, Clone, Default)]
pub struct EncoderSpec {
    /// Any FFmpeg encoder; the container's usual one if not given.
    pub codec: Option<String>,
    /// Constant quality, in the encoder's own scale.
    pub crf: Option<f32>,
    /// Further options of the encoder, name and value.
    pub options: Vec<(String, String)>,
    /// Pixel format; the source's own if not given and possible.
    pub pixel_format: Option<String>,
    /// Threads of the encoder; 0 lets it choose.
    pub threads: usize,
}

/// An opened encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    context: Codec,
    name: String,
    native: Native,
    layout: PictureLayout,
    intermediate: Option<(Native, Converter)>,
    picture: Picture,
    staging: Picture,
    packet: Packet,
    source_base: ffi::AVRational,
    hdr: Vec<(i32, Vec<u8>)>,
    last_time: Option<i64>,
    cpu: CpuLevel,
}

/// What of the container an encoder has to know.
pub(super) struct Container<'a> {
    pub(super) format: *const ffi::AVOutputFormat,
    pub(super) path: &'a Path,
    pub(super) pipe: bool,
}

impl Encoder {
    /// Opens the encoder for pictures of `layout` from `source`.
    pub(super) fn open(
        spec: &EncoderSpec,
        container: &Container<'_>,
        source: &VideoInfo,
        layout: &PictureLayout,
        cpu: CpuLevel,
    ) -> Result<Self> {
        let codec = find_codec(spec, container)?;
        // SAFETY: `codec` is from FFmpeg's registry.
        let (name, formats) = unsafe { (copied((*codec).name), offered(codec)) };
        let native = choose(&formats, layout, source.format, spec.pixel_format.as_deref(), &name)?;
        let context = Codec::new(codec)?;
        // SAFETY: a fresh context and a format FFmpeg knows.
        unsafe { configure(context.as_ptr(), codec, &native, source, layout, spec, container) };
        let mut options = options_for(spec, &name, context.as_ptr(), source)?;
        // SAFETY: context, codec and dictionary are valid.
        let code = unsafe { ffi::avcodec_open2(context.as_ptr(), codec, &mut options.0) };
        if code < 0 {
            return Err(refused(&name, code, layout));
        }
        refuse_unknown_options(&options, spec, &name)?;
        let mut encoder = Self {
            context,
            name,
            native,
            layout: layout.clone(),
            intermediate: None,
            picture: Picture::new()?,
            staging: Picture::new()?,
            packet: Packet::new()?,
            source_base: rational(source.time_base.0, source.time_base.1),
            hdr: source.hdr.clone(),
            last_time: None,
            cpu,
        };
        if !encoder.packs_directly() {
            encoder.intermediate = Some((planar_of(layout)?, Converter::new()?));
        }
        Ok(encoder)
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVCodecContext {
        self.context.as_ptr()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Name of the pixel format that is written.
    pub(super) fn pixel_format(&self) -> String {
        // SAFETY: an opened context.
        unsafe { context_format(self.as_ptr()) }.name()
    }

    pub(super) fn time_base(&self) -> ffi::AVRational {
        // SAFETY: an opened context.
        unsafe { (*self.as_ptr()).time_base }
    }

    /// What the chosen pixel format cannot hold of the source.
    pub(super) fn losses(&self) -> Vec<String> {
        losses(&self.native, &self.layout)
    }

    /// Whether the planes can be stored as they are, apart from depth and a missing alpha or chroma.
    fn packs_directly(&self) -> bool {
        let same_family = self.native.family == self.layout.family
            || (self.layout.family == ColorFamily::Gray && self.native.family == ColorFamily::YCbCr);
        let same_chroma = self.native.chroma_log2 == self.layout.chroma_log2 || self.layout.family == ColorFamily::Gray;
        let range_ok = !needs_full(&self.native) || self.layout.color.range == Range::Full;
        same_family && same_chroma && range_ok
    }

    /// Encodes one frame; `time` is in ticks of the source's time base, counted from the output's start.
    pub(super) fn send(&mut self, frame: &Frame, planes: &[Plane], time: i64) -> Result<()> {
        let ticks = rescale(time, self.source_base, self.time_base());
        if self.last_time.is_some_and(|last| ticks <= last) {
            return Err(Error::new(
                Kind::Unavailable,
                format!("encoder {} cannot hold the distance of two frames near {time}", self.name),
            )
            .hint("its frame rates are fixed; take another --codec for this variable frame rate"));
        }
        self.last_time = Some(ticks);
        let raw = self.fill(planes)?;
        // SAFETY: `raw` is a picture of ours.
        unsafe {
            (*raw).pts = ticks;
            (*raw).sample_aspect_ratio = (*self.as_ptr()).sample_aspect_ratio;
            tag_frame(raw, self.as_ptr());
            for (kind, bytes) in
                self.hdr.iter().map(|(k, b)| (*k, b)).chain(frame.carried.iter().map(|c| (c.kind, &c.bytes)))
            {
                add_side_data(raw, kind, bytes)?;
            }
            let code = ffi::avcodec_send_frame(self.as_ptr(), raw);
            check(code, Kind::Unavailable, || self.failed("did not take the frame")).map(drop)
        }
    }

    /// Tells the encoder that no frame follows.
    pub(super) fn finish(&mut self) -> Result<()> {
        // SAFETY: an open encoder; null is the end.
        let code = unsafe { ffi::avcodec_send_frame(self.as_ptr(), std::ptr::null()) };
        check(code, Kind::Unavailable, || self.failed("did not finish")).map(drop)
    }

    /// The next finished packet, if there is one.
    pub(super) fn receive(&mut self) -> Result<Option<&Packet>> {
        // SAFETY: an open encoder and a valid packet.
        let code = unsafe { ffi::avcodec_receive_packet(self.as_ptr(), self.packet.as_ptr()) };
        if code == AGAIN || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        check(code, Kind::Unavailable, || self.failed("failed"))?;
        Ok(Some(&self.packet))
    }

    fn failed(&self, what: &str) -> String {
        let said = log::last_message().map_or(String::new(), |m| format!(" ({m})"));
        format!("encoder {} {what}{said}", self.name)
    }

    /// A picture in the encoder's pixel format holding `planes`.
    fn fill(&mut self, planes: &[Plane]) -> Result<*mut ffi::AVFrame> {
        let Some((planar, converter)) = &mut self.intermediate else {
            prepare(&self.picture, &self.native, &self.layout)?;
            let stored = stored_planes(planes, &self.layout, &self.native);
            let stored_layout = PictureLayout {
                chroma_log2: self.native.chroma_log2,
                family: self.native.family,
                ..self.layout.clone()
            };
            // SAFETY: prepared just now, in this format and size.
            unsafe { self.native.pack(&stored, &stored_layout, self.picture.as_ptr(), self.cpu) };
            return Ok(self.picture.as_ptr());
        };
        prepare(&self.staging, planar, &self.layout)?;
        // SAFETY: as above.
        unsafe {
            planar.pack(planes, &self.layout, self.staging.as_ptr(), self.cpu);
            let full_in = self.layout.color.is_full(self.layout.family);
            let full_out = needs_full(&self.native)
                || if self.native.family == ColorFamily::Rgb { true } else { self.layout.color.range == Range::Full };
            let out = converter.convert(
                self.staging.as_ptr(),
                self.native.format,
                self.layout.width,
                self.layout.height,
                [full_in, full_out],
                sws_matrix(&self.layout),
            )?;
            Ok(out.cast_mut())
        }
    }
}

/// Makes `picture` a writable picture of this format and size, reusing its buffers if nobody else holds them.
fn prepare(picture: &Picture, native: &Native, layout: &PictureLayout) -> Result<()> {
    let frame = picture.as_ptr();
    // SAFETY: a valid frame of ours.
    let code = unsafe {
        (*frame).nb_side_data = remove_side_data(frame);
        if (*frame).data[0].is_null() || ffi::av_frame_is_writable(frame) == 0 {
            picture.clear();
            (*frame).format = native.format.0;
            (*frame).width = layout.width as c_int;
            (*frame).height = layout.height as c_int;
            ffi::av_frame_get_buffer(frame, 0)
        } else {
            0
        }
    };
    check(code, Kind::Resource, || "getting memory for a picture".into()).map(drop)
}

/// Drops all side data of a frame; returns the number left, 0.
///
/// # Safety
/// `frame` is valid.
unsafe fn remove_side_data(frame: *mut ffi::AVFrame) -> c_int {
    // SAFETY: by the caller's promise; removing a type shrinks the list.
    unsafe {
        let mut left = (*frame).nb_side_data;
        while left > 0 {
            ffi::av_frame_remove_side_data(frame, (*(*(*frame).side_data)).type_);
            let now = (*frame).nb_side_data;
            if now == left {
                break;
            }
            left = now;
        }
        (*frame).nb_side_data
    }
}

/// The planes in the order and number the format stores: alpha added or left out, grey given neutral chroma, full
/// range stretched where the depth changes.
fn stored_planes<'a>(planes: &'a [Plane], layout: &PictureLayout, native: &Native) -> std::borrow::Cow<'a, [Plane]> {
    let gain = depth_gain(layout, native.depth);
    let to_color = layout.family == ColorFamily::Gray && native.family != ColorFamily::Gray;
    if gain == 1.0 && !to_color && layout.alpha == native.alpha {
        return planes.into();
    }
    let colors = layout.plane_count() - usize::from(layout.alpha);
    let mut stored: Vec<Plane> = planes[..colors].iter().map(|p| p * gain).collect();
    if to_color {
        let chroma =
            PictureLayout { family: native.family, chroma_log2: native.chroma_log2, alpha: false, ..layout.clone() };
        stored.extend((1..3).map(|i| Plane::from_elem(chroma.plane_size(i), 128.0)));
    }
    if native.alpha {
        let opaque = || Plane::from_elem((layout.height, layout.width), 256.0);
        stored.push(if layout.alpha { &planes[colors] * gain } else { opaque() });
    }
    stored.into()
}

/// Factor for full-range samples when `2^depth - 1` codes become another number of codes.
fn depth_gain(layout: &PictureLayout, depth: u8) -> f32 {
    if depth == layout.depth || !layout.color.is_full(layout.family) {
        return 1.0;
    }
    let top = |depth: u8| ((1u32 << depth) - 1) as f32 / 2f32.powi(i32::from(depth) - 8);
    top(depth) / top(layout.depth.min(16))
}

/// # Safety
/// `frame` is a valid frame.
unsafe fn add_side_data(frame: *mut ffi::AVFrame, kind: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: the kind was read from a frame of the same library; the new buffer has the asked size.
    unsafe {
        let kind = std::mem::transmute::<i32, ffi::AVFrameSideDataType>(kind);
        let data = ffi::av_frame_new_side_data(frame, kind, bytes.len());
        if data.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for side data"));
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), (*data).data, bytes.len());
    }
    Ok(())
}

/// Gives the frame the colour tags of the encoder.
///
/// # Safety
/// Both are valid.
unsafe fn tag_frame(frame: *mut ffi::AVFrame, context: *const ffi::AVCodecContext) {
    // SAFETY: by the caller's promise; values are copied as numbers.
    unsafe {
        use super::ffi::raw_enum;
        set_raw_enum!(frame, color_range, raw_enum!(context, color_range));
        set_raw_enum!(frame, color_primaries, raw_enum!(context, color_primaries));
        set_raw_enum!(frame, color_trc, raw_enum!(context, color_trc));
        set_raw_enum!(frame, colorspace, raw_enum!(context, colorspace));
        set_raw_enum!(frame, chroma_location, raw_enum!(context, chroma_sample_location));
    }
}

/// The encoder the user named, or the usual one of the container.
fn find_codec(spec: &EncoderSpec, container: &Container<'_>) -> Result<*const ffi::AVCodec> {
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
unsafe fn configure(
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
        (*context).time_base = encoder_time_base(codec, source);
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
unsafe fn configure_color(
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

/// The source's own time base, so that every time is exact; the frame distance for codecs with fixed rates.
///
/// # Safety
/// `codec` is from FFmpeg's registry.
unsafe fn encoder_time_base(codec: *const ffi::AVCodec, source: &VideoInfo) -> ffi::AVRational {
    let (num, den) = source.frame_rate;
    // SAFETY: by the caller's promise.
    let (fixed_rates, short) =
        unsafe { (!(*codec).supported_framerates.is_null(), copied((*codec).name).starts_with("mpeg4")) };
    if num > 0 && (fixed_rates || (short && source.time_base.1 > 65_535)) {
        return rational(den, num);
    }
    rational(source.time_base.0, source.time_base.1)
}

/// Options for the encoder: its own, the user's, and what HDR needs said twice.
fn options_for(
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
    if let Some((key, value)) = super::hdr::encoder_option(name, &source.hdr) {
        options.set(key, &value)?;
    }
    for (key, value) in &spec.options {
        options.set(key, value)?;
    }
    Ok(options)
}

/// Quality that keeps what was rebuilt: near transparent, not archival.
fn default_crf(name: &str) -> Option<&'static str> {
    match name {
        "libx264" | "libx264rgb" | "libx265" => Some("17"),
        "libvpx-vp9" | "libvpx" => Some("20"),
        "libaom-av1" | "libsvtav1" => Some("22"),
        _ => None,
    }
}

fn refused(name: &str, code: c_int, layout: &PictureLayout) -> Error {
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

fn refuse_unknown_options(left: &Dictionary, spec: &EncoderSpec, name: &str) -> Result<()> {
    let unknown: Vec<String> =
        left.entries().into_iter().map(|(k, _)| k).filter(|k| spec.options.iter().any(|(o, _)| o == k)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format!("encoder {name} does not know the option {}", unknown.join(", ")))
        .hint(format!("`ffmpeg -h encoder={name}` lists its options")))
}

/// A packet's time as "known" or not.
pub(super) fn known(time: i64) -> Option<i64> {
    (time != NO_TIME).then_some(time)
}
