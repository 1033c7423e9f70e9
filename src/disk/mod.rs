//! What every keeper of state stands on: one directory on a disk, or on a simulated one.
//!
//! | file | |
//! |---|---|
//! | `block` | the unit of the disk, and lengths on it |
//! | `storage` | what a directory and its files can do, and what each call promises |
//! | `ownership` | who owns what is made there, and who may read it |
//! | `directory` | the real one |
//! | `error` | what was refused, and on which file |
//! | `text` | small text files with a checksum |
//! | `slots` | such a text that is saved every second or two: two slots in one file, written in place |
//! | `read_ahead` | reading that no sync has to wait for |
//! | `advice` | commands about a directory, as messages advise them |
//! | `simulated` | one for tests, which loses, tears and refuses on demand |

#![warn(clippy::indexing_slicing, clippy::as_conversions)]

mod advice;
pub mod block;
mod directory;
mod error;
mod ownership;
mod read_ahead;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail in any way it likes"
)]
pub(crate) mod simulated;
pub(crate) mod slots;
mod storage;
pub(crate) mod text;

pub(crate) use advice::repair;
pub use advice::{command, quoted};
pub use directory::Disk;
pub use error::Error;
pub(crate) use error::IoContext;
pub(crate) use read_ahead::ReadAhead;
pub use storage::{Access, Guard, Identity, LockError, Storage, StorageFile, now};
pub(crate) use storage::{is_aside, is_shortage, read_file, read_full_at, write_all_at};
