//! Temporary.
mod parties;
pub use parties::{Conversation, Parties};
