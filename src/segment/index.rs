//! The index of a video's frames: a binary file, read in pieces, so that ten million frames take no memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::publish::{Draft, failed};
use crate::error::{Error, Kind, Result};
use crate::frame::{CarriedData, Frame};
use crate::media::Told;

/// Name of the index in a job folder.
pub(super) const INDEX: &str = "frames.idx";
/// Name of the file with what frames carry.
pub(super) const SIDE: &str = "frames.side";
/// First bytes of an index: its name and version.
const MAGIC: &[u8; 16] = b"subpel frames 1\n";
/// Bytes of a frame in it.
const RECORD: u64 = 48;
/// "No time" in a record.
const NO_TIME: i64 = i64::MIN;
/// Flag of a frame that can be decoded without those before it.
const KEY: u32 = 1;
/// Most bytes that a frame carries.
const MOST_SIDE: u32 = 16 << 20;

/// What is known of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Time in the file, before anything was made good.
    pub(super) told: Option<i64>,
    /// Time at which it is shown, in ticks of the stream.
    pub(super) pts: i64,
    pub(super) duration: i64,
    /// Of its samples, and of what is known of their coding.
    pub(super) hash: [u8; 16],
    pub(super) key: bool,
    /// Bytes that it carries.
    side: u32,
}

impl Record {
    pub(super) fn of(frame: &Frame, told: Told) -> Self {
        Self { told: told.time, pts: frame.pts, duration: frame.duration, hash: hash_of(frame), key: told.key, side: 0 }
    }

    fn to_bytes(self) -> [u8; RECORD as usize] {
        let mut bytes = [0; RECORD as usize];
        let numbers = [self.told.unwrap_or(NO_TIME), self.pts, self.duration];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[24..40].copy_from_slice(&self.hash);
        bytes[40..44].copy_from_slice(&(if self.key { KEY } else { 0 }).to_le_bytes());
        bytes[44..].copy_from_slice(&self.side.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; RECORD as usize]) -> Self {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(eight)
        };
        let mut hash = [0; 16];
        hash.copy_from_slice(&bytes[24..40]);
        let flags = number(40) as u64;
        Self {
            told: Some(number(0)).filter(|t| *t != NO_TIME),
            pts: number(8),
            duration: number(16),
            hash,
            key: flags as u32 & KEY != 0,
            side: (flags >> 32) as u32,
        }
    }
}

/// Hash of what a frame gives to the pipeline.
pub(super) fn hash_of(frame: &Frame) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let mut add = |plane: &crate::frame::Plane| match plane.as_slice() {
        Some(samples) => {
            hasher.update(bytemuck::cast_slice(samples));
        }
        None => plane.iter().for_each(|sample| {
            hasher.update(&sample.to_ne_bytes());
        }),
    };
    frame.planes.iter().for_each(&mut add);
    if let Some(coding) = &frame.coding {
        coding.blocks.iter().for_each(&mut add);
        hasher.update(&coding.deviation.to_ne_bytes());
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

/// Writes an index, frame by frame.
pub(super) struct IndexWriter {
    index: BufWriter<HashedDraft>,
    side: BufWriter<HashedDraft>,
    /// Frames so far.
    pub(super) count: u64,
}

/// A draft whose content is hashed as it is written.
struct HashedDraft {
    draft: Draft,
    hasher: blake3::Hasher,
}

impl HashedDraft {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        Ok(Self { draft: Draft::new(folder, name)?, hasher: blake3::Hasher::new() })
    }
}

impl Write for HashedDraft {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.draft.file().write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.draft.file().flush()
    }
}

impl IndexWriter {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let mut index = BufWriter::new(HashedDraft::new(folder, INDEX)?);
        index.write_all(MAGIC).map_err(failed("writing the index", folder))?;
        Ok(Self { index, side: BufWriter::new(HashedDraft::new(folder, SIDE)?), count: 0 })
    }

    pub(super) fn push(&mut self, record: Record, carried: &[CarriedData]) -> Result<()> {
        let mut bytes = Vec::new();
        for data in carried {
            let length = u32::try_from(data.bytes.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&data.kind.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&data.bytes);
        }
        let side = u32::try_from(bytes.len()).ok().filter(|n| *n <= MOST_SIDE).ok_or_else(|| {
            Error::new(Kind::Input, format!("frame {} carries {} bytes beside its picture", self.count, bytes.len()))
        })?;
        self.count += 1;
        let failed = failed("writing the index", Path::new(INDEX));
        self.side.write_all(&bytes).map_err(&failed)?;
        self.index.write_all(&Record { side, ..record }.to_bytes()).map_err(&failed)
    }

    /// Gives both files their names. Returns their hashes.
    pub(super) fn publish(self) -> Result<[String; 2]> {
        let end = |file: BufWriter<HashedDraft>, name: &str| -> Result<String> {
            let whole = file.into_inner().map_err(|e| failed("writing the index", Path::new(name))(e.into_error()))?;
            whole.draft.publish(name)?;
            Ok(whole.hasher.finalize().to_hex().to_string())
        };
        Ok([end(self.index, INDEX)?, end(self.side, SIDE)?])
    }
}

/// Frames of an index from some number on, in order.
pub(super) struct Records {
    file: BufReader<File>,
    left: u64,
}

