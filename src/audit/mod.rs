//! The books of the receiver, derived again from the journal: for `hookline audit`.
//!
//! What is received stands in the journal; how far each sink has come stands in its cursor. Everything else is derived
//! here, by the same extraction as in the workers, and without a word from any process: beside a running server as
//! well as on a stopped one.
//!
//! - **received**: the events that the bodies give;
//! - **in flight**: events that the sink's cursor does not call confirmed, see `standing.rs`. Between the cursor and
//!   what a sink has really got there is up to a second of events, which a crash delivers again; here they are in
//!   flight still. All others are one of these:
//! - **duplicate**: an earlier one says the same, as the server has decided and written down, so the sink was spared
//!   it. After a power cut some may have to be decided again; until the next start they count as delivered;
//! - **unwanted**: the sink's filters leave it out. They stand in the configuration; without it these events count as
//!   delivered, and the audit says so;
//! - **dead**: it is among the sink's dead letters now. What was delivered after all, or dropped by somebody, counts
//!   as delivered: nothing is owed any more. So a letter that a replay has left counts here, though the sink has had
//!   that event before;
//!   A notification that nobody can take apart gives no event: it is one dead letter of the workers, and here one that
//!   is dead for each sink that has passed it, whatever the sink's filters are;
//! - **delivered**: everything else;
//! - **unaccounted**: received less all of these, such as a notification that gave no event, or passed as
//!   `whatsapp.unparsed` with a version before this one and was left out by a filter for that, and is no dead letter;
//!   and sequences that are neither there nor set aside by a repair, and
//!   those beyond the journal that a cursor claims. It is 0, or something is wrong.
//!
//! What retention took from a sink that was not in the configuration at the time is not in the journal any more, so it
//! is in no sum; as long as the sink's cursor stands before it, its number is reported beside the balance.
//!
//! Damage that nobody has set aside is passed over as a repair would: what it took is missing, what lies behind is
//! read. Where that is not possible, nobody knows what a sink has had.
//!
//! The cursors are read first: what they say is confirmed is in the journal by then. A running server may be about to
//! sync the last frames that are read; they are behind every cursor. The journal is read by one thread, taken apart by
//! as many as there are cores, and put in order again for what depends on order: gaps and repeats. The batches
//! under way are bounded, and so is the memory for the keys, see `repeats.rs`.

mod balance;
mod reading;
mod repeats;
mod standing;
mod tally;

pub use balance::{Balance, SinkBalance};
pub use reading::{Job, Progress};
pub use standing::Standing;

use crate::journal::JournalError;

/// Reads the journal to its end, and draws the balance of everything from its first sequence on.
pub fn audit(job: Job, progress: Progress<'_>) -> Result<Balance, JournalError> {
    let outcome = job.run(progress)?;
    Ok(Balance::new(job, outcome))
}
