//! Delivers events, waits for a confirmation whose strength it knows, and moves its cursor.
//!
//! Each sink has a cursor, and a thread that reads a [`Feed`](crate::feed::Feed): [`stream`] writes one ordered stream,
//! [`dispatch`] delivers one by one; [`pull`] waits for who asks. An error is retried with growing pauses: the events
//! stay in the journal meanwhile, and no other sink notices.

mod error;
mod health;
mod leave;
mod statistics;
mod saver;
mod replays;
mod rate;
mod transport;
mod stream;
mod dispatch;
mod lines;
mod file;
mod stdout;
mod exec;
#[cfg(feature = "http")]
pub mod http;
mod pull;
mod request_form;
#[cfg(any(feature = "http", feature = "nats", feature = "kafka"))]
mod binding;
mod delivery_id;
mod template;
#[cfg(any(feature = "nats", feature = "kafka"))]
mod pending;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod postgres;
pub mod redis;
mod tls;

pub use delivery_id::Identity;
pub use dispatch::{Backoff, Dispatcher, Limits, Unit};
pub use error::SinkError;
pub use exec::{Each, Program, Stream, Variables};
pub use file::{File, LateFile, Rotation};
#[cfg(test)]
pub(crate) use health::Failing;
pub use leave::Leave;
pub use pull::{Ask, PAGE_KIB_MAX, Page, Pull, PullError, Source};
pub use replays::SinkReplays;
pub use request_form::RequestForm;
pub use saver::CursorSaver;
pub use statistics::{Confirmation, Statistics};
pub use stdout::Stdout;
pub use stream::positioned::CursorState;
pub use stream::{Runner, Sink, run_beside};
pub use template::Template;
#[cfg(feature = "client-tls")]
pub use tls::TlsError;
pub use tls::TlsFiles;
pub use transport::{Outcomes, Paths, Transport};
