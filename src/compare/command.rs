//! Running another program: without a shell, its time taken, its complaint kept, stopped when the comparison is.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::make::Made;
use super::memory;
use super::watch::Watch;
use crate::error::{Error, Kind, Result};

/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// Bytes of what it says that are kept: the last ones.
const TAIL: usize = 8192;

/// A child that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `words` with `{in}` and `{out}` replaced; `out` exists when it is done.
///
/// # Errors
/// [`Kind::Unavailable`] if it cannot be started, fails or writes nothing, with the last line it said; that of a
/// comparison that was asked to stop.
pub(super) fn run(words: &[String], input: &Path, out: &Path, watch: &Watch) -> Result<Made> {
    let unavailable = |message: String| Error::new(Kind::Unavailable, message);
    let (input, out_word) = (absolute(input)?, out.to_string_lossy());
    let words: Vec<String> =
        words.iter().map(|word| word.replace("{in}", &input).replace("{out}", &out_word)).collect();
    let (program, arguments) = words.split_first().ok_or_else(|| unavailable("the command is empty".into()))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().map_err(|e| unavailable(format!("{program} cannot be started: {e}")))?;
    let mut running = Running(child);
    let said = running.0.stderr.take().map(listen);
    let mut peak = None;
    let status = loop {
        let ended = running.0.try_wait();
        match ended.map_err(|e| Error::new(Kind::Io, format!("waiting for {program} failed")).caused_by(e))? {
            Some(status) => break status,
            None => {
                watch.check()?;
                peak = memory::peak_of(running.0.id()).max(peak);
                std::thread::sleep(GLANCE);
            }
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        let said = said.map(heard).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        let _ = std::fs::remove_file(out);
        return Err(unavailable(format!("{program} failed ({status}): {}", last.trim())));
    }
    if !out.is_file() {
        return Err(unavailable(format!("{program} ended well, but did not write {{out}}")));
    }
    Ok(Made { seconds: Some(seconds), peak_memory: peak, notes: Vec::new() })
}

/// A path that means the same to a program that may go elsewhere, and that is no option.
fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path)
        .map_err(|e| Error::new(Kind::Input, "has no absolute path").caused_by(e).file(path))?;
    Ok(path.to_string_lossy().into_owned())
}

/// What was heard; a program that left children behind, which keep its voice, is not waited for.
fn heard(thread: JoinHandle<String>) -> String {
    for _ in 0..50 {
        if thread.is_finished() {
            return thread.join().unwrap_or_default();
        }
        std::thread::sleep(GLANCE);
    }
    String::new()
}

/// Reads all a program says, and keeps the end of it.
fn listen(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; TAIL]);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..count]);
            let surplus = kept.len().saturating_sub(TAIL);
            kept.drain(..surplus);
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}
