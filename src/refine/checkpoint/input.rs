//! The bytes of a pickle, taken from front to back, each length checked against what is left before it is used.

use super::damaged;
use super::tree::Span;
use crate::error::{Error, Result};

/// The longest pickle looked at; names and shapes of the largest networks take less than one MiB.
const MAX_INPUT: usize = 64 << 20;
/// The longest line of a text opcode: a class name or a number.
const MAX_LINE: usize = 1024;

/// Bytes and how many of them are taken.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// The pickle that `bytes` begins with.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: &bytes[..bytes.len().min(MAX_INPUT)], at: 0 }
    }

    /// All bytes, taken or not.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes are taken.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.rest();
        let bytes = rest.get(..length).ok_or_else(|| {
            self.refuse(&format!("it wants {length} more bytes where {} are left; the file is cut short", rest.len()))
        })?;
        self.at += length;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| self.damage())
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length in `width` bytes, at most 8, least first, that is not beyond the rest of the input.
    pub(super) fn length(&mut self, width: usize) -> Result<usize> {
        let wide = self.take(width)?.iter().rev().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
        let left = self.rest().len();
        match usize::try_from(wide) {
            Ok(length) if length <= left => Ok(length),
            _ => Err(self.refuse(&format!("a string or number of {wide} bytes begins where {left} bytes are left"))),
        }
    }

    /// The next `length` bytes and where they are.
    pub(super) fn span_and_bytes(&mut self, length: usize) -> Result<(Span, &'a [u8])> {
        let narrow = |n: usize| u32::try_from(n).map_err(|_| self.damage());
        let span = Span { start: narrow(self.at)?, length: narrow(length)? };
        Ok((span, self.take(length)?))
    }

    /// Where the next `length` bytes are, which are taken.
    pub(super) fn span(&mut self, length: usize) -> Result<Span> {
        self.span_and_bytes(length).map(|(span, _)| span)
    }

    fn line_and_bytes(&mut self) -> Result<(Span, &'a [u8])> {
        let near = self.rest().iter().take(MAX_LINE);
        let end = near.into_iter().position(|&byte| byte == b'\n').ok_or_else(|| self.refuse("a line has no end"))?;
        let line = self.span_and_bytes(end)?;
        self.take(1)?;
        Ok(line)
    }

    /// Where the text up to the next line end is; both are taken.
    pub(super) fn line(&mut self) -> Result<Span> {
        self.line_and_bytes().map(|(span, _)| span)
    }

    /// The text up to the next line end; both are taken.
    pub(super) fn line_text(&mut self) -> Result<&'a str> {
        let (_, bytes) = self.line_and_bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.refuse("a line is not text"))
    }

    /// The refusal of the pickle at this place.
    pub(super) fn refuse(&self, why: &str) -> Error {
        damaged(format!("its pickle is refused at byte {}: {why}", self.at))
    }

    /// A refusal where nothing better is known.
    pub(super) fn damage(&self) -> Error {
        self.refuse("it is damaged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_that_is_not_there() {
        let mut input = Input::new(b"\x03ab\ncd");
        assert!(input.length(8).is_err(), "8 bytes of length");
        assert_eq!(input.length(1).expect("length"), 3, "length");
        assert_eq!(input.line_text().expect("line"), "ab", "line");
        assert!(input.line().is_err(), "no end of line");
        assert_eq!(input.position(), 4, "after the line");
        assert_eq!(input.span(2).expect("span"), Span { start: 4, length: 2 }, "span");
        assert!(input.byte().is_err(), "end");
    }
}
