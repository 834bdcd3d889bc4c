//! NIQE models as files, fitting them to pictures, and writing small files whole.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measure_planes::{Lens, common_weights};
use crate::error::{Error, Kind, Result};
use crate::kernels::CpuLevel;
use crate::media::{InputSpec, VideoReader};
use crate::metrics::{NiqeFit, NiqeModel};

/// What a model's file says it is.
const FORMAT: &str = "subpel NIQE model 1";
/// No model is larger: 1332 numbers as text.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct ModelFile {
    format: String,
    #[serde(flatten)]
    model: NiqeModel,
}

/// Reads a NIQE model: JSON with `format`, `mean` (36 numbers) and `covariance` (36 rows of them).
///
/// # Errors
/// [`Kind::Input`] if it is none, [`Kind::Io`] if it cannot be read.
pub fn read_niqe_model(path: &Path) -> Result<NiqeModel> {
    let failed = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::Input } else { Kind::of_io(&e) };
        Error::new(kind, "the NIQE model cannot be read").caused_by(e).file(path)
    };
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text)).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => not_a_model().file(path),
        _ => failed(e),
    })?;
    let file: ModelFile = serde_json::from_str(&text).map_err(|e| not_a_model().caused_by(e).file(path))?;
    if file.format != FORMAT {
        let message = format!("its format is {:?}, expected {FORMAT:?}", file.format);
        return Err(Error::new(Kind::Input, message).file(path));
    }
    file.model.validate().map_err(|e| e.file(path))?;
    Ok(file.model)
}

fn not_a_model() -> Error {
    Error::new(Kind::Input, "this is no NIQE model").hint("subpel metrics --fit-niqe PICTURES -o MODEL makes one")
}

/// Writes a NIQE model.
///
/// # Errors
/// As for [`write_whole`].
pub fn write_niqe_model(model: &NiqeModel, path: &Path, overwrite: bool) -> Result<()> {
    let file = ModelFile { format: FORMAT.to_owned(), model: model.clone() };
    let text = serde_json::to_string(&file).map_err(|e| Error::new(Kind::Bug, "a NIQE model as JSON").caused_by(e))?;
    write_whole(path, text.as_bytes(), overwrite)
}

/// Fits a NIQE model to pictures; of videos every frame is one.
///
/// # Errors
/// Those of reading, and [`Kind::Input`] if there are too few sharp patches.
pub fn fit_niqe(inputs: &[InputSpec], cpu: CpuLevel) -> Result<NiqeModel> {
    let mut fit = NiqeFit::default();
    for input in inputs {
        let mut reader = VideoReader::open(input, 0, cpu)?;
        let layout = reader.info().layout.clone();
        let lens = Lens::new(&layout, common_weights(&[&layout]), cpu);
        while let Some(frame) = reader.next_frame()? {
            fit.push(lens.luma(&frame).view());
        }
    }
    fit.finish()
}

/// Writes a small file: whole or not at all.
///
/// # Errors
/// [`Kind::Create`] if it exists and `overwrite` is not set, or cannot be made; [`Kind::Io`] or [`Kind::Resource`] if writing
/// failed.
pub fn write_whole(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    let exists = || Error::new(Kind::Create, "exists already").hint("--overwrite replaces it").file(path);
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let create = |e| Error::new(Kind::Create, "cannot be created").caused_by(e).file(path);
    let failed = |e: std::io::Error| Error::new(Kind::of_io(&e), "could not be written").caused_by(e).file(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut named = tempfile::Builder::new();
    named.prefix(".").suffix(".part");
    // As any new file: what the umask leaves of it.
    #[cfg(unix)]
    named.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut part = named.tempfile_in(folder).map_err(create)?;
    part.write_all(bytes).and_then(|()| part.as_file().sync_all()).map_err(failed)?;
    let kept = if overwrite { part.persist(path) } else { part.persist_noclobber(path) };
    kept.map(drop).map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(),
        _ => create(e.error),
    })
}
