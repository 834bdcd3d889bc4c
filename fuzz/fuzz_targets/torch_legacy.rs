//! PyTorch checkpoints of before 1.6: pickles and storages behind them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| subpel_fuzz::one_file(data));
