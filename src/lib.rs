//! Hookline.
pub mod event;
pub mod journal;
pub mod relay;
