//! What a connection is at, and how long that may take.

use super::control::Phase;
use super::core::Core;
use std::time::Duration;

/// What a connection's deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of a request has arrived, and no answer is due.
    Idle,
    /// Nothing more is read for the moment, and an answer waits for the disk, which has a deadline of its own.
    Answer,
    /// A part of a head has arrived.
    Head,
    /// A head has arrived, and a part of its body is missing.
    Body,
    /// The client does not read its answers.
    Write,
    /// After a refusal: what arrives is thrown away.
    Linger,
}

impl Stage {
    /// How long a connection may stay in this stage.
    pub(super) fn timeout(self, core: &Core) -> Duration {
        let options = &core.options;
        match self {
            Stage::Idle if core.phase >= Phase::Draining => DRAIN_GRACE,
            Stage::Idle | Stage::Answer => options.idle_timeout,
            Stage::Head => options.head_timeout,
            Stage::Body => options.body_timeout,
            Stage::Write => options.write_timeout,
            Stage::Linger => options.linger_timeout,
        }
    }
}

/// How long a drain waits for the next request of a connection that is idle: a client that was about to send is
/// answered, and the answer says that it was the last.
const DRAIN_GRACE: Duration = Duration::from_millis(250);
