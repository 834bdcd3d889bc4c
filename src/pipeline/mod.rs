//! The stages put together: threads, bounded channels, memory, cancellation, and the library's public face.
//!
//! ```text
//! decode ─► register ─► fuse ─► [refine ─► hold] ─► encode
//! ```
//! A stage is a loop from a receiver to a sender around an object that knows nothing of channels. A stage whose
//! neighbour is gone stops quietly; the first error is the only one, and it keeps its stage and frame up to `main`.
//! What is not here: algorithms (their own modules), the terminal (`cli`), FFmpeg (`media`).

mod budget;
mod control;
mod enlarging;
mod evidence;
mod files;
mod forecast;
mod maps;
mod method;
mod neighbours;
mod network_picture;
mod options;
mod refining;
mod registration;
mod scout;
mod threads;
mod topology;
mod upscaler;
mod window;

pub use budget::MemoryPlan;
pub use control::{Control, FrameNote, StageCount};
pub use enlarging::{Enlarging, Resources, Tally};
pub use files::{AloneCounts, Excerpt, Found, Job, Summary, motion_file, open_for, refuse_empty, upscale_file};
pub use forecast::Forecast;
pub use maps::Maps;
pub use method::{Method, Preset, PresetTable};
pub use options::{DEFAULT_CONSISTENCY, EnlargeOptions, EnlargePlan, LightDomain, RefineOptions, Scale};
pub use registration::FrameMotion;
pub use scout::{Scenes, Scout};
pub use upscaler::{Alone, Enlarged, Upscaler, UpscalerBuilder};
