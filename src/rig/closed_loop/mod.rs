//! Load that waits for its answers: each connection sends the next notification once the one before is answered.

pub(crate) mod body;
pub(crate) mod load;
pub(crate) mod stream;
