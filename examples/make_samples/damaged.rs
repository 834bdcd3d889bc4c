//! Small files that are broken in one way each; samples/damaged/README.md says what to expect of them.

use crate::{Result, ffmpeg, raw_input, run, scene, sound, store};
use std::path::Path;

/// Writes all of them to `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let work = tempfile::tempdir()?;
    let video = store(work.path(), "frames.yuv", &scene::frames(1))?;
    let audio = store(work.path(), "chord.wav", &sound::wav(24, scene::RATE))?;
    let encode = |name: &str, options: &[&str]| -> Result<Vec<u8>> {
        let out = work.path().join(name);
        let mut command = ffmpeg();
        raw_input(&mut command, &video, scene::SIZE);
        command.arg("-i").arg(&audio).args(["-frames:v", "24", "-vf", "crop=96:64:180:100"]);
        command.args(["-c:v", "libx264", "-crf", "30", "-g", "12", "-x264-params", "threads=1"]);
        command.args(["-c:a", "aac", "-b:a", "16k", "-ac", "1"]).args(options);
        run(command.args(["-fflags", "+bitexact", "-flags", "+bitexact"]).arg(&out))?;
        Ok(std::fs::read(out)?)
    };
    let matroska = encode("whole.mkv", &[])?;
    let mp4 = encode("whole.mp4", &[])?;
    let index_first = encode("first.mp4", &["-movflags", "+faststart"])?;
    let transport = encode("whole.ts", &[])?;
    let sound_only = encode("sound.mkv", &["-vn"])?;

    let files: [(&str, Vec<u8>); 14] = [
        ("whole.mkv", matroska.clone()),
        ("cut.mkv", part(&matroska, 60)),
        ("cut-no-index.mp4", part(&mp4, 60)),
        ("cut-index-first.mp4", part(&index_first, 60)),
        ("cut.ts", part(&transport, 48)),
        ("hole.ts", [part(&transport, 30), transport[transport.len() / 2..].to_vec()].concat()),
        ("flipped.mkv", flipped(&matroska)),
        ("flipped.ts", flipped(&transport)),
        ("header-only.mkv", matroska[..400.min(matroska.len())].to_vec()),
        ("header-zeroed.mkv", zeroed(&matroska)),
        ("audio-only.mkv", sound_only),
        ("empty.mkv", Vec::new()),
        ("text.mp4", b"This is a text, whatever its name says.\n".to_vec()),
        ("zero-size.y4m", b"YUV4MPEG2 W0 H0 F25:1 Ip A1:1 C420jpeg\nFRAME\n".to_vec()),
    ];
    for (name, bytes) in files {
        store(folder, name, &bytes)?;
    }
    Ok(())
}

/// The first `percent` of a file.
fn part(bytes: &[u8], percent: usize) -> Vec<u8> {
    bytes[..bytes.len() * percent / 100].to_vec()
}

/// One byte in 97 of the middle half changed, the same ones each time.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (first, last) = (bytes.len() / 4, bytes.len() * 3 / 4);
    for (n, at) in (first..last).step_by(97).enumerate() {
        bytes[at] ^= 1 << (n % 8);
    }
    bytes
}

/// The first 64 bytes overwritten with zeros.
fn zeroed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.iter_mut().take(64).for_each(|b| *b = 0);
    bytes
}
