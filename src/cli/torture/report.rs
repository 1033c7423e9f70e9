//! What is told: a line of progress while it runs, and the report at the end.

use super::file_system::FileSystem;
use super::oracle::Findings;
use crate::cli::{CliError, Output};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) connections: u32,
    pub(super) file_system: FileSystem,
    /// Kills under load.
    pub(super) rounds: u32,
    /// Kills between the start and readiness.
    pub(super) kills_in_recovery: u64,
    /// Notifications that were answered with 200.
    pub(super) answered: u64,
    /// Notifications that were answered with 503, or not because of one.
    pub(super) refused: u64,
    /// Notifications that were compared with what was sent, each time they were.
    pub(super) compared: u64,
    /// While notifications were sent.
    pub(super) loaded: Duration,
    /// All of it.
    pub(super) elapsed: Duration,
    /// From the start of the process until it took posts.
    pub(super) recoveries: Vec<Duration>,
    /// Of this disk, in the order of time.
    pub(super) syncs: Vec<Duration>,
    pub(super) findings: Findings,
    /// What ended it before its time.
    pub(super) cut_short: Option<&'static str>,
    /// What else went wrong, each in a line.
    pub(super) failures: Vec<String>,
    /// Where everything is kept.
    pub(super) kept: Option<PathBuf>,
}

/// What a run shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The promise was kept, in one whole round at least.
    Kept,
    /// It was broken, or could not be checked.
    Broken,
    /// Nothing went wrong and nothing was shown: no kill came after an answer.
    NothingTested,
}

impl Report {
    pub(super) fn verdict(&self) -> Verdict {
        if !self.findings.is_clean() || !self.failures.is_empty() {
            Verdict::Broken
        } else if self.rounds == 0 || self.answered == 0 || self.compared == 0 {
            Verdict::NothingTested
        } else {
            Verdict::Kept
        }
    }

    /// Prints it on stdout.
    pub(super) fn print(&self, output: Output) -> Result<(), CliError> {
        let text = match output {
            Output::Text => self.text(),
            Output::Json => self.json() + "\n",
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }

    /// Notifications that were answered in a second of load.
    fn rate(&self) -> u64 {
        rate(self.answered, self.loaded)
    }

    fn text(&self) -> String {
        let found = &self.findings;
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<13} {value}");
        };
        line(
            "rounds",
            format!(
                "{} kill -9 under load, {} more during recovery, in {:.1} s",
                counted(u64::from(self.rounds), "time"),
                grouped(self.kills_in_recovery),
                self.elapsed.as_secs_f64()
            ),
        );
        if let Some(why) = self.cut_short {
            line("cut short", why.to_owned());
        }
        line(
            "answered",
            format!(
                "{}, {}/s under load",
                counted(self.answered, "notification"),
                grouped(self.rate())
            ),
        );
        if self.refused > 0 {
            line(
                "refused",
                format!("{} with 503, which is allowed", grouped(self.refused)),
            );
        }
        line(
            "compared",
            format!("{} octet by octet", grouped(self.compared)),
        );
        for (label, count) in [
            ("lost", found.lost),
            ("altered", found.altered),
            ("invented", found.invented),
            ("duplicated", found.duplicated),
            ("out of order", found.disordered),
            ("moved", found.moved),
        ] {
            line(label, grouped(count));
        }
        let recoveries = sorted(&self.recoveries);
        line(
            "recovery",
            format!(
                "median {}, max {}: from exec until it takes posts",
                milliseconds(percentile(&recoveries, 500)),
                milliseconds(percentile(&recoveries, 1000)),
            ),
        );
        line(
            "file system",
            if self.file_system.is_memory {
                memory(&self.file_system)
            } else {
                self.file_system.name.clone()
            },
        );
        let syncs = sorted(&self.syncs);
        let at = |permille| milliseconds(percentile(&syncs, permille));
        line(
            "fdatasync",
            format!(
                "p50 {}, p99 {}, p99.9 {}, max {}: {} of 16 KiB in the same directory",
                at(500),
                at(990),
                at(999),
                at(1000),
                grouped(syncs.len() as u64),
            ),
        );
        line("seed", self.seed.to_string());
        for wrong in self.failures.iter().chain(&found.examples) {
            line("FOUND", wrong.clone());
        }
        if let Some(kept) = &self.kept {
            line("kept", format!("{} (journal, server.log)", kept.display()));
        }
        text.push_str(match self.verdict() {
            Verdict::Kept => "\nNothing that was answered was lost, altered or invented.\n",
            Verdict::Broken => {
                "\nThe promise was broken, or could not be checked; see what was FOUND.\n"
            }
            Verdict::NothingTested => {
                "\nNothing was tested: no round was whole with something answered; give it more time.\n"
            }
        });
        text
    }

    fn json(&self) -> String {
        let (recoveries, syncs) = (sorted(&self.recoveries), sorted(&self.syncs));
        let ms = |times: &[Duration], permille| as_milliseconds(percentile(times, permille));
        let found = &self.findings;
        json!({
            "ok": self.verdict() == Verdict::Kept,
            "verdict": match self.verdict() {
                Verdict::Kept => "kept",
                Verdict::Broken => "broken",
                Verdict::NothingTested => "nothing tested",
            },
            "cut_short": self.cut_short,
            "file_system": self.file_system.name,
            "is_memory": self.file_system.is_memory,
            "seed": self.seed,
            "connections": self.connections,
            "rounds": self.rounds,
            "kills_in_recovery": self.kills_in_recovery,
            "seconds": self.elapsed.as_secs_f64(),
            "answered": self.answered,
            "answered_per_second_of_load": self.rate(),
            "refused": self.refused,
            "compared": self.compared,
            "lost": found.lost,
            "altered": found.altered,
            "invented": found.invented,
            "duplicated": found.duplicated,
            "out_of_order": found.disordered,
            "moved": found.moved,
            "recovery_milliseconds": {
                "median": ms(&recoveries, 500), "max": ms(&recoveries, 1000), "count": recoveries.len(),
            },
            "fdatasync_milliseconds": {
                "p50": ms(&syncs, 500), "p99": ms(&syncs, 990), "p99_9": ms(&syncs, 999), "max": ms(&syncs, 1000),
                "count": syncs.len(),
            },
            "found": self.failures.iter().chain(&found.examples).collect::<Vec<_>>(),
            "kept": self.kept,
        })
        .to_string()
    }
}

