//! What is to be compared, as asked for: methods by name, files of other programs, commands.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::measure::MeasureOptions;
use crate::error::{Error, Kind, Result};
use crate::media::{InputSpec, OutputSpec};
use crate::pipeline::{EnlargeOptions, Method, Preset, RefineOptions, Scale};
use crate::refine::{Checkpoint, Network};

/// Border left out of what is measured, pixels of the result: what published tables leave out.
pub const DEFAULT_CROP: usize = 8;

/// A comparison to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// The video to enlarge.
    pub input: InputSpec,
    /// What the enlarged video should be; without it the input is made smaller first and recovered.
    pub reference: Option<InputSpec>,
    /// Who takes part, each name once.
    pub contenders: Vec<Contender>,
    /// Factor; that of the reference, or 2.
    pub scale: Option<f64>,
    /// Effort of this program's methods.
    pub preset: Preset,
    /// Numbers of the frames to compare; all with a reference, else excerpts of a long video.
    pub frames: Option<Range<u64>>,
    /// What is measured, and how large a border is left out.
    pub measure: MeasureOptions,
    /// Folder in which results are kept and found again.
    pub keep: Option<PathBuf>,
    /// Whether files in that folder that are none of ours, and the video, may be replaced.
    pub overwrite: bool,
    /// Whether, without a reference, the input itself is enlarged too, which takes longest and has no truth.
    pub enlargement: bool,
    /// Whether pictures for a page are wanted.
    pub pictures: bool,
    /// A video of the methods beside each other.
    pub video: Option<VideoRequest>,
    /// Threads; 0 for one per core.
    pub threads: usize,
}

impl Request {
    /// `input` compared with the defaults: all contenders that are worth it on most videos.
    pub fn new(input: InputSpec) -> Self {
        Self {
            input,
            reference: None,
            contenders: Contender::usual(),
            scale: None,
            preset: Preset::default(),
            frames: None,
            measure: MeasureOptions { crop: DEFAULT_CROP, ..MeasureOptions::default() },
            keep: None,
            overwrite: false,
            enlargement: true,
            pictures: false,
            video: None,
            threads: 0,
        }
    }

    /// Refuses what cannot be compared, before anything is done.
    ///
    /// # Errors
    /// [`Kind::Usage`] with what is wrong.
    pub(super) fn check(&self) -> Result<()> {
        let usage = |message: String| Error::new(Kind::Usage, message);
        for input in [Some(&self.input), self.reference.as_ref()].into_iter().flatten() {
            if input.is_pipe() {
                return Err(usage("a comparison reads its videos several times, which a pipe cannot be".into())
                    .hint("write it to a file first"));
            }
        }
        if self.contenders.is_empty() {
            return Err(usage("there is nothing to compare".into()).hint("name methods with --methods"));
        }
        for (i, contender) in self.contenders.iter().enumerate() {
            if self.contenders[..i].iter().any(|other| other.name == contender.name) {
                return Err(usage(format!("two methods are called {:?}", contender.name))
                    .hint("give a candidate another name, such as other=FILE"));
            }
        }
        if self.frames.as_ref().is_some_and(|range| range.is_empty()) {
            return Err(usage("--frames holds no frame".into()).hint("--frames 100:150 is frames 100 to 149"));
        }
        Ok(())
    }
}

/// A video that shows the methods beside each other.
#[derive(Debug, Clone)]
pub struct VideoRequest {
    /// Where and how to write it.
    pub output: OutputSpec,
    /// How methods share the picture.
    pub layout: VideoLayout,
}

/// How methods share the picture of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VideoLayout {
    /// One picture, a strip of each method.
    #[default]
    Split,
    /// Whole pictures in rows and columns.
    SideBySide,
    /// As side by side, but what differs from the truth (or the first method), amplified about grey.
    Difference,
}

impl VideoLayout {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::SideBySide => "side-by-side",
            Self::Difference => "difference",
        }
    }
}

impl fmt::Display for VideoLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for VideoLayout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Split, Self::SideBySide, Self::Difference];
        all.into_iter().find(|layout| layout.name() == text).ok_or_else(|| {
            Error::new(Kind::Usage, format!("layout {text:?} is not one of split, side-by-side, difference"))
        })
    }
}

/// Who takes part in a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// Its name in tables.
    pub name: String,
    /// Who makes its results.
    pub maker: Maker,
}

/// Who makes the results of a contender.
#[derive(Debug, Clone, PartialEq)]
pub enum Maker {
    /// This program.
    Own {
        /// How frames are enlarged, or put together before the network.
        method: Method,
        /// The network after it: `builtin` or a file.
        model: Option<PathBuf>,
    },
    /// It is there already, made of the whole input by any program.
    File(PathBuf),
    /// Another program: its words, in which `{in}` and `{out}` stand for files.
    Command(Vec<String>),
}

impl Contender {
    /// Those that take part if nobody is named.
    pub fn usual() -> Vec<Self> {
        ["bicubic", "lanczos", "map", "none+builtin", "map+builtin"]
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }

    /// A result that is there already.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the name is empty.
    pub fn file(name: &str, path: &Path) -> Result<Self> {
        Ok(Self { name: checked(name)?, maker: Maker::File(path.to_owned()) })
    }

