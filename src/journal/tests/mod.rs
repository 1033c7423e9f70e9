//! Tests of the journal as a whole; those of single parts stand beside them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::large_stack_arrays,
    reason = "a test may fail in any way it likes"
)]

mod attacks;
mod commit;
mod copy;
mod crash;
mod damage;
mod days;
mod displaced;
mod findings;
mod format;
mod harness;
mod lives;
mod roll;

use harness::{Harness, batch};
