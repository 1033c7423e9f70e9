//! What follows from an error of the server.

use super::super::Interrupt;
use std::io;

/// Why a transaction was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink) enum Failure {
    /// It may work later: no connection, no table, no right, no room. Nobody knows whether it was done.
    Retry(String),
    /// Just these rows are not taken.
    Rows { code: String, reason: String },
    /// Nothing goes on until a person has looked.
    Stop(String),
    /// The target has less than was confirmed: everything up to this sequence.
    Behind(u64),
}

impl Failure {
    pub(in crate::sink) fn too_late(what: &str) -> Failure {
        Failure::Retry(format!("the server has not answered in time: {what}"))
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> io::Error {
        match failure {
            Failure::Retry(reason) | Failure::Rows { reason, .. } => io::Error::other(reason),
            Failure::Stop(reason) => io::Error::other(Interrupt::Stop(reason)),
            Failure::Behind(sequence) => io::Error::other(Interrupt::Behind(sequence)),
        }
    }
}
