//! Hookline.
pub mod cli;
pub mod config;
pub mod endpoint;
pub mod event;
pub mod feed;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod reactor;
pub mod relay;
pub mod server;
pub mod sink;
pub mod worker;
