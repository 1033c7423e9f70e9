//! Hookline.
pub mod journal;
pub mod relay;
