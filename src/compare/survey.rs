//! What is looked at before anything is enlarged: how long the input is, and which of its frames are compared.

use super::request::Request;
use super::source::{Part, Pictures, Start};
use super::watch::Watch;
use crate::error::{Error, Kind, Result};
use crate::frame::PictureLayout;
use crate::media::VideoInfo;

/// Longest video that is compared whole without being asked to, frames.
const SHORT: u64 = 96;
/// Excerpts of a longer one, and frames of each: several windows of the slowest method.
const EXCERPTS: u64 = 3;
const EXCERPT: u64 = 24;

/// Frames that follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Excerpt {
    /// Number of the first frame in the input.
    pub(super) first: u64,
    /// How many; the last excerpt of an input may have fewer.
    pub(super) frames: u64,
    /// Where that is.
    pub(super) start: Start,
    /// Whether this is all of the input.
    pub(super) whole: bool,
}

/// What is known of the input before the comparison.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) info: VideoInfo,
    /// Layout of the frames as they are shown.
    pub(super) layout: PictureLayout,
    /// Frames of the input; the container's estimate if only excerpts are read.
    pub(super) frames: u64,
    /// What is compared.
    pub(super) excerpts: Vec<Excerpt>,
}

impl Survey {
    /// Looks at the input; decodes it if its frames have to be counted.
    pub(super) fn of(request: &Request, watch: &Watch) -> Result<Self> {
        let mut pictures = Pictures::open(&Part::whole(request.input.clone()), false, request.threads)?;
        let (info, layout) = (pictures.info().clone(), pictures.layout().clone());
        let (rate, estimate) = (info.frame_rate, info.frames_estimated);
        let told = estimate > SHORT && rate.0 > 0;
        let all = request.reference.is_some() || request.video.is_some();
        if request.frames.is_none() && told && !all {
            let excerpts = spread(estimate, f64::from(rate.0) / f64::from(rate.1.max(1)));
            return Ok(Self { info, layout, frames: estimate, excerpts });
        }
        watch.part("counting frames".into(), estimate, None);
        let wanted = request.frames.clone().unwrap_or(0..u64::MAX);
        let (mut frames, mut times) = (0, [None; 2]);
        let mut origin = None;
        while frames < wanted.end
            && let Some(time) = pictures.next()?.map(|frame| frame.pts)
        {
            watch.frame()?;
            origin.get_or_insert(time);
            if frames <= wanted.start {
                times = [times[1], Some(time)];
            }
            frames += 1;
        }
        if frames <= wanted.start {
            let message = format!("has {frames} frames, but --frames begins with number {}", wanted.start);
            return Err(Error::new(Kind::Usage, message).file(&request.input.path));
        }
        // Between the frame before and the first one wanted, so that rounding of times decides nothing.
        let start = match (times, origin) {
            ([Some(before), Some(first)], Some(origin)) if wanted.start > 0 => {
                Start::Seconds(0.5 * (info.seconds(before - origin) + info.seconds(first - origin)))
            }
            _ => Start::First,
        };
        let range = Excerpt { first: wanted.start, frames: frames - wanted.start, start, whole: false };
        let everything = Excerpt { whole: true, ..range };
        let excerpts = match &request.frames {
            Some(_) => vec![range],
            None if frames <= SHORT || request.reference.is_some() || rate.0 <= 0 => vec![everything],
            None => spread(frames, f64::from(rate.0) / f64::from(rate.1.max(1))),
        };
        Ok(Self { info, layout, frames, excerpts })
    }

    /// The whole input as one excerpt.
    pub(super) fn everything(&self) -> Excerpt {
        Excerpt { first: 0, frames: self.frames, start: Start::First, whole: true }
    }

    /// Which frames are compared, for people.
    pub(super) fn words(excerpts: &[Excerpt]) -> String {
        match excerpts {
            [one] if one.whole => format!("all {} frames", one.frames),
            [one] => format!("frames {} to {}", one.first, one.first + one.frames - 1),
            many => {
                let starts: Vec<String> = many.iter().map(|e| e.first.to_string()).collect();
                let frames = many.first().map_or(0, |e| e.frames);
                format!("{} excerpts of {frames} frames, from frames {}", many.len(), starts.join(", "))
            }
        }
    }
}

/// Excerpts spread over `frames` at `rate` frames a second.
fn spread(frames: u64, rate: f64) -> Vec<Excerpt> {
    let length = EXCERPT.min(frames / EXCERPTS);
    let excerpt = |i: u64| {
        let first = (frames * (2 * i + 1) / (2 * EXCERPTS)).saturating_sub(length / 2);
        let start = if first == 0 { Start::First } else { Start::Seconds((first as f64 - 0.5) / rate) };
        Excerpt { first, frames: length, start, whole: false }
    };
    (0..EXCERPTS).map(excerpt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_lie_inside_and_apart() {
        for frames in [97, 100, 241, 5000, 200_000] {
            let excerpts = spread(frames, 25.0);
            assert!(excerpts.windows(2).all(|p| p[0].first + p[0].frames <= p[1].first), "{frames}: {excerpts:?}");
            assert!(excerpts.iter().all(|e| e.frames == EXCERPT && e.first + e.frames <= frames), "{excerpts:?}");
        }
        let words = Survey::words(&spread(241, 25.0));
        assert_eq!(words, "3 excerpts of 24 frames, from frames 28, 108, 188", "words");
    }
}
