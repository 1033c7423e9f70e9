//! Hookline.
pub mod config;
pub mod journal;
pub mod relay;
