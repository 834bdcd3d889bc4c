//! Reads PyTorch checkpoints, both layouts: the zip archive of 1.6 and later, and the pickles with storages behind
//! them of before.
//!
//! Both keep the network as a pickle that refers to storages by key; this module finds the pickle and the storages.
//! What the pickle means is for [`super::state_dict`].

use super::elements::{ByteOrder, Element, gather};
use super::state_dict::{self, StorageRef, TensorRef};
use super::tree::{Node, Tree, shown};
use super::{Budget, MAX_TENSORS, Tensor, damaged, pickle};
use crate::error::{Error, Kind, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// The most entries of an archive: a storage for each tensor and a few more.
const MAX_ENTRIES: usize = MAX_TENSORS + 1000;
/// The longest pickle of an archive once unpacked, bytes.
const MAX_PICKLE: u64 = 8 << 20;
/// Bytes unpacked from an archive beyond [`MAX_GROWTH`] times its size.
const SPARE_BYTES: u64 = 8 << 20;
/// How much larger than its archive the unpacked content may be. PyTorch does not compress, and weights hardly shrink.
const MAX_GROWTH: u64 = 4;

/// Reads the tensors of a zip archive.
///
/// # Errors
/// `Kind::Input` where it is no checkpoint, damaged (checksums are compared), or beyond the limits.
pub(super) fn read_zip(file: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = Archive::open(file)?;
    let folder = archive.folder()?;
    let order = archive.byte_order(&folder)?;
    let text = archive.entry(&format!("{folder}data.pkl"), MAX_PICKLE)?;
    let (tree, _) = pickle::read(&text)?;
    let located = state_dict::locate(&tree)?;
    drop(tree);
    let mut budget = Budget::of_file(file.len());
    collect(located, &mut budget, order, |storage, bytes| {
        let content = archive.entry(&format!("{folder}data/{}", storage.key), bytes as u64)?;
        Ok(Cow::Owned(content))
    })
}

/// Reads the tensors of the layout before zip: magic number, protocol and system pickles, the network, the keys of the
/// storages, then for each key its number of values and the values.
///
/// # Errors
/// `Kind::Input` where it is damaged or beyond the limits.
pub(super) fn read_legacy(file: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let mut at = 0;
    for _ in ["magic number", "protocol", "system"] {
        at += pickle::read(&file[at..])?.1;
    }
    let (tree, length) = pickle::read(&file[at..])?;
    at += length;
    let located = state_dict::locate(&tree)?;
    let storages = legacy_storages(&tree, file, at)?;
    let mut budget = Budget::of_file(file.len());
    collect(located, &mut budget, ByteOrder::Little, |storage, _| {
        let content = storages.get(storage.key.as_str());
        content.map(|&bytes| Cow::Borrowed(bytes)).ok_or_else(|| missing(&storage.key))
    })
}

/// Gathers the tensors, each storage fetched once and dropped before the next.
///
/// `fetch` gives the content of a storage, which must have the number of bytes it is called with.
fn collect<'f>(
    located: BTreeMap<String, TensorRef>,
    budget: &mut Budget,
    order: ByteOrder,
    mut fetch: impl FnMut(&StorageRef, usize) -> Result<Cow<'f, [u8]>>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut by_storage: BTreeMap<String, Vec<(String, TensorRef)>> = BTreeMap::new();
    for (name, tensor) in located {
        budget.take(tensor.layout.count())?;
        by_storage.entry(tensor.storage.key.clone()).or_default().push((name, tensor));
    }
    let mut tensors = BTreeMap::new();
    for users in by_storage.into_values() {
        let Some((_, first)) = users.first() else { continue };
        let storage = first.storage.clone();
        if users.iter().any(|(_, user)| user.storage != storage) {
            return Err(damaged(format!("storage '{}' is described in two ways", shown(&storage.key))));
        }
        let bytes = storage_bytes(storage.element, storage.count)?;
        let content = fetch(&storage, bytes)?;
        if content.len() != bytes {
            let (key, have) = (shown(&storage.key), content.len());
            return Err(damaged(format!("storage '{key}' has {have} bytes where {bytes} are wanted")));
        }
        for (name, TensorRef { dtype, layout, .. }) in users {
            let values = gather(&layout, dtype, order, &content)?;
            tensors.insert(name, Tensor { shape: layout.into_shape(), stored: dtype, values });
        }
    }
    Ok(tensors)
}

fn storage_bytes(element: Element, count: usize) -> Result<usize> {
    count.checked_mul(element.size()).ok_or_else(|| damaged(format!("a storage claims {count} values")))
}

