//! What is told: a line of progress while it runs, and the report at the end.

use super::Job;
use super::ledger::{Ledger, MARKS};
use super::verify::Findings;
use crate::cli::Output;
use crate::cli::figures::{as_milliseconds, counted, grouped, milliseconds, rate};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

/// What a run came to.
pub(super) struct Report<'r> {
    pub(super) job: &'r Job,
    pub(super) ledger: &'r Ledger,
    /// What the journal holds, where somebody wants to know.
    pub(super) findings: Option<Findings>,
}

/// How far it is.
pub(super) fn progress(ledger: &Ledger, now: Duration, waiting: u64) -> String {
    let mut line = format!(
        "{:>4} s: {} sent, {}/s, p50 {}, p99 {}",
        now.as_secs(),
        grouped(ledger.sent()),
        grouped(rate(ledger.sent(), now)),
        milliseconds(ledger.quantile(500)),
        milliseconds(ledger.quantile(990)),
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
        let is_kept = self.findings.as_ref().is_none_or(Findings::is_clean);
        self.ledger.good() > 0 && self.ledger.bad() == 0 && is_kept
    }

    pub(super) fn render(&self, output: Output) -> String {
        match output {
            Output::Text => self.text(),
            Output::Json => self.json() + "\n",
        }
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

    /// Of a thousand moments, those in which this process had something to do.
    fn busy(&self) -> u64 {
        let elapsed = self.ledger.elapsed.as_micros().max(1);
        let idle = self.ledger.idle.as_micros().min(elapsed);
        u64::try_from((elapsed - idle) * 1000 / elapsed).unwrap_or(1000)
    }

    /// More than one in a hundred went out late because of this process.
    fn fell_behind(&self) -> bool {
        self.ledger.late * 100 > self.ledger.sent()
    }

    fn text(&self) -> String {
        let ledger = self.ledger;
        let mut text = String::new();
        let mut line = |label: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label:<13} {value}");
        };
        let kinds = [
            (ledger.again, "redelivered"),
            (ledger.retried, "tried again"),
        ];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: String = kinds
            .map(|(count, what)| format!(", {} {what}", grouped(*count)))
            .collect();
        line(
            "sent",
            format!(
                "{} in {:.1} s{kinds}",
                counted(ledger.first, "notification"),
                ledger.elapsed.as_secs_f64()
            ),
        );
        if ledger.interrupted {
            let cut_off = grouped(ledger.cut_off);
            line("interrupted", format!("{cut_off} were under way"));
        }
        let (asked, reached) = self.rates();
        line(
            "rate",
            format!(
                "{}/s asked for, {}/s reached",
                grouped(asked),
                grouped(reached)
            ),
        );
        if self.fell_behind() {
            line(
                "PACE NOT KEPT",
                format!(
                    "{} went out late because this generator was too slow ({} % busy): its times are too long; \
                     ask for less, or give it a core of its own",
                    grouped(ledger.late),
                    self.busy() / 10
                ),
            );
        }
        if ledger.waited > 0 {
            line(
                "waited",
                format!(
                    "{} until one of {} was free, up to {} at a time",
                    grouped(ledger.waited),
                    counted(self.job.connections as u64, "connection"),
                    grouped(ledger.waiting_max)
                ),
            );
        }
        let answered = ledger.answered.iter();
        let answered: Vec<_> = answered
            .map(|(code, count)| format!("{} × {code}", grouped(*count)))
            .collect();
        line(
            "answered",
            if answered.is_empty() {
                "none".to_owned()
            } else {
                answered.join(", ")
            },
        );
        for (reason, count) in &ledger.failed {
            line("failed", format!("{} × {reason}", grouped(*count)));
        }
        for (label, count) in [("not sent", ledger.unsent), ("given up", ledger.given_up)] {
            if count > 0 {
                line(label, grouped(count));
            }
        }
        if ledger.good() > 0 {
            let at = |permille| milliseconds(ledger.quantile(permille));
            line(
                "200 after",
                format!(
                    "p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
                    at(500),
                    at(900),
                    at(990),
                    at(999),
                    at(1000)
                ),
            );
        }
        let within = ledger.within.iter().zip(MARKS);
        let within: Vec<_> = within
            .map(|(count, (_, mark))| format!("{} within {mark}", self.share(*count)))
            .collect();
        line("200 in time", within.join(", "));
        if let Some(findings) = &self.findings {
            line(
                "journal",
                format!(
                    "{} of {} that were answered with 200 are there, octet for octet; {} lost, {} altered, \
                     {} invented; {} more than once",
                    grouped(findings.whole),
                    grouped(findings.whole + findings.lost),
                    grouped(findings.lost),
                    grouped(findings.altered),
                    grouped(findings.invented),
                    grouped(findings.repeated)
                ),
            );
        }
        line("seed", self.job.bodies.plan.seed.to_string());
        for example in self.findings.iter().flat_map(|it| &it.examples) {
            line("FOUND", example.clone());
        }
        text.push_str(if self.is_good() {
            "\nEverything that was sent was answered with 200.\n"
        } else if ledger.good() == 0 {
            "\nNothing was answered with 200.\n"
        } else if ledger.bad() > 0 {
            "\nNot everything was answered with 200.\n"
        } else {
            "\nThe journal does not hold what was answered with 200; see what was FOUND.\n"
        });
        text
    }

    fn json(&self) -> String {
        let ledger = self.ledger;
        let (asked, reached) = self.rates();
        let ms = |permille| {
            let time = (ledger.good() > 0).then(|| ledger.quantile(permille));
            time.map(as_milliseconds)
        };
        json!({
            "ok": self.is_good(),
            "interrupted": ledger.interrupted,
            "seed": self.job.bodies.plan.seed,
            "connections": self.job.connections,
            "seconds": ledger.elapsed.as_secs_f64(),
            "sent": ledger.sent(),
            "first": ledger.first,
            "redelivered": ledger.again,
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
            "busy_per_mille": self.busy(),
            "waited": ledger.waited,
            "waiting_max": ledger.waiting_max,
            "milliseconds": {
                "p50": ms(500), "p90": ms(900), "p99": ms(990), "p99_9": ms(999), "max": ms(1000),
            },
            "due": self.due(),
            "within": {
                "250ms": ledger.within[0], "1s": ledger.within[1], "5s": ledger.within[2],
            },
            "journal": self.findings.as_ref().map(|found| json!({
                "records": found.records,
                "whole": found.whole,
                "repeated": found.repeated,
                "lost": found.lost,
                "altered": found.altered,
                "invented": found.invented,
                "found": found.examples,
            })),
        })
        .to_string()
    }
}
