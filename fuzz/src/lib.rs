//! What the targets share: an input becomes files, and the library's reader has to read or to refuse them.
//!
//! Files rather than slices, because the reader takes paths: what is fuzzed is what users run. Set TMPDIR to a folder in memory.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use subpel::Kind;
use subpel::refine::{Checkpoint, Network};
use tempfile::TempDir;

/// What lies between `.param` and `.bin` in an input for ncnn.
const BETWEEN: u8 = 0;

/// Reads an input as one file.
pub fn one_file(data: &[u8]) {
    let path = folder().join("input.pth");
    write(&path, data);
    read(&path);
}

/// Reads an input as the pair of ncnn: text up to the first zero byte, then weights.
pub fn pair(data: &[u8]) {
    let (param, rest) = data.split_at(data.iter().position(|&byte| byte == BETWEEN).unwrap_or(data.len()));
    let path = folder().join("input.param");
    write(&path, param);
    write(&path.with_extension("bin"), rest.get(1..).unwrap_or_default());
    read(&path);
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder")).path()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the temporary folder has room");
}

/// Every file is either a network or refused in words.
fn read(path: &Path) {
    if let Err(error) = Checkpoint::read(path).and_then(|checkpoint| Network::of(&checkpoint)) {
        assert_eq!(error.kind(), Kind::Input, "{error:?}");
        assert!(!error.to_string().is_empty());
    }
}
