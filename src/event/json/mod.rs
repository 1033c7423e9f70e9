//! Whether a body is JSON, and where each value in it stands. Nothing of any sender's shapes but the names.
//!
//! A cutter of our own: events are cut from the body as it came, so places and digits are kept, which no tape of
//! values has.

pub(super) mod document;
mod expected;
pub(super) mod name;
mod node;
mod scalar;
pub(super) mod scan;
mod shapes;
pub(super) mod span;
pub(super) mod string;
