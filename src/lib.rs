//! Hookline.
pub mod endpoint;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod reactor;
pub mod relay;
