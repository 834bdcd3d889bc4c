//! What every filter must obey, whatever the sizes, and agreement with a naive `f64` sum.
