//! Entries in a stream of Redis or Valkey.
//!
//! Each event is one entry: every attribute of the event is a field with its name, `datacontenttype` beside them, the
//! data are the field `data`, and a replay has its name in `replay`. There are two ways:
//!
//! | `ids` | is |
//! |---|---|
//! | `position` | a [stream](super::stream::positioned) whose target keeps the position: each event exactly once, see [`position`] |
//! | `auto` | one by one under the dispatcher, ids are the server's, at least once, see [`auto`] |
//!
//! A confirmation is worth what `WAITAOF` says, which is asked where `wait_local` or `wait_replicas` is set: it answers
//! when its time is over, too, so its numbers count. It covers what its connection has written, so it goes over that
//! one. Without it an entry is in the memory of one server.
//!
//! A connection is given up with the first error, since nobody knows what it has done: what is shifted by one answer
//! would be taken for another's. Nothing connects by itself. Streams are never made unasked: `NOMKSTREAM`, unless
//! `create` says otherwise.

#[cfg(feature = "redis")]
mod auto;
#[cfg(feature = "redis")]
mod connection;
#[cfg(feature = "redis")]
mod entry;
#[cfg(feature = "redis")]
mod inspection;
#[cfg(feature = "redis")]
mod position;
#[cfg(feature = "redis")]
mod said;

#[cfg(feature = "redis")]
pub use auto::{Auto, Context};
#[cfg(feature = "redis")]
pub use inspection::{Inspected, Inspection, inspect};
#[cfg(feature = "redis")]
pub use position::{KeptPosition, Redis};

use super::statistics::Confirmation;
use super::tls::TlsFiles;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A name or an address, and a port.
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Which database of which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: Address,
    pub database: u32,
    pub is_encrypted: bool,
}

/// How many are to have an entry on their disk before it is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// The server itself: 1, or 0.
    pub local: u32,
    /// Its replicas.
    pub replicas: u32,
}

/// What both ways take.
#[derive(Clone)]
pub struct Options {
    /// Name of the sink.
    pub sink: String,
    pub target: Target,
    pub user: Option<String>,
    pub password: Option<String>,
    pub files: TlsFiles,
    /// A stream that is missing is made.
    pub create: bool,
    /// Entries that a stream keeps, more or less; 0 keeps all.
    pub max_length: u64,
    pub wait: Wait,
    /// How long an answer may take, and a connection until it can be used.
    pub timeout: Duration,
}

impl Wait {
    /// What a confirmation is worth.
    pub fn confirmation(self) -> Confirmation {
        if self.replicas > 0 {
            Confirmation::Replicated
        } else if self.local > 0 {
            Confirmation::Fsynced
        } else {
            Confirmation::Memory
        }
    }

    /// True if `WAITAOF` is to be asked.
    pub fn is_asked(self) -> bool {
        self != Wait::default()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}")?,
            Address::Tcp(host, port) => write!(f, "{host}:{port}")?,
            Address::Unix(path) => write!(f, "{}", path.display())?,
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("sink", &self.sink)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
