//! The options of an enlargement as plain data, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::publish::{failed, hash_into};
use crate::error::{Error, Kind, Result};
use crate::fuse::{Blur, Parts};
use crate::media::InputSpec;
use crate::pipeline::{EnlargeOptions, Excerpt, LightDomain, RefineOptions, Scale};
use crate::refine::{Checkpoint, Network, Settings};

/// What decides the pixels, besides the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// Factor for both axes.
    pub scale: Option<f64>,
    /// Columns and rows instead.
    pub size: Option<[usize; 2]>,
    /// Name of the method.
    pub method: String,
    /// Name of the preset.
    pub preset: String,
    /// Frames on each side.
    pub window: Option<usize>,
    /// Blur of the camera, measured if `None`.
    pub blur: Option<KnownBlur>,
    /// `gamma` or `linear`.
    pub light: String,
    /// A network after the method.
    pub refine: Option<RefineParams>,
    /// Seconds after the first frame at which to begin.
    pub start: Option<f64>,
    /// Most frames.
    pub frames: Option<u64>,
    /// Whether the input may open further files; no plan is made then.
    pub allow_network: bool,
    /// Frames a second of a numbered sequence.
    pub sequence_rate: Option<(i32, i32)>,
    /// Most pixels of a picture of the input.
    pub max_pixels: u64,
}

/// A blur as it is written; see [`Blur`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownBlur {
    /// [`Blur::Usual`].
    Usual,
    /// [`Blur::Cubic`].
    Cubic,
    /// [`Blur::Gaussian`].
    Gaussian(f64),
}

impl From<Blur> for KnownBlur {
    fn from(blur: Blur) -> Self {
        match blur {
            Blur::Usual => Self::Usual,
            Blur::Cubic => Self::Cubic,
            Blur::Gaussian(sigma) => Self::Gaussian(sigma),
        }
    }
}

impl From<KnownBlur> for Blur {
    fn from(blur: KnownBlur) -> Self {
        match blur {
            KnownBlur::Usual => Self::Usual,
            KnownBlur::Cubic => Self::Cubic,
            KnownBlur::Gaussian(sigma) => Self::Gaussian(sigma),
        }
    }
}

/// A network and how it is run; see [`RefineOptions`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefineParams {
    /// Its weights.
    pub model: ModelFile,
    /// Share of a second checkpoint, and its weights.
    pub blend: Option<(f64, ModelFile)>,
    /// Scale that the method reaches before it.
    pub fuse_scale: Option<f64>,
    /// Steps that hold the result to the frames.
    pub consistency: usize,
    /// Where it runs.
    pub device: String,
    /// How numbers are multiplied.
    pub precision: String,
    /// Size of pieces.
    pub tile: String,
}

impl RefineParams {
    /// The network with its options, of several scales in one file the one for `scale`; 2 if `None`.
    ///
    /// # Errors
    /// [`Kind::Usage`] for names that do not exist; [`Kind::Mismatch`] if the weights are other ones; those of reading them.
    pub fn options(&self, scale: Option<f64>) -> Result<RefineOptions> {
        let mut checkpoint = self.model.open()?;
        if let Some((share, other)) = &self.blend {
            let second = other.open()?;
            checkpoint = checkpoint.blended(&second, *share).map_err(|error| error.file(Path::new(&other.name)))?;
        }
        let wanted = scale.unwrap_or(2.0) / self.fuse_scale.unwrap_or(1.0);
        let network = Network::of_scale(&checkpoint, wanted).map_err(|e| e.file(Path::new(&self.model.name)))?;
        Ok(RefineOptions {
            fuse_scale: self.fuse_scale,
            consistency: self.consistency,
            settings: Settings {
                device: self.device.parse()?,
                precision: self.precision.parse()?,
                tile: self.tile.parse()?,
            },
            ..RefineOptions::new(Arc::new(network))
        })
    }
}

