//! What is printed: a line of progress after a round, and the report at the end.

use super::super::report::table::labelled;
use super::super::report::units::{counted, grouped};
use crate::cli::report::times::{percentile, syncs};
use crate::rig::file_system::FileSystem;
use crate::rig::findings::Findings;
use crate::rig::times::{Times, rate};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

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
    pub(super) recoveries: Times,
    /// Of this disk.
    pub(super) syncs: Times,
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
pub(super) enum Conclusion {
    /// The promise was kept, in one whole round at least.
    Proven,
    /// It was broken, or could not be checked.
    Broken,
    /// Nothing went wrong and nothing was shown: no kill came after an answer.
    NothingTested,
}

impl Conclusion {
    fn sentence(self) -> &'static str {
        match self {
            Conclusion::Proven => "\nNothing that was answered was lost, altered or invented.\n",
            Conclusion::Broken => {
                "\nThe promise was broken, or could not be checked; see what was FOUND.\n"
            }
            Conclusion::NothingTested => {
                "\nNothing was tested: no round was whole with something answered; give it more time.\n"
            }
        }
    }
}

impl Report {
    pub(super) fn conclusion(&self) -> Conclusion {
        if !self.findings.is_clean() || !self.failures.is_empty() {
            Conclusion::Broken
        } else if self.rounds == 0 || self.answered == 0 || self.compared == 0 {
            Conclusion::NothingTested
        } else {
            Conclusion::Proven
        }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> String {
        let (seconds, rounds) = (self.elapsed.as_secs(), u64::from(self.rounds));
        let (rounds, answered) = (counted(rounds, "round"), grouped(self.answered));
        let rate = grouped(self.rate());
        format!("{seconds:>4} s: {rounds}, {answered} answered, {rate}/s under load, nothing lost")
    }

    /// Notifications that were answered in a second of load.
    fn rate(&self) -> u64 {
        rate(self.answered, self.loaded)
    }

    pub(super) fn text(&self) -> String {
        let found = &self.findings;
        let mut text = String::new();
        let mut line = |label: &str, value: String| text.push_str(&labelled(label, value));
        let (times, more) = (u64::from(self.rounds), grouped(self.kills_in_recovery));
        let (times, seconds) = (counted(times, "time"), self.elapsed.as_secs_f64());
        let kills =
            format!("{times} kill -9 under load, {more} more during recovery, in {seconds:.1} s");
        line("rounds", kills);
        if let Some(why) = self.cut_short {
            line("cut short", why.to_owned());
        }
        let answered = counted(self.answered, "notification");
        let rate = grouped(self.rate());
        line("answered", format!("{answered}, {rate}/s under load"));
        if self.refused > 0 {
            let refused = grouped(self.refused);
            line("refused", format!("{refused} with 503, which is allowed"));
        }
        let compared = grouped(self.compared);
        line("compared", format!("{compared} byte by byte"));
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
        let [median, max] = [500, 1000].map(|permille| percentile(&self.recoveries, permille));
        let recovery = format!("median {median}, max {max}: from exec until it takes posts");
        line("recovery", recovery);
        line("file system", self.file_system.describe());
        line("fdatasync", syncs(&self.syncs));
        line("seed", self.seed.to_string());
        for wrong in self.failures.iter().chain(&found.examples) {
            line("FOUND", wrong.clone());
        }
        if let Some(kept) = &self.kept {
            line("kept", format!("{} (journal, server.log)", kept.display()));
        }
        text + self.conclusion().sentence()
    }

    pub(super) fn json(&self) -> Value {
        let ms = |times: &Times, permille| times.in_milliseconds(permille);
        let found = &self.findings;
        json!({
            "ok": self.conclusion() == Conclusion::Proven,
            "decision": match self.conclusion() {
                Conclusion::Proven => "kept",
                Conclusion::Broken => "broken",
                Conclusion::NothingTested => "nothing tested",
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
                "median": ms(&self.recoveries, 500), "max": ms(&self.recoveries, 1000), "count": self.recoveries.count(),
            },
            "fdatasync_milliseconds": self.syncs.json(),
            "found": self.failures.iter().chain(&found.examples).collect::<Vec<_>>(),
            "kept": self.kept,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that was too short once came to the same conclusion as one that has shown something.
    #[test]
    fn no_answer_and_no_round_is_no_success() {
        let tested = tested();
        for (rounds, answered) in [(0, 0), (3, 0), (0, 3)] {
            let mut report = tested.clone();
            (report.rounds, report.answered) = (rounds, answered);
            assert_eq!(report.conclusion(), Conclusion::NothingTested);
            assert!(report.text().contains("\nNothing was tested: "));
            assert_eq!(report.json()["ok"], false);
        }
    }

    #[test]
    fn a_finding_is_no_success() {
        let mut report = tested();
        assert_eq!(report.conclusion(), Conclusion::Proven);
        assert!(report.text().contains("Nothing that was answered was lost"));
        report.findings.lost = 1;
        assert_eq!(report.conclusion(), Conclusion::Broken);
        assert!(report.text().contains("The promise was broken"));
        report.findings.lost = 0;
        report.failures.push("it does not start again".to_owned());
        assert!(
            report
                .text()
                .contains("FOUND         it does not start again\n")
        );
        assert_eq!(report.json()["ok"], false);
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
