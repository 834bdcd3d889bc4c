//! Frames in, frames out: the library's face for programs that have pictures of their own.

use super::evidence::Evidence;
use super::maps::Maps;
use super::method::{Method, Preset};
use super::options::{EnlargeOptions, EnlargePlan, RefineOptions, Scale};
use super::refining::{FrameHolder, FrameRefiner, refining};
use super::registration::{FrameMotion, FrameRegistrar};
use super::window::FrameEnlarger;
use crate::error::{Error, Kind, Result};
use crate::frame::{Frame, PictureLayout, PlanePool};
use crate::fuse::{Blur, Held, Parts};
use crate::kernels::CpuLevel;

/// One enlarged frame and what is known of how it was made.
#[derive(Debug)]
pub struct Enlarged {
    /// The picture, with number and time of the input frame.
    pub frame: Frame,
    /// Share of the picture that comes from several frames, 0 to 1.
    pub multi_frame_share: f64,
    /// Estimated noise of the input, standard deviation on the 8-bit scale; 0 where it is not measured.
    pub noise: f64,
    /// Neighbouring frames that were used.
    pub neighbours: usize,
    /// Why it was made from this frame alone; `None` if others helped, or are not asked by the method.
    pub alone: Option<Alone>,
    /// Blur of the camera that was undone; `None` where none is.
    pub blur: Option<Blur>,
    /// What was measured to make it; only if asked for, see [`UpscalerBuilder::maps`].
    pub maps: Option<Maps>,
    /// Motion against the frame before.
    pub motion: FrameMotion,
    /// How far it was from the frames as a network made it, and after it was held to them; `None` where it was not.
    pub held: Option<Held>,
    /// What it is to be held to, until it has been.
    pub(super) evidence: Option<Box<Evidence>>,
}

/// Why a frame of a method that takes several was made from itself alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// There is no other: a window of 0, or a video of one frame.
    NoNeighbours,
    /// A scene of one frame, between cuts.
    Cut,
    /// Its neighbours are the same picture, sample by sample.
    Repeated,
    /// Its neighbours do not show the same things: low confidence everywhere.
    Unlike,
}

/// Enlarges a stream of frames, without files and without threads of its own beyond rayon's.
///
/// A frame comes out when the frames after it that can help are known: up to the window's radius later, and all the
/// rest at [`Upscaler::finish`]. Memory: the frames of one window and the solver's state, whatever the length.
///
/// ```
/// use ndarray::Array2;
/// use subpel::{Upscaler, frame::*, color::ColorDescription};
///
/// let layout = PictureLayout {
///     width: 32, height: 24, family: ColorFamily::Gray, chroma_log2: (0, 0), chroma_site: ChromaSite { x: 0.0, y: 0.0 },
///     alpha: false, depth: 8, color: ColorDescription::default(),
/// };
/// let mut upscaler = Upscaler::builder(&layout).scale(2.0).build()?;
/// let mut enlarged = Vec::new();
/// for index in 0..5 {
///     let picture = Array2::from_shape_fn((24, 32), |(y, x)| ((x + y + index as usize) % 16 * 12) as f32);
///     let (pts, planes) = (index as i64, vec![picture]);
///     let frame = Frame { index, pts, duration: 1, planes, coding: None, carried: Vec::new() };
///     enlarged.extend(upscaler.push(frame)?);
/// }
/// enlarged.extend(upscaler.finish()?);
/// assert_eq!(enlarged.len(), 5);
/// assert_eq!(enlarged[0].frame.planes[0].dim(), (48, 64));
/// # Ok::<(), subpel::Error>(())
/// ```
pub struct Upscaler {
    plan: EnlargePlan,
    registrar: FrameRegistrar,
    enlarger: FrameEnlarger,
    refining: Option<(FrameRefiner, FrameHolder)>,
}

impl std::fmt::Debug for Upscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upscaler").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Options of an [`Upscaler`].
#[derive(Debug, Clone)]
pub struct UpscalerBuilder {
    layout: PictureLayout,
    options: EnlargeOptions,
    maps: bool,
    cpu: CpuLevel,
}

impl Upscaler {
    /// For frames of `layout`.
    pub fn builder(layout: &PictureLayout) -> UpscalerBuilder {
        UpscalerBuilder {
            layout: layout.clone(),
            options: EnlargeOptions::default(),
            maps: false,
            cpu: CpuLevel::detect(),
        }
    }

    /// What was resolved from the options.
    pub fn plan(&self) -> &EnlargePlan {
        &self.plan
    }

