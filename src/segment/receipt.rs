//! Receipts: a segment is done when its receipt is there, and good as long as its file is what the receipt says.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::job::{SegmentJob, Trust};
use super::manifest::Tool;
use super::params::KnownBlur;
use super::publish::{failed, hash_file, read_sealed};
use crate::error::{Error, Kind, Result};
use crate::fuse::Held;
use crate::media::MOST_DELAY;
use crate::pipeline::{AloneCounts, Tally};

/// Most bytes of a receipt.
const MOST_BYTES: u64 = 1 << 20;

/// How a segment's frames were found in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// From the start, because the segment is near it, or the container has no index.
    Linear,
    /// From a key frame.
    Seek,
    /// From a key frame, which was not exact: then from the start.
    Fallback,
}

/// What is known of a segment that is encoded by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// Hash of its pictures: encoders may give other bytes for the same ones.
    pub pictures: String,
    /// Most pictures between the places of one in coded and in shown order.
    pub delay: usize,
}

/// What was made for one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Number of the segment, from 1.
    pub segment: usize,
    /// Key of the segment, as in the names of its files.
    pub key: String,
    /// First frame, and the one after the last.
    pub frames: (u64, u64),
    /// Size of the file.
    pub bytes: u64,
    /// Hash of the file.
    pub blake3: String,
    /// Of a segment that is encoded by itself.
    pub coded: Option<Coded>,
    /// How the input was read.
    pub reading: Reading,
    /// Who made it.
    pub tool: Tool,
    /// On which machine.
    pub host: String,
    /// In which process.
    pub process: u32,
    /// Seconds it took.
    pub seconds: f64,
    /// What was measured on the way.
    pub figures: Figures,
}

/// Sums over the frames of a segment, for the closing summary; see [`Tally`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Frames.
    pub frames: u64,
    /// Shares of the picture from several frames.
    pub share: f64,
    /// Noise estimates.
    pub noise: f64,
    /// Neighbours used.
    pub neighbours: u64,
    /// Frames made from themselves alone: without neighbours, between cuts, repeated, unlike.
    pub alone: [u64; 4],
    /// Blurs that were undone.
    pub blurs: Vec<KnownBlur>,
    /// Frames at which a scene begins.
    pub cuts: Vec<u64>,
    /// Distance to the frames before and after pictures were held to them.
    pub held: Option<(f64, f64)>,
}

impl From<&Tally> for Figures {
    fn from(tally: &Tally) -> Self {
        let AloneCounts { no_neighbours, cut, repeated, unlike } = tally.alone;
        Self {
            frames: tally.frames,
            share: tally.share,
            noise: tally.noise,
            neighbours: tally.neighbours,
            alone: [no_neighbours, cut, repeated, unlike],
            blurs: tally.blurs.iter().map(|blur| (*blur).into()).collect(),
            cuts: tally.scene_cuts.clone(),
            held: tally.held.map(|held| (held.before, held.after)),
        }
    }
}

impl From<&Figures> for Tally {
    fn from(figures: &Figures) -> Self {
        let [no_neighbours, cut, repeated, unlike] = figures.alone;
        Self {
            frames: figures.frames,
            share: figures.share,
            noise: figures.noise,
            neighbours: figures.neighbours,
            alone: AloneCounts { no_neighbours, cut, repeated, unlike },
            blurs: figures.blurs.iter().map(|blur| (*blur).into()).collect(),
            scene_cuts: figures.cuts.clone(),
            held: figures.held.map(|(before, after)| Held { before, after }),
        }
    }
}

/// What there is of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing that counts.
    Missing,
    /// A receipt, but not (all of) its file: it may be on its way through a network file system.
    Late {
        /// Whether some of the file is there.
        begun: bool,
    },
    /// A file that is not what its receipt says, or a receipt that cannot be read: in words.
    Damaged(String),
    /// All of it.
    Whole(Box<Receipt>),
}

