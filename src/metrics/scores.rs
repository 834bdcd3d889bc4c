//! What is measured of one frame, and the mean of many: plain data, so that the command line, pages and files of
//! results name everything alike.

use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Figures of one frame, or means over frames. `None` is "not measured": no truth to compare with, no frame before, a
/// metric whose model is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scores {
    /// PSNR of luma against the truth, dB; identical pictures count as 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_y: Option<f64>,
    /// PSNR of R'G'B' against the truth, dB, the error averaged over the three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psnr_rgb: Option<f64>,
    /// SSIM of luma against the truth, up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssim_y: Option<f64>,
    /// Multi-scale SSIM of luma against the truth, up to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms_ssim_y: Option<f64>,
    /// Re-reduction fidelity, dB: PSNR of luma between the result, reduced to the input's size, and the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<f64>,
    /// Temporal error, code values on the 8-bit scale: what changes from frame to frame beyond motion, against what
    /// does in the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temporal: Option<f64>,
    /// Width of edges, pixels of the result, from 10 % to 90 %; small is sharp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_width: Option<f64>,
    /// NIQE, no truth needed; small is natural.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub niqe: Option<f64>,
    /// VMAF, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmaf: Option<f64>,
}

impl Scores {
    /// The figure of one metric.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::PsnrY => self.psnr_y,
            Metric::PsnrRgb => self.psnr_rgb,
            Metric::SsimY => self.ssim_y,
            Metric::MsSsimY => self.ms_ssim_y,
            Metric::Fidelity => self.fidelity,
            Metric::Temporal => self.temporal,
            Metric::EdgeWidth => self.edge_width,
            Metric::Niqe => self.niqe,
            Metric::Vmaf => self.vmaf,
        }
    }

    /// Sets the figure of one metric.
    pub fn set(&mut self, metric: Metric, value: Option<f64>) {
        let place = match metric {
            Metric::PsnrY => &mut self.psnr_y,
            Metric::PsnrRgb => &mut self.psnr_rgb,
            Metric::SsimY => &mut self.ssim_y,
            Metric::MsSsimY => &mut self.ms_ssim_y,
            Metric::Fidelity => &mut self.fidelity,
            Metric::Temporal => &mut self.temporal,
            Metric::EdgeWidth => &mut self.edge_width,
            Metric::Niqe => &mut self.niqe,
            Metric::Vmaf => &mut self.vmaf,
        };
        *place = value;
    }
}

/// The metrics there are, by the names of their fields in [`Scores`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// [`Scores::psnr_y`].
    PsnrY,
    /// [`Scores::psnr_rgb`].
    PsnrRgb,
    /// [`Scores::ssim_y`].
    SsimY,
    /// [`Scores::ms_ssim_y`].
    MsSsimY,
    /// [`Scores::fidelity`].
    Fidelity,
    /// [`Scores::temporal`].
    Temporal,
    /// [`Scores::edge_width`].
    EdgeWidth,
    /// [`Scores::niqe`].
    Niqe,
    /// [`Scores::vmaf`].
    Vmaf,
}

impl Metric {
    /// All metrics, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::PsnrY,
        Self::PsnrRgb,
        Self::SsimY,
        Self::MsSsimY,
        Self::Fidelity,
        Self::Temporal,
        Self::EdgeWidth,
        Self::Niqe,
        Self::Vmaf,
    ];

    /// Name of the field in JSON, CSV and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::PsnrY => "psnr_y",
            Self::PsnrRgb => "psnr_rgb",
            Self::SsimY => "ssim_y",
            Self::MsSsimY => "ms_ssim_y",
            Self::Fidelity => "fidelity",
            Self::Temporal => "temporal",
            Self::EdgeWidth => "edge_width",
            Self::Niqe => "niqe",
            Self::Vmaf => "vmaf",
        }
    }

    /// Heading of a table, at most 8 characters.
    pub fn label(self) -> &'static str {
        match self {
            Self::PsnrY => "PSNR-Y",
            Self::PsnrRgb => "PSNR-RGB",
            Self::SsimY => "SSIM-Y",
            Self::MsSsimY => "MS-SSIM",
            Self::Fidelity => "fidelity",
            Self::Temporal => "temporal",
            Self::EdgeWidth => "edge",
            Self::Niqe => "NIQE",
            Self::Vmaf => "VMAF",
        }
    }

    /// Unit for people; empty for pure numbers.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PsnrY | Self::PsnrRgb | Self::Fidelity => "dB",
            Self::Temporal => "of 255",
            Self::EdgeWidth => "px",
            Self::SsimY | Self::MsSsimY | Self::Niqe | Self::Vmaf => "",
        }
    }

    /// Decimals that mean something.
    pub fn decimals(self) -> usize {
        match self {
            Self::SsimY | Self::MsSsimY => 5,
            Self::Temporal | Self::EdgeWidth | Self::Niqe => 3,
            Self::Vmaf => 2,
            Self::PsnrY | Self::PsnrRgb | Self::Fidelity => 3,
        }
    }

    /// Whether more is better.
    pub fn larger_is_better(self) -> bool {
        !matches!(self, Self::Temporal | Self::EdgeWidth | Self::Niqe)
    }

    /// Whether it compares with the truth.
    pub fn needs_truth(self) -> bool {
        matches!(self, Self::PsnrY | Self::PsnrRgb | Self::SsimY | Self::MsSsimY | Self::Vmaf)
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(Kind::Usage, format!("unknown metric '{name}', expected some of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_field_of_its_name() {
        for (i, metric) in Metric::ALL.into_iter().enumerate() {
            let mut scores = Scores::default();
            scores.set(metric, Some(i as f64 + 0.5));
            let others = Metric::ALL.into_iter().filter(|other| scores.get(*other).is_some());
            assert_eq!(others.collect::<Vec<_>>(), [metric], "one field is set");
            assert_eq!(metric.name().parse::<Metric>().expect("a name"), metric, "name");
            assert!(metric.label().len() <= 8, "{}", metric.label());
        }
        let message = "PSNR".parse::<Metric>().expect_err("no such name").to_string();
        assert!(message.contains("'PSNR'") && message.contains("psnr_y, psnr_rgb"), "{message}");
    }
}
