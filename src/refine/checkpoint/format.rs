//! Tells the format of a weights file by its first bytes, and names the formats that are not read.
//!
//! File names decide nothing, except that ncnn keeps its network in two files of one name.

use super::damaged;
use super::pickle;
use super::tree::Value;
use crate::error::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// safetensors: a JSON header and raw values.
    Safetensors,
    /// PyTorch from 1.6 on: a zip archive with a pickle and one entry for each storage.
    TorchZip,
    /// PyTorch before 1.6: pickles followed by the storages.
    TorchLegacy,
    /// ncnn: a `.param` text with the layers and a `.bin` with their weights.
    Ncnn,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch zip",
            Self::TorchLegacy => "PyTorch before 1.6",
            Self::Ncnn => "ncnn",
        })
    }
}

/// What was recognized, with the files it needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    Safetensors,
    TorchZip,
    TorchLegacy,
    Ncnn { param: PathBuf, bin: PathBuf },
}

/// The number that PyTorch's older files begin with, 0x1950a86a20f9469cfc6c, least byte first.
const TORCH_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The first line of an ncnn `.param`.
const NCNN_MAGIC: &[u8] = b"7767517";
/// What an ncnn `.bin` begins with where its first layer is stored as fp16.
const NCNN_HALF: [u8; 4] = 0x0130_6b47_u32.to_le_bytes();

/// First bytes of files that people take for checkpoints, and what they are.
const OTHERS: [(&[u8], &str); 11] = [
    (b"MATLAB", "a MATLAB file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or MATLAB 7.3)"),
    (b"\x93NUMPY", "a single NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"<", "a web page or XML, not weights"),
    (b"{", "JSON, not weights"),
    (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
    (b"PK\x05\x06", "an empty zip archive"),
];

/// Tells the format from `head`, the first 512 bytes (or all) of the file at `path`.
///
/// # Errors
/// `Kind::Input` for any other format, named where it is known; `Kind::Input` too where half of an ncnn pair is missing.
pub(super) fn recognize(head: &[u8], path: &Path) -> Result<Contents> {
    if head.starts_with(b"PK\x03\x04") {
        return Ok(Contents::TorchZip);
    }
    if head.get(8) == Some(&b'{') {
        return Ok(Contents::Safetensors);
    }
    if is_pickle(head) {
        return torch_legacy(head);
    }
    if head.starts_with(NCNN_MAGIC) {
        return ncnn_pair(path.to_owned(), path.with_extension("bin"));
    }
    let param = path.with_extension("param");
    if begins_as_param(&param) {
        return ncnn_pair(param, path.to_owned());
    }
    Err(unknown(head))
}

fn is_pickle(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, ..])
}

/// Accepts a pickle only where it is the number that PyTorch writes first.
fn torch_legacy(head: &[u8]) -> Result<Contents> {
    let magic = pickle::read(head).is_ok_and(|(tree, _)| match tree.root {
        Value::Wide(span) => tree.bytes(span) == TORCH_MAGIC,
        _ => false,
    });
    if magic {
        return Ok(Contents::TorchLegacy);
    }
    Err(damaged("is a Python pickle, but not one that torch.save wrote (or its first bytes are damaged)"))
}

fn ncnn_pair(param: PathBuf, bin: PathBuf) -> Result<Contents> {
    for (file, what) in [(&param, "layers"), (&bin, "weights")] {
        if !file.is_file() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(damaged(format!("is half of an ncnn network; the file with its {what}, {name}, is missing"))
                .hint("keep the .param and the .bin in one folder under one name"));
        }
    }
    Ok(Contents::Ncnn { param, bin })
}

/// Whether there is a file at `path` that begins as an ncnn `.param` does.
fn begins_as_param(path: &Path) -> bool {
    let mut head = [0; NCNN_MAGIC.len()];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == NCNN_MAGIC
}

/// The refusal of a format that is not read.
fn unknown(head: &[u8]) -> Error {
    let what = if head.is_empty() {
        "is empty".to_owned()
    } else if head.starts_with(&NCNN_HALF) {
        "looks like the weights of an ncnn network, but there is no .param of the same name beside it".to_owned()
    } else if head.starts_with(&7_767_517_u32.to_le_bytes()) {
        "is a binary .param of ncnn; the text one is wanted".to_owned()
    } else if head.starts_with(b"version ") && contains(head, b"git-lfs") {
        "is a Git LFS pointer: it names the weights and does not hold them".to_owned()
    } else if head.get(257..262) == Some(b"ustar") {
        "is a tar archive (or a PyTorch file of before 0.2)".to_owned()
    } else if let Some((_, what)) = OTHERS.iter().find(|(start, _)| head.starts_with(start)) {
        format!("is {what}")
    } else if is_tensorflow_graph(head) {
        "is a TensorFlow graph".to_owned()
    } else if is_onnx(head) {
        "is an ONNX model".to_owned()
    } else {
        "is of no known format of weights".to_owned()
    };
    damaged(what)
        .hint("give a PyTorch .pth, a .safetensors, or an ncnn .param with its .bin; convert other formats first")
}

fn contains(head: &[u8], part: &[u8]) -> bool {
    head.windows(part.len()).any(|window| window == part)
}

/// An ONNX model begins with its format version (field 1, a small number), then names, imports or the graph.
fn is_onnx(head: &[u8]) -> bool {
    matches!(head, [0x08, 1..=0x20, 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42, ..])
}

/// A TensorFlow graph begins with a node (field 1) that begins with its name (field 1).
fn is_tensorflow_graph(head: &[u8]) -> bool {
    let [0x0a, rest @ ..] = head else { return false };
    let length = rest.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
    rest.get(length) == Some(&0x0a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(head: &[u8]) -> String {
        recognize(head, Path::new("no such folder/file.pth")).expect_err("refused").to_string()
    }

    #[test]
    fn formats_are_told_by_content() {
        let path = Path::new("no such folder/file.onnx");
        assert_eq!(recognize(b"PK\x03\x04rest", path).expect("zip"), Contents::TorchZip, "zip");
        assert_eq!(recognize(b"\x10\0\0\0\0\0\0\0{\"a\"", path).expect("header"), Contents::Safetensors, "safetensors");
        let magic = [b"\x80\x02\x8a\x0a".as_slice(), &TORCH_MAGIC, b"."].concat();
        assert_eq!(recognize(&magic, path).expect("legacy"), Contents::TorchLegacy, "legacy");
    }

    #[test]
    fn other_formats_are_named() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "empty"),
            (b"MATLAB 5.0 MAT-file", "MATLAB"),
            (b"\x08\x05\x12\x07pytorch\x1a\x031.7", "ONNX"),
            (b"\x0a\x4d\x0a\x10NCHW_output", "TensorFlow graph"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
            (b"<!DOCTYPE html>", "web page"),
            (b"\x80\x02}q\x00.", "Python pickle"),
            (b"\x47\x6b\x30\x01", "no .param"),
            (b"\xdd\x85\x76\x00", "binary .param"),
            (b"7767517\n40 41\n", "is missing"),
            (b"\xff\xff\xff", "no known format"),
        ];
        for (head, word) in cases {
            assert!(refusal(head).contains(word), "{head:?}: {}", refusal(head));
        }
    }
}
