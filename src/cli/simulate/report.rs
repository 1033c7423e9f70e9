//! What is printed: a line of progress while it runs, and the report at the end.

use super::super::report::table::labelled;
use super::super::report::times::percentile;
use super::super::report::units::{counted, grouped};
use crate::rig::open_loop::check::Held;
use crate::rig::open_loop::ledger::{Ledger, MARKS};
use crate::rig::open_loop::load::Job;
use crate::rig::times::rate;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// What a run came to.
pub(super) struct Report<'r> {
    pub(super) job: &'r Job,
    pub(super) ledger: &'r Ledger,
    /// What the journal holds, where somebody wants to know.
    pub(super) held: Option<Held>,
}

/// How far it is.
pub(super) fn progress(ledger: &Ledger, now: Duration, waiting: u64) -> String {
    let mut line = format!(
        "{:>4} s: {} sent, {}/s, p50 {}, p99 {}",
        now.as_secs(),
        grouped(ledger.sent()),
        grouped(rate(ledger.sent(), now)),
        percentile(&ledger.times, 500),
        percentile(&ledger.times, 990),
    );
    for (count, what) in [
        (waiting, "waiting"),
        (ledger.bad(), "not answered with 200"),
    ] {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(line, ", {} {what}", grouped(count));
        }
    }
    line
}

