//! What was answered with 200 is delivered, by a receiver and senders that do all that can go wrong.
//!
//! - `chaos`: http sinks under load, a receiver that fails in every way and goes away, and `kill -9`
//! - `repeats`: what is sent again, alone or in other groups, is delivered once, through every kind of stop
//! - `letters`: the dead letters of one large body share it, and each gives its event again as it was
//! - `life`: sinks that change, come, go, are stopped and go on while the server runs
//! - `secrets`: what the program of an `exec` sink gets of them, and that nobody else sees any
//! - `failures`: each case by itself: 410, a conversation that is refused, dead letters, replays, filters, new sinks
//!
//! `HOOKLINE_DELIVERY_NOTIFICATIONS` and `HOOKLINE_DELIVERY_KILLS` say how much is sent in the first two, and how often
//! the server is killed meanwhile.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

#[path = "../common/mod.rs"]
mod common;

mod chaos;
mod failures;
mod letters;
mod life;
mod receiver;
mod repeats;
mod secrets;
mod stage;
mod traffic;