/// What is said of a file system that is none of a disk.
pub(super) fn memory(file_system: &FileSystem) -> String {
    format!(
        "{}: memory, which proves nothing about a disk",
        file_system.name
    )
}

/// Tells on stderr how far it is: on a terminal in one line that is drawn again, else in a line every ten seconds.
#[derive(Debug)]
pub(super) struct Progress {
    is_terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            is_terminal: io::stderr().is_terminal(),
            last: None,
        }
    }

    /// After each round, once there is something to tell.
    pub(super) fn show(&mut self, report: &Report) {
        if report.answered == 0 {
            return;
        }
        let pause = if self.is_terminal { REDRAW } else { LINE };
        if self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        let line = format!(
            "{:>4} s: {}, {} answered, {}/s under load, nothing lost",
            report.elapsed.as_secs(),
            counted(u64::from(report.rounds), "round"),
            grouped(report.answered),
            grouped(report.rate()),
        );
        // Without a stderr there is nobody to tell.
        let _ = if self.is_terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Takes the line away, for the report.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn rate(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn sorted(times: &[Duration]) -> Vec<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times
}

/// The smallest of the sorted times that so many of a thousand are no longer than; 0 where there is none.
fn percentile(sorted: &[Duration], permille: usize) -> Duration {
    let rank = (sorted.len() * permille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// To the microsecond.
fn as_milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// `1 round`, `2 rounds`
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// `12345678` as `12,345,678`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        text.push(digit);
        if left > 0 && left % 3 == 0 {
            text.push(',');
        }
    }
    text
}

const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (counted(1, "round"), counted(0, "round")),
            ("1 round".to_owned(), "0 rounds".to_owned())
        );
    }

    #[test]
    fn percentiles_are_those_of_the_sorted() {
        let times: Vec<_> = (1..=1000).map(Duration::from_millis).collect();
        for (permille, ms) in [(500, 500), (990, 990), (999, 999), (1000, 1000)] {
            assert_eq!(percentile(&times, permille), Duration::from_millis(ms));
        }
        assert_eq!(percentile(&times[..1], 500), Duration::from_millis(1));
        assert_eq!(percentile(&[], 500), Duration::ZERO);
    }

    /// A run that was too short once had the same verdict as one that has shown something.
    #[test]
    fn no_answer_and_no_round_is_no_success() {
        let tested = tested();
        for (rounds, answered) in [(0, 0), (3, 0), (0, 3)] {
            let mut report = tested.clone();
            (report.rounds, report.answered) = (rounds, answered);
            assert_eq!(report.verdict(), Verdict::NothingTested);
            assert!(report.text().contains("\nNothing was tested: "));
            assert!(report.json().contains("\"ok\":false"));
        }
    }

    #[test]
    fn a_finding_is_no_success() {
        let mut report = tested();
        assert_eq!(report.verdict(), Verdict::Kept);
        assert!(report.text().contains("Nothing that was answered was lost"));
        report.findings.lost = 1;
        assert_eq!(report.verdict(), Verdict::Broken);
        assert!(report.text().contains("The promise was broken"));
        report.findings.lost = 0;
        report.failures.push("it does not start again".to_owned());
        assert!(
            report
                .text()
                .contains("FOUND         it does not start again\n")
        );
        let parsed: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
        assert_eq!(parsed["ok"], false);
    }

    #[test]
    fn memory_is_no_disk() {
        let mut report = tested();
        report.file_system = FileSystem {
            name: "tmpfs".to_owned(),
            is_memory: true,
        };
        let line = "\nfile system   tmpfs: memory, which proves nothing about a disk\n";
        assert!(report.text().contains(line), "{}", report.text());
    }

    fn tested() -> Report {
        Report {
            rounds: 1,
            answered: 1,
            compared: 1,
            ..Report::default()
        }
    }
}
