//! PyTorch checkpoints of 1.6 and later: zip archives.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subpel_fuzz::one_file(data));
