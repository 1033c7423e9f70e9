//! Hookline.
pub mod cli;
pub mod config;
pub mod journal;
pub mod relay;
