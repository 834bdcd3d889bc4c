//! safetensors files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subpel_fuzz::one_file(data));
