//! The shapes that the platform posts: which updates a body holds, and what each of them is.

pub(super) mod contacts;
pub(super) mod context;
pub(super) mod conversation;
pub(super) mod emit;
pub(super) mod key;
pub(super) mod kind;
pub(super) mod scope;
pub(super) mod shape;
pub(super) mod update;
pub(super) mod walk;
