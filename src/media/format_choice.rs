//! Which pixel format to encode: the input's own family, depth and chroma sampling, unless the encoder cannot.

use ffmpeg_next::ffi;

use super::ffi::{copied, raw_enum};
use super::pixel::{Native, PixelFormat};
use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout};

/// Formats that y4m can hold, for which no encoder has a list.
const Y4M: &[&str] = &[
    "gray",
    "gray9le",
    "gray10le",
    "gray12le",
    "gray16le",
    "yuv411p",
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv420p9le",
    "yuv422p9le",
    "yuv444p9le",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuv420p12le",
    "yuv422p12le",
    "yuv444p12le",
    "yuv420p14le",
    "yuv422p14le",
    "yuv444p14le",
    "yuv420p16le",
    "yuv422p16le",
    "yuv444p16le",
];

/// Formats that this encoder takes and this program can fill; empty if it takes any.
///
/// # Safety
/// `codec` comes from FFmpeg's registry.
pub(super) unsafe fn offered(codec: *const ffi::AVCodec) -> Vec<PixelFormat> {
    // SAFETY: by the caller's promise; the list ends with -1.
    unsafe {
        if copied((*codec).name) == "wrapped_avframe" {
            return Y4M.iter().filter_map(|name| PixelFormat::find(name).ok()).collect();
        }
        let list = (*codec).pix_fmts.cast::<i32>();
        if list.is_null() {
            return Vec::new();
        }
        (0..).map(|i| PixelFormat(*list.add(i))).take_while(|f| f.0 >= 0).collect()
    }
}

/// The offered format that loses least of `layout`, or the one the user named.
///
/// # Errors
/// [`Kind::Usage`] if the named format is not offered; [`Kind::Unavailable`] if none can be filled.
pub(super) fn choose(
    offered: &[PixelFormat],
    layout: &PictureLayout,
    source: PixelFormat,
    wanted: Option<&str>,
    encoder: &str,
) -> Result<Native> {
    let list = || offered.iter().map(|f| f.name()).collect::<Vec<_>>().join(" ");
    if let Some(name) = wanted {
        let format = PixelFormat::find(name)?;
        if !offered.is_empty() && !offered.contains(&format) {
            return Err(Error::new(
                Kind::Usage,
                format!("encoder {encoder} does not take pixel format {name}; it takes: {}", list()),
            ));
        }
        return format
            .native()
            .ok_or_else(|| Error::new(Kind::Usage, format!("pixel format {name} cannot be written by subpel")));
    }
    if offered.is_empty() {
        return source.nearest_native();
    }
    let mut fit: Vec<Native> = offered.iter().filter_map(|f| f.native()).collect();
    fit.sort_by_key(|format| (cost(format, layout), format.format != source));
    fit.into_iter().next().ok_or_else(|| {
        Error::new(
            Kind::Unavailable,
            format!("encoder {encoder} takes no pixel format that subpel can write: {}", list()),
        )
    })
}

/// What `format` would lose of `layout`, worst first, then what it would waste.
fn cost(format: &Native, layout: &PictureLayout) -> [u32; 9] {
    let short = |have: u8, want: u8| u32::from(want.saturating_sub(have));
    let colour_lost = format.family == ColorFamily::Gray && layout.family != ColorFamily::Gray;
    let depth = layout.depth.min(16);
    let chroma_lost =
        short(layout.chroma_log2.0, format.chroma_log2.0) + short(layout.chroma_log2.1, format.chroma_log2.1);
    let chroma_spare =
        short(format.chroma_log2.0, layout.chroma_log2.0) + short(format.chroma_log2.1, layout.chroma_log2.1);
    let from_gray = layout.family == ColorFamily::Gray && format.family != ColorFamily::Gray;
    let full = layout.color.is_full(layout.family);
    let range_differs = format.family == layout.family && needs_full(format) && !full;
    [
        colour_lost.into(),
        short(format.depth, depth),
        chroma_lost,
        (layout.alpha && !format.alpha).into(),
        (format.family != layout.family && !from_gray).into(),
        range_differs.into(),
        short(depth, format.depth) + u32::from(from_gray),
        chroma_spare,
        u32::from(format.alpha && !layout.alpha)
            + u32::from(!format.is_planar())
            + u32::from(needs_full(format) && !full),
    ]
}

/// The old formats that mean full range by their name.
pub(super) fn needs_full(format: &Native) -> bool {
    format.format.name().starts_with("yuvj")
}

/// What a written picture will lack of the source, in words.
pub(super) fn losses(format: &Native, layout: &PictureLayout) -> Vec<String> {
    let mut lost = Vec::new();
    if layout.alpha && !format.alpha {
        lost.push("the alpha channel".to_owned());
    }
    if format.depth < layout.depth.min(16) {
        lost.push(format!("{} of {} bits", layout.depth - format.depth, layout.depth));
    }
    if format.family == ColorFamily::YCbCr
        && (format.chroma_log2.0 > layout.chroma_log2.0 || format.chroma_log2.1 > layout.chroma_log2.1)
        && layout.family != ColorFamily::Gray
    {
        lost.push("chroma resolution".to_owned());
    }
    if format.family == ColorFamily::Gray && layout.family != ColorFamily::Gray {
        lost.push("colour".to_owned());
    }
    lost
}

/// The planar format that holds `layout` itself, for handing it to swscale.
pub(super) fn planar_of(layout: &PictureLayout) -> Result<Native> {
    let depth = match layout.depth {
        0..=8 => 8,
        9 => 9,
        10 => 10,
        11 | 12 => 12,
        13 | 14 => 14,
        _ => 16,
    };
    let chroma = match layout.chroma_log2 {
        (0, 0) => "444",
        (1, 0) => "422",
        (1, 1) => "420",
        (2, 0) => "411",
        (2, 2) => "410",
        (0, 1) => "440",
        other => {
            return Err(Error::new(
                Kind::Input,
                format!("chroma subsampling by {} x {} cannot be converted", 1 << other.0, 1 << other.1),
            ));
        }
    };
    let alpha = if layout.alpha { "a" } else { "" };
    let base = match layout.family {
        ColorFamily::Gray if layout.alpha => "ya".to_owned(),
        ColorFamily::Gray => "gray".to_owned(),
        ColorFamily::Rgb => format!("gbr{alpha}p"),
        ColorFamily::YCbCr => format!("yuv{alpha}{chroma}p"),
    };
    let exact = match (base.as_str(), depth) {
        ("gray" | "gbrp" | "gbrap", 8) => base.clone(),
        ("ya", _) => format!("ya{}", if depth == 8 { "8" } else { "16le" }),
        (_, 8) => base.clone(),
        (_, depth) => format!("{base}{depth}le"),
    };
    // Not every combination exists; 16 bits hold any depth.
    let found = PixelFormat::find(&exact).or_else(|_| PixelFormat::find(&format!("{base}16le")))?;
    found.native().ok_or_else(|| Error::new(Kind::Bug, format!("{} is not planar", found.name())))
}

/// FFmpeg's number of a layout's matrix for swscale.
pub(super) fn sws_matrix(layout: &PictureLayout) -> i32 {
    i32::from(layout.color.matrix_or_default(layout.height))
}

/// The pixel format a codec context has, as a number.
///
/// # Safety
/// `context` is valid.
pub(super) unsafe fn context_format(context: *const ffi::AVCodecContext) -> PixelFormat {
    // SAFETY: by the caller's promise.
    PixelFormat(unsafe { raw_enum!(context, pix_fmt) })
}
