//! Reads safetensors: eight bytes with the length of a JSON header, the header, the values.
//!
//! Written here rather than taken from the format's own crate because that adds up offsets of the header unchecked and
//! lets the header cost many times its size in memory.

use super::elements::{ByteOrder, DType, Layout, gather};
use super::tree::shown;
use super::{Budget, MAX_NAME, MAX_TENSORS, Tensor, damaged, within};
use crate::error::Result;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The longest header, bytes; a tensor takes about a hundred.
const MAX_HEADER: usize = 4 << 20;

/// What the header says of one tensor.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    /// First byte and the byte after the last, from the end of the header.
    data_offsets: [usize; 2],
}

/// The header, in which no name occurs twice.
struct Header(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Header, M::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.len() > MAX_NAME || entries.len() >= MAX_TENSORS {
                return Err(M::Error::custom("a name is too long, or there are too many tensors"));
            }
            let entry = map.next_value()?;
            if entries.insert(name, entry).is_some() {
                return Err(M::Error::custom("a tensor is listed twice"));
            }
        }
        Ok(Header(entries))
    }
}

/// Reads a whole file. Integer tensors are left out.
///
/// # Errors
/// `Kind::Input` where the header is damaged or beyond the limits, tensors overlap or reach outside the file, or their
/// type is one that is not read.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let (header, data) = split(file)?;
    let Header(entries) = serde_json::from_slice(header).map_err(|e| damaged("its header is damaged").caused_by(e))?;
    check_apart(&entries)?;
    let mut budget = Budget::of_file(file.len());
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        let tensor = tensor(entry, data, &mut budget);
        if let Some(tensor) = tensor.map_err(|e| within(format!("tensor '{}' cannot be read", shown(&name)), e))? {
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

/// Header and values.
fn split(file: &[u8]) -> Result<(&[u8], &[u8])> {
    let (length, rest) = file.split_first_chunk().ok_or_else(|| damaged("it is cut short within its first 8 bytes"))?;
    let wide = u64::from_le_bytes(*length);
    match usize::try_from(wide) {
        Ok(length) if length <= MAX_HEADER => rest
            .split_at_checked(length)
            .ok_or_else(|| damaged(format!("it is cut short: its header of {length} bytes is longer than the file"))),
        _ => Err(damaged(format!("its header would be {wide} bytes long; at most {MAX_HEADER} are read"))),
    }
}

/// Refuses tensors that share bytes.
fn check_apart(entries: &BTreeMap<String, Entry>) -> Result<()> {
    let mut ranges: Vec<([usize; 2], &str)> = entries.iter().map(|(name, e)| (e.data_offsets, name.as_str())).collect();
    ranges.retain(|([start, end], _)| start != end);
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ([_, end], first) = pair[0];
        let ([start, _], second) = pair[1];
        if start < end {
            return Err(damaged(format!("tensors '{}' and '{}' overlap", shown(first), shown(second))));
        }
    }
    Ok(())
}

/// Reads one tensor; `None` for integers.
fn tensor(entry: Entry, data: &[u8], budget: &mut Budget) -> Result<Option<Tensor>> {
    let Some(stored) = real(&entry.dtype)? else { return Ok(None) };
    let [start, end] = entry.data_offsets;
    let bytes = data.get(Range { start, end }).ok_or_else(|| {
        damaged(format!("its bytes {start} to {end} are not in the file, which has {} after its header", data.len()))
    })?;
    let layout = Layout::contiguous(entry.shape)?;
    if layout.count().checked_mul(stored.size()) != Some(bytes.len()) {
        return Err(damaged(format!(
            "{} bytes are not what {} values of {stored:?} take",
            bytes.len(),
            layout.count()
        )));
    }
    budget.take(layout.count())?;
    let values = gather(&layout, stored, ByteOrder::Little, bytes)?;
    Ok(Some(Tensor { shape: layout.into_shape(), stored, values }))
}

