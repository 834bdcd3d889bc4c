//! Convolutional networks on pictures in blocks of sixteen channels.
//!
//! A [`Program`] is a list of steps with packed weights; a [`Plan`] lays it out for one size of input; a [`Job`] is one run of
//! it, by as many workers as call it. Convolutions of 3 x 3 go through Winograd's transform (`transform`, `unit`), a quarter
//! of the multiplications; others are computed as they are defined. Both end in the same inner loop (`product`).
//!
//! Pictures are stored as block of channels, row, pixel, channel; every row has a pixel of zeros before it and zeros after it
//! up to a multiple of four pixels, which are never written. Results are the same bits at every CPU level, for every number of
//! workers and however pictures are divided among them.

mod isa;
mod job;
mod memory;
mod peak;
mod plan;
mod product;
mod program;
mod rows;
mod simd;
mod transform;
mod unit;
mod weights;

pub(crate) use job::{Job, Memory};
pub(crate) use memory::NoMemory;
#[doc(hidden)]
pub use peak::peak;
pub(crate) use plan::Plan;
pub(crate) use program::{Each, Program, StepId};
pub(crate) use weights::{Activation, Kernel, Layer};
