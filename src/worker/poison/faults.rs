//! What a bug in the extraction would do, for tests: not in a release.
//!
//! `HOOKLINE_BODY_FAULT` holds `WHERE:WHAT:TEXT`, several with `;` between them. Whoever takes a body apart that holds
//! the text meets the fault: everybody (`all`), the `child` that examines suspects, or the `server`. What happens:
//! `panic`, `memory` without an end, `wait` for ever, or the signal with this number.

use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::time::Duration;

struct Fault {
    what: String,
    text: Vec<u8>,
}

/// Fails as asked for.
pub(super) fn on(body: &[u8]) {
    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    #[cfg(test)]
    assert!(body != PANICS, "as a bug would");
    for fault in FAULTS.get_or_init(asked_for) {
        if memchr::memmem::find(body, &fault.text).is_some() {
            fault.happen();
        }
    }
}

fn asked_for() -> Vec<Fault> {
    let faults = std::env::var("HOOKLINE_BODY_FAULT").unwrap_or_default();
    let verb = std::env::args().nth(1).unwrap_or_default();
    let here = match verb.as_str() {
        "take-apart" => "child",
        "serve" => "server",
        _ => "",
    };
    let faults = faults.split(';').filter_map(|fault| {
        let (place, fault) = fault.split_once(':')?;
        let (what, text) = fault.split_once(':')?;
        let is_here = place == "all" || place == here;
        is_here.then(|| Fault {
            what: what.to_owned(),
            text: text.as_bytes().to_vec(),
        })
    });
    faults.collect()
}

impl Fault {
    fn happen(&self) {
        match self.what.as_str() {
            "panic" => panic!("as a bug would"),
            "memory" => {
                let mut taken = Vec::new();
                loop {
                    taken.push(Vec::<u8>::with_capacity(64 << 20));
                }
            }
            "wait" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            number => loop {
                // The first SIGSEGV goes to a handler that expects the fault to come again.
                let signal = number.parse().ok().and_then(Signal::from_named_raw);
                let _ = kill_process(getpid(), signal.unwrap_or(Signal::ABORT));
                std::thread::sleep(Duration::from_millis(10));
            },
        }
    }
}

/// The body at which the extraction panics in unit tests.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = br#"{"this":"panics"}"#;
