//! Dead letters: what could not be delivered, with everything that is needed to deliver it after all.
//!
//! | file | idea |
//! |---|---|
//! | `file` | one dead letter, and the form of its file |
//! | `store` | those of one sink: a directory, which the server and `hookline dead-letters` share |
//! | `quarantine` | those of the workers: bodies that nobody can take apart |

mod error;
mod file;
mod quarantine;
mod store;

pub use error::DeadLetterError;
pub use file::{Answer, DeadLetter, Failures};
pub use quarantine::{Cause, Child, END, Quarantine, WORKER};
pub use store::{DeadLetters, forget, list_sinks, take_over};
