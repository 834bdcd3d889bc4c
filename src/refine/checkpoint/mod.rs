//! Reads the weights of a network from the files in which networks are handed around: PyTorch checkpoints (zip and
//! the layout before 1.6), safetensors, and ncnn pairs of `.param` and `.bin`.
//!
//! It ends with named tensors in f32. It knows no network: which names and shapes make one is for the models to say.
//! Nothing in a file is ever run, and every size is checked before memory is taken for it, so files from strangers
//! may be opened.

mod blend;
mod elements;
mod format;
mod input;
mod ncnn;
mod ncnn_rrdb;
mod pickle;
mod pth;
mod safetensors;
mod state_dict;
mod tree;
mod write;

pub use elements::DType;
pub use format::Format;
pub(super) use tree::shown;

use crate::error::{Error, Kind, Result};
use format::Contents;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file read, bytes.
const MAX_FILE: u64 = 4 << 30;
/// The most tensors of a checkpoint; networks of the field have up to two thousand.
const MAX_TENSORS: usize = 20_000;
/// The most values of all tensors together.
const MAX_VALUES: u64 = 1 << 30;
/// Values a checkpoint may have beyond one for each byte of its file: small files may share one storage widely.
const SPARE_VALUES: u64 = 4 << 20;
/// The longest name of a tensor, bytes.
const MAX_NAME: usize = 512;
/// All names together, bytes.
const MAX_NAMES: usize = 8 << 20;
/// Enough of a file to know its format.
const HEAD: u64 = 512;

/// The weights of a network, as its file names them.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Tensors by name, without the wrappers of training scripts and without integer tensors. Never empty.
    pub tensors: BTreeMap<String, Tensor>,
    /// The format of the file.
    pub format: Format,
}

/// One array of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths of the axes; convolutions are output, input, row, column. Empty for a single number.
    pub shape: Vec<usize>,
    /// How the values were stored.
    pub stored: DType,
    /// The values in C order (last axis fastest), as many as the product of the shape.
    pub values: Vec<f32>,
}

impl Checkpoint {
    /// Reads the checkpoint at `path`. The format is told by the content; only ncnn needs the file name, to find the
    /// other of its two files, and either may be given.
    ///
    /// Of several networks in a training checkpoint the one that is meant for use is read (`params_ema` before
    /// `params`). Prefixes that all names share, `module.` and then `netG.`, are cut off.
    ///
    /// Cost: the file in memory and 4 bytes for each value.
    ///
    /// # Errors
    /// `Kind::Io` where reading fails, `Kind::Resource` where memory does not suffice, `Kind::Input` where the file is
    /// of another format (which the message names), damaged, beyond the limits, or without tensors.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_unnamed(path).map_err(|error| error.file(path))
    }

    /// The checkpoint in the bytes of a safetensors file.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        Ok(Self { tensors: safetensors::read(bytes)?, format: Format::Safetensors })
    }

    fn read_unnamed(path: &Path) -> Result<Self> {
        let head = read_file(path, HEAD)?;
        let contents = format::recognize(&head, path)?;
        let (tensors, format) = match &contents {
            Contents::Safetensors => (safetensors::read(&read_whole(path)?)?, Format::Safetensors),
            Contents::TorchZip => (pth::read_zip(&read_whole(path)?)?, Format::TorchZip),
            Contents::TorchLegacy => (pth::read_legacy(&read_whole(path)?)?, Format::TorchLegacy),
            Contents::Ncnn { param, bin } => {
                let text = read_file(param, ncnn::MAX_PARAM + 1).map_err(|error| error.file(param))?;
                let weights = read_whole(bin).map_err(|error| error.file(bin))?;
                (ncnn::read(&text, &weights)?, Format::Ncnn)
            }
        };
        if tensors.is_empty() {
            return Err(damaged("it holds no network weights: there is no tensor of real numbers in it"));
        }
        let tensors = without_prefix(without_prefix(tensors, "module."), "netG.");
        Ok(Self { tensors, format })
    }
}

/// Cuts off a prefix, if every name has it and none consists of it alone.
fn without_prefix<T>(tensors: BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    if !tensors.keys().all(|name| name.len() > prefix.len() && name.starts_with(prefix)) {
        return tensors;
    }
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// The whole of a file that is not beyond [`MAX_FILE`].
fn read_whole(path: &Path) -> Result<Vec<u8>> {
    let bytes = read_file(path, MAX_FILE + 1)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(damaged(format!("the file is larger than {} GiB", MAX_FILE >> 30)));
    }
    Ok(bytes)
}

/// At most `limit` bytes from the start of a file.
fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |cause: std::io::Error| Error::new(Kind::of_io(&cause), "could not be read").caused_by(cause);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Error::new(Kind::Input, "is not a file of weights").hint("name one file, not a folder or device"));
    }
    let length = usize::try_from(about.len().min(limit)).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|cause| {
        Error::new(Kind::Resource, format!("no memory for a file of {length} bytes")).caused_by(cause)
    })?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What the tensors of one file may still come to.
#[derive(Debug)]
struct Budget {
    values: u64,
}

impl Budget {
    /// One value for each byte of the file and [`SPARE_VALUES`] more, but no more than [`MAX_VALUES`].
    fn of_file(bytes: usize) -> Self {
        Self { values: (bytes as u64).saturating_add(SPARE_VALUES).min(MAX_VALUES) }
    }

    /// Takes the values of one tensor out of the budget.
    fn take(&mut self, count: usize) -> Result<()> {
        let left = self.values.checked_sub(count as u64);
        self.values = left.ok_or_else(|| damaged("its tensors have more values than a file of this size can hold"))?;
        Ok(())
    }
}

/// A file that cannot be used, whether damaged, hostile or of a kind that is not read.
fn damaged(message: impl Into<String>) -> Error {
    Error::new(Kind::Input, message)
}

/// The same failure, with the place it happened at in front; the cause stays whole.
fn within(place: String, cause: Error) -> Error {
    Error::new(cause.kind(), place).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> BTreeMap<String, ()> {
        names.iter().map(|&name| (name.to_owned(), ())).collect()
    }

    #[test]
    fn a_prefix_is_cut_only_where_all_names_have_it() {
        assert_eq!(without_prefix(named(&["module.a", "module.b"]), "module."), named(&["a", "b"]), "all");
        assert_eq!(without_prefix(named(&["module.a", "b"]), "module."), named(&["module.a", "b"]), "not all");
        assert_eq!(without_prefix(named(&["module."]), "module."), named(&["module."]), "nothing would be left");
    }

    #[test]
    fn the_budget_follows_the_size_of_the_file() {
        let mut budget = Budget::of_file(100);
        budget.take(4 << 20).expect("spare");
        budget.take(100).expect("one for each byte");
        budget.take(1).expect_err("spent");
        assert_eq!(Budget::of_file(usize::MAX).values, MAX_VALUES, "capped");
    }

    #[test]
    fn folders_and_missing_files_are_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(Checkpoint::read(folder.path()).expect_err("folder").kind(), Kind::Input, "folder");
        let missing = folder.path().join("none.pth");
        let error = Checkpoint::read(&missing).expect_err("missing");
        assert_eq!(error.kind(), Kind::Io, "missing");
        assert!(error.to_string().contains("none.pth"), "{error}");
    }
}
