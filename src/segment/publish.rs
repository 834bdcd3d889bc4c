//! Files that appear whole or not at all: written under a temporary name in the same folder, synchronised, renamed.
//!
//! No name is followed for writing: temporary files are new ([`tempfile`] opens them exclusively), and a rename replaces a
//! link instead of following it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::{NamedTempFile, TempDir};

use crate::error::{Error, Kind, Result};
use crate::media::Listed;

/// The error of a file operation in a job folder: full disks and what network file systems get over are worth another try.
pub(super) fn failed(doing: &str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let (doing, path) = (doing.to_owned(), path.to_owned());
    move |e| {
        let kind = match e.raw_os_error() {
            Some(libc::ESTALE | libc::EIO | libc::ETIMEDOUT) => Kind::Resource,
            Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::ENOTDIR | libc::EEXIST) => Kind::Create,
            _ => Kind::of_io(&e),
        };
        let error = Error::new(kind, format!("{doing} failed")).file(&path).caused_by(e);
        match kind {
            Kind::Create => error.hint("check that you may write in this folder"),
            _ => error,
        }
    }
}

/// Name of this machine, in characters that file names may hold.
pub(super) fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    if plain.is_empty() { "host".to_owned() } else { plain.chars().take(40).collect() }
}

/// Beginning of the names of what this process makes.
fn prefix(what: &str) -> String {
    format!(".{what}.{}.{}.", host(), std::process::id())
}

/// Who makes a temporary file, by its name: machine and process. `None` if it is no such name.
pub(super) fn maker(name: &str) -> Option<(&str, i32)> {
    let mut parts = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit('.');
    let (_random, pid, host) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    Some((host, pid.parse().ok()?))
}

/// A file in the making; dropped before it is published it is gone.
#[derive(Debug)]
pub(super) struct Draft {
    file: NamedTempFile,
    _listed: Listed,
    folder: PathBuf,
}

impl Draft {
    /// A new file in `folder` for `what`.
    pub(super) fn new(folder: &Path, what: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(&prefix(what)).suffix(".tmp").tempfile_in(folder);
        let file = made.map_err(failed("making a file", folder))?;
        let listed = Listed::new(file.path());
        Ok(Self { file, _listed: listed, folder: folder.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Makes it durable and gives it its name, replacing what has it.
    pub(super) fn publish(self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        let wrong = failed("finishing a file", &path);
        self.file.as_file().sync_all().map_err(&wrong)?;
        self.file.persist(&path).map_err(|e| wrong(e.error))?;
        synchronise(&self.folder)
    }
}

/// A folder in the making, gone when it is dropped.
#[derive(Debug)]
pub(super) struct DraftFolder {
    folder: TempDir,
    _listed: Listed,
}

impl DraftFolder {
    pub(super) fn new(folder: &Path, what: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(&prefix(what)).suffix(".tmp").tempdir_in(folder);
        let folder = made.map_err(failed("making a folder", folder))?;
        let listed = Listed::new(folder.path());
        Ok(Self { folder, _listed: listed })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Makes the names in a folder durable.
fn synchronise(folder: &Path) -> Result<()> {
    let opened = File::open(folder).map_err(failed("opening the folder", folder))?;
    match opened.sync_all() {
        // Some file systems have nothing to synchronise a folder by.
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => {
            Err(failed("writing the folder", folder)(e))
        }
        _ => Ok(()),
    }
}

/// A value under its hash, as the files of a job hold it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    #[serde(rename = "blake3")]
    _blake3: String,
    body: T,
}

/// The one way of writing a value.
pub(super) fn canonical<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Kind::Bug, "a value cannot be written").caused_by(e))
}

/// Hash of a text in hexadecimal digits.
pub(super) fn hash_text(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// A value under its hash, as text.
fn sealed<T: Serialize>(body: &T) -> Result<String> {
    let text = canonical(body)?;
    Ok(format!("{{\"blake3\":\"{}\",\"body\":{text}}}\n", hash_text(&text)))
}

/// Writes a value under its hash as `folder/name`.
pub(super) fn write_sealed<T: Serialize>(folder: &Path, name: &str, body: &T) -> Result<()> {
    let whole = sealed(body)?;
    let mut draft = Draft::new(folder, "note")?;
    let wrong = failed("writing a file", &folder.join(name));
    draft.file().write_all(whole.as_bytes()).map_err(wrong)?;
    draft.publish(name)
}

/// Reads what [`write_sealed`] has written; `None` if there is no such file. At most `most` bytes are taken.
///
/// # Errors
/// [`Kind::Input`] if it is damaged, longer, or no regular file.
pub(super) fn read_sealed<T: Serialize + DeserializeOwned>(path: &Path, most: u64) -> Result<Option<T>> {
    let damaged = |what: &str| Error::new(Kind::Input, what.to_owned()).file(path);
    let wrong = failed("reading", path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(wrong(e)),
    };
    if !file.metadata().map_err(&wrong)?.is_file() {
        return Err(damaged("is no regular file"));
    }
    let mut text = String::new();
    match file.take(most + 1).read_to_string(&mut text) {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(damaged("is damaged: it holds no text")),
        read => read.map_err(&wrong)?,
    };
    if text.len() as u64 > most {
        return Err(damaged(&format!("is longer than {most} bytes")));
    }
    let found: Sealed<T> = serde_json::from_str(&text).map_err(|e| damaged("is damaged").caused_by(e))?;
    // Written again it is the same text: digits of numbers that change no value count too.
    if sealed(&found.body)? != text {
        return Err(damaged("is damaged: its hash is another one"));
    }
    Ok(Some(found.body))
}

/// Hash and length of a file's content.
pub(super) fn hash_file(path: &Path) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let length = hash_into(&mut hasher, path)?;
    Ok((hasher.finalize().to_hex().to_string(), length))
}

/// Adds a file's content to a hash. Returns its length.
pub(super) fn hash_into(hasher: &mut blake3::Hasher, path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                length += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers_are_read_from_names() {
        let folder = tempfile::tempdir().expect("scratch");
        let draft = Draft::new(folder.path(), "seg-00001.x").expect("draft");
        let name = draft.path().file_name().expect("name").to_string_lossy().into_owned();
        assert_eq!(maker(&name), Some((host().as_str(), std::process::id() as i32)), "{name}");
        for other in ["manifest.json", ".x.tmp", ".a.b.c.tmp", ".part", ".a.host.x1.rand.tmp"] {
            assert_eq!(maker(other), None, "{other}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_a_sealed_file_is_found() {
        let folder = tempfile::tempdir().expect("scratch");
        let value = vec![(1u32, "two".to_owned(), 0.1f64 + 0.2)];
        write_sealed(folder.path(), "x.json", &value).expect("written");
        let path = folder.path().join("x.json");
        let bytes = std::fs::read(&path).expect("there");
        assert_eq!(read_sealed(&path, 1000).expect("sound"), Some(value.clone()), "round trip");
        for at in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).expect("written");
            let read: Result<Option<Vec<(u32, String, f64)>>> = read_sealed(&path, 1000);
            assert_eq!(read.expect_err("damaged").kind(), Kind::Input, "byte {at}");
        }
        std::fs::write(&path, &bytes).expect("written");
        assert!(read_sealed::<Vec<(u32, String, f64)>>(&path, 20).is_err(), "too long");
    }
}
