//! Rows in a table of `PostgreSQL`, each event exactly once.
//!
//! It is a stream whose target keeps the position (see [`positioned`](super::stream::positioned)): one statement
//! inserts the events that have gathered and moves the sink's row of `hookline_position`, so that the server does both
//! or neither (see [`schema`]). It names the connection that has taken the row over.
//!
//! | what happened beside what every such stream meets | what follows |
//! |---|---|
//! | the sink has another name, with `former_name` | the row gets it too |
//! | another journal | it has a row of its own, and begins unasked |
//! | the table is not there, or a column, or a right | retried each 5 s at most, and shown; made only with `create = true` |
//!
//! # What the table does not take
//!
//! `json` takes everything that is JSON. `jsonb` does not take `\u0000`, half a surrogate pair and very large numbers:
//! such data stands there as a JSON string that holds the text. What a constraint, an index or a trigger of somebody
//! refuses stands in `hookline_rejected`. A body that is not JSON is `{"data_base64": "…"}`. A batch in which one
//! event is refused is halved until that one is found, so the others never wait for it.
//!
//! # A replay
//!
//! has a row of its own in `hookline_position`, so that a crash repeats none of it. The next one removes it.

pub mod schema;

#[cfg(feature = "postgres")]
mod connection;
#[cfg(feature = "postgres")]
mod failure;
#[cfg(feature = "postgres")]
mod inspection;
#[cfg(feature = "postgres")]
mod rows;
#[cfg(feature = "postgres")]
mod store;
#[cfg(feature = "postgres")]
mod tls;

#[cfg(feature = "postgres")]
pub use inspection::inspect;
#[cfg(feature = "postgres")]
pub use store::Postgres;

use super::stream::positioned::CursorState;
use super::tls::TlsFiles;
use schema::Shape;
use std::time::Duration;

/// Whether connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// They are not.
    Disable,
    /// They are, and nobody asks to whom.
    Require,
    /// They are, and the server shows a certificate with its name.
    VerifyFull,
}

/// Which database, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Names, addresses or directories of Unix sockets, each with its port. The first that can be written to is taken.
    pub hosts: Vec<(String, u16)>,
    pub database: String,
    pub ssl_mode: SslMode,
}

/// What such a sink is made of.
pub struct Options {
    /// Name of the sink.
    pub sink: String,
    /// The name that the sink had before: its rows are taken over.
    pub former_name: Option<String>,
    /// Name of the journal.
    pub journal: String,
    pub target: Target,
    pub user: String,
    pub password: Option<Vec<u8>>,
    pub files: TlsFiles,
    pub shape: Shape,
    /// Tables that are missing are made.
    pub create: bool,
    /// How long a statement may take, and a connection until it can be used.
    pub timeout: Duration,
    pub cursor: CursorState,
}
