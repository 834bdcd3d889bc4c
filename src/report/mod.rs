//! The comparison page: what a comparison found, as one file of HTML that needs nothing else.

mod comparison;

pub use comparison::{Advice, Clip, Comparison, Crop, FrameScores, MethodResult, Shot, Test, Truth};
