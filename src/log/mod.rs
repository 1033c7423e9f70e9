//! The log: what may not hold up, and not end, whoever has something to say.

mod repeats;

pub use repeats::Repeats;
