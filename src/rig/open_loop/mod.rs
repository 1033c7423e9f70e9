//! Load that waits for nothing: each notification is due at a time that was fixed beforehand, and its own time counts
//! from then. So a receiver that stalls is seen to stall by all that it delays, which a loop that waits for its answers
//! hides: it sends less meanwhile. That one is in [`closed_loop`](super::closed_loop), for what is to be as fast as it
//! can; they share bodies, requests and the reading of answers.

pub(crate) mod body;
pub(crate) mod check;
pub(crate) mod connection;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod schedule;
