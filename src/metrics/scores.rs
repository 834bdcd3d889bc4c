//! What is measured of one frame, and the mean of many: plain data, so that the command line, pages and files of
//! results name everything alike.

use serde::{Deserialize, Serialize};

/// Figures of one frame, or means over frames. `None` is "not measured": no truth to compare with, no frame before, a
/// metric whose model is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scores {
    /// PSNR of luma against the truth, dB; identical pictures count as 99.
    pub psnr_y: Option<f64>,
    /// PSNR of R'G'B' against the truth, dB, the error averaged over the three.
    pub psnr_rgb: Option<f64>,
    /// SSIM of luma against the truth, up to 1.
    pub ssim_y: Option<f64>,
    /// Multi-scale SSIM of luma against the truth, up to 1.
    pub ms_ssim_y: Option<f64>,
    /// Re-reduction fidelity, dB: PSNR of luma between the result, reduced to the input's size, and the input.
    pub fidelity: Option<f64>,
    /// Temporal error, code values on the 8-bit scale: what changes from frame to frame beyond motion, against what
    /// does in the input.
    pub temporal: Option<f64>,
    /// Width of edges, pixels of the result, from 10 % to 90 %; small is sharp.
    pub edge_width: Option<f64>,
    /// NIQE, no truth needed; small is natural.
    pub niqe: Option<f64>,
    /// VMAF, 0 to 100.
    pub vmaf: Option<f64>,
}
