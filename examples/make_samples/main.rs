//! Makes the files under samples/ from nothing: renders the scenes, sounds the chord, and has the `ffmpeg` program
//! encode them.
//!
//! ```text
//! cargo run --release --example make_samples                         samples/clip.mkv
//! cargo run --release --example make_samples -- --damaged            the files in samples/damaged/
//! cargo run --release --example make_samples -- --truth truth.mkv    what a camera of twice the resolution sees (FFV1)
//! ```
//! The rendering is the same on every machine up to rounding; the encoded bytes depend on the version of FFmpeg.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

mod damaged;
mod font;
mod scene;
mod sound;
mod texture;

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SUBTITLES: &str = "\
1
00:00:00,200 --> 00:00:01,200
A chart with more detail than its pixels hold.

2
00:00:01,300 --> 00:00:02,250
The camera moves by fractions of a pixel.

3
00:00:02,500 --> 00:00:03,800
After the cut: a street.
";

const CHAPTERS: &str = "\
;FFMETADATA1
title=subpel sample
comment=Procedural; made by examples/make_samples

[CHAPTER]
TIMEBASE=1/24
START=0
END=56
title=Chart

[CHAPTER]
TIMEBASE=1/24
START=56
END=96
title=Street
";

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|a| a.to_str()).collect();
    match words.as_slice() {
        [] => clip(Path::new("samples/clip.mkv")),
        [Some("--damaged")] => damaged::write(Path::new("samples/damaged")),
        [Some("--truth"), _] => truth(Path::new(&arguments[1])),
        _ => Err("usage: make_samples [--damaged | --truth FILE]".into()),
    }
}

/// The sample clip: picture, sound, subtitles, chapters and tags.
fn clip(out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let video = store(folder.path(), "frames.yuv", &scene::frames(1))?;
    let audio = store(folder.path(), "chord.wav", &sound::wav(scene::LENGTHS.iter().sum::<usize>(), scene::RATE))?;
    let subtitles = store(folder.path(), "lines.srt", SUBTITLES.as_bytes())?;
    let chapters = store(folder.path(), "chapters.txt", CHAPTERS.as_bytes())?;
    let mut command = ffmpeg();
    raw_input(&mut command, &video, scene::SIZE);
    for input in [&audio, &subtitles, &chapters] {
        command.arg("-i").arg(input);
    }
    command.args(["-map", "0:v", "-map", "1:a", "-map", "2:s", "-map_metadata", "3", "-map_chapters", "3"]);
    command.args(["-c:v", "libx264", "-preset", "veryslow", "-crf", "14", "-x264-params", "threads=1"]);
    command.args(["-c:a", "aac", "-b:a", "64k", "-c:s", "subrip"]);
    command.args(["-metadata:s:v:0", "title=Chart and street", "-metadata:s:a:0", "title=Chord"]);
    command.args(["-metadata:s:a:0", "language=eng", "-metadata:s:s:0", "language=eng"]);
    command.args(["-metadata:s:s:0", "title=English", "-disposition:s:0", "default"]);
    run(command.args(["-fflags", "+bitexact", "-flags", "+bitexact"]).arg(out))?;
    println!("{}: {} bytes", out.display(), out.metadata()?.len());
    Ok(())
}

/// The same moments seen with twice the pixels, without loss.
fn truth(out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let video = store(folder.path(), "frames.yuv", &scene::frames(2))?;
    let mut command = ffmpeg();
    raw_input(&mut command, &video, (2 * scene::SIZE.0, 2 * scene::SIZE.1));
    run(command.args(["-c:v", "ffv1", "-level", "3", "-g", "1", "-f", "matroska"]).arg(out))
}

/// Writes `bytes` to `folder`/`name`.
fn store(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// The ffmpeg program, quiet, reading nothing from the terminal, replacing its output.
fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).stdin(Stdio::null());
    command
}

/// Options for raw frames in `file`, tagged BT.709 with left-sited chroma.
fn raw_input(command: &mut Command, file: &Path, (width, height): (usize, usize)) {
    let (size, rate) = (format!("{width}x{height}"), scene::RATE.to_string());
    command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", &rate]);
    command.args(["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]);
    command.args(["-chroma_sample_location", "left"]).args([OsStr::new("-i"), file.as_os_str()]);
}

/// Runs `command`; what it prints goes to the terminal.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|e| format!("could not start ffmpeg ({e}); install it first"))?;
    if status.success() { Ok(()) } else { Err(format!("ffmpeg ended with {status}: {command:?}").into()) }
}
