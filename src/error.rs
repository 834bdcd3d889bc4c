//! The error of the whole program: what was being done, to which file, stage and frame, why it failed, what to do.
//!
//! Kinds are split by who can act, and each has its exit code (sysexits.h where it has one). The cause is kept whole
//! in `source()`; nothing is flattened into text before `main` prints the chain once.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Who can act on an error; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An option or its value is wrong: 2.
    Usage,
    /// The input cannot be used: 65.
    Input,
    /// An encoder, device or library is missing: 69.
    Unavailable,
    /// Our own fault: 70.
    Bug,
    /// The output cannot be created: 73.
    Create,
    /// Reading or writing failed: 74.
    Io,
    /// Out of disk or memory; trying again may help: 75.
    Resource,
    /// Plan and input differ: 78.
    Mismatch,
    /// Stopped by SIGINT: 130.
    Interrupted,
    /// Stopped by SIGTERM: 143.
    Terminated,
}

impl Kind {
    /// The exit code of the program.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Input => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Create => 73,
            Self::Io => 74,
            Self::Resource => 75,
            Self::Mismatch => 78,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The kind of a failed write or read: a full disk is worth another try, the rest is not.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        match error.kind() {
            E::StorageFull | E::QuotaExceeded | E::OutOfMemory | E::FileTooLarge => Self::Resource,
            _ => Self::Io,
        }
    }
}

/// The parts of the pipeline, as named in messages, threads and progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Reading packets and decoding them.
    Decode,
    /// Measuring motion.
    Register,
    /// Enlarging: interpolation or reconstruction from several frames.
    Fuse,
    /// Running a network.
    Refine,
    /// Holding its results to the input.
    Hold,
    /// Encoding and writing.
    Encode,
}

impl Stage {
    /// Lower-case name, also the thread's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Register => "register",
            Self::Fuse => "fuse",
            Self::Refine => "refine",
            Self::Hold => "hold",
            Self::Encode => "encode",
        }
    }
}

/// What went wrong, where, and what can be done.
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    file: Option<PathBuf>,
    stage: Option<Stage>,
    frame: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` says what was being done, the value met and what was allowed.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, file: None, stage: None, frame: None, source: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the file, unless one is named already.
    #[must_use]
    pub fn file(mut self, file: &Path) -> Self {
        self.file.get_or_insert_with(|| file.to_owned());
        self
    }

    /// Adds the stage and, where known, the frame, unless they are named already.
    #[must_use]
    pub fn at(mut self, stage: Stage, frame: Option<u64>) -> Self {
        self.stage.get_or_insert(stage);
        self.frame = self.frame.or(frame);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Who can act on it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The stage that failed, if it was one.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The frame at which it failed, if it was at one.
    pub fn frame(&self) -> Option<u64> {
        self.frame
    }

    /// What the user can do about it, if anything is known.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(stage) = self.stage {
            write!(f, "{} failed", stage.name())?;
            if let Some(frame) = self.frame {
                write!(f, " at frame {frame}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({self})", self.kind)?;
        if let Some(source) = &self.source {
            write!(f, " caused by {source:?}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_file_stage_and_frame_and_keeps_the_cause_apart() {
        let error = Error::new(Kind::Io, "could not write 512 bytes")
            .caused_by(std::io::Error::other("device lost"))
            .at(Stage::Encode, Some(7))
            .at(Stage::Decode, None)
            .file(Path::new("a.mkv"));
        assert_eq!(
            error.to_string(),
            "a.mkv: encode failed at frame 7: could not write 512 bytes",
            "the first place wins"
        );
        assert_eq!(error.source().expect("cause").to_string(), "device lost", "cause");
    }
}
