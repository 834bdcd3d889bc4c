//! What to enlarge to and how: as asked for, and resolved against the input's size.

use crate::error::{Error, Kind, Result};
use crate::frame::{ColorFamily, PictureLayout};
use crate::light::Light;

use std::sync::Arc;

use super::method::{Method, Preset};
use crate::fuse::{Blur, Parts, Technique, reconstructed_layout};
use crate::refine::{Input, Network, Settings};
use crate::register::FieldDetail;

/// The size to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// A factor for both axes, 1 to 8.
    Factor(f64),
    /// Columns and rows.
    Size(usize, usize),
}

/// What sample values mean while frames are fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LightDomain {
    /// The file's code values: right for pictures that a program has made smaller, and for most cameras.
    #[default]
    Gamma,
    /// Linear light by the tagged transfer, of luma (or R, G and B): right where the blur happened before the camera's
    /// curve.
    Linear,
}

impl std::str::FromStr for LightDomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            // Frames do not tell which one they obey, and taking light wrongly costs more: docs/light.md.
            "gamma" | "auto" => Ok(Self::Gamma),
            "linear" => Ok(Self::Linear),
            _ => Err(Error::new(Kind::Usage, format!("light {text:?} is not one of gamma, linear, auto"))),
        }
    }
}

/// A network that pictures go through after the method.
#[derive(Debug, Clone, PartialEq)]
pub struct RefineOptions {
    /// The network.
    pub network: Arc<Network>,
    /// Scale that the method reaches before it. By default what the network leaves to do, and at least 1; where that is 1,
    /// frames go to the network as they are, and `map` puts several together when its pictures are held to them (unless
    /// [`Self::consistency`] is 0).
    pub fuse_scale: Option<f64>,
    /// Steps of back-projection that hold the result to the frames, 0 to 100; 0 leaves it as the network made it. With a
    /// window, four of them are as many as the preset spends on a reconstruction.
    pub consistency: usize,
    /// Where and how it is run.
    pub settings: Settings,
}

impl RefineOptions {
    /// `network` with the defaults.
    pub fn new(network: Arc<Network>) -> Self {
        Self { network, fuse_scale: None, consistency: DEFAULT_CONSISTENCY, settings: Settings::default() }
    }
}

/// Steps that hold the result of a network to the frames, by default.
pub const DEFAULT_CONSISTENCY: usize = 4;

/// As asked for.
#[derive(Debug, Clone)]
pub struct EnlargeOptions {
    /// Size to reach; not given means x2, or x1 for [`Method::None`] without a network.
    pub scale: Option<Scale>,
    /// How.
    pub method: Method,
    /// Effort.
    pub preset: Preset,
    /// Frames on each side, 0 to 30, instead of the preset's; 0 is single-frame.
    pub window: Option<usize>,
    /// The camera's blur; `None` measures it on the opening frames of each scene.
    pub blur: Option<Blur>,
    /// What of the reconstruction takes part: all of it, but where its parts are measured.
    pub parts: Parts,
    /// What sample values mean while frames are fused.
    pub light: LightDomain,
    /// A network after it.
    pub refine: Option<RefineOptions>,
}

impl Default for EnlargeOptions {
    fn default() -> Self {
        Self {
            scale: None,
            method: Method::default(),
            preset: Preset::Balanced,
            window: None,
            blur: Some(Blur::Usual),
            parts: Parts::default(),
            light: LightDomain::Gamma,
            refine: None,
        }
    }
}

/// Resolved for one input.
#[derive(Debug, Clone, PartialEq)]
pub struct EnlargePlan {
    /// Layout of the input.
    pub from: PictureLayout,
    /// What the method makes: the output, or what a network makes the output of.
    pub middle: PictureLayout,
    /// Layout of the output, the same but for its size.
    pub to: PictureLayout,
    /// Whether frames go to the network as they are, and are put together when its pictures are held to them.
    pub deferred: bool,
    /// How.
    pub method: Method,
    /// Frames on each side.
    pub window: usize,
    /// Steps of `ibp`, `map` and `pocs`.
    pub iterations: usize,
    /// How finely motion is measured.
    pub detail: FieldDetail,
    /// Whether motion is corrected by what a draft of each picture foretells of its neighbours.
    pub drafts: bool,
    /// Blur of the camera, if given; else it is measured for each scene.
    pub blur: Option<Blur>,
    /// What of the reconstruction takes part.
    pub parts: Parts,
    /// What sample values mean while frames are fused.
    pub light: LightDomain,
    /// A network after it.
    pub refine: Option<RefineOptions>,
}

impl EnlargePlan {
    /// Whether the result of a network is held to the frames.
    pub(super) fn holds(&self) -> bool {
        self.refine.as_ref().is_some_and(|refine| refine.consistency > 0)
    }

