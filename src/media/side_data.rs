//! Data beside the samples: rotation, HDR metadata, captions, time codes. Read from streams and frames, added to them.

use ffmpeg_next::ffi;

use super::ffi::raw_enum;
use super::open::Input;
use crate::error::{Error, Kind, Result};
use crate::frame::CarriedData;

/// `AV_PKT_DATA_DISPLAYMATRIX`.
pub(super) const DISPLAY_MATRIX: i32 = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX as i32;

/// (packet side data type, frame side data type) of static HDR metadata, the same bytes in both.
pub(super) const HDR_KINDS: [(i32, i32); 2] = [
    (
        ffi::AVPacketSideDataType::AV_PKT_DATA_MASTERING_DISPLAY_METADATA as i32,
        ffi::AVFrameSideDataType::AV_FRAME_DATA_MASTERING_DISPLAY_METADATA as i32,
    ),
    (
        ffi::AVPacketSideDataType::AV_PKT_DATA_CONTENT_LIGHT_LEVEL as i32,
        ffi::AVFrameSideDataType::AV_FRAME_DATA_CONTENT_LIGHT_LEVEL as i32,
    ),
];

/// The packet side data type of a static HDR frame side data type.
pub(super) fn hdr_packet_kind(frame_kind: i32) -> Option<i32> {
    HDR_KINDS.iter().find(|(_, f)| *f == frame_kind).map(|(p, _)| *p)
}

/// Static HDR metadata of the stream, from the container or the first picture.
///
/// # Safety
/// `frame` is a decoded picture.
pub(super) unsafe fn hdr_data(input: &Input, stream: usize, frame: *const ffi::AVFrame) -> Vec<(i32, Vec<u8>)> {
    // SAFETY: by the caller's promise.
    let of_frame = |kind: i32| unsafe { frame_bytes(frame, kind) }.map(<[u8]>::to_vec);
    let of_stream = input.side_data(stream);
    let find = |kind: i32| of_stream.iter().find(|(k, _)| *k == kind).map(|(_, b)| b.clone());
    HDR_KINDS.iter().filter_map(|(p, f)| Some((*f, of_frame(*f).or_else(|| find(*p))?))).collect()
}

/// Side data of a picture: kinds and bytes, which FFmpeg owns.
///
/// # Safety
/// `frame` is a valid frame, and stays as it is as long as the bytes are used.
unsafe fn side_data_of<'a>(frame: *const ffi::AVFrame) -> impl Iterator<Item = (i32, &'a [u8])> {
    // SAFETY: by the caller's promise.
    let count = unsafe { (*frame).nb_side_data }.max(0) as usize;
    (0..count).filter_map(move |i| {
        // SAFETY: FFmpeg keeps `nb_side_data` valid entries, each with `size` bytes where there are any.
        unsafe {
            let data = *(*frame).side_data.add(i);
            let bytes = (*data).data;
            let some = (!bytes.is_null()).then(|| std::slice::from_raw_parts(bytes, (*data).size));
            some.map(|bytes| (raw_enum!(data, type_), bytes))
        }
    })
}

/// Kind and bytes of what a packet carries.
///
/// # Safety
/// `packet` is valid, and stays as it is as long as the bytes are used.
pub(super) unsafe fn packet_side_data<'a>(packet: *const ffi::AVPacket) -> impl Iterator<Item = (i32, &'a [u8])> {
    // SAFETY: by the caller's promise; FFmpeg keeps `side_data_elems` valid entries.
    unsafe {
        (0..(*packet).side_data_elems.max(0) as usize).map(move |at| {
            let data = (*packet).side_data.add(at);
            let bytes = (*data).data;
            let bytes = if bytes.is_null() { &[] } else { std::slice::from_raw_parts(bytes, (*data).size) };
            (raw_enum!(data, type_), bytes)
        })
    }
}

/// A picture's side data of one kind.
///
/// # Safety
/// `frame` is a valid frame, and stays as it is as long as the bytes are used.
pub(super) unsafe fn frame_bytes<'a>(frame: *const ffi::AVFrame, kind: i32) -> Option<&'a [u8]> {
    // SAFETY: by the caller's promise.
    unsafe { side_data_of(frame) }.find(|(k, _)| *k == kind).map(|(_, bytes)| bytes)
}

/// Frame side data that goes on with the picture: closed captions, time codes, dynamic HDR.
///
/// # Safety
/// `frame` is a valid frame.
pub(super) unsafe fn carried_data(frame: *const ffi::AVFrame) -> Vec<CarriedData> {
    use ffi::AVFrameSideDataType as T;
    let wanted = [
        T::AV_FRAME_DATA_A53_CC as i32,
        T::AV_FRAME_DATA_S12M_TIMECODE as i32,
        T::AV_FRAME_DATA_DYNAMIC_HDR_PLUS as i32,
    ];
    // SAFETY: by the caller's promise.
    let all = unsafe { side_data_of(frame) }.filter(|(kind, _)| wanted.contains(kind));
    all.map(|(kind, bytes)| CarriedData { kind, bytes: bytes.to_vec() }).collect()
}

/// # Safety
/// `frame` is a valid frame.
pub(super) unsafe fn add_to_frame(frame: *mut ffi::AVFrame, kind: i32, bytes: &[u8]) -> Result<()> {
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

/// # Safety
/// `stream` is valid; `kind` was read from the same library.
pub(super) unsafe fn add_to_stream(stream: *mut ffi::AVStream, kind: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: by the caller's promise; the new buffer has the asked size.
    unsafe {
        let kind = std::mem::transmute::<i32, ffi::AVPacketSideDataType>(kind);
        let data = ffi::av_stream_new_side_data(stream, kind, bytes.len());
        if data.is_null() {
            return Err(Error::new(Kind::Resource, "no memory for side data"));
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
    }
    Ok(())
}
