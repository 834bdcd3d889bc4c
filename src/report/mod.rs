//! The comparison page: what a comparison found, as one file of HTML that needs nothing else.
//!
//! [`Comparison`] is the data, [`page`] writes the file. Nothing is measured here and no picture is made: pictures
//! come as PNG or JPEG files in memory. Text is laid out by a template that escapes whatever it is given, plots are
//! drawn as SVG, and a script in the page itself adds what moves. A policy in the head of the page forbids the
//! browser every request, so that it is the same page on any disk, on any day.

mod columns;
mod comparison;
mod curves;
mod page;
mod pictures;
mod plot;
mod table;

pub use comparison::{Advice, Clip, Comparison, Crop, FrameScores, MethodResult, Shot, Test, Truth};
pub use page::{PAGE_LIMIT, page, page_size};
