//! The tests of a comparison: what is enlarged, and what it should become.

use super::recode;
use super::reduce::{self, Copied, Reduction};
use super::request::Request;
use super::source::{Part, Pictures, Start};
use super::survey::{Excerpt, Survey};
use super::watch::Watch;
use super::workspace::{Workspace, identity};
use crate::error::{Error, Kind, Result};
use crate::frame::PictureLayout;
use crate::media::{EncoderSpec, InputSpec};
use crate::pipeline::{EnlargeOptions, Scale};
use crate::report::Truth;

/// Fewest rows and columns of a frame that was made smaller.
const LEAST: usize = 16;

/// What everything in a comparison needs.
pub(super) struct Session<'a> {
    pub(super) request: &'a Request,
    pub(super) survey: &'a Survey,
    pub(super) workspace: &'a Workspace,
    pub(super) watch: &'a Watch,
}

/// The kinds of tests, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestKind {
    /// The input enlarged, compared with a file.
    Reference,
    /// The input reduced, coded as it was coded, and recovered.
    Coded,
    /// The input reduced by cubic interpolation and recovered.
    Cubic,
    /// The input reduced by a Gaussian and recovered.
    Gaussian,
    /// The input enlarged, nothing to compare with.
    Enlarged,
}

impl TestKind {
    /// Short name.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Coded => "recovery-coded",
            Self::Cubic => "recovery-bicubic",
            Self::Gaussian => "recovery-gaussian",
            Self::Enlarged => "enlargement",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Reference => "Against the reference",
            Self::Coded => "Recovered as coded",
            Self::Cubic => "Recovered from bicubic",
            Self::Gaussian => "Recovered from Gaussian",
            Self::Enlarged => "The enlargement itself",
        }
    }
}

/// One test: the same work for all who take part.
pub(super) struct Task {
    pub(super) kind: TestKind,
    pub(super) explanation: String,
    pub(super) truth: Truth,
    /// Size of what is enlarged and of the results, columns and rows.
    pub(super) from: (usize, usize),
    pub(super) to: (usize, usize),
    pub(super) scale: Scale,
    pub(super) pieces: Vec<Piece>,
}

/// Frames of a test that follow each other.
pub(super) struct Piece {
    /// Number of the first one in the input, and how many are expected.
    pub(super) first: u64,
    pub(super) frames: u64,
    /// What is enlarged.
    pub(super) input: Part,
    /// What tells it from other inputs; `None` if nothing does.
    pub(super) identity: Option<String>,
    /// What it should become.
    pub(super) truth: Option<Part>,
    /// Whether results are of the input itself, so that files of the whole enlarged input belong to it.
    pub(super) excerpt: Option<Excerpt>,
}

impl Task {
    /// Frames that are compared.
    pub(super) fn frames(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.frames).sum()
    }

    /// Columns of the result for one of the input.
    pub(super) fn factor(&self) -> f64 {
        (self.to.0 as f64 / self.from.0 as f64).max(self.to.1 as f64 / self.from.1 as f64)
    }
}