impl Report<'_> {
    /// Everything that was sent was answered with 200, and is in the journal if that was looked at.
    pub(super) fn is_good(&self) -> bool {
        let held = self.held.as_ref();
        let is_kept = held.is_none_or(|held| held.findings.is_clean());
        self.ledger.good() > 0 && self.ledger.bad() == 0 && is_kept
    }

    /// Planned posts a second that were asked for, and that left.
    fn rates(&self) -> (u64, u64) {
        let (planned, time) = (self.ledger.planned(), self.ledger.until);
        let asked = rate(planned + self.ledger.unsent, time);
        (asked, rate(planned, time.max(self.ledger.last_planned)))
    }

    /// What was to be sent within the time.
    fn due(&self) -> u64 {
        self.ledger.sent() + self.ledger.unsent - self.ledger.cut_off
    }

    /// In hundredths of a percent, rounded down, so that 100 % is all of it.
    fn share(&self, count: u64) -> String {
        let hundredths = count.saturating_mul(10_000) / self.due().max(1);
        match (hundredths / 100, hundredths % 100) {
            (percent, 0) => format!("{percent} %"),
            (percent, rest) => format!("{percent}.{rest:02} %"),
        }
    }

    /// In thousandths of the whole time.
    fn permille(&self, time: Duration) -> u64 {
        let elapsed = self.ledger.elapsed.as_micros().max(1);
        u64::try_from(time.as_micros() * 1000 / elapsed).unwrap_or(1000)
    }

    /// More than one in a hundred went out late because of this process, and more than chance makes of a few.
    fn fell_behind(&self) -> bool {
        self.ledger.late > LATE_BY_CHANCE && self.ledger.late * 100 > self.ledger.sent()
    }

    pub(super) fn text(&self) -> String {
        let mut lines = self.sending();
        self.answers(&mut lines);
        if let Some(held) = &self.held {
            lines.push(("journal", kept(held)));
        }
        lines.push(("seed", self.job.bodies.plan.seed.to_string()));
        let examples = self.held.iter().flat_map(|it| &it.findings.examples);
        lines.extend(examples.map(|example| ("FOUND", example.clone())));
        let mut text: String = lines
            .iter()
            .map(|(label, value)| labelled(label, value))
            .collect();
        text.push_str(if self.is_good() {
            "\nEverything that was sent was answered with 200.\n"
        } else if self.ledger.good() == 0 {
            "\nNothing was answered with 200.\n"
        } else if self.ledger.bad() > 0 {
            "\nNot everything was answered with 200.\n"
        } else {
            "\nThe journal does not hold what was answered with 200; see what was FOUND.\n"
        });
        text
    }

    /// What left, and when.
    fn sending(&self) -> Vec<(&'static str, String)> {
        let ledger = self.ledger;
        let mut sent = format!(
            "{} in {:.1} s",
            counted(ledger.first, "notification"),
            ledger.elapsed.as_secs_f64()
        );
        for (count, what) in [
            (ledger.redelivered, "redelivered"),
            (ledger.retried, "tried again"),
        ] {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = write!(sent, ", {} {what}", grouped(count));
            }
        }
        let mut lines = vec![("sent", sent)];
        if ledger.interrupted {
            let under_way = format!("{} under way", grouped(ledger.cut_off));
            lines.push(("interrupted", under_way));
        }
        let (asked, reached) = self.rates();
        let (asked, reached) = (grouped(asked), grouped(reached));
        lines.push(("rate", format!("{asked}/s asked for, {reached}/s reached")));
        if self.fell_behind() {
            let behind = format!(
                "{} went out late by this generator's own fault, so their times are too long; it ran for {} % of the \
                 time and waited for a core for {} %: ask for less, or give it a core of its own",
                grouped(ledger.late),
                self.permille(ledger.ran) / 10,
                self.permille(ledger.queued) / 10
            );
            lines.push(("PACE NOT KEPT", behind));
        }
        if ledger.waited > 0 {
            let (waited, most) = (grouped(ledger.waited), grouped(ledger.waiting_max));
            let all = counted(self.job.connections as u64, "connection");
            let waited = format!("{waited} until one of {all} was free, up to {most} at a time");
            lines.push(("waited", waited));
        }
        lines
    }

    /// What came back, and how soon.
    fn answers(&self, lines: &mut Vec<(&'static str, String)>) {
        let ledger = self.ledger;
        let answered = ledger.answered.iter();
        let answered: Vec<_> = answered
            .map(|(code, count)| format!("{} × {code}", grouped(*count)))
            .collect();
        let none = answered.is_empty().then(|| "none".to_owned());
        lines.push(("answered", none.unwrap_or_else(|| answered.join(", "))));
        for (reason, count) in &ledger.failed {
            lines.push(("failed", format!("{} × {reason}", grouped(*count))));
        }
        for (label, count) in [("not sent", ledger.unsent), ("given up", ledger.given_up)] {
            if count > 0 {
                lines.push((label, grouped(count)));
            }
        }
        if ledger.good() > 0 {
            let at = |permille| percentile(&ledger.times, permille);
            let [p50, p90, p99, p99_9, max] = [500, 900, 990, 999, 1000].map(at);
            let times = format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}, max {max}");
            lines.push(("200 after", times));
        }
        let within = ledger.within.iter().zip(MARKS);
        let within: Vec<_> = within
            .map(|(count, (_, mark))| format!("{} within {mark}", self.share(*count)))
            .collect();
        lines.push(("200 in time", within.join(", ")));
    }

    pub(super) fn json(&self) -> Value {
        let ledger = self.ledger;
        let (asked, reached) = self.rates();
        let ms = |permille| ledger.times.in_milliseconds(permille);
        json!({
            "ok": self.is_good(),
            "interrupted": ledger.interrupted,
            "seed": self.job.bodies.plan.seed,
            "connections": self.job.connections,
            "seconds": ledger.elapsed.as_secs_f64(),
            "sent": ledger.sent(),
            "first": ledger.first,
            "redelivered": ledger.redelivered,
            "retried": ledger.retried,
            "answered": ledger.answered,
            "failed": ledger.failed,
            "not_sent": ledger.unsent,
            "given_up": ledger.given_up,
            "cut_off": ledger.cut_off,
            "asked_per_second": asked,
            "reached_per_second": reached,
            "pace_kept": !self.fell_behind(),
            "late": ledger.late,
            "ran_per_mille": self.permille(ledger.ran),
            "queued_per_mille": self.permille(ledger.queued),
            "waited": ledger.waited,
            "waiting_max": ledger.waiting_max,
            "milliseconds": {
                "p50": ms(500), "p90": ms(900), "p99": ms(990), "p99_9": ms(999), "max": ms(1000),
            },
            "due": self.due(),
            "within": {
                "250ms": ledger.within[0], "1s": ledger.within[1], "5s": ledger.within[2],
            },
            "journal": self.held.as_ref().map(|held| json!({
                "records": held.records,
                "whole": held.whole,
                "repeated": held.repeated,
                "lost": held.findings.lost,
                "altered": held.findings.altered,
                "invented": held.findings.invented,
                "found": held.findings.examples,
            })),
        })
    }
}

/// So many are late on any machine now and then, and of few posts they are more than one in a hundred.
const LATE_BY_CHANCE: u64 = 5;

