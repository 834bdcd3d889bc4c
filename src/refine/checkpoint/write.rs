//! Writes a checkpoint as safetensors: the format that cannot hold anything but numbers.
//!
//! The file appears under its name when it is whole. Reading is in `safetensors`.

use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::{Checkpoint, DType};
use crate::error::{Error, Kind, Result};

/// Values begin at a multiple of so many bytes.
const ALIGNMENT: usize = 8;

impl Checkpoint {
    /// Writes all tensors to `path` as safetensors, each as it was stored or all as `stored`.
    ///
    /// Values beyond the range of half precision are refused, not made infinite.
    ///
    /// # Errors
    /// [`Kind::Create`] if `path` exists and `overwrite` is not set, or cannot be made; [`Kind::Usage`] with the first tensor
    /// whose values do not fit; [`Kind::Io`] or [`Kind::Resource`] where writing fails.
    pub fn write(&self, path: &Path, stored: Option<DType>, overwrite: bool) -> Result<()> {
        self.write_unnamed(path, stored, overwrite).map_err(|error| error.file(path))
    }

    fn write_unnamed(&self, path: &Path, stored: Option<DType>, overwrite: bool) -> Result<()> {
        let exists = || Error::new(Kind::Create, "exists already").hint("--overwrite replaces it");
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(exists());
        }
        let header = self.header(stored)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let create = |cause| Error::new(Kind::Create, "cannot be created").caused_by(cause);
        let failed = |cause: std::io::Error| Error::new(Kind::of_io(&cause), "could not be written").caused_by(cause);
        let mut named = tempfile::Builder::new();
        named.prefix(".").suffix(".part");
        // As any new file: what the umask leaves of it.
        #[cfg(unix)]
        named.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let part = named.tempfile_in(folder).map_err(create)?;
        self.write_to(&part, &header, stored).map_err(failed)?;
        part.as_file().sync_all().map_err(failed)?;
        let kept = if overwrite { part.persist(path) } else { part.persist_noclobber(path) };
        kept.map(drop).map_err(|cause| match cause.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => create(cause.error),
        })
    }

    /// The JSON header, filled up with spaces.
    fn header(&self, stored: Option<DType>) -> Result<String> {
        let (mut entries, mut at) = (Map::new(), 0);
        for (name, tensor) in &self.tensors {
            let dtype = stored.unwrap_or(tensor.stored);
            if dtype == DType::F16 && tensor.values.iter().any(|v| v.is_finite() && f16::from_f32(*v).is_infinite()) {
                return Err(Error::new(Kind::Usage, format!("{name} has values beyond the range of f16"))
                    .hint("bf16 or f32 hold them"));
            }
            let end = at + tensor.values.len() * dtype.size();
            let entry = json!({ "dtype": safetensors_name(dtype), "shape": tensor.shape, "data_offsets": [at, end] });
            entries.insert(name.clone(), entry);
            at = end;
        }
        let mut text = Value::Object(entries).to_string();
        while !(8 + text.len()).is_multiple_of(ALIGNMENT) {
            text.push(' ');
        }
        Ok(text)
    }

    fn write_to(&self, part: &NamedTempFile, header: &str, stored: Option<DType>) -> std::io::Result<()> {
        let mut out = BufWriter::new(part.as_file());
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for tensor in self.tensors.values() {
            let dtype = stored.unwrap_or(tensor.stored);
            for value in &tensor.values {
                match dtype {
                    DType::F16 => out.write_all(&f16::from_f32(*value).to_le_bytes())?,
                    DType::BF16 => out.write_all(&bf16::from_f32(*value).to_le_bytes())?,
                    DType::F32 => out.write_all(&value.to_le_bytes())?,
                    DType::F64 => out.write_all(&f64::from(*value).to_le_bytes())?,
                }
            }
        }
        out.flush()
    }
}

/// The type's name in the header.
fn safetensors_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;
    use crate::refine::Tensor;
    use std::collections::BTreeMap;

    fn checkpoint(values: &[f32], stored: DType) -> Checkpoint {
        let tensor = |values: &[f32]| Tensor { shape: vec![1, values.len()], stored, values: values.to_vec() };
        let tensors = BTreeMap::from([("b.weight".to_owned(), tensor(values)), ("a".to_owned(), tensor(&[0.5]))]);
        Checkpoint { tensors, format: Format::TorchZip }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("out.safetensors");
        let values = [1.0, -2.5, 0.123_456_79, 0.0, 60000.0];
        for stored in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let wanted = checkpoint(&values, stored);
            wanted.write(&path, None, true).expect("written");
            let found = Checkpoint::read(&path).expect("read");
            assert_eq!((found.format, found.tensors.len()), (Format::Safetensors, 2));
            let (found, step) = (&found.tensors["b.weight"], [1.0 / 1024.0, 1.0 / 128.0, 0.0, 0.0][stored as usize]);
            assert_eq!((&found.shape, found.stored), (&vec![1, 5], stored));
            assert!(
                found.values.iter().zip(values).all(|(a, b)| (a - b).abs() <= step * b.abs()),
                "{stored}: {found:?}"
            );
        }
    }

    #[test]
    fn nothing_is_lost_or_left_behind_where_it_fails() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("out.safetensors");
        std::fs::write(&path, "mine").expect("written");
        let small = checkpoint(&[1.0], DType::F32);
        assert_eq!(small.write(&path, None, false).expect_err("exists").kind(), Kind::Create);
        let large = checkpoint(&[1e6], DType::F32);
        assert_eq!(large.write(&path, Some(DType::F16), true).expect_err("range").kind(), Kind::Usage);
        let nowhere = folder.path().join("none/out.safetensors");
        assert_eq!(small.write(&nowhere, None, false).expect_err("no folder").kind(), Kind::Create);
        assert_eq!(std::fs::read(&path).expect("still there"), b"mine");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1, "no part file");
    }
}
