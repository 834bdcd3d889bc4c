//! ncnn's pairs of files, joined by a zero byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subpel_fuzz::pair(data));