fn missing(key: &str) -> Error {
    damaged(format!("storage '{}' is missing; the file is incomplete", shown(key)))
}

/// The storages of the older layout by key; `at` is where the pickle of their keys begins.
fn legacy_storages<'f>(tree: &Tree<'_>, file: &'f [u8], at: usize) -> Result<BTreeMap<String, &'f [u8]>> {
    let mut described = BTreeMap::new();
    for node in &tree.nodes {
        let Node::Persistent(id) = node else { continue };
        if tree.sequence(*id).and_then(|id| tree.text(*id.first()?)) == Some("storage") {
            let (storage, _) = state_dict::storage_ref(tree, *id)?;
            described.insert(storage.key.clone(), storage);
        }
    }
    let rest = &file[at..];
    let (keys, length) = pickle::read(rest)?;
    let list = keys.sequence(keys.root).ok_or_else(|| damaged("the list of its storages is not a list"))?;
    let mut rest = &rest[length..];
    let mut storages = BTreeMap::new();
    for &key in list {
        let key = keys.text(key).ok_or_else(|| damaged("the key of a storage is not a string"))?;
        let storage = described.get(key);
        let storage = storage.ok_or_else(|| damaged(format!("storage '{}' is used by nothing", shown(key))))?;
        let content;
        (content, rest) = legacy_storage(storage, rest)?;
        storages.insert(key.to_owned(), content);
    }
    Ok(storages)
}

/// The values of one storage, after their number, and what follows them.
fn legacy_storage<'f>(storage: &StorageRef, rest: &'f [u8]) -> Result<(&'f [u8], &'f [u8])> {
    let key = shown(&storage.key);
    let cut_short = || damaged(format!("the file is cut short at storage '{key}'"));
    let (count, rest) = rest.split_first_chunk().ok_or_else(cut_short)?;
    let count = i64::from_le_bytes(*count);
    if usize::try_from(count) != Ok(storage.count) {
        return Err(damaged(format!("storage '{key}' has {count} values where {} are wanted", storage.count)));
    }
    rest.split_at_checked(storage_bytes(storage.element, storage.count)?).ok_or_else(cut_short)
}

