//! The file that a segment's pictures go to: as they are, or encoded.

use super::receipt::Coded;
use crate::error::Result;
use crate::frame::Frame;
use crate::media::{EncodedWriter, Packed, StoredWriter};

/// Pictures of one segment on their way to its file.
pub(super) enum PictureFile {
    /// Without loss, for the one encoder of the join.
    Stored(Box<StoredWriter>),
    /// Encoded by themselves.
    Encoded(Box<HashedWriter>),
}

/// Encodes pictures and hashes them: encoders may give other bytes for the same ones, so their own bytes tell nothing.
pub(super) struct HashedWriter {
    writer: EncodedWriter,
    hasher: blake3::Hasher,
    samples: Vec<u8>,
}

impl HashedWriter {
    pub(super) fn new(writer: EncodedWriter) -> Self {
        Self { writer, hasher: blake3::Hasher::new(), samples: Vec::new() }
    }

    fn write(&mut self, picture: &Packed, frame: &Frame) -> Result<()> {
        picture.samples_into(&mut self.samples)?;
        self.hasher.update(&self.samples);
        self.writer.write(picture, frame)
    }
}

impl PictureFile {
    /// Takes the picture of the next frame.
    pub(super) fn write(&mut self, picture: &Packed, frame: &Frame) -> Result<()> {
        match self {
            Self::Stored(writer) => writer.write(picture, frame.pts),
            Self::Encoded(writer) => writer.write(picture, frame),
        }
    }

    /// Ends the file. Returns the number of pictures in it, and what is to be known of it where they are encoded.
    pub(super) fn finish(self) -> Result<(u64, Option<Coded>)> {
        match self {
            Self::Stored(writer) => Ok((writer.finish()?, None)),
            Self::Encoded(whole) => {
                let pictures = whole.hasher.finalize().to_hex().to_string();
                let (written, delay) = whole.writer.finish()?;
                Ok((written, Some(Coded { pictures, delay })))
            }
        }
    }
}