    /// Steps of back-projection that the result of a network is held to the frames by: where one frame is all there is, those
    /// asked for; with neighbours, as many as the preset spends on a reconstruction for each [`DEFAULT_CONSISTENCY`] of them.
    pub(super) fn hold_steps(&self) -> [usize; 2] {
        let asked = self.refine.as_ref().map_or(0, |refine| refine.consistency);
        [asked, (asked * self.iterations).div_ceil(DEFAULT_CONSISTENCY)]
    }

    /// What frames are reconstructed on the way to: what the method makes, or the output, where that is left for later.
    pub(super) fn reconstructed(&self) -> PictureLayout {
        reconstructed_layout(&self.from, if self.deferred { &self.to } else { &self.middle })
    }

    /// The way to linear light and back, if frames are fused in it.
    pub(super) fn linear_light(&self) -> Option<Light> {
        let wanted = self.light == LightDomain::Linear && self.method.is_multi_frame();
        wanted.then(|| Light::new(&self.from.color, self.from.family, self.from.depth))
    }
}

/// Planes of a picture that light falls on: luma, or R, G and B.
pub(super) fn lit_planes(layout: &PictureLayout) -> usize {
    if layout.family == ColorFamily::Rgb { 3 } else { 1 }
}

/// Largest and smallest factor.
const FACTORS: std::ops::RangeInclusive<f64> = 1.0..=8.0;
/// Most pixels of an output picture: 32768 x 16384.
const MAX_OUTPUT: usize = 1 << 29;
/// Longest side of an output picture: beyond it positions of samples are no longer exact.
const MAX_SIDE: usize = 1 << 21;

impl EnlargeOptions {
    /// Checks the options against an input of layout `from`.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the value and what is allowed.
    pub fn resolve(&self, from: &PictureLayout) -> Result<EnlargePlan> {
        let (width, height) = self.output_size(from)?;
        let usage = |message: String| Err(Error::new(Kind::Usage, message));
        if self.method == Method::None && self.refine.is_none() && (width, height) != (from.width, from.height) {
            return usage(format!(
                "method none keeps the size, but {width}x{height} was asked of {}x{}",
                from.width, from.height
            ));
        }
        if let Some(window) = self.window.filter(|w| *w > 30) {
            return usage(format!("a window of {window} frames on each side; 0 to 30 are allowed"));
        }
        if let Some(Blur::Gaussian(sigma)) = self.blur
            && !(0.1..=1.0).contains(&sigma)
        {
            return usage(format!("a camera blur of {sigma} pixels; 0.1 to 1 are allowed"));
        }
        let to = from.resized(width, height);
        let middle = self.middle(from, &to)?;
        let holds = self.refine.as_ref().is_some_and(|refine| refine.consistency > 0);
        let deferred = holds && self.fuses_nothing(from, &middle);
        // The window serves what is done last.
        let larger = if holds { &to } else { &middle };
        let scale = (larger.width as f64 / from.width as f64).max(larger.height as f64 / from.height as f64);
        let table = self.preset.table(scale);
        let window = if self.method.is_multi_frame() { self.window.unwrap_or(table.window) } else { 0 };
        Ok(EnlargePlan {
            from: from.clone(),
            middle,
            to,
            deferred,
            method: self.method,
            window,
            iterations: table.iterations,
            detail: table.detail,
            drafts: table.drafts && self.parts.drafts,
            blur: self.blur,
            parts: self.parts,
            light: self.light,
            refine: self.refine.clone(),
        })
    }

    /// Whether the method has nothing to enlarge before the network, and holding its pictures to the frames does all that the
    /// method would.
    fn fuses_nothing(&self, from: &PictureLayout, middle: &PictureLayout) -> bool {
        let chosen = self.refine.as_ref().is_some_and(|refine| refine.fuse_scale.is_some());
        self.method == Method::Fuse(Technique::Map) && middle == from && !chosen
    }

    /// What the method makes on the way to `to`.
    fn middle(&self, from: &PictureLayout, to: &PictureLayout) -> Result<PictureLayout> {
        let Some(refine) = &self.refine else { return Ok(to.clone()) };
        let usage = |message: String| Err(Error::new(Kind::Usage, message));
        if refine.consistency > 100 {
            return usage(format!("{} consistency steps, allowed are 0 to 100", refine.consistency));
        }
        let passes = self.method == Method::None;
        let scale = refine.network.scale;
        if scale == 0 {
            return usage(format!("{} makes features of pictures, not pictures", refine.network.name));
        }
        let (width, height) = match refine.fuse_scale {
            Some(f) if passes && f != 1.0 => {
                return usage(format!("method none passes frames on at x1, but a fuse scale of {f} was asked for"));
            }
            Some(f) if !FACTORS.contains(&f) => return usage(format!("a fuse scale of {f}, allowed are 1 to 8")),
            Some(f) => (scaled(from.width, f, from, 0), scaled(from.height, f, from, 1)),
            None if passes => (from.width, from.height),
            None if refine.network.input == Input::EnlargedLuma => (to.width, to.height),
            None => (from.width.max(to.width.div_ceil(scale)), from.height.max(to.height.div_ceil(scale))),
        };
        let pixels = (width * scale).checked_mul(height * scale);
        if pixels.is_none_or(|pixels| pixels > MAX_OUTPUT) {
            let message = format!("a network x{scale} on {width}x{height}; the limit is {MAX_OUTPUT} pixels");
            return Err(Error::new(Kind::Resource, message).hint("take a smaller scale or --fuse-scale"));
        }
        Ok(from.resized(width, height))
    }

