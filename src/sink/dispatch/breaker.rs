//! A circuit breaker: a receiver that fails with everything is left alone but for a probe now and then.
//!
//! It opens when so many different deliveries in a row have failed that it is not about any of them. While it is open
//! no more is read for the sink than it takes to probe with, so a receiver that is away for an hour costs disk only.
//! One delivery that works closes it. Probes go with something new where there is anything: what has failed may be
//! refused for itself, for ever. Whether an attempt counts is not asked here, see [`blame`](super::blame).

use super::backoff::Backoff;
use crate::event::Item;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Breaker {
    backoff: Backoff,
    /// The last different items that failed, without a success between.
    failed: Vec<Item>,
    /// When the last one did, if nothing was taken since.
    failed_at: Option<Instant>,
    /// Once it is open: when the next probe may go, and how many have failed.
    open: Option<(Instant, u32)>,
    /// A probe is under way.
    probing: bool,
}

impl Breaker {
    pub(super) fn new(backoff: Backoff) -> Breaker {
        Breaker {
            backoff,
            failed: Vec::new(),
            failed_at: None,
            open: None,
            probing: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a delivery may begin at `now`; the one that is let through while it is open is the probe.
    pub(super) fn permits(&mut self, now: Instant) -> bool {
        match self.open {
            None => true,
            Some((at, _)) => {
                let probe = !self.probing && now >= at;
                self.probing |= probe;
                probe
            }
        }
    }

    /// When the next probe may go.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let (at, _) = self.open?;
        (!self.probing).then_some(at)
    }

    /// When the receiver is to be tried at the latest, although all that there is waits; `None` while nothing fails.
    pub(super) fn tries_by(&self) -> Option<Instant> {
        match self.open {
            Some(_) => self.next_probe(),
            None => self.failed_at.map(|at| at + PROBE_MAX),
        }
    }

    /// The receiver has taken something, or rejected just that.
    pub(super) fn succeeded(&mut self) {
        self.failed.clear();
        self.failed_at = None;
        self.probing = false;
        self.open = None;
    }

    /// The item is a dead letter. A conversation that is refused for ever is no reason to think the receiver away, one
    /// item after the other.
    pub(super) fn became_dead_letter(&mut self, item: Item) {
        self.failed.retain(|failed| *failed != item);
    }

    /// The delivery that was let through did not come about, or ended for nobody.
    pub(super) fn gave_up(&mut self) {
        self.probing = false;
    }

    /// A delivery that began with `item` has failed; true if the receiver is now thought to be away. Where it was not
    /// even `reached`, it need not be another item each time.
    pub(super) fn failed(
        &mut self,
        item: Item,
        reached: bool,
        asked: Option<Duration>,
        now: Instant,
    ) -> bool {
        self.failed_at = Some(now);
        if let Some((at, probes)) = &mut self.open {
            // Others that were under way when it opened say nothing new.
            if std::mem::take(&mut self.probing) {
                *probes = probes.saturating_add(1);
                let pause = self.backoff.pause(item, *probes, asked);
                *at = now + pause.min(PROBE_MAX.max(asked.unwrap_or_default()));
            }
            return false;
        }
        if !reached || !self.failed.contains(&item) {
            self.failed.push(item);
        }
        self.failed.len() >= FAILURES && self.open(item, asked, now)
    }

    /// It is known that the receiver is away, since `item` has failed; true if it was not thought so.
    pub(super) fn open(&mut self, item: Item, asked: Option<Duration>, now: Instant) -> bool {
        if self.is_open() {
            return false;
        }
        let pause = self.backoff.pause(item, 1, asked);
        self.open = Some((now + pause, 1));
        true
    }

    /// The last probe shows nothing without the next one, which may go at once.
    pub(super) fn ask_on(&mut self, now: Instant) {
        if let Some((at, _)) = &mut self.open {
            *at = now;
        }
    }
}

/// Different items that fail in a row before the receiver is thought to be away.
const FAILURES: usize = 8;

/// Longest time between two probes, unless the receiver asks for more: how late its return may be noticed.
const PROBE_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::{Backoff, Breaker, FAILURES, PROBE_MAX};
    use crate::event::Item;
    use std::time::{Duration, Instant};

    fn item(sequence: u64) -> Item {
        Item {
            sequence,
            index: None,
        }
    }

    fn breaker() -> Breaker {
        Breaker::new(Backoff {
            min: Duration::from_millis(100),
            max: Duration::from_mins(1),
        })
    }

    #[test]
    fn one_item_that_fails_for_ever_opens_nothing() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..100 {
            assert!(!breaker.failed(item(1), true, None, now));
        }
        assert!(breaker.permits(now));
    }

    #[test]
    fn a_receiver_that_is_not_reached_is_away_for_one_item_too() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 1..FAILURES {
            assert!(!breaker.failed(item(1), false, None, now));
        }
        assert!(breaker.failed(item(1), false, None, now));
        assert!(!breaker.permits(now) && !breaker.open(item(1), None, now));
        breaker.ask_on(now);
        assert!(breaker.permits(now) && !breaker.permits(now));
    }

    #[test]
    fn one_conversation_of_dead_letters_opens_nothing() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for sequence in 0..100 {
            assert!(!breaker.failed(item(sequence), true, None, now));
            breaker.became_dead_letter(item(sequence));
        }
        assert!(breaker.permits(now) && !breaker.is_open());
    }

    #[test]
    fn when_everything_fails_one_probe_goes_at_a_time() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for sequence in 0..FAILURES as u64 {
            let opened = breaker.failed(item(sequence), true, None, now);
            assert_eq!(opened, sequence + 1 == FAILURES as u64);
        }
        assert!(!breaker.permits(now), "not at once");
        let later = now + Duration::from_millis(100);
        assert!(breaker.permits(later));
        assert!(!breaker.permits(later), "one at a time");
        assert!(!breaker.failed(item(77), true, None, later));
        assert!(!breaker.permits(later + Duration::from_millis(90)));
        assert!(breaker.permits(later + Duration::from_millis(200)));
        breaker.succeeded();
        assert!(breaker.permits(later) && !breaker.is_open());
    }

    /// One item that a receiver answers with 500 opens nothing, and its own pause may be hours.
    #[test]
    fn a_receiver_that_fails_is_tried_after_fifteen_seconds_at_the_latest() {
        let (mut breaker, now) = (breaker(), Instant::now());
        assert_eq!(breaker.tries_by(), None);
        breaker.failed(item(1), true, None, now);
        assert_eq!(breaker.tries_by(), Some(now + PROBE_MAX));
        breaker.open(item(1), Some(Duration::from_mins(9)), now);
        assert_eq!(
            breaker.tries_by(),
            Some(now + Duration::from_mins(9)),
            "that is what it asks for"
        );
        breaker.succeeded();
        assert_eq!(breaker.tries_by(), None);
    }
}