impl Session<'_> {
    /// The tests that this comparison consists of; [`Self::task`] may still find that one cannot be made.
    pub(super) fn kinds(&self) -> Vec<TestKind> {
        use TestKind::{Coded, Cubic, Enlarged, Gaussian, Reference};
        match &self.request.reference {
            Some(_) => vec![Reference],
            None if self.request.enlargement || self.request.video.is_some() => vec![Coded, Cubic, Gaussian, Enlarged],
            None => vec![Coded, Cubic, Gaussian],
        }
    }

    /// Prepares a test; an `Err` text says why there is none of this kind.
    ///
    /// # Errors
    /// Those of reading and writing, and of a reference that is not `scale` times the input.
    pub(super) fn task(&self, kind: TestKind) -> Result<Result<Task, String>> {
        match kind {
            TestKind::Reference => self.with_reference().map(Ok),
            TestKind::Enlarged => self.enlargement().map(Ok),
            TestKind::Coded => recode::task(self),
            TestKind::Cubic => self.recovery(kind, Reduction::Cubic),
            TestKind::Gaussian => self.recovery(kind, Reduction::Gaussian),
        }
    }

    /// Size and scale of the enlarged input.
    fn enlarged(&self, from: &PictureLayout) -> Result<(Scale, (usize, usize))> {
        let scale = Scale::Factor(self.request.scale.unwrap_or(2.0));
        let plan = EnlargeOptions { scale: Some(scale), ..EnlargeOptions::default() }.resolve(from)?;
        Ok((scale, (plan.to.width, plan.to.height)))
    }

    /// The part of the input that an excerpt is.
    fn input_part(&self, excerpt: &Excerpt) -> Part {
        let frames = (!excerpt.whole).then_some(excerpt.frames);
        Part { spec: self.request.input.clone(), start: excerpt.start, frames, crop: None }
    }

    fn input_piece(&self, excerpt: Excerpt, truth: Option<Part>) -> Piece {
        let place = || if excerpt.whole { String::new() } else { format!(" {}+{}", excerpt.first, excerpt.frames) };
        Piece {
            first: excerpt.first,
            frames: excerpt.frames,
            input: self.input_part(&excerpt),
            identity: identity(&self.request.input.path).map(|id| id + &place()),
            truth,
            excerpt: Some(excerpt),
        }
    }

    fn with_reference(&self) -> Result<Task> {
        let reference = self.request.reference.as_ref().unwrap_or(&self.request.input);
        let layout = &self.survey.layout;
        let (from, to) = ((layout.width, layout.height), size_of(reference, self.request.threads)?);
        let scale = match self.request.scale {
            None => deduced(from, to),
            Some(factor) if self.enlarged(layout)?.1 == to => Ok(Scale::Factor(factor)),
            Some(factor) => Err(format!("{factor} times {}x{} is not {}x{}", from.0, from.1, to.0, to.1)),
        };
        let scale = scale.map_err(|why| {
            Error::new(Kind::Input, format!("does not fit the input as its enlargement: {why}"))
                .hint("a reference is the input times a scale from 1 to 8, the same for both sides")
                .file(&reference.path)
        })?;
        let truth = |excerpt: &Excerpt| Part {
            spec: reference.clone(),
            start: if excerpt.first > 0 { Start::Frames(excerpt.first) } else { Start::First },
            frames: (!excerpt.whole).then_some(excerpt.frames),
            crop: None,
        };
        let pieces = self.survey.excerpts.iter().map(|e| self.input_piece(*e, Some(truth(e)))).collect();
        let name = name_of(reference);
        Ok(Task {
            kind: TestKind::Reference,
            explanation: format!(
                "The input is enlarged and compared, frame by frame, with {name} ({}).",
                Survey::words(&self.survey.excerpts)
            ),
            truth: Truth::Reference(name),
            from,
            to,
            scale,
            pieces,
        })
    }

    fn enlargement(&self) -> Result<Task> {
        let layout = &self.survey.layout;
        let (scale, to) = self.enlarged(layout)?;
        let whole = self.request.video.is_some() && self.request.frames.is_none();
        let excerpts = if whole { vec![self.survey.everything()] } else { self.survey.excerpts.clone() };
        Ok(Task {
            kind: TestKind::Enlarged,
            explanation: format!(
                "The input itself, enlarged ({}). There is no truth to compare with: the figures say whether a result \
                 agrees with the input, how steady it is and how wide its edges are.",
                Survey::words(&excerpts)
            ),
            truth: Truth::Nothing,
            from: (layout.width, layout.height),
            to,
            scale,
            pieces: excerpts.into_iter().map(|excerpt| self.input_piece(excerpt, None)).collect(),
        })
    }

    /// The input reduced, and what was reduced as the truth.
    fn recovery(&self, kind: TestKind, reduction: Reduction) -> Result<Result<Task, String>> {
        let (small, to, scale) = match self.small_size()? {
            Ok(sizes) => sizes,
            Err(why) => return Ok(Err(why)),
        };
        let pieces = self.reduced(kind, small, to, reduction)?.into_iter().map(|(piece, _)| piece).collect();
        let how = match reduction {
            Reduction::Cubic => "antialiased bicubic interpolation, as programs make videos smaller",
            Reduction::Gaussian => "a Gaussian blur, as a soft lens would",
        };
        Ok(Ok(Task {
            kind,
            explanation: format!(
                "The input was made smaller ({}x{}) by {how}; every method brings it back, and the input is the truth ({}).",
                small.0,
                small.1,
                Survey::words(&self.survey.excerpts)
            ),
            truth: Truth::Recovery(format!("the input, reduced by {how}")),
            from: small,
            to,
            scale,
            pieces,
        }))
    }

    /// Size of the reduced input, of what it is enlarged to, and the scale; or why there is none.
    pub(super) fn small_size(&self) -> Result<Result<Sizes, String>> {
        let layout = &self.survey.layout;
        let (scale, _) = self.enlarged(layout)?;
        let Scale::Factor(factor) = scale else { return Ok(Err("the scale is no factor".into())) };
        let step = |log2: u8| 1usize << log2;
        let (across, down) = (step(layout.chroma_log2.0), step(layout.chroma_log2.1));
        let shrunk = |size: usize, step: usize| (size as f64 / factor) as usize / step * step;
        let (mut width, mut height) = (shrunk(layout.width, across), shrunk(layout.height, down));
        while width >= LEAST && height >= LEAST {
            let (_, to) = self.enlarged(&layout.resized(width, height))?;
            match (to.0 <= layout.width, to.1 <= layout.height) {
                (true, true) => return Ok(Ok(((width, height), to, scale))),
                (fits_across, fits_down) => {
                    width -= if fits_across { 0 } else { across };
                    height -= if fits_down { 0 } else { down };
                }
            }
        }
        let (w, h) = (layout.width, layout.height);
        Ok(Err(format!("at {w}x{h} the input is too small to be made {factor} times smaller and recovered")))
    }

    /// The input's excerpts, cropped to `to`, as files of the size `small`.
    pub(super) fn reduced(
        &self,
        kind: TestKind,
        small: (usize, usize),
        to: (usize, usize),
        reduction: Reduction,
    ) -> Result<Vec<(Piece, Copied)>> {
        let make = |excerpt: &Excerpt| {
            let truth = Part { crop: Some(to), ..self.input_part(excerpt) };
            let place = format!("{reduction:?} {}x{} {}+{}", small.0, small.1, excerpt.first, excerpt.frames);
            let key = identity(&self.request.input.path).map(|id| format!("{id} reduced {place}"));
            self.watch.part("making the input smaller".into(), excerpt.frames, None);
            let encoder =
                EncoderSpec { codec: Some("ffv1".into()), threads: self.request.threads, ..Default::default() };
            let (path, copied) =
                self.workspace.file(&format!("{}-input-{}", kind.key(), excerpt.first), key.clone(), |path| {
                    reduce::write(&truth, path, (small, Some(reduction)), encoder, self.watch)
                })?;
            let piece = Piece {
                first: excerpt.first,
                frames: copied.frames,
                input: Part::whole(InputSpec::local(path)),
                identity: key,
                truth: Some(truth),
                excerpt: None,
            };
            Ok((piece, copied))
        };
        self.survey.excerpts.iter().map(make).collect()
    }
}

