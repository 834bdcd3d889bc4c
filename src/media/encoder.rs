//! The picture's encoder: which one, with which options, fed with planes of `f32`.

use ffmpeg_next::ffi;

use super::encoder_setup::{Container, configure, find_codec, options_for, refuse_unknown_options, refused};
use super::ffi::{AGAIN, Codec, Packet, Picture, check, copied, rational, rescale, set_raw_enum};
use super::format_choice::{choose, context_format, losses, offered};
use super::info::VideoInfo;
use super::log;
use super::packing::{Packed, Packer, remove_side_data};
use super::pixel::Native;
use super::side_data::add_to_frame;
use crate::error::{Error, Kind, Result};
use crate::frame::{CarriedData, PictureLayout, Plane};
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
    /// Whether parts of the video are encoded by themselves, to be put together later.
    pub in_parts: bool,
}

/// An opened encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    context: Codec,
    name: String,
    packer: Packer,
    source_base: ffi::AVRational,
    hdr: Vec<(i32, Vec<u8>)>,
    last_time: Option<i64>,
    /// Whether the container only counts frames, how many there were, and whether their times said otherwise.
    counts: bool,
    counted: i64,
    lost_times: bool,
    last_source: Option<i64>,
    ended: bool,
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
        Ok(Self {
            context,
            name,
            packer: Packer::new(native, layout, cpu)?,
            source_base: rational(source.time_base.0, source.time_base.1),
            hdr: source.hdr.clone(),
            last_time: None,
            counts: container.name() == "yuv4mpegpipe",
            counted: 0,
            lost_times: false,
            last_source: None,
            ended: false,
        })
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
        losses(self.packer.native(), self.packer.layout())
    }

    /// The picture that holds `planes`, as [`Self::send`] takes it.
    pub(super) fn pack(&mut self, planes: &[Plane]) -> Result<Packed> {
        self.packer.pack(planes)
    }

    /// Encodes one picture of the encoder's format; `time` is in ticks of the source's time base, counted from the
    /// output's start. Returns it in ticks of the encoder.
    pub(super) fn send(&mut self, picture: &Packed, carried: &[CarriedData], time: i64) -> Result<i64> {
        let ticks = self.ticks(time);
        if self.last_time.is_some_and(|last| ticks <= last) {
            return Err(Error::new(
                Kind::Unavailable,
                format!("encoder {} cannot hold the distance of two frames near {time}", self.name),
            )
            .hint("its frame rates are fixed; take another --codec for this variable frame rate"));
        }
        self.last_time = Some(ticks);
        let raw = picture.as_ptr();
        // SAFETY: `raw` is a picture of ours.
        unsafe {
            (*raw).pts = ticks;
            (*raw).sample_aspect_ratio = (*self.as_ptr()).sample_aspect_ratio;
            tag_frame(raw, self.as_ptr());
            remove_side_data(raw);
            for (kind, bytes) in self.hdr.iter().map(|(k, b)| (*k, b)).chain(carried.iter().map(|c| (c.kind, &c.bytes)))
            {
                add_to_frame(raw, kind, bytes)?;
            }
            let code = ffi::avcodec_send_frame(self.as_ptr(), raw);
            check(code, Kind::Unavailable, || self.failed("did not take the frame")).map(|_| ticks)
        }
    }

    /// Encodes a picture of whatever is in memory.
    fn send_any(&mut self) -> Result<()> {
        let picture = Picture::new()?;
        let (raw, context) = (picture.as_ptr(), self.as_ptr());
        // SAFETY: a fresh frame of the open encoder's format and size.
        unsafe {
            ((*raw).format, (*raw).width, (*raw).height) =
                (context_format(context).0, (*context).width, (*context).height);
            check(ffi::av_frame_get_buffer(raw, 0), Kind::Resource, || "getting memory for a picture".into())?;
            (*raw).pts = 0;
            check(ffi::avcodec_send_frame(context, raw), Kind::Unavailable, || self.failed("did not end")).map(drop)
        }
    }

    /// The format of the pictures that it takes.
    pub(super) fn native(&self) -> &Native {
        self.packer.native()
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
        self.ended = true;
        // SAFETY: an open encoder; null is the end.
        let code = unsafe { ffi::avcodec_send_frame(self.as_ptr(), std::ptr::null()) };
        check(code, Kind::Unavailable, || self.failed("did not finish")).map(drop)
    }

    /// The next finished packet, if there is one.
    pub(super) fn receive(&mut self) -> Result<Option<Packet>> {
        let packet = Packet::new()?;
        // SAFETY: an open encoder and a valid packet.
        let code = unsafe { ffi::avcodec_receive_packet(self.as_ptr(), packet.as_ptr()) };
        if code == AGAIN || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        check(code, Kind::Unavailable, || self.failed("failed"))?;
        Ok(Some(packet))
    }

    fn failed(&self, what: &str) -> String {
        let said = log::last_message().map_or(String::new(), |m| format!(" ({m})"));
        format!("encoder {} {what}{said}", self.name)
    }
}

impl Drop for Encoder {
    /// SVT-AV1 waits for ever if it is closed before it was told the end, or has seen no picture at all.
    fn drop(&mut self) {
        if self.name != "libsvtav1" || self.ended {
            return;
        }
        let ended = self.last_time.is_some() || self.send_any().is_ok();
        if ended && self.finish().is_ok() {
            while let Ok(Some(_)) = self.receive() {}
        }
    }
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
