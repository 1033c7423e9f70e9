//! What the verbs use that try a receiver or this machine: load, bodies, what is compared, and what is measured.
//!
//! Where a disk is tried, a directory of its own is made on it, with a server as a child process; what is made is
//! removed in the end, also on Ctrl-C. On `kill -9` the server ends with its parent, and the next run names the
//! directory.
//!
//! Nothing here writes to stdout or stderr, or knows a command line: it gives data and [`RigError`], and a verb makes a
//! report of it.

pub(crate) mod answer;
pub(crate) mod child;
pub(crate) mod closed_loop;
mod error;
pub(crate) mod estimate;
pub(crate) mod exchange;
pub(crate) mod file_system;
pub(crate) mod findings;
pub(crate) mod measure;
pub(crate) mod notification;
pub(crate) mod open_loop;
pub(crate) mod oracle;
pub(crate) mod samples;
pub(crate) mod signals;
pub(crate) mod signature;
pub(crate) mod site;
pub(crate) mod times;

pub use error::RigError;
