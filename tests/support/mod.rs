//! What the tests of the program share: a private folder, FFmpeg to make inputs and judge outputs, the program itself.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Longest run of the program: nothing here takes more than seconds on a quiet machine.
const LONGEST: Duration = Duration::from_secs(180);

/// A private folder; commands run inside it, so that names in them are short.
pub(crate) struct Scratch(TempDir);

/// How a run of the program ended.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    what: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary folder"))
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Names of everything in the folder, hidden files too.
    pub(crate) fn names(&self) -> Vec<String> {
        names_in(self.0.path())
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("file is written");
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).expect("file is readable")
    }

    /// Runs FFmpeg with the words of `arguments`, quietly.
    pub(crate) fn ffmpeg(&self, arguments: &str) -> String {
        self.tool("ffmpeg", &format!("-v error -nostdin -y {arguments}"))
    }

    /// Whether FFmpeg could do it.
    pub(crate) fn try_ffmpeg(&self, arguments: &str) -> bool {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "quiet", "-nostdin", "-y"]).args(arguments.split_whitespace());
        command.current_dir(self.0.path()).status().expect("FFmpeg is installed by scripts/setup.sh").success()
    }

    /// A clip of `frames` pictures: `source` is FFmpeg's name of a test picture with its options.
    pub(crate) fn clip(&self, name: &str, source: &str, frames: usize) {
        self.ffmpeg(&format!("-f lavfi -i {source} -frames:v {frames} -c:v ffv1 {name}"));
    }

    fn tool(&self, program: &str, arguments: &str) -> String {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        let done = command.output().expect("FFmpeg's programs are installed by scripts/setup.sh");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {arguments}: {}\n{error}", done.status);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// A command that runs the program in the folder, with nothing on standard input.
    pub(crate) fn program(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_subpel"));
        command.current_dir(self.0.path()).timeout(LONGEST);
        command
    }

    /// A command that runs the program in the folder, to be started by hand.
    pub(crate) fn raw_program(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subpel"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    /// Runs the program with the words of `arguments`.
    pub(crate) fn subpel(&self, arguments: &str) -> Done {
        self.subpel_with(arguments.split_whitespace())
    }

    pub(crate) fn subpel_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        let mut command = self.program();
        command.args(arguments);
        Done::of(&mut command)
    }

    /// What ffprobe says of a file: `format`, `streams` and `chapters`.
    pub(crate) fn probe(&self, name: &str) -> Value {
        let text =
            self.tool("ffprobe", &format!("-v error -show_format -show_streams -show_chapters -of json file:{name}"));
        serde_json::from_str(&text).expect("ffprobe writes JSON")
    }

    /// The first stream of a kind, as ffprobe describes it; null if there is none.
    pub(crate) fn stream(&self, name: &str, kind: &str) -> Value {
        let probe = self.probe(name);
        let found = list(&probe["streams"]).iter().find(|s| s["codec_type"] == kind).cloned();
        found.unwrap_or(Value::Null)
    }

    /// Seconds at which the decoded pictures of a file are shown.
    #[track_caller]
    pub(crate) fn times(&self, name: &str) -> Vec<f64> {
        let told = self.told_times(name);
        told.into_iter().map(|t| t.expect("every frame has a time")).collect()
    }

    /// As `times`, where some may be missing.
    pub(crate) fn told_times(&self, name: &str) -> Vec<Option<f64>> {
        self.told_times_of(name, None)
    }

    /// As `told_times`, for the first `packets` alone.
    pub(crate) fn told_times_of(&self, name: &str, packets: Option<usize>) -> Vec<Option<f64>> {
        let part = packets.map_or(String::new(), |n| format!("-read_intervals %+#{n}"));
        let entry = format!("frame=best_effort_timestamp_time {part}");
        let text = self.tool("ffprobe", &format!("-v error -select_streams v:0 -show_entries {entry} -of json {name}"));
        let value: Value = serde_json::from_str(&text).expect("ffprobe writes JSON");
        let time = |frame: &Value| frame["best_effort_timestamp_time"].as_str().and_then(|t| t.parse().ok());
        list(&value["frames"]).iter().map(time).collect()
    }

    /// The first decoded picture, as ffprobe describes it.
    pub(crate) fn first_frame(&self, name: &str) -> Value {
        let what = "-select_streams v:0 -show_frames -read_intervals %+#1 -of json";
        let text = self.tool("ffprobe", &format!("-v error {what} {name}"));
        let value: Value = serde_json::from_str(&text).expect("ffprobe writes JSON");
        value["frames"][0].clone()
    }

    /// Checksums of all packets of the streams `map` selects, without their times.
    pub(crate) fn packets(&self, name: &str, map: &str) -> Vec<String> {
        checksums(&self.ffmpeg(&format!("-i {name} -map {map} -c copy -f framemd5 -")))
    }

    /// Checksums of the decoded pictures, turned into `format` if one is given.
    pub(crate) fn pictures(&self, name: &str, format: Option<&str>) -> Vec<String> {
        let convert = format.map_or(String::new(), |f| format!("-pix_fmt {f} -sws_flags accurate_rnd+bitexact"));
        checksums(
            &self.ffmpeg(&format!("-noautorotate -i {name} -map 0:v:0 -fps_mode passthrough {convert} -f framemd5 -")),
        )
    }

    /// Seconds of sound in a file, decoded.
    pub(crate) fn sound_seconds(&self, name: &str) -> f64 {
        self.ffmpeg(&format!("-i {name} -map 0:a:0 -ac 1 -ar 8000 -f s16le sound.raw"));
        self.read("sound.raw").len() as f64 / 16_000.0
    }

    /// Bytes of the decoded pictures in `format`, one after the other.
    pub(crate) fn raw_pictures(&self, name: &str, format: &str) -> Vec<u8> {
        let to = format!("{}.raw", name.replace(['/', '%'], "_"));
        self.ffmpeg(&format!(
            "-noautorotate -i {name} -map 0:v:0 -fps_mode passthrough -pix_fmt {format} \
             -sws_flags accurate_rnd+full_chroma_int -f rawvideo {to}"
        ));
        let bytes = self.read(&to);
        fs::remove_file(self.path(&to)).expect("scratch file is removed");
        bytes
    }
}

