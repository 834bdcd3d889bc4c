//! The picture's encoder: which one, with which options, fed with planes of `f32`.

use std::ffi::c_int;

use ffmpeg_next::ffi;

use super::convert::Converter;
use super::encoder_setup::{Container, configure, find_codec, options_for, refuse_unknown_options, refused};
use super::ffi::{AGAIN, Codec, Packet, Picture, check, copied, rational, rescale, set_raw_enum};
use super::format_choice::{choose, context_format, losses, needs_full, offered, planar_of, sws_matrix};
use super::info::VideoInfo;
use super::log;
use super::pixel::Native;
use super::side_data::add_to_frame;
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
    /// Whether the container only counts frames, how many there were, and whether their times said otherwise.
    counts: bool,
    counted: i64,
    lost_times: bool,
    last_source: Option<i64>,
    cpu: CpuLevel,
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
            counts: container.name() == "yuv4mpegpipe",
            counted: 0,
            lost_times: false,
            last_source: None,
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
        let ticks = self.ticks(time);
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
                add_to_frame(raw, kind, bytes)?;
            }
            let code = ffi::avcodec_send_frame(self.as_ptr(), raw);
            check(code, Kind::Unavailable, || self.failed("did not take the frame")).map(drop)
        }
    }

    /// A frame's time on the encoder's clock: its number, where the container only counts.
    fn ticks(&mut self, time: i64) -> i64 {
        let ticks = rescale(time, self.source_base, self.time_base());
        if !self.counts {
            return ticks;
        }
        self.lost_times |= (ticks - self.last_source.replace(ticks).unwrap_or(ticks - 1)) != 1;
        self.counted += 1;
        self.counted - 1
    }

    /// Whether frames had times that the container could not hold.
    pub(super) fn lost_times(&self) -> bool {
        self.lost_times
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
