//! Frames that are kept while they pass, for pictures of them: a few of each test, as 8-bit R'G'B' in scratch files.
//!
//! A 4K frame is 25 MB so, and six of them for each of seven are a gigabyte: too much to hold, little to write.

use std::fs;
use std::path::{Path, PathBuf};

use super::picture::{Developer, Rgb};
use super::source::{Part, Pictures};
use super::task::{Piece, Session, Task};
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout};

/// What the truth and the input are called among the methods.
pub(super) const TRUTH: &str = "truth";
pub(super) const INPUT: &str = "input";

/// Frames of a test that are looked at.
const LOOKS: u64 = 6;

/// The frames of one test that were kept.
#[derive(Debug)]
pub(super) struct Looks {
    folder: PathBuf,
    /// Numbers of the frames that are wanted, rising.
    pub(super) frames: Vec<u64>,
    /// Size of the input, columns and rows.
    pub(super) from: (usize, usize),
    /// Who was seen.
    names: Vec<String>,
    developer: Option<(PictureLayout, Developer)>,
}

impl Looks {
    /// For a test, in a folder below `scratch`; wants nothing unless pictures are.
    pub(super) fn of(task: &Task, scratch: &Path, wanted: bool) -> Result<Self> {
        let folder = scratch.join(format!("looks-{}", task.kind.key()));
        let failed = |e: std::io::Error| Error::new(Kind::of_io(&e), "no room for pictures").caused_by(e).file(&folder);
        fs::create_dir_all(&folder).map_err(failed)?;
        let frames = if wanted { chosen(task) } else { Vec::new() };
        Ok(Self { folder, frames, from: task.from, names: Vec::new(), developer: None })
    }

    /// Keeps the frames of the truth and of the input.
    pub(super) fn see_sources(&mut self, session: &Session<'_>, task: &Task) -> Result<()> {
        for piece in &task.pieces {
            let sources = [(INPUT, Some(&piece.input)), (TRUTH, piece.truth.as_ref())];
            for (name, part) in sources.into_iter().filter_map(|(name, part)| Some((name, part?))) {
                self.see_part(session, name, part, piece)?;
            }
        }
        Ok(())
    }

    fn see_part(&mut self, session: &Session<'_>, name: &str, part: &Part, piece: &Piece) -> Result<()> {
        let inside = |frame: &&u64| (piece.first..piece.first + piece.frames).contains(frame);
        let Some(last) = self.frames.iter().filter(inside).max().copied() else { return Ok(()) };
        let mut pictures = Pictures::open(part, false, session.request.threads)?;
        for number in piece.first..=last {
            let Some(frame) = pictures.next()? else { break };
            let layout = pictures.layout().clone();
            self.see(name, number, &frame, &layout)?;
            session.watch.check()?;
        }
        Ok(())
    }

    /// Keeps a frame if it is one of those that are wanted.
    pub(super) fn see(&mut self, name: &str, number: u64, frame: &Frame, layout: &PictureLayout) -> Result<()> {
        if !self.frames.contains(&number) {
            return Ok(());
        }
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        let developer = match &mut self.developer {
            Some((known, developer)) if known == layout => developer,
            place => &place.insert((layout.clone(), Developer::new(layout))).1,
        };
        let picture = developer.develop(frame);
        let path = self.path(name, number);
        fs::write(&path, picture.samples)
            .map_err(|e| Error::new(Kind::of_io(&e), "no room for pictures").caused_by(e).file(&path))
    }

    /// A frame that was kept, `size` columns and rows; `None` if it was not, or of another size.
    pub(super) fn picture(&self, name: &str, number: u64, size: (usize, usize)) -> Option<Rgb> {
        let samples = fs::read(self.path(name, number)).ok()?;
        (samples.len() == 3 * size.0 * size.1).then_some(Rgb { size, samples })
    }

    fn path(&self, name: &str, number: u64) -> PathBuf {
        let place = self.names.iter().position(|known| known == name).unwrap_or(usize::MAX);
        self.folder.join(format!("{place}-{number}.rgb"))
    }
}

/// Frames spread over all pieces of a test.
fn chosen(task: &Task) -> Vec<u64> {
    let total = task.frames();
    let count = LOOKS.min(total);
    let place = |i: u64| {
        let mut at = total * (2 * i + 1) / (2 * count);
        for piece in &task.pieces {
            if at < piece.frames {
                return Some(piece.first + at);
            }
            at -= piece.frames;
        }
        None
    };
    (0..count).filter_map(place).collect()
}