/// Refuses archives of too many entries before the directory is taken into memory whole.
///
/// Neither count needs to be true, so both are looked at: the headers in the file, and what a directory of the 64-bit
/// kind announces (the other kind cannot announce many). Their signatures may occur in the values of a network too,
/// but not twenty thousand times, and not with the zeros of a directory around them.
fn check_directory(file: &[u8]) -> Result<()> {
    let mut headers = 0;
    for (place, signature) in file.windows(4).enumerate().filter(|(_, window)| window.starts_with(b"PK")) {
        match signature {
            b"PK\x01\x02" => headers += 1,
            b"PK\x06\x06" => headers = headers.max(announced(&file[place..])),
            _ => {}
        }
        if headers > MAX_ENTRIES as u64 {
            return Err(damaged(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
    }
    Ok(())
}

/// The entries that a zip64 end-of-directory record announces; 0 where it is no such record.
fn announced(record: &[u8]) -> u64 {
    // Signature 4, length 8, versions 2 and 2, disk 4, disk of the directory 4, entries on the disk 8, entries 8.
    let zeros = |at: usize| record.get(at..at + 4) == Some(&[0; 4]);
    let entries = record.get(32..).and_then(|rest| rest.first_chunk());
    if zeros(8) && zeros(16) { entries.map_or(0, |bytes| u64::from_le_bytes(*bytes)) } else { 0 }
}

/// A zip archive in memory, and how much may still be unpacked from it.
struct Archive<'f> {
    zip: ZipArchive<Cursor<&'f [u8]>>,
    left: u64,
}

impl<'f> Archive<'f> {
    fn open(file: &'f [u8]) -> Result<Self> {
        check_directory(file)?;
        let zip = ZipArchive::new(Cursor::new(file)).map_err(|e| bad_zip("the archive", e))?;
        let left = (file.len() as u64).saturating_mul(MAX_GROWTH).saturating_add(SPARE_BYTES);
        Ok(Self { zip, left })
    }

    /// The names of all entries; those that are no text are none of a checkpoint.
    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.zip.file_names().filter_map(|name| name.ok())
    }

    /// The folder with the checkpoint, with its slash: that of `data.pkl`, which is the archive's own name.
    fn folder(&self) -> Result<String> {
        let folder_of = |name: Cow<'_, str>| match name.strip_suffix("data.pkl") {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => Some(folder.to_owned()),
            _ => None,
        };
        let folder = self.names().filter_map(folder_of).min_by_key(String::len);
        let folder = folder.ok_or_else(|| self.no_pickle())?;
        let (constants, code) = (format!("{folder}constants.pkl"), format!("{folder}code/"));
        if self.names().any(|name| *name == constants || name.starts_with(&code)) {
            return Err(damaged("is a TorchScript archive: a program with weights, not weights alone")
                .hint("load it in PyTorch with torch.jit.load and save its state_dict()"));
        }
        Ok(folder)
    }

    /// Says what a zip archive is that is no checkpoint.
    fn no_pickle(&self) -> Error {
        let numpy = self.names().any(|name| name.ends_with(".npy"));
        damaged(match numpy {
            true => "is a NumPy archive (.npz), not a PyTorch checkpoint",
            false => "is a zip archive without data.pkl, so no PyTorch checkpoint",
        })
    }

    /// The order of bytes; older files do not say and are little-endian.
    fn byte_order(&mut self, folder: &str) -> Result<ByteOrder> {
        let name = format!("{folder}byteorder");
        if self.zip.index_for_name(&name).is_none() {
            return Ok(ByteOrder::Little);
        }
        match self.entry(&name, 16)?.trim_ascii() {
            b"little" => Ok(ByteOrder::Little),
            b"big" => Ok(ByteOrder::Big),
            other => Err(damaged(format!("byte order '{}' is unknown", shown(&String::from_utf8_lossy(other))))),
        }
    }

    /// The content of an entry of at most `limit` bytes. Its declared size counts against what may be unpacked before
    /// any of it is, and the checksum is compared.
    fn entry(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let label = format!("entry '{}'", shown(name));
        let entry = match self.zip.by_name(name) {
            Err(ZipError::FileNotFound) => return Err(damaged(format!("{label} is missing; the file is incomplete"))),
            other => other.map_err(|e| bad_zip(&label, e))?,
        };
        let size = entry.size();
        if size > limit {
            return Err(damaged(format!("{label} has {size} bytes where at most {limit} are wanted")));
        }
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            damaged("the archive unpacks to many times its size, which weights do not; it is refused as a zip bomb")
        })?;
        let mut content = Vec::new();
        let reserved = usize::try_from(size).ok().map(|size| content.try_reserve_exact(size));
        if !matches!(reserved, Some(Ok(()))) {
            return Err(Error::new(Kind::Resource, format!("no memory for {label} of {size} bytes")));
        }
        // One byte more than declared shows an entry that is longer than it says.
        entry
            .take(size + 1)
            .read_to_end(&mut content)
            .map_err(|e| damaged(format!("{label} is damaged")).caused_by(e))?;
        if content.len() as u64 != size {
            return Err(damaged(format!("{label} does not have the {size} bytes it declares")));
        }
        Ok(content)
    }
}

fn bad_zip(what: &str, cause: ZipError) -> Error {
    damaged(format!("{what} is damaged or cut short")).caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_that_announce_too_many_entries_are_refused_unread() {
        let record = |entries: u64| {
            let start = [&b"PK\x03\x04PK\x06\x06"[..], &44_u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8]].concat();
            [&start[..], &entries.to_le_bytes(), &entries.to_le_bytes(), &[0; 16]].concat()
        };
        check_directory(&record(MAX_ENTRIES as u64)).expect("as many as allowed");
        check_directory(&record(u64::MAX)).expect_err("announced");
        check_directory(&b"PK\x01\x02".repeat(MAX_ENTRIES)).expect("as many as allowed");
        check_directory(&b"PK\x01\x02".repeat(MAX_ENTRIES + 1)).expect_err("present");
    }

    #[test]
    fn storages_of_the_older_layout_are_cut_to_size() {
        let storage = |count| StorageRef { key: "k".into(), element: Element::Integer { size: 2 }, count };
        let file = [&2_i64.to_le_bytes()[..], &[1, 2, 3, 4, 5]].concat();
        assert_eq!(legacy_storage(&storage(2), &file).expect("storage"), (&[1, 2, 3, 4][..], &[5][..]), "two values");
        let refusal = |count, file: &[u8]| legacy_storage(&storage(count), file).expect_err("refused").to_string();
        assert!(refusal(3, &file).contains("2 values where 3"), "count");
        assert!(refusal(2, &file[..11]).contains("cut short at storage 'k'"), "values");
        assert!(refusal(2, &file[..7]).contains("cut short"), "number of values");
        let endless = [&i64::MAX.to_le_bytes()[..], &[0; 8]].concat();
        assert!(refusal(usize::MAX / 2, &endless).contains("cut short"), "more than there are");
    }
}
