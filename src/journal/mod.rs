//! The journal.
pub mod batch;
pub mod frame;
pub mod position;
pub mod record;
pub mod status;
