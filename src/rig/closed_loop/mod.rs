//! Load that waits for its answers: each connection sends the next notifications once those before are answered, as
//! fast as the receiver takes them. It says what a receiver carries and what it loses, and nothing about times of
//! answers: those are for [`open_loop`](super::open_loop), whose notifications are due whatever was answered.

pub(crate) mod body;
pub(crate) mod load;
pub(crate) mod stream;
