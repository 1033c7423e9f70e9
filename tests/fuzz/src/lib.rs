//! What several fuzz targets share.
//!
//! A target is one file in `targets/` whose documentation says what must hold. `tests/fuzz/run` builds and runs them
//! all; one is run for as long as you like with
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz TARGET`.

pub mod edit;
pub mod host;
pub mod image;
pub mod memory;
