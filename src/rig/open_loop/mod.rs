//! Load that waits for nothing: each notification is due at a time that was fixed beforehand, and its own time counts
//! from then.

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod schedule;
