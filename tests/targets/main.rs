//! Every sink against what it delivers to: the real system, or for the sinks that need none a process of the test.
//!
//! [`matrix`] holds the cases, each written once for anything that is a [`Target`](target::Target). [`target`] says
//! what a system has to do for it, and one file for each system does it. A further sink is one file and one line below.
//! The check is always the same: journal minus dead letters = target, by id; each id once where the sink says so; the
//! order of each conversation kept; books at 0. A case that has no meaning for a target says why.
//!
//! Each server is private: a process of the test on a free port, in a temporary directory. Where a server cannot be had
//! its tests are skipped, with a line that names it. Those of a sink that the build lacks are not built. `tests/run`
//! installs what Debian has, and with `HOOKLINE_TARGETS_REQUIRED` what is missing fails.
//! `HOOKLINE_TARGET_NOTIFICATIONS` says how much is sent.

#![expect(
    clippy::print_stderr,
    reason = "figures and what is skipped are worth a line"
)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the other half is for tests of receivers")]
#[path = "../delivery/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "the other half is for tests of receivers")]
#[path = "../delivery/stage.rs"]
mod stage;
#[allow(dead_code, reason = "the other half is for tests of receivers")]
#[path = "../delivery/traffic.rs"]
mod traffic;

#[cfg(feature = "kafka")]
mod kafka;
mod exec;
mod http;
mod lines;
mod matrix;
mod nats;
mod postgres;
mod process;
mod pull;
mod queue;
mod redis;
mod target;

/// The cases of [`matrix`] for one target.
macro_rules! matrix {
    ($name:ident, $target:ty) => {
        mod $name {
            matrix!(@cases $target,
                everything_is_delivered,
                killed_under_load,
                stopped_for_a_while,
                slow,
                wrong_login_at_a_reconnect,
                missing_and_made_later,
                restarted_with_another_state,
                too_large_is_a_dead_letter,
                known_ids_again,
                hookline_killed,
                replayed,
            );
        }
    };
    (@cases $target:ty, $($case:ident,)*) => {
        $(#[test]
        fn $case() {
            crate::matrix::$case::<$target>();
        })*
    };
}

matrix!(matrix_of_exec, crate::exec::ExecProgram);
matrix!(matrix_of_file, crate::lines::FileOfLines);
matrix!(matrix_of_http, crate::http::HttpReceiver);
matrix!(matrix_of_nats, crate::nats::NatsServer);
#[cfg(feature = "kafka")]
matrix!(matrix_of_kafka, crate::kafka::KafkaServer);
matrix!(matrix_of_postgres, crate::postgres::PostgresServer);
matrix!(matrix_of_pull, crate::pull::Consumer);
matrix!(matrix_of_stdout, crate::lines::Pipe);
matrix!(matrix_of_redis_by_position, crate::redis::ByPosition);
matrix!(matrix_of_redis_by_server, crate::redis::ByServer);
