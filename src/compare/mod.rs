//! Several methods side by side on one video: who enlarges, what is measured, what is kept.

pub mod measure;
mod measure_files;
mod measure_means;
mod measure_planes;
mod measure_temporal;
#[cfg(test)]
mod measure_temporal_tests;
mod measure_vmaf;
