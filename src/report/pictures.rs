//! Pictures as the page holds them: each once, as the address that a browser reads it from.

use crate::error::{Error, Kind, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;

/// Pictures in the order they were first met.
#[derive(Debug, Default)]
pub(super) struct Pictures<'a> {
    numbers: HashMap<&'a [u8], usize>,
    addresses: Vec<String>,
}

impl<'a> Pictures<'a> {
    /// The number of a picture, the same for the same bytes.
    ///
    /// # Errors
    /// `Kind::Bug` if it is neither PNG nor JPEG.
    pub(super) fn add(&mut self, bytes: &'a [u8]) -> Result<usize> {
        if let Some(&number) = self.numbers.get(bytes) {
            return Ok(number);
        }
        let number = self.addresses.len();
        self.addresses.push(format!("data:{};base64,{}", media_type(bytes)?, STANDARD.encode(bytes)));
        self.numbers.insert(bytes, number);
        Ok(number)
    }

    /// Addresses by number.
    pub(super) fn into_addresses(self) -> Vec<String> {
        self.addresses
    }
}

fn media_type(bytes: &[u8]) -> Result<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Ok("image/png")
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Ok("image/jpeg")
    } else {
        let head = &bytes[..bytes.len().min(8)];
        let message = format!(
            "a picture of {} bytes for the page begins with {head:02x?}: PNG or JPEG was expected",
            bytes.len()
        );
        Err(Error::new(Kind::Bug, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pictures_are_held_once() {
        let (png, jpeg) = (b"\x89PNG\r\n\x1a\nabc".to_vec(), b"\xff\xd8\xff\xe0abc".to_vec());
        let (again, mut pictures) = (png.clone(), Pictures::default());
        let numbers = [&png, &jpeg, &again].map(|p| pictures.add(p).unwrap());
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!(
            pictures.into_addresses(),
            ["data:image/png;base64,iVBORw0KGgphYmM=", "data:image/jpeg;base64,/9j/4GFiYw=="]
        );
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"GIF89a", b"<svg/>"] {
            let error = Pictures::default().add(bytes).unwrap_err();
            assert!(error.to_string().contains("PNG or JPEG"), "{error}");
        }
    }
}
