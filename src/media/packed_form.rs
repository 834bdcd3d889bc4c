//! What frames are made into for an output, before anything of it is written: its encoder, pixel format and turn.

use ffmpeg_next::ffi;

use super::container::find_format;
use super::encoder::Encoder;
use super::encoder_setup::Container;
use super::info::VideoInfo;
use super::log;
use super::orientation::Orientation;
use super::stream_copy::has_edit_lists;
use super::writer::OutputSpec;
use crate::error::Result;
use crate::frame::PictureLayout;
use crate::kernels::CpuLevel;

/// What frames are made into before an output's encoder takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedForm {
    /// FFmpeg's name of the pixel format.
    pub pixel_format: String,
    /// How pictures are turned, where the container cannot say it.
    pub turn: Orientation,
}

impl PackedForm {
    /// What `spec` would make of frames of `layout` from `source`. Opens the encoder to find out, and no file.
    ///
    /// # Errors
    /// Those of the encoder and its options, as for [`crate::media::VideoWriter::create`].
    pub fn of_output(spec: &OutputSpec, source: &VideoInfo, layout: &PictureLayout, cpu: CpuLevel) -> Result<Self> {
        log::install();
        let (encoder, turn) = open_encoder(spec, find_format(spec)?, source, layout, cpu)?;
        Ok(Self { pixel_format: encoder.native().format.name(), turn })
    }
}

/// The encoder of an output, and how pictures are turned before it.
pub(super) fn open_encoder(
    spec: &OutputSpec,
    format: *const ffi::AVOutputFormat,
    source: &VideoInfo,
    layout: &PictureLayout,
    cpu: CpuLevel,
) -> Result<(Encoder, Orientation)> {
    // Containers with edit lists carry a display matrix too, as far as this FFmpeg writes it.
    let turn = if has_edit_lists(format) { Orientation::default() } else { source.orientation };
    let container = Container { format, path: &spec.path, pipe: spec.is_pipe() };
    Ok((Encoder::open(&spec.encoder, &container, &turned(source, turn), &turn.layout(layout), cpu)?, turn))
}

/// What the encoder is told of the source once its pictures are turned.
fn turned(source: &VideoInfo, turn: Orientation) -> VideoInfo {
    let mut told = source.clone();
    if turn.swaps_sides() {
        let (width, height) = source.sample_aspect;
        told.sample_aspect = if width > 0 { (height, width) } else { (0, 1) };
        // FFmpeg has no name for every turned site; none is better than a wrong one.
        told.chroma_location = 0;
    }
    told
}