/// The type a name stands for; `None` for integers.
fn real(dtype: &str) -> Result<Option<DType>> {
    match dtype {
        "F16" => Ok(Some(DType::F16)),
        "BF16" => Ok(Some(DType::BF16)),
        "F32" => Ok(Some(DType::F32)),
        "F64" => Ok(Some(DType::F64)),
        "BOOL" | "U8" | "I8" | "U16" | "I16" | "U32" | "I32" | "U64" | "I64" => Ok(None),
        other => Err(damaged(format!("values of type {} are not read", shown(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn refusal(header: &str, data: &[u8]) -> String {
        format!("{:?}", read(&file(header, data)).expect_err("refused"))
    }

    #[test]
    fn values_and_integers_are_told_apart() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
            "n":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}"#;
        let data = [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes(), [0; 4], [0; 4]].concat();
        let tensors = read(&file(header, &data)).expect("file");
        assert_eq!(tensors.len(), 1, "the counter is left out");
        let want = Tensor { shape: vec![1, 2], stored: DType::F32, values: vec![1.0, 2.0] };
        assert_eq!(tensors["a"], want, "values");
    }

    #[test]
    fn damaged_headers_are_refused_in_words() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cases = [
            (one("F32", "[2]", "[0,12]"), "not in the file"),
            (one("F32", "[2]", "[8,0]"), "not in the file"),
            (one("F32", "[3]", "[0,8]"), "not what 3 values"),
            (one("F32", "[4294967296,4294967296]", "[0,8]"), "more values than can be counted"),
            (one("F32", "[4611686018427387904]", "[0,8]"), "not what"),
            (one("F32", "[1,1,1,1,1,1,1,1,1,2]", "[0,8]"), "axes"),
            (one("F8_E4M3", "[8]", "[0,8]"), "F8_E4M3"),
            (one("F32", "[-2]", "[0,8]"), "header is damaged"),
            (format!("{}{}", "{\"a\":", "[".repeat(1000)), "header is damaged"),
            ("{\"a\"".to_owned(), "header is damaged"),
        ];
        for (header, word) in cases {
            assert!(refusal(&header, &[0; 8]).contains(word), "{header}: {}", refusal(&header, &[0; 8]));
        }
    }

    #[test]
    fn names_and_bytes_belong_to_one_tensor() {
        let entry = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        let overlapping = format!(r#"{{"a":{},"b":{}}}"#, entry("[0,4]"), entry("[2,6]"));
        assert!(refusal(&overlapping, &[0; 8]).contains("'a' and 'b' overlap"), "overlap");
        let twice = format!(r#"{{"a":{},"a":{}}}"#, entry("[0,4]"), entry("[4,8]"));
        assert!(refusal(&twice, &[0; 8]).contains("listed twice"), "twice");
    }

    #[test]
    fn offsets_that_add_up_beyond_all_numbers_are_harmless() {
        let most = (1_u64 << 61) - 1;
        let entries: Vec<String> = (0..8)
            .map(|i| {
                format!(r#""{i}":{{"dtype":"U8","shape":[{most}],"data_offsets":[{},{}]}}"#, i * most, (i + 1) * most)
            })
            .collect();
        let tensors = read(&file(&format!("{{{}}}", entries.join(",")), &[])).expect("integers are not looked at");
        assert!(tensors.is_empty(), "no tensor of real numbers");
    }

    #[test]
    fn impossible_header_lengths_are_refused() {
        for length in [1_u64 << 63, u64::MAX, 1 << 32, (MAX_HEADER + 1) as u64] {
            let bytes = [&length.to_le_bytes()[..], b"{"].concat();
            assert!(read(&bytes).expect_err("refused").to_string().contains(&length.to_string()), "{length}");
        }
        assert!(read(&[9, 0, 0, 0, 0, 0, 0, 0, b'{']).expect_err("short").to_string().contains("cut short"), "short");
        assert!(read(&[0; 5]).expect_err("shorter").to_string().contains("cut short"), "shorter than 8");
    }
}