    fn output_size(&self, from: &PictureLayout) -> Result<(usize, usize)> {
        let usage = |message: String| Error::new(Kind::Usage, message).hint("scales are 1 to 8, fractions allowed");
        let keeps_size = self.method == Method::None && self.refine.is_none();
        let default = Scale::Factor(if keeps_size { 1.0 } else { 2.0 });
        let (width, height) = match self.scale.unwrap_or(default) {
            Scale::Factor(f) if !FACTORS.contains(&f) => return Err(usage(format!("a scale of {f}"))),
            Scale::Factor(f) => (scaled(from.width, f, from, 0), scaled(from.height, f, from, 1)),
            Scale::Size(w, h) => (w, h),
        };
        let allowed = |input: usize, output: usize| output >= input && output <= input.saturating_mul(8);
        if !allowed(from.width, width) || !allowed(from.height, height) {
            return Err(usage(format!("{width}x{height} from {}x{}", from.width, from.height)));
        }
        if width.max(height) > MAX_SIDE || width.checked_mul(height).is_none_or(|pixels| pixels > MAX_OUTPUT) {
            return Err(Error::new(
                Kind::Resource,
                format!("pictures of {width}x{height}; the limit is {MAX_OUTPUT} pixels, {MAX_SIDE} on a side"),
            )
            .hint("take a smaller scale"));
        }
        Ok((width, height))
    }
}

/// Size of an axis; where chroma is subsampled, fractional factors give a size that chroma divides.
fn scaled(size: usize, factor: f64, layout: &PictureLayout, axis: usize) -> usize {
    let exact = size as f64 * factor;
    let log2 = if axis == 0 { layout.chroma_log2.0 } else { layout.chroma_log2.1 };
    if layout.family != ColorFamily::YCbCr || log2 == 0 || factor.fract() == 0.0 {
        return exact.round() as usize;
    }
    let step = f64::from(1u32 << log2);
    let rounded = ((exact / step).round() * step) as usize;
    rounded.max(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(options: EnlargeOptions, from: &PictureLayout) -> Result<(usize, usize)> {
        options.resolve(from).map(|p| (p.to.width, p.to.height))
    }

    #[test]
    fn sizes_follow_the_scale() {
        let with = |scale| EnlargeOptions { scale, ..Default::default() };
        assert_eq!(
            size(with(None), &PictureLayout::yuv420(100, 50)).expect("default"),
            (200, 100),
            "x2 is the default"
        );
        assert_eq!(
            size(with(Some(Scale::Factor(1.5))), &PictureLayout::yuv420(101, 51)).expect("fraction"),
            (152, 76),
            "even for 4:2:0"
        );
        assert_eq!(
            size(with(Some(Scale::Size(101, 204))), &PictureLayout::yuv420(100, 51)).expect("size"),
            (101, 204),
            "as asked"
        );
        let none = EnlargeOptions { method: Method::None, ..Default::default() };
        assert_eq!(size(none, &PictureLayout::yuv420(33, 17)).expect("none"), (33, 17), "none keeps odd sizes");
    }

    #[test]
    fn bad_values_are_told_with_what_is_allowed() {
        for options in [
            EnlargeOptions { scale: Some(Scale::Factor(0.5)), ..Default::default() },
            EnlargeOptions { scale: Some(Scale::Factor(f64::NAN)), ..Default::default() },
            EnlargeOptions { scale: Some(Scale::Size(50, 50)), ..Default::default() },
            EnlargeOptions { window: Some(31), ..Default::default() },
            EnlargeOptions { blur: Some(Blur::Gaussian(3.0)), ..Default::default() },
            EnlargeOptions { method: Method::None, scale: Some(Scale::Factor(2.0)), ..Default::default() },
        ] {
            let error = options.resolve(&PictureLayout::yuv420(100, 50)).expect_err("not allowed");
            assert_eq!(error.kind(), Kind::Usage, "{options:?}: {error}");
        }
    }
}