    /// A command line of another program, split into words as a shell would, but run without one.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the name is empty, a quote is left open, or `{in}` or `{out}` is missing.
    pub fn command(name: &str, line: &str) -> Result<Self> {
        let usage = |message: String| Error::new(Kind::Usage, message);
        let words = shlex::split(line).ok_or_else(|| usage(format!("a quote is left open in command {line:?}")))?;
        for place in ["{in}", "{out}"] {
            if !words.iter().any(|word| word.contains(place)) {
                return Err(usage(format!("command {line:?} does not say where {place} goes"))
                    .hint("such as 'other=tool {in} {out}': {in} is the video to enlarge, {out} the .mkv to write"));
            }
        }
        Ok(Self { name: checked(name)?, maker: Maker::Command(words) })
    }

    /// Whether this program makes it.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.maker, Maker::Own { .. })
    }
}

/// A name that can head a column: no control characters, 1 to 60 characters.
fn checked(name: &str) -> Result<String> {
    let fits = (1..=60).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let wrong =
        || Error::new(Kind::Usage, format!("{name:?} is no name for a method: 1 to 60 printable characters are"));
    if fits && !["truth", "input"].contains(&name) { Ok(name.to_owned()) } else { Err(wrong()) }
}

impl FromStr for Contender {
    type Err = Error;

    /// `fusion` or `fusion+model`: the name of a method, and `builtin` or a file.
    fn from_str(text: &str) -> Result<Self> {
        let (fusion, model) = text.split_once('+').map_or((text, None), |(fusion, model)| (fusion, Some(model)));
        let method: Method = fusion.parse()?;
        let usage = |message: String| Error::new(Kind::Usage, message);
        match model {
            None if method == Method::None => {
                Err(usage("method none makes nothing larger by itself".into()).hint("none+builtin, or none+MODEL"))
            }
            Some("") => Err(usage(format!("{text:?} names no network after the +")).hint("builtin, or a file")),
            _ => Ok(Self { name: checked(text)?, maker: Maker::Own { method, model: model.map(PathBuf::from) } }),
        }
    }
}

/// The options of one of this program's methods; reads its network.
///
/// # Errors
/// Those of reading a network.
pub(super) fn enlarge_options(
    method: Method,
    model: Option<&Path>,
    scale: Scale,
    factor: f64,
    preset: Preset,
) -> Result<EnlargeOptions> {
    let refine = match model {
        None => None,
        Some(path) => {
            let network = Network::of_scale(&Checkpoint::named(path)?, factor).map_err(|e| e.file(path))?;
            Some(RefineOptions::new(Arc::new(network)))
        }
    };
    Ok(EnlargeOptions { scale: Some(scale), method, preset, refine, ..EnlargeOptions::default() })
}

/// The words of a command line that does what a method of this program does.
pub(super) fn command_words(
    input: &str,
    output: &str,
    method: Method,
    model: Option<&Path>,
    scale: Scale,
    preset: Preset,
) -> Vec<String> {
    let mut words: Vec<String> = ["subpel", "upscale", input, output].map(str::to_owned).into();
    match scale {
        Scale::Factor(factor) => words.extend(["--scale".into(), factor.to_string()]),
        Scale::Size(width, height) => words.extend(["--size".into(), format!("{width}x{height}")]),
    }
    words.extend(["--method".into(), method.name().into()]);
    if preset != Preset::default() {
        words.extend(["--preset".into(), preset.name().into()]);
    }
    words.extend(model.into_iter().flat_map(|model| ["--refine".into(), model.display().to_string()]));
    words
}

/// Words as a shell would take them.
pub(super) fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quote = |word: &'a str| shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), |word| word.into_owned());
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::Filter;

    #[test]
    fn names_are_split_at_the_first_plus() {
        let own = |text: &str| text.parse::<Contender>().expect("a method").maker;
        let lanczos = Method::Interpolate(Filter::Lanczos);
        assert_eq!(own("lanczos"), Maker::Own { method: lanczos, model: None }, "alone");
        let file = Some(PathBuf::from("dir/a+b.pth"));
        assert_eq!(own("lanczos+dir/a+b.pth"), Maker::Own { method: lanczos, model: file }, "a file with a plus");
        for wrong in ["", "none", "map+", "quintic", "+builtin"] {
            let error = wrong.parse::<Contender>().expect_err("no method");
            assert_eq!(error.kind(), Kind::Usage, "{wrong:?}: {error}");
        }
    }

    #[test]
    fn the_usual_methods_are_all_there() {
        assert_eq!(Contender::usual().len(), 5, "methods");
    }

    #[test]
    fn commands_are_split_into_words_and_need_both_places() {
        let contender = Contender::command("x", "tool -a 'b c' {in} --to={out}").expect("a command");
        let words = ["tool", "-a", "b c", "{in}", "--to={out}"].map(str::to_owned).into();
        assert_eq!(contender.maker, Maker::Command(words), "words");
        for wrong in ["tool {in}", "tool {out}", "tool '{in} {out}", ""] {
            assert_eq!(Contender::command("x", wrong).expect_err("refused").kind(), Kind::Usage, "{wrong:?}");
        }
        for name in ["", "a\nb", "truth", &"x".repeat(61)] {
            assert!(Contender::command(name, "t {in} {out}").is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_a_method_does_can_be_typed_again() {
        let words = command_words(
            "a b.mp4",
            "o.mkv",
            Method::default(),
            Some(Path::new("m.pth")),
            Scale::Factor(2.0),
            Preset::Fast,
        );
        let line = quoted(words.iter().map(String::as_str));
        let want = "subpel upscale 'a b.mp4' o.mkv --scale 2 --method map --preset fast --refine m.pth";
        assert_eq!(line, want, "command line");
    }
}