/// A file of weights, or the name of built-in ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Name or absolute path.
    pub name: String,
    /// Hash of the file, and of the one that belongs to it in ncnn's format; empty for built-in weights.
    pub blake3: String,
}

impl ModelFile {
    /// `name` as the user gave it.
    ///
    /// # Errors
    /// [`Kind::Input`] if there is no such file.
    pub fn of(name: &Path) -> Result<Self> {
        if !name.exists() {
            // A name that is built in; another one is refused when it is looked up.
            return Ok(Self { name: text_of(name)?, blake3: String::new() });
        }
        let path = std::path::absolute(name).map_err(failed("finding the weights", name))?;
        let mut hasher = blake3::Hasher::new();
        for file in Self::files(&path) {
            let error = |e| Error::new(Kind::Input, "cannot be read").file(&file).caused_by(e);
            hash_into(&mut hasher, &file).map_err(error)?;
        }
        Ok(Self { name: text_of(&path)?, blake3: hasher.finalize().to_hex().to_string() })
    }

    /// ncnn's networks are two files.
    fn files(path: &Path) -> Vec<PathBuf> {
        let mut files = vec![path.to_owned()];
        let other = match path.extension().and_then(|e| e.to_str()) {
            Some("bin") => "param",
            Some("param") => "bin",
            _ => return files,
        };
        files.extend(Some(path.with_extension(other)).filter(|p| p.exists()));
        files
    }

    /// The weights, if they are still the ones that were planned with.
    fn open(&self) -> Result<Checkpoint> {
        let path = Path::new(&self.name);
        let found = Self::of(path)?;
        if found.blake3 != self.blake3 {
            let message = if path.exists() { "holds other weights than the plan was made with" } else { "is gone" };
            return Err(Error::new(Kind::Mismatch, message)
                .hint("bring the weights back that the plan was made with, or plan anew")
                .file(path));
        }
        Checkpoint::named(path)
    }
}

/// A path as text, for files that others read.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let wrong = || Error::new(Kind::Usage, "has a name that is no UTF-8, which a manifest cannot hold").file(path);
    path.to_str().map(str::to_owned).ok_or_else(wrong)
}

impl Params {
    /// Checks what values of a file from elsewhere may be, as far as nothing else does.
    pub(super) fn check(&self) -> Result<()> {
        let numbers = [self.scale, self.start, self.refine.as_ref().and_then(|r| r.fuse_scale)];
        let sound = numbers.iter().flatten().all(|n| n.is_finite() && *n >= 0.0)
            && self.window.is_none_or(|w| w <= 30)
            && !self.allow_network
            && (1..=i32::MAX as u64).contains(&self.max_pixels);
        if sound { Ok(()) } else { Err(Error::new(Kind::Input, "options are outside of what is allowed")) }
    }

    /// The options, with the network read and compared with its hash.
    ///
    /// # Errors
    /// [`Kind::Usage`] for names that do not exist; [`Kind::Mismatch`] if the weights are other ones.
    pub fn options(&self) -> Result<EnlargeOptions> {
        let size = self.size.map(|[width, height]| Scale::Size(width, height));
        Ok(EnlargeOptions {
            scale: size.or(self.scale.map(Scale::Factor)),
            method: self.method.parse()?,
            preset: self.preset.parse()?,
            window: self.window,
            blur: self.blur.map(Blur::from),
            parts: Parts::default(),
            light: self.light.parse::<LightDomain>()?,
            // A size is no factor before the video is read, so it counts as the default.
            refine: self.refine.as_ref().map(|refine| refine.options(self.scale)).transpose()?,
        })
    }

    /// The part of the video that is wanted.
    pub fn excerpt(&self) -> Excerpt {
        Excerpt { start: self.start, frames: self.frames }
    }

    /// How `path` is opened.
    pub fn input(&self, path: &Path) -> InputSpec {
        InputSpec {
            path: path.to_owned(),
            allow_network: self.allow_network,
            sequence_rate: self.sequence_rate,
            max_pixels: self.max_pixels,
        }
    }
}
