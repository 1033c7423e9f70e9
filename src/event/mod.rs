//! From one stored body to its events: what each update is, its key, its conversation and its lane.
//!
//! A notification holds one to a thousand updates. Each becomes one event, in the order in which they
//! stand. What an update is:
//!
//! - each element of `messages`, `statuses`, `calls`, `message_echoes`, `user_actions`,
//!   `user_preferences`, `state_sync`, `groups`, `automatic_events` and `errors` of a value,
//! - each element of the same arrays inside a value's `standby`,
//! - each element of `messages` inside a value's `history[].threads[]`,
//! - each element of `messages`, `statuses` and `errors` at the top (the On-Premises shape),
//! - a change that has none of these (an empty array is none), as a whole,
//! - 360dialog's partner envelope `{id,event,data}`, as a whole unless its `data` is a value with updates,
//! - a body without any of these, as a whole: `whatsapp.empty`.
//!
//! So it is where the platform posts. The body of another sender is one event, `webhook.received` or with the type that
//! it has given it; in which bodies shapes of the platform are looked for at all is what the [`Form`] says that the
//! body was stored with.
//!
//! Nothing here fails. A body that is not JSON, that nests deeper than [`NESTING_MAX`] or holds more than
//! [`UPDATES_MAX`] updates is one `whatsapp.unparsed`. Odd types, unknown and repeated keys, numbers that no
//! machine type holds and lone surrogates are JSON and pass.
//!
//! No field is lost: `data` is put together from slices of the body as it came, see [`render`]. The module
//! has no sockets, no clocks and no files, and uses nothing else of the crate.
//!
//! | file | idea |
//! |---|---|
//! | `extract` | a body is parsed once, into buffers that are reused |
//! | `json/scan`, `node`, `scalar`, `string`, `span` | whether a body is JSON, and the place of each value in it |
//! | `json/expected`, `shapes` | what a body, or an element, is likely to look like, since others did |
//! | `json/name` | the names of members that mean something |
//! | `json/document` | the values, read by position |
//! | `whatsapp/shape`, `walk` | which updates there are |
//! | `whatsapp/scope`, `emit` | what surrounds an update, and the event made of both |
//! | `whatsapp/update` | the facts of one update |
//! | `whatsapp/context` | what the updates of a change share in their `data` |
//! | `whatsapp/contacts`, `conversation` | whose update it is |
//! | `whatsapp/kind`, `key` | what it is, and what tells it from others |
//! | `form`, `foreign` | how a body is read, and what of another sender's |
//! | `whole` | the event of a body that is not taken apart |
//! | `position` | where it stands in the journal |
//! | `pattern` | the types that somebody asks for |
//! | `lane`, `time` | the event's other attributes |
//! | `events`, `envelope` | where events are kept, and how they are written |
//! | `pages` | how long memory is kept that a large body took |

mod envelope;
mod events;
mod extract;
mod foreign;
mod form;
mod json;
mod lane;
mod pages;
mod data_member;
mod pattern;
mod position;
pub(crate) mod rfc3339;
#[cfg(test)]
mod tests;
mod time;
mod whatsapp;
mod whole;

pub use envelope::{
    attributes, content_type, render, render_data, render_json_data, render_replayed, timestamp,
};
pub use events::{Event, Events, Origin, Unparsed};
pub use extract::Extractor;
#[cfg(test)]
pub use form::RULES;
pub use form::{Form, Headers, Sender, WhatsApp, attribute, is_reserved};
pub use json::scan::NESTING_MAX;
pub use lane::{Lane, NoLane};
pub use pages::{LARGE, LARGE_KEPT};
pub use pattern::Pattern;
pub use position::{Item, Position};
pub use whatsapp::emit::UPDATES_MAX;
pub use whatsapp::key::{COMPONENT_MAX, fingerprint};
pub use whatsapp::kind::known_types;