impl Receipt {
    /// Name of the file with the pictures. It holds the hash of its content: whoever makes a segment a second time with other bytes, as
    /// encoders do, takes nothing away from under the first receipt.
    pub(super) fn data_name(&self) -> String {
        format!("seg-{:05}-{}-{}.nut", self.segment, self.key, &self.blake3[..16])
    }

    /// Whether it says what receipts of such a job can say.
    pub(super) fn is_sound(&self, in_parts: bool) -> bool {
        let hash = self.blake3.len() == 64 && self.blake3.bytes().all(|b| b.is_ascii_hexdigit());
        hash && self.coded.is_some() == in_parts && self.coded.as_ref().is_none_or(|coded| coded.delay <= MOST_DELAY)
    }
}

impl SegmentJob {
    /// What there is of segment `number`, from 1.
    ///
    /// # Errors
    /// [`Kind::Resource`] or [`Kind::Io`] if the folder cannot be read.
    pub fn state(&self, number: usize, trust: Trust) -> Result<State> {
        let name = self.receipt_name(number);
        let receipt: Receipt = match read_sealed(&self.folder().join(&name), MOST_BYTES) {
            Ok(Some(receipt)) => receipt,
            Ok(None) => return Ok(State::Missing),
            Err(e) if e.kind() == Kind::Input => return Ok(State::Damaged(e.to_string())),
            Err(e) => return Err(e),
        };
        let about = (receipt.segment, receipt.key.as_str(), receipt.frames);
        if about != (number, self.key(number), self.range(number)) {
            return Ok(State::Damaged(format!("{name} is for another segment")));
        }
        if !receipt.is_sound(self.manifest().delivery.is_in_parts()) {
            return Ok(State::Damaged(format!("{name} is no receipt of this job")));
        }
        let path = self.folder().join(receipt.data_name());
        let size = match std::fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() => about.len(),
            Ok(_) => return Ok(State::Damaged(format!("{} is no regular file", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(State::Late { begun: false }),
            Err(e) => return Err(failed("looking for a segment", &path)(e)),
        };
        if size < receipt.bytes {
            return Ok(State::Late { begun: true });
        }
        let sound = size == receipt.bytes
            && (trust == Trust::Receipt
                || hash_file(&path).map_err(failed("reading a segment", &path))?.0 == receipt.blake3);
        if sound {
            return Ok(State::Whole(Box::new(receipt)));
        }
        Ok(State::Damaged(format!("{} is not what its receipt says", path.display())))
    }
}

impl SegmentJob {
    /// The receipt of segment `number`, which is whole, and where its pictures are.
    ///
    /// # Errors
    /// [`Kind::Input`] if it is not whole any more.
    pub(super) fn whole(&self, number: usize) -> Result<(Receipt, PathBuf)> {
        match self.state(number, Trust::Receipt)? {
            State::Whole(receipt) => {
                let path = self.folder().join(receipt.data_name());
                Ok((*receipt, path))
            }
            other => Err(Error::new(Kind::Input, format!("segment {number} is not whole any more: {other:?}"))
                .hint("run it again")
                .file(self.folder())),
        }
    }

    /// Takes segment `number` out: without its receipt it does not count.
    ///
    /// # Errors
    /// [`Kind::Create`] if the folder cannot be changed.
    pub fn take_out(&self, number: usize) -> Result<()> {
        let path = self.folder().join(self.receipt_name(number));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("removing a receipt", &path)(e)),
            _ => Ok(()),
        }
    }
}

/// Numbers in order as `3,7-9`, the way job arrays take them.
pub fn numbers_in_words(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let words = |&(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(words).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_job_arrays_take_them() {
        for (numbers, words) in [(&[][..], ""), (&[3], "3"), (&[3, 7, 8, 9], "3,7-9"), (&[1, 2, 4, 5, 7], "1-2,4-5,7")]
        {
            assert_eq!(numbers_in_words(numbers), words, "{numbers:?}");
        }
    }
}
