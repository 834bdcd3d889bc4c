//! VMAF, measured by the system's `ffmpeg` where it has libvmaf.
//!
//! The program runs as a child without a shell. It gets both pictures one above the other in one raw stream, so that
//! no frame can be paired with a wrong one and nothing large is written to disk; its filters take them apart again.
//! The scores come at the end, in a file in a private folder.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use ndarray::ArrayView2;
use serde::Deserialize;
use tempfile::TempDir;

use crate::error::{Error, Kind, Result};

/// The program.
const PROGRAM: &str = "ffmpeg";
/// The file that libvmaf writes, in the private folder the program runs in.
const LOG: &str = "vmaf.json";

/// A run of the program that is fed frame by frame.
#[derive(Debug)]
pub(super) struct Vmaf {
    child: Child,
    stdin: Option<BufWriter<ChildStdin>>,
    errors: File,
    folder: TempDir,
    deep: bool,
    frames: u64,
    bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Log {
    frames: Vec<LogFrame>,
}

#[derive(Deserialize)]
struct LogFrame {
    metrics: LogMetrics,
}

#[derive(Deserialize)]
struct LogMetrics {
    vmaf: f64,
}

/// Whether the system's FFmpeg measures VMAF.
pub fn vmaf_is_there() -> bool {
    let listed = Command::new(PROGRAM).args(["-hide_banner", "-h", "filter=libvmaf"]).stdin(Stdio::null()).output();
    listed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("libvmaf AVOptions"))
}

impl Vmaf {
    /// Starts the program for planes of `height x width`, 10 bits of them if `deep`, else 8. The inner error is a note for the
    /// user: why there is no VMAF here.
    pub(super) fn start((height, width): (usize, usize), deep: bool) -> Result<Result<Self, String>> {
        if !vmaf_is_there() {
            return Ok(Err(format!("VMAF is not measured: {PROGRAM} is not installed or has no filter libvmaf")));
        }
        let io =
            |what: &str, e: std::io::Error| Error::new(Kind::of_io(&e), format!("VMAF: {what} failed")).caused_by(e);
        let folder = tempfile::tempdir().map_err(|e| io("making a temporary folder", e))?;
        let errors = tempfile::tempfile().map_err(|e| io("making a temporary file", e))?;
        let copy = errors.try_clone().map_err(|e| io("making a temporary file", e))?;
        let (size, format) = (format!("{width}x{}", 2 * height), if deep { "yuv444p10le" } else { "yuv444p" });
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let graph = format!(
            "[0:v]split[a][b];[a]crop={width}:{height}:0:0[result];[b]crop={width}:{height}:0:{height}[truth];\
             [result][truth]libvmaf=log_fmt=json:log_path={LOG}:n_threads={threads}"
        );
        let mut child = Command::new(PROGRAM)
            .args(["-v", "error", "-nostats", "-f", "rawvideo", "-pixel_format", format, "-video_size", &size])
            .args(["-i", "pipe:0", "-lavfi", &graph, "-f", "null", "-"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(copy)
            .spawn()
            .map_err(|e| io("starting ffmpeg", e))?;
        let stdin = child.stdin.take().map(BufWriter::new);
        Ok(Ok(Self { child, stdin, errors, folder, deep, frames: 0, bytes: Vec::new() }))
    }

    /// Hands over luma of a result and of the truth, studio range on the 8-bit scale.
    pub(super) fn push(&mut self, result: ArrayView2<'_, f32>, truth: ArrayView2<'_, f32>) -> Result<()> {
        self.bytes.clear();
        let samples = result.iter().chain(truth.iter());
        let grey = 2 * 2 * result.len();
        if self.deep {
            let code = |v: &f32| ((v * 4.0 + 0.5).clamp(0.0, 1023.0) as u16).to_le_bytes();
            self.bytes.extend(samples.flat_map(code));
            self.bytes.extend(std::iter::repeat_n(512u16.to_le_bytes(), grey).flatten());
        } else {
            self.bytes.extend(samples.map(|v| (v + 0.5).clamp(0.0, 255.0) as u8));
            self.bytes.resize(self.bytes.len() + grey, 128);
        }
        self.frames += 1;
        let written = self.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(&self.bytes));
        written.map_err(|e| self.failed().caused_by(e))
    }

    /// The scores of all frames.
    pub(super) fn finish(mut self) -> Result<Vec<f64>> {
        let flushed = self.stdin.take().map_or(Ok(()), |mut stdin| stdin.flush());
        let status = self.child.wait().map_err(|e| self.failed().caused_by(e))?;
        flushed.map_err(|e| self.failed().caused_by(e))?;
        if self.frames == 0 {
            return Ok(Vec::new());
        }
        if !status.success() {
            return Err(self.failed().caused_by(format!("it ended with {status}")));
        }
        let text = std::fs::read_to_string(self.folder.path().join(LOG)).map_err(|e| self.failed().caused_by(e))?;
        let log: Log = serde_json::from_str(&text).map_err(|e| self.failed().caused_by(e))?;
        if log.frames.len() as u64 != self.frames {
            let message = format!("{} of {} frames were measured", log.frames.len(), self.frames);
            return Err(self.failed().caused_by(message));
        }
        Ok(log.frames.into_iter().map(|frame| frame.metrics.vmaf).collect())
    }

    /// The error of a run that failed, with the last of what it said.
    fn failed(&mut self) -> Error {
        let mut said = String::new();
        let read = self.errors.rewind().and_then(|()| self.errors.read_to_string(&mut said));
        let last = read.ok().and_then(|_| said.lines().last()).unwrap_or("nothing").to_owned();
        Error::new(Kind::Unavailable, format!("measuring VMAF failed: {PROGRAM} said: {last}"))
            .hint("leave vmaf out of --metrics")
    }
}

impl Drop for Vmaf {
    /// A run that was given up ends: its input closes, and it is not waited for longer than that takes.
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
