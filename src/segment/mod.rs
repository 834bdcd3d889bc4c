//! Resumable segments: one video, enlarged in pieces that any number of processes make in any order, with the same bits
//! as in one go.
//!
//! The contract is a folder, one integer and exit codes; a scheduler needs nothing else.
//!
//! # The job folder
//!
//! | name | what |
//! |---|---|
//! | `manifest.json` | what is to be done: [`Manifest`] under its hash. Written last; without it there is no job |
//! | `frames.idx` | 16 bytes of header, then 48 for each frame: time in the file, time shown, duration, hash of its samples, flags, bytes of `frames.side` |
//! | `frames.side` | captions, time codes and dynamic HDR metadata of the frames, one after the other |
//! | `seg-NNNNN-KEY-HASH.nut` | pictures of segment N as the delivery encoder is fed, without loss; or encoded, with `--encode-per-segment` |
//! | `seg-NNNNN-KEY.json` | [`Receipt`] of it, under its hash: size and hash of the file, who made it. **The commit record**: pictures without it do not count |
//! | `seg-NNNNN-KEY.failed` | why the last attempt at a segment failed; for people |
//! | `seg-NNNNN-KEY.conflict` | a second result that differs from the first, which must not happen |
//! | `.WHAT.HOST.PID.XXXXXX.tmp` | being made, by this process of this machine |
//!
//! Segments are numbered from 1, in the order of the video. `KEY` is sixteen hexadecimal digits of a hash of the source's
//! content, the options, the weights, the versions and the range: what was made for other options is never taken for it.
//! `HASH` are as many digits of the hash of the file itself.
//! Folder and files are for their owner alone, as far as the umask does not say less.
//!
//! # How things appear
//!
//! Everything is written under a temporary name in the folder, synchronised, renamed, and the folder synchronised; a
//! segment's pictures first, its receipt then. There are no locks: two processes may make one segment, both give the same
//! pictures, and each receipt names the file that belongs to it. A process may be killed at any moment; what it leaves is removed by [`collect_garbage`].
//!
//! # Who does what
//!
//! - [`plan`] reads the whole video once and writes index and manifest: a pure function of input and options.
//! - [`run_segment`] makes one segment: reads the whole input file from two key frames before the first frame it needs,
//!   holds every frame against the index, and starts again from the beginning where a seek was not exact.
//! - [`join`] feeds the pictures of all segments to one encoder, beside everything else of the source, by the same
//!   [`crate::media::VideoWriter`] as `upscale`; or puts their packets behind each other, where they are encoded by themselves.
//! - [`run`] is all of that in one process; consecutive segments are one run of the pipeline, and the delivery encoder is
//!   fed while they are made.
//!
//! # Exit codes
//!
//! 0 done, or done before · 3 not complete (`status`, `verify`), or the input was damaged (`join`, `run`) · 65 a segment or
//! the manifest is damaged · 73 the folder cannot be written · 75 try again (disk full, a file that is not there yet) · 78 the
//! manifest is for another input, other options or another version. The rest is as everywhere in the program.
//!
//! What this is not for: starting processes elsewhere. docs/segments.md says all of this for users.

mod cost;
mod delivery;
mod emit;
mod index;
mod job;
mod litter;
mod manifest;
mod params;
mod picture_file;
mod planning;
mod publish;
mod range;
mod receipt;
mod simulation;
mod source;
mod work;

pub use cost::{Conditions, FrameCosts, Prediction, Workload};
pub use delivery::{join, run};
pub use emit::{Engine, MOST_SLURM_TASKS, Submission, emit, memory_of};
pub use job::{SegmentJob, Trust};
pub use litter::collect_garbage;
pub use manifest::{Delivery, Manifest, Tool};
pub use params::{ModelFile, Params, RefineParams};
pub use planning::{Lengths, Request, plan};
pub use receipt::{Coded, Figures, Reading, Receipt, State, numbers_in_words};
pub use simulation::{Played, simulate};
pub use work::{Work, run_segment};
