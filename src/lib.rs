//! Multi-frame video super-resolution.
pub mod color;
pub mod error;
pub mod frame;
pub mod kernels;
pub mod register;

pub use error::{Error, Kind, Result};
