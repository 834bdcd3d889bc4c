//! Multi-frame video super-resolution.
pub mod color;
pub mod error;
pub mod frame;
pub mod kernels;

pub use error::{Error, Kind, Result};