/// Columns and rows of the small and the recovered picture, and the scale between them.
pub(super) type Sizes = ((usize, usize), (usize, usize), Scale);

/// Columns and rows of a video as it is shown.
fn size_of(spec: &InputSpec, threads: usize) -> Result<(usize, usize)> {
    let pictures = Pictures::open(&Part::whole(spec.clone()), false, threads)?;
    Ok((pictures.layout().width, pictures.layout().height))
}

/// The scale from one size to another, or why there is none.
fn deduced(from: (usize, usize), to: (usize, usize)) -> Result<Scale, String> {
    let size = |(width, height): (usize, usize)| format!("{width}x{height}");
    let [across, down] = [to.0 as f64 / from.0 as f64, to.1 as f64 / from.1 as f64];
    if !(1.0..=8.0).contains(&across) || !(1.0..=8.0).contains(&down) {
        return Err(format!("{} is {across:.2} x {down:.2} times {}", size(to), size(from)));
    }
    if across == down {
        return Ok(Scale::Factor(across));
    }
    // Sizes are whole numbers: a fraction of a pixel of the input is no difference.
    if (across - down).abs() * (from.0.min(from.1) as f64) < 2.0 {
        return Ok(Scale::Size(to.0, to.1));
    }
    Err(format!("{} is {across:.2} times as wide, but {down:.2} times as high as {}", size(to), size(from)))
}

/// The last part of a file's name, for people.
pub(super) fn name_of(spec: &InputSpec) -> String {
    spec.path.file_name().unwrap_or(spec.path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_deduced_from_sizes() {
        assert_eq!(deduced((160, 90), (320, 180)), Ok(Scale::Factor(2.0)), "twice");
        assert_eq!(deduced((100, 100), (150, 150)), Ok(Scale::Factor(1.5)), "a fraction");
        assert_eq!(deduced((101, 57), (152, 86)), Ok(Scale::Size(152, 86)), "rounded sizes");
        for to in [(50, 50), (100, 200), (900, 900), (110, 100)] {
            assert!(deduced((100, 100), to).is_err(), "{to:?}");
        }
    }
}
