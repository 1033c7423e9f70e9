//! The user's manual: a chapter a module, and the text that `hookline help CHAPTER` prints.
//!
//! The chapters stand in the order in which a new user needs them. `tests/manual` compares their tables with the
//! code, and runs or parses what they tell the reader to type. Write for somebody who is tired and whose first language
//! is not English; and give each fence a language, for without one it is a test in Rust.

#![allow(
    clippy::doc_markdown,
    reason = "the chapters are prose: names of products are no code"
)]

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// What `hookline help` calls it.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// The text, in Markdown.
    pub text: &'static str,
}

pub fn chapter(name: &str) -> Option<&'static Chapter> {
    CHAPTERS.iter().find(|chapter| chapter.name == name)
}

macro_rules! chapters {
    ($($name:ident: $about:literal,)*) => {
        $(
            #[doc = include_str!(concat!(stringify!($name), ".md"))]
            pub mod $name {}
        )*

        /// All of them.
        pub static CHAPTERS: &[Chapter] = &[$(Chapter {
            name: stringify!($name),
            about: $about,
            text: include_str!(concat!(stringify!($name), ".md")),
        }),*];
    };
}

chapters! {
    configure: "senders, secrets, every key",
    consume: "events, sinks, filters, retries, tail",
    systems: "into NATS JetStream: logins, TLS, names, what is stored once",
    kafka: "records of a topic: keys, what is stored and how often, sizes, logins",
    postgres: "rows of a table: its columns, exactly once, partitions, several instances",
    redis: "entries of a stream: exactly once or one by one, on which disks, what stops it",
    recipes: "into Amazon SQS, Google Pub/Sub and Azure Event Hubs",
    pull: "consumers that ask for events",
    guarantees: "what a 200 means, order, repeats, what happens when something fails",
    limits: "every limit with default and range",
    operate: "verbs, signals, logs, dead letters, replay, damage, backup",
    proxies: "nginx, HAProxy and Caddy in front",
    metrics: "metrics, health, alarms",
    tune: "size a machine; disk, cores, kernel",
    prove: "kill it on your disk, load test it, compare it",
    upgrading: "new versions and old directories",
}
