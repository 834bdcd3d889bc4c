//! What the page can show of a method: every figure with its name, unit, direction, meaning and number of digits.

use super::{FrameScores, MethodResult};
use crate::metrics::Scores;
use serde::Serialize;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Higher,
    Lower,
    /// Neither: told, not judged.
    Neither,
}

impl Better {
    /// An arrow for the heads of columns.
    pub(super) fn arrow(self) -> &'static str {
        match self {
            Self::Higher => "↑",
            Self::Lower => "↓",
            Self::Neither => "",
        }
    }

    /// Whether `a` is better than `b`.
    pub(super) fn prefers(self, a: f64, b: f64) -> bool {
        match self {
            Self::Higher => a > b,
            Self::Lower => a < b,
            Self::Neither => false,
        }
    }
}

/// One kind of figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    /// Unique among figures; also in the page's addresses.
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// Meaning, for people who have not met it.
    pub(super) about: &'static str,
    /// Digits after the point.
    pub(super) digits: usize,
}

/// A figure that frames have, and means over frames.
pub(super) struct Measure {
    pub(super) figure: Figure,
    pub(super) of: fn(&Scores) -> Option<f64>,
}

/// A figure that frames alone have.
pub(super) struct Trait {
    pub(super) figure: Figure,
    pub(super) of: fn(&FrameScores) -> Option<f64>,
}

/// All measures, in the order of the table's columns and of the plots.
pub(super) const MEASURES: [Measure; 9] = [
    Measure {
        figure: Figure {
            key: "psnr_y",
            label: "PSNR-Y",
            unit: "dB",
            better: Better::Higher,
            about: "Peak signal-to-noise ratio of brightness against the truth. 3 dB more is half the squared error.",
            digits: 2,
        },
        of: |s| s.psnr_y,
    },
    Measure {
        figure: Figure {
            key: "psnr_rgb",
            label: "PSNR-RGB",
            unit: "dB",
            better: Better::Higher,
            about: "The same of red, green and blue together.",
            digits: 2,
        },
        of: |s| s.psnr_rgb,
    },
    Measure {
        figure: Figure {
            key: "ssim_y",
            label: "SSIM",
            unit: "",
            better: Better::Higher,
            about: "Structural similarity of brightness to the truth; 1 is identical.",
            digits: 4,
        },
        of: |s| s.ssim_y,
    },
    Measure {
        figure: Figure {
            key: "ms_ssim_y",
            label: "MS-SSIM",
            unit: "",
            better: Better::Higher,
            about: "Structural similarity at five sizes of detail at once; 1 is identical.",
            digits: 4,
        },
        of: |s| s.ms_ssim_y,
    },
    Measure {
        figure: Figure {
            key: "vmaf",
            label: "VMAF",
            unit: "",
            better: Better::Higher,
            about: "A model of how viewers judged films, 0 to 100. It rewards contrast, also where it is invented.",
            digits: 1,
        },
        of: |s| s.vmaf,
    },
    Measure {
        figure: Figure {
            key: "fidelity",
            label: "Fidelity",
            unit: "dB",
            better: Better::Higher,
            about: "The result is reduced to the input's size again and compared with the input. Low means that the \
                    picture shows what the camera did not see.",
            digits: 2,
        },
        of: |s| s.fidelity,
    },
    Measure {
        figure: Figure {
            key: "temporal",
            label: "Temporal error",
            unit: "",
            better: Better::Lower,
            about: "What changes from frame to frame beyond motion, against what does in the input, in code values \
                    of 0 to 255. High is seen as flicker.",
            digits: 2,
        },
        of: |s| s.temporal,
    },
    Measure {
        figure: Figure {
            key: "edge_width",
            label: "Edge width",
            unit: "px",
            better: Better::Lower,
            about: "How many pixels an edge takes from 10 % to 90 %. Low is sharp, right or not.",
            digits: 2,
        },
        of: |s| s.edge_width,
    },
    Measure {
        figure: Figure {
            key: "niqe",
            label: "NIQE",
            unit: "",
            better: Better::Lower,
            about: "How far the statistics of the picture are from those of undistorted photographs; needs no truth, \
                    knows nothing of what was filmed.",
            digits: 2,
        },
        of: |s| s.niqe,
    },
];

/// All that only frames have.
pub(super) const TRAITS: [Trait; 3] = [
    Trait {
        figure: Figure {
            key: "motion",
            label: "Motion",
            unit: "px",
            better: Better::Neither,
            about: "How far the picture moved since the frame before, in pixels of the input.",
            digits: 2,
        },
        of: |f| f.motion,
    },
    Trait {
        figure: Figure {
            key: "confidence",
            label: "Confidence",
            unit: "",
            better: Better::Neither,
            about: "How sure that motion is, 0 to 1. It falls at cuts, flashes and heavy blur.",
            digits: 2,
        },
        of: |f| f.confidence,
    },
    Trait {
        figure: Figure {
            key: "multi_frame_share",
            label: "Multi-frame share",
            unit: "",
            better: Better::Neither,
            about: "Part of the picture that was made from several frames, 0 to 1; the rest comes from its own frame.",
            digits: 2,
        },
        of: |f| f.multi_frame_share,
    },
];

/// Lowest PSNR-Y.
pub(super) const WORST: Figure = Figure {
    key: "worst",
    label: "Worst frame",
    unit: "dB",
    better: Better::Higher,
    about: "Lowest PSNR-Y of a frame, and which frame it is.",
    digits: 2,
};

/// Speed.
pub(super) const SPEED: Figure = Figure {
    key: "speed",
    label: "Speed",
    unit: "frames/s",
    better: Better::Higher,
    about: "Frames a second by the clock on the wall, on the machine that made this page.",
    digits: 1,
};

/// Memory.
pub(super) const MEMORY: Figure = Figure {
    key: "memory",
    label: "Memory",
    unit: "MB",
    better: Better::Lower,
    about: "Most memory held while the method ran.",
    digits: 0,
};

/// The frame of lowest PSNR-Y and its value; the mean's own entry where frames are not kept.
pub(super) fn worst(method: &MethodResult) -> Option<(f64, Option<u64>)> {
    let frames = method.per_frame.iter().filter_map(|f| Some((f.scores.psnr_y?, Some(f.frame))));
    let lowest = frames.min_by(|a, b| a.0.total_cmp(&b.0));
    match (method.psnr_y_min, lowest) {
        (Some(told), found) => Some((told, found.and_then(|(_, frame)| frame))),
        (None, found) => found,
    }
}
