//! Multi-frame video super-resolution: rebuilds from several frames the detail that none of them holds alone.
//!
//! A video camera that moves by fractions of a pixel samples the same scene at different places in each frame. This
//! crate measures those shifts ([`register`]), inverts the camera's model over several frames ([`fuse`]) and writes
//! the result back with everything else that was in the file ([`media`]), stage by stage in bounded memory
//! ([`pipeline`]).
//!
//! Two ways in: [`upscale_file`] for whole files, and [`Upscaler`] for frames of your own.
//!
//! ```no_run
//! use subpel::{Control, EnlargeOptions, InputSpec, Job, OutputSpec, Scale, upscale_file};
//!
//! let mut job = Job::new(InputSpec::local("film.mkv"), OutputSpec::file("film-x2.mkv"));
//! job.enlarge = EnlargeOptions { scale: Some(Scale::Factor(2.0)), ..Default::default() };
//! let summary = upscale_file(&job, &Control::default())?;
//! println!("{} frames, {:.0} % from several frames", summary.written.frames, 100.0 * summary.multi_frame_share);
//! # Ok::<(), subpel::Error>(())
//! ```
//!
//! Conventions that hold everywhere: planes are `height x width`, values on the 8-bit scale, shifts in
//! low-resolution pixels with +x right and +y down (see [`frame`]). Results depend on the frames and the options
//! only: not on the number of threads, the CPU's vector width, or the time.

#[doc(hidden)]
pub mod cli;
pub mod color;
pub mod compare;
mod cores;
pub mod error;
pub mod frame;
pub mod fuse;
pub mod kernels;
pub mod light;
pub mod media;
pub mod metrics;
pub mod pipeline;
pub mod refine;
pub mod register;
pub mod report;
pub mod resample;
pub mod segment;

pub use error::{Error, Kind, Result};
pub use fuse::Technique;
pub use media::{InputSpec, OutputSpec};
pub use pipeline::{
    Control, EnlargeOptions, Job, Method, Preset, RefineOptions, Scale, Summary, Upscaler, upscale_file,
};