fn kept(held: &Held) -> String {
    let found = &held.findings;
    format!(
        "{} of {} that were answered with 200 are there, byte for byte; {} lost, {} altered, {} invented; \
         {} more than once",
        grouped(held.whole),
        grouped(held.whole + found.lost),
        grouped(found.lost),
        grouped(found.altered),
        grouped(found.invented),
        grouped(held.repeated)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::open_loop::body::Bodies;
    use crate::rig::open_loop::plan::Plan;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    fn job() -> Job {
        Job {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            head: String::new(),
            key: None,
            bodies: Bodies::new(Plan::plain(), 0),
            connections: 4,
            retries: false,
            interrupted: Arc::new(AtomicBool::new(false)),
        }
    }

    /// 3000 that were answered in time, but for one.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(None);
        ledger.first = 3000;
        ledger.answered.insert(200, 3000);
        (0..3000).for_each(|_| ledger.times.record(Duration::from_micros(1500)));
        ledger.within = [2999, 3000, 3000];
        (ledger.until, ledger.elapsed) = (Duration::from_secs(10), Duration::from_secs(11));
        ledger
    }

    fn rendered(ledger: &Ledger, held: Option<Held>) -> (String, Value, bool) {
        let job = job();
        let report = Report {
            job: &job,
            ledger,
            held,
        };
        (report.text(), report.json(), report.is_good())
    }

    #[test]
    fn a_good_run_says_so() {
        let (text, json, good) = rendered(&ledger(), None);
        assert!(good && json["ok"] == true);
        for part in [
            "sent          3,000 notifications in 11.0 s\n",
            "rate          300/s asked for, 300/s reached\n",
            "answered      3,000 × 200\n",
            "200 in time   99.96 % within 250 ms, 100 % within 1 s, 100 % within 5 s\n",
            "\nEverything that was sent was answered with 200.\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(json["within"]["250ms"], 2999);
        assert!(!text.contains("PACE"), "{text}");
    }

    #[test]
    fn what_was_never_sent_was_not_in_time() {
        let mut ledger = ledger();
        ledger.unsent = 1000;
        let (text, json, good) = rendered(&ledger, None);
        assert!(!good && json["due"] == 4000);
        assert!(text.contains("74.97 % within 250 ms, 75 % within 1 s"));
        assert!(text.contains("rate          400/s asked for, 300/s reached\n"));
        assert!(text.contains("\nNot everything was answered with 200.\n"));
    }

    #[test]
    fn a_generator_that_is_too_slow_says_so() {
        let mut ledger = ledger();
        ledger.late = 30;
        assert_eq!(rendered(&ledger, None).1["pace_kept"], true);
        ledger.late = 31;
        (ledger.ran, ledger.queued) = (Duration::from_millis(5500), Duration::from_millis(4400));
        let (text, json, good) = rendered(&ledger, None);
        assert!(good, "the receiver has done nothing wrong");
        assert_eq!(
            (&json["pace_kept"], &json["late"]),
            (&false.into(), &31.into())
        );
        let part = "\nPACE NOT KEPT 31 went out late by this generator's own fault";
        assert!(text.contains(part), "{text}");
        assert!(text.contains("it ran for 50 % of the time and waited for a core for 40 %"));
    }

    /// One of 33 was late by chance, and the pace was "not kept".
    #[test]
    fn a_few_late_ones_are_chance() {
        let mut ledger = ledger();
        ledger.first = 33;
        for (late, kept) in [(1, true), (5, true), (6, false), (33, false)] {
            ledger.late = late;
            assert_eq!(rendered(&ledger, None).1["pace_kept"], kept, "{late}");
        }
    }

    #[test]
    fn what_nobody_answered_took_no_time() {
        let ledger = Ledger::new(None);
        let line = progress(&ledger, Duration::from_secs(3), 7);
        assert!(line.contains("p50 -, p99 -, 7 waiting"), "{line}");
    }

    #[test]
    fn a_journal_that_lacks_something_is_no_success() {
        let mut held = Held {
            whole: 3000,
            ..Held::default()
        };
        assert!(rendered(&ledger(), Some(held.clone())).2);
        (held.whole, held.findings.lost) = (2999, 1);
        let examples = &mut held.findings.examples;
        examples.push("lost: something".to_owned());
        let (text, json, good) = rendered(&ledger(), Some(held));
        assert!(!good && json["journal"]["lost"] == 1);
        assert!(text.contains("2,999 of 3,000 that were answered with 200 are there"));
        assert!(text.contains("FOUND         lost: something\n"));
        assert!(text.contains("\nThe journal does not hold what was answered with 200"));
    }
}
