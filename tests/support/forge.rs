//! Checkpoints made by hand, honest and forged, for the tests of their readers.
//!
//! Pickles are written opcode by opcode: `(` marks, `t` closes a tuple, `R` calls, `Q` refers to a storage.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &u32::try_from(text.len()).expect("short").to_le_bytes(), text.as_bytes()].concat()
}

pub(crate) fn long(value: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &value.to_le_bytes()].concat()
}

pub(crate) fn tuple(values: &[i64]) -> Vec<u8> {
    let inner: Vec<u8> = values.iter().flat_map(|&value| long(value)).collect();
    [&b"("[..], &inner, b"t"].concat()
}

/// A tensor over storage '0' of `count` singles.
pub(crate) fn tensor(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let storage =
        [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), &long(count), b"NtQ"]
            .concat();
    [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage, &long(offset), &tuple(shape), &tuple(strides), b"\x89}tR"]
        .concat()
}

pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let inner: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [&b"}("[..], &inner, b"u"].concat()
}

/// A file of the older layout with one network and storage '0'.
pub(crate) fn legacy(network: &[u8], storage: &[f32]) -> Vec<u8> {
    let values: Vec<u8> = storage.iter().flat_map(|value| value.to_le_bytes()).collect();
    [
        &b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."[..],
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}.",
        b"\x80\x02",
        network,
        b".\x80\x02](",
        &text("0"),
        b"e.",
        &(storage.len() as i64).to_le_bytes(),
        &values,
    ]
    .concat()
}

pub(crate) fn archive(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content, deflate) in entries {
        let method = if *deflate { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(*name, options).expect("entry");
        writer.write_all(content).expect("content");
    }
    writer.finish().expect("archive").into_inner()
}

pub(crate) fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