impl Records {
    /// Those from `first` to before `end`.
    pub(super) fn open(folder: &Path, first: u64, end: u64) -> Result<Self> {
        let path = folder.join(INDEX);
        let failed = failed("reading the index", &path);
        let mut file = BufReader::with_capacity(1 << 14, File::open(&path).map_err(&failed)?);
        file.seek(SeekFrom::Start(MAGIC.len() as u64 + RECORD * first)).map_err(&failed)?;
        Ok(Self { file, left: end.saturating_sub(first) })
    }

    /// The next frame; `None` after the last.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut bytes = [0; RECORD as usize];
        self.file.read_exact(&mut bytes).map_err(failed("reading the index", Path::new(INDEX)))?;
        Ok(Some(Record::from_bytes(&bytes)))
    }
}

/// All frames from the first on, with what they carry.
pub(super) struct Shown {
    records: Records,
    side: BufReader<File>,
    next: u64,
}

impl Shown {
    pub(super) fn open(folder: &Path, count: u64) -> Result<Self> {
        let path = folder.join(SIDE);
        let side = BufReader::new(File::open(&path).map_err(failed("reading the index", &path))?);
        Ok(Self { records: Records::open(folder, 0, count)?, side, next: 0 })
    }

    /// The next frame without its picture: number, time, duration and what it carries.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let carried = self.carried(record.side)?;
        let (pts, duration) = (record.pts, record.duration);
        Ok(Some(Frame { index, pts, duration, planes: Vec::new(), coding: None, carried }))
    }

    fn carried(&mut self, length: u32) -> Result<Vec<CarriedData>> {
        let wrong = || Error::new(Kind::Input, "is damaged").file(Path::new(SIDE));
        if length > MOST_SIDE {
            return Err(wrong());
        }
        let mut bytes = vec![0; length as usize];
        self.side.read_exact(&mut bytes).map_err(failed("reading the index", Path::new(SIDE)))?;
        let mut rest = &bytes[..];
        let mut all = Vec::new();
        while let Some((head, after)) = rest.split_at_checked(8) {
            let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let length = u32::from_le_bytes(word(4)) as usize;
            let (data, after) = after.split_at_checked(length).ok_or_else(wrong)?;
            all.push(CarriedData { kind: i32::from_le_bytes(word(0)), bytes: data.to_vec() });
            rest = after;
        }
        if rest.is_empty() { Ok(all) } else { Err(wrong()) }
    }
}

/// Number of the second key frame at or before `first`, and its time in the file; `None` if there are not two.
pub(super) fn key_before(folder: &Path, first: u64) -> Result<Option<(u64, i64)>> {
    const CHUNK: u64 = 1024;
    let (mut end, mut seen) = (first + 1, 0);
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        let mut records = Records::open(folder, begin, end)?;
        let mut chunk = Vec::new();
        while let Some(record) = records.next_record()? {
            chunk.push(record);
        }
        for (at, record) in (begin..).zip(&chunk).filter(|(_, record)| record.key).collect::<Vec<_>>().into_iter().rev()
        {
            seen += 1;
            if seen == 2 {
                return Ok(record.told.map(|time| (at, time)));
            }
        }
        end = begin;
    }
    Ok(None)
}

/// Refuses an index that is not the one with these hashes.
pub(super) fn check(folder: &Path, count: u64, hashes: &[String; 2]) -> Result<()> {
    for (name, hash) in [INDEX, SIDE].into_iter().zip(hashes) {
        let path = folder.join(name);
        let (found, length) = super::publish::hash_file(&path).map_err(failed("reading the index", &path))?;
        let sound = found == *hash && (name != INDEX || length == MAGIC.len() as u64 + RECORD * count);
        if !sound {
            return Err(Error::new(Kind::Input, "is damaged: its hash is another one")
                .hint("plan the job anew: finished segments stay good")
                .file(&path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_what_frames_carry_come_back() {
        let folder = tempfile::tempdir().expect("scratch");
        let mut writer = IndexWriter::new(folder.path()).expect("writer");
        let record = |n: i64| Record {
            told: (n != 2).then_some(7 * n - 3),
            pts: 7 * n,
            duration: n,
            hash: [n as u8; 16],
            key: n % 3 == 0,
            side: 0,
        };
        let carried = |n: i64| match n % 2 {
            0 => vec![],
            _ => vec![CarriedData { kind: n as i32, bytes: vec![n as u8; 5] }, CarriedData { kind: -1, bytes: vec![] }],
        };
        for n in 0..3000 {
            writer.push(record(n), &carried(n)).expect("pushed");
        }
        let hashes = writer.publish().expect("published");
        check(folder.path(), 3000, &hashes).expect("sound");
        assert!(check(folder.path(), 2999, &hashes).is_err(), "another number of frames");
        let mut some = Records::open(folder.path(), 1500, 1502).expect("opened");
        assert_eq!(some.next_record().expect("read").expect("1500").pts, 10_500, "from the middle");
        assert!(!some.next_record().expect("read").expect("1501").key, "1501");
        assert_eq!(some.next_record().expect("read"), None, "end");
        let mut shown = Shown::open(folder.path(), 3000).expect("opened");
        for n in 0..3000 {
            let frame = shown.next_frame().expect("read").expect("frame");
            assert_eq!((frame.index as i64, frame.pts, frame.carried), (n, 7 * n, carried(n)), "frame {n}");
        }
        for (first, want) in [(0, None), (2, None), (3, Some((0, -3))), (2999, Some((2994, 20_955)))] {
            assert_eq!(key_before(folder.path(), first).expect("read"), want, "two keys before {first}");
        }
    }
}
