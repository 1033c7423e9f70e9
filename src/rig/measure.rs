//! What the server has used: processor time by the names of its threads, from `/proc/PID/task/TID/stat`, and what it
//! has stored, from its metrics.
//!
//! Source: the manual page `proc_pid_stat(5)`, fields 14 and 15: hundredths of a second, whatever the kernel counts in.

use super::error::RigError;
use super::exchange::{Target, exchange};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A part of the server with threads of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    Loops,
    Commit,
    Workers,
    /// With several workers.
    Dedupe,
    Sink,
    /// What writes segments ahead, serves metrics and waits for signals.
    Rest,
}

impl Component {
    pub(crate) const ALL: [Component; 6] = [
        Component::Loops,
        Component::Commit,
        Component::Workers,
        Component::Dedupe,
        Component::Sink,
        Component::Rest,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Component::Loops => "loops",
            Component::Commit => "commit",
            Component::Workers => "workers",
            Component::Dedupe => "dedupe",
            Component::Sink => "sink",
            Component::Rest => "rest",
        }
    }

    /// The metric that counts what it has come to. The bodies that are sent have one event each.
    fn counter(self) -> &'static str {
        match self {
            Component::Loops => "hookline_stored_total",
            Component::Commit | Component::Rest => "hookline_journal_records_total",
            Component::Workers => "hookline_notifications_total",
            Component::Dedupe => "hookline_dedupe_decided_total",
            Component::Sink => "hookline_sink_events_total",
        }
    }

    /// That of the thread of this name.
    fn of(thread: &str) -> Component {
        let parts = [
            ("hl-loop-", Component::Loops),
            ("hl-commit", Component::Commit),
            ("hl-worker-", Component::Workers),
            ("hl-dedupe", Component::Dedupe),
            ("hl-sink-", Component::Sink),
        ];
        let found = parts.iter().find(|(start, _)| thread.starts_with(start));
        found.map_or(Component::Rest, |(_, part)| *part)
    }
}

/// A moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    processor: [Duration; Component::ALL.len()],
    counts: [u64; Component::ALL.len()],
    /// That were written to the journal until then.
    pub(crate) bytes: u64,
    bodies: u64,
}

/// What some notifications have cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    /// Processor time, in the order of [`Component::ALL`].
    pub(crate) processor: [Duration; Component::ALL.len()],
    /// How many each part has come to; those behind the commit thread may lag.
    pub(crate) counts: [u64; Component::ALL.len()],
    /// Bytes that were written to the journal.
    pub(crate) bytes: u64,
    /// Bytes of bodies.
    pub(crate) bodies: u64,
}

impl Sample {
    pub(crate) fn take(pid: u32, metrics: SocketAddr) -> Result<Sample, RigError> {
        let cannot = |error| RigError::because("cannot ask what the server has used", error);
        let target = Target::parse(&format!("http://{metrics}/metrics"));
        let target = target.map_err(RigError::failed)?;
        let answer = exchange(&target, "GET", &[], b"", PATIENCE).map_err(cannot)?;
        let page = String::from_utf8_lossy(&answer.body);
        Ok(Sample {
            at: Instant::now(),
            processor: processor(pid).map_err(cannot)?,
            counts: Component::ALL.map(|part| metric(&page, part.counter())),
            bytes: metric(&page, "hookline_journal_written_bytes_total"),
            bodies: metric(&page, "hookline_body_bytes_total"),
        })
    }

    /// From here to there.
    pub(crate) fn until(&self, end: &Sample) -> Cost {
        let (mut processor, mut counts) = (end.processor, end.counts);
        for (time, before) in processor.iter_mut().zip(self.processor) {
            *time = time.saturating_sub(before);
        }
        for (count, before) in counts.iter_mut().zip(self.counts) {
            *count = count.saturating_sub(before);
        }
        Cost {
            elapsed: end.at.duration_since(self.at),
            processor,
            counts,
            bytes: end.bytes.saturating_sub(self.bytes),
            bodies: end.bodies.saturating_sub(self.bodies),
        }
    }
}

impl Cost {
    /// Notifications that were stored.
    pub(crate) fn stored(&self) -> u64 {
        self.counts[Component::Commit as usize]
    }

    /// Microseconds of a processor for each notification.
    pub(crate) fn micros(&self, part: Component) -> f64 {
        let count = self.counts[part as usize].max(1);
        self.processor[part as usize].as_secs_f64() * 1e6 / float(count)
    }
}

/// The sum of a metric over its labels.
fn metric(page: &str, name: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_it = rest.starts_with([' ', '{']);
        is_it.then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    values.sum()
}

fn processor(pid: u32) -> io::Result<[Duration; Component::ALL.len()]> {
    let mut times = [Duration::ZERO; Component::ALL.len()];
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended since is of no interest.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        let Some((name, time)) = parse(&stat) else {
            return Err(io::Error::other("its threads cannot be read in /proc"));
        };
        times[Component::of(name) as usize] += time;
    }
    Ok(times)
}

/// Name and processor time of a thread: `TID (NAME) STATE`, and numbers.
fn parse(stat: &str) -> Option<(&str, Duration)> {
    let (named, rest) = stat.rsplit_once(") ")?;
    let (_, name) = named.split_once('(')?;
    let mut fields = rest.split(' ').skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, Duration::from_millis((user + system) * 10)))
}

/// Of what is counted here a float has every digit that anybody reads.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_known_by_their_names() {
        let stat = "41 (hl-loop-0) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0";
        let (name, time) = parse(stat).expect("as the manual page has it");
        assert_eq!((name, time), ("hl-loop-0", Duration::from_millis(1500)));
        for (name, part) in [
            (name, Component::Loops),
            ("hl-sink-out", Component::Sink),
            ("hl-segment", Component::Rest),
            ("hookline", Component::Rest),
        ] {
            assert_eq!(Component::of(name), part);
        }
        for (index, part) in Component::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, index);
        }
        let (name, _) = parse("1 (a) b) R 1 1 1 1 1 1 1 1 1 1 0 0").expect("any name");
        assert_eq!(name, "a) b");
        assert!(processor(std::process::id()).is_ok());
    }

    #[test]
    fn metrics_are_added_up() {
        let page =
            "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 40\na_total_b 9\nb_total 7\n";
        let values = ["a_total", "b_total", "c_total"].map(|name| metric(page, name));
        assert_eq!(values, [42, 7, 0]);
    }
}
