//! Multi-frame video super-resolution.
pub mod color;
pub mod error;
pub mod frame;
pub mod fuse;
pub mod kernels;
pub mod media;
pub mod metrics;
pub mod register;
pub mod resample;

pub use error::{Error, Kind, Result};