impl Done {
    pub(crate) fn of(command: &mut assert_cmd::Command) -> Self {
        let what = format!("{command:?}");
        let output = command.output().expect("the program starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), out: output.stdout, err, what }
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Asserts the exit code and that nothing panicked.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of {}\n{}", self.what, self.err);
        assert!(!self.err.contains("panicked"), "{}\n{}", self.what, self.err);
        self
    }

    /// Asserts that there is one error message, and that it holds all of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        let errors = self.err.lines().filter(|l| l.starts_with("subpel: error: ") || l.starts_with("error: ")).count();
        assert_eq!(errors, 1, "messages of {}\n{}", self.what, self.err);
        self.mentions(parts)
    }

    /// Asserts that standard error holds all of `parts`.
    #[track_caller]
    pub(crate) fn mentions(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "{} does not say {part:?}:\n{}", self.what, self.err);
        }
        self
    }
}

/// Names of everything in a folder, hidden files too.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("folder is readable");
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The elements of a JSON list; none if it is no list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A JSON number, or a number that ffprobe wrote as text.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    let text = || value.as_str().and_then(|s| s.parse().ok());
    value.as_f64().or_else(text).unwrap_or_else(|| panic!("{value} is no number"))
}

/// The checksums of a framemd5 list: the sixth column; side data may follow.
pub(crate) fn checksums(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| l.split(',').nth(5)).map(|s| s.trim().to_owned()).collect()
}

/// Asserts that two lists of times are as long and nowhere further apart than `tolerance` seconds.
#[track_caller]
pub(crate) fn assert_times(got: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}: number of frames");
    let apart = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart <= tolerance, "{what}: times are {apart} s apart\n{got:?}\n{wanted:?}");
}

/// Says that a test, or a part of it, did not run.
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
