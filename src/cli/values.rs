//! Values of options: text to numbers, with errors that say what is allowed.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::fuse::Blur;
use crate::media::InputSpec;

/// Options of every command that reads a video.
#[derive(Args, Debug, Clone)]
pub(super) struct InputOptions {
    /// Let the input be a network address or a playlist that opens further files
    #[arg(long, help_heading = "Input")]
    pub(super) allow_network: bool,

    /// Frames a second of a numbered picture sequence, as 24 or 24000/1001
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Input")]
    pub(super) fps: Option<(i32, i32)>,

    /// Most pixels a picture of the input may have
    #[arg(long, value_name = "N", default_value_t = InputSpec::DEFAULT_MAX_PIXELS, value_parser = clap::value_parser!(u64).range(1..=i32::MAX as u64), help_heading = "Input")]
    pub(super) max_pixels: u64,
}

/// `auto`, or a blur.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BlurChoice(pub(super) Option<Blur>);

impl FromStr for BlurChoice {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self(None)) } else { text.parse().map(|blur| Self(Some(blur))) }
    }
}

impl InputOptions {
    pub(super) fn spec(&self, path: &std::path::Path) -> InputSpec {
        InputSpec {
            path: PathBuf::from(path),
            allow_network: self.allow_network,
            sequence_rate: self.fps,
            max_pixels: self.max_pixels,
        }
    }
}

/// `24`, `23.976` or `24000/1001`.
fn rate(text: &str) -> Result<(i32, i32), String> {
    let wrong = || format!("{text:?} is not a rate such as 25 or 24000/1001");
    let (num, den) = match text.split_once('/') {
        Some((n, d)) => (n.parse().map_err(|_| wrong())?, d.parse().map_err(|_| wrong())?),
        None => match text.parse::<i32>() {
            Ok(n) => (n, 1),
            Err(_) => ((f64::from_str(text).map_err(|_| wrong())? * 1000.0).round() as i32, 1000),
        },
    };
    if num < 1 || den < 1 { Err(wrong()) } else { Ok((num, den)) }
}

/// `1920x1080`.
pub(super) fn size(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("{text:?} is not a size such as 1920x1080");
    let (w, h) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    match (w.parse(), h.parse()) {
        (Ok(w), Ok(h)) if w > 0 && h > 0 => Ok((w, h)),
        _ => Err(wrong()),
    }
}

/// Seconds, or `[HH:]MM:SS[.fraction]`.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a time such as 12.5 or 1:02:03.5");
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(wrong());
    }
    let total = parts
        .iter()
        .try_fold(0.0, |sum, part| Ok::<f64, String>(sum * 60.0 + f64::from_str(part).map_err(|_| wrong())?))?;
    // A year: longer than any film, and far from the end of every clock.
    if (0.0..=3.2e7).contains(&total) { Ok(total) } else { Err(wrong()) }
}

/// A number of threads, 0 to 256.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n <= 256).ok_or_else(|| format!("{text:?} is not a number of threads from 0 to 256"))
}

/// `512M`, `2GiB`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>()
        .map(|b| b.as_u64())
        .map_err(|_| format!("{text:?} is not a size such as 512M or 2GiB"))
}

/// `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| format!("{text:?} is not NAME=VALUE"))
}

/// A factor; its range is checked against the input.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    f64::from_str(text)
        .ok()
        .filter(|f| f.is_finite())
        .ok_or_else(|| format!("{text:?} is not a number such as 2 or 1.5"))
}

/// Steps that hold a network's pictures, 0 to 100.
pub(super) fn steps(text: &str) -> Result<usize, String> {
    usize::from_str(text).ok().filter(|n| *n <= 100).ok_or_else(|| format!("{text:?} is not a number from 0 to 100"))
}

/// `A=MODEL`, a share from 0 to 1 of a checkpoint.
pub(super) fn share(text: &str) -> Result<(f64, PathBuf), String> {
    let parts = text.split_once('=').and_then(|(share, model)| Some((f64::from_str(share).ok()?, model)));
    let inside = parts.filter(|(share, model)| (0.0..=1.0).contains(share) && !model.is_empty());
    inside
        .map(|(share, model)| (share, PathBuf::from(model)))
        .ok_or_else(|| format!("{text:?} is not A=MODEL with a share A from 0 to 1, such as 0.5=other.pth"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rates_and_sizes_are_read_as_people_write_them() {
        assert_eq!(seconds("1:02:03.5"), Ok(3723.5), "hours");
        assert_eq!(seconds("90"), Ok(90.0), "seconds");
        assert!(seconds("-1").is_err() && seconds("1:2:3:4").is_err() && seconds("x").is_err(), "wrong times");
        assert_eq!(rate("24000/1001"), Ok((24000, 1001)), "ratio");
        assert_eq!(rate("23.976"), Ok((23976, 1000)), "decimal");
        assert!(rate("0").is_err() && rate("25/0").is_err(), "wrong rates");
        assert_eq!(size("1920x1080"), Ok((1920, 1080)), "size");
        assert!(size("0x5").is_err() && size("5").is_err(), "wrong sizes");
        assert_eq!(bytes("512MiB"), Ok(512 << 20), "bytes");
    }
}
