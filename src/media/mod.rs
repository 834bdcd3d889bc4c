//! The FFmpeg boundary: reading videos as planes of `f32` with exact times, and writing them with all that was beside
//! the picture.
//!
//! Nothing else in the program knows FFmpeg. What is not here: any change to the samples beyond their storage
//! format, and any decision about what to enlarge.

mod clock;
mod container;
mod convert;
mod copied;
mod decoder;
mod encoded;
mod encoder;
mod encoder_setup;
mod ffi;
mod format_choice;
mod hdr;
mod heap;
mod info;
mod log;
mod open;
mod orientation;
mod packed_form;
mod packet_file;
mod packing;
mod pixel;
mod probe;
mod quantiser;
mod reader;
mod seam;
mod seek;
mod side_data;
mod stored;
mod stream_copy;
mod subtitle;
mod target;
mod unread;
mod writer;

pub use copied::SecondReading;
pub use encoded::{EncodedReader, EncodedWriter, MOST_DELAY};
pub use encoder::EncoderSpec;
pub use heap::use_one_heap;
pub use info::{Damage, VideoInfo};
pub use open::{InputSpec, is_sequence_pattern, sequence_files};
pub use orientation::Orientation;
pub use packed_form::PackedForm;
pub use packing::{Packed, Packing};
pub use probe::{MediaInfo, StreamInfo, StreamKind};
pub use reader::{Told, VideoReader};
pub use stored::{Keeping, StoredReader, StoredWriter, library_versions};
pub use stream_copy::Kept;
pub use target::{Listed, remove_unfinished};
pub(crate) use unread::Unread;
pub use writer::{Cut, Origin, OutputSpec, VideoWriter, Written};