    /// Takes the next frame in presentation order and returns those that are ready.
    ///
    /// # Errors
    /// [`Kind::Usage`] if its planes do not have the sizes of the layout; [`Kind::Input`] if they hold no numbers.
    pub fn push(&mut self, frame: Frame) -> Result<Vec<Enlarged>> {
        check_planes(&frame, &self.plan.from)?;
        let registered = self.registrar.push(frame)?;
        self.enlarger.push(registered);
        self.ready(false)
    }

    /// The frames that waited for others which will not come.
    ///
    /// # Errors
    /// As for [`Self::push`].
    pub fn finish(mut self) -> Result<Vec<Enlarged>> {
        self.ready(true)
    }

    fn ready(&mut self, ended: bool) -> Result<Vec<Enlarged>> {
        let mut refined = Vec::new();
        while self.enlarger.is_ready(ended) {
            let enlarged = self.enlarger.enlarge_next()?;
            match &mut self.refining {
                Some((refiner, holder)) => {
                    for made in refiner.refine(vec![enlarged])? {
                        refined.push(holder.hold(made)?);
                    }
                }
                None => refined.push(enlarged),
            }
        }
        Ok(refined)
    }
}

impl UpscalerBuilder {
    /// Factor for both axes, 1 to 8.
    #[must_use]
    pub fn scale(mut self, factor: f64) -> Self {
        self.options.scale = Some(Scale::Factor(factor));
        self
    }

    /// Columns and rows instead of a factor.
    #[must_use]
    pub fn size(mut self, width: usize, height: usize) -> Self {
        self.options.scale = Some(Scale::Size(width, height));
        self
    }

    /// All options at once, in place of those given before.
    #[must_use]
    pub fn options(mut self, options: EnlargeOptions) -> Self {
        self.options = options;
        self
    }

    /// How to enlarge.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.options.method = method;
        self
    }

    /// Effort.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.options.preset = preset;
        self
    }

    /// Frames on each side, 0 to 30.
    #[must_use]
    pub fn window(mut self, radius: usize) -> Self {
        self.options.window = Some(radius);
        self
    }

    /// The camera's blur; `None` measures it on the opening frames of each scene.
    #[must_use]
    pub fn blur(mut self, blur: Option<Blur>) -> Self {
        self.options.blur = blur;
        self
    }

    /// A network that pictures go through after the method.
    #[must_use]
    pub fn refine(mut self, refine: RefineOptions) -> Self {
        self.options.refine = Some(refine);
        self
    }

    /// Leaves parts of the reconstruction out, for measurements.
    #[must_use]
    pub fn parts(mut self, parts: Parts) -> Self {
        self.options.parts = parts;
        self
    }

    /// Whether to hand out motion, confidence and gate of every frame: [`Enlarged::maps`]. 16 bytes an input pixel.
    #[must_use]
    pub fn maps(mut self, wanted: bool) -> Self {
        self.maps = wanted;
        self
    }

    /// A CPU level below the best, for tests and measurements.
    #[must_use]
    pub fn cpu(mut self, cpu: CpuLevel) -> Self {
        self.cpu = cpu;
        self
    }

    /// Checks the options and allocates.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the value and what is allowed.
    pub fn build(self) -> Result<Upscaler> {
        let plan = self.options.resolve(&self.layout)?;
        let registrar = FrameRegistrar::for_plan(&plan, self.cpu)?;
        let [small, middle, large] = [0, 1, 1].map(PlanePool::new);
        let refining = refining(&plan, [small.clone(), middle.clone(), large], None, self.cpu)?;
        let enlarger = FrameEnlarger::new(&plan, small, middle, self.cpu)?;
        let enlarger = enlarger.with_registrar(registrar.registrar()).with_maps(self.maps);
        Ok(Upscaler { plan, registrar, enlarger, refining })
    }
}

fn check_planes(frame: &Frame, layout: &PictureLayout) -> Result<()> {
    let wanted: Vec<_> = (0..layout.plane_count()).map(|i| layout.plane_size(i)).collect();
    let got: Vec<_> = frame.planes.iter().map(|p| p.dim()).collect();
    if wanted != got {
        return Err(Error::new(
            Kind::Usage,
            format!("frame {} has planes of {got:?} rows and columns, expected {wanted:?}", frame.index),
        ));
    }
    if let Some(plane) = frame.planes.iter().position(|p| p.iter().any(|v| !v.is_finite())) {
        let message = format!("frame {} has samples in plane {plane} that are no numbers", frame.index);
        return Err(Error::new(Kind::Input, message));
    }
    Ok(())
}
