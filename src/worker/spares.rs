//! Lists of events that wait to be used again: many ordinary ones, and few large ones for large bodies.

use crate::event::{Events, LARGE, LARGE_KEPT};
use crate::journal::batch::Batch;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::{AtomicU32, Ordering};

/// Batches, and what they were taken apart to. The lists are used again.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// At least one, once there are events.
    pub(super) batches: Vec<Batch>,
    pub(super) events: Events,
    /// How many events each record gave. Kept beside the events, so that what is done with them can be checked.
    pub(super) counts: Vec<usize>,
    /// How many bodies nobody can take apart, see [`Poison`](super::Poison).
    pub(super) poisoned: usize,
}

/// The lists of one who takes bodies apart. They come back from whoever is the last to have had their events.
#[derive(Debug)]
pub(super) struct Spares {
    ordinary: (Sender<Made>, Receiver<Made>),
    large: (Sender<Made>, Receiver<Made>),
    /// How often something that is not large was taken apart since the last that was.
    since_large: AtomicU32,
}

impl Spares {
    /// A list for what is in so many bytes of batches. A large one is for large bodies alone: as long as a batch is on
    /// its way it counts as all that its list has room for.
    pub(super) fn take(&self, bytes: usize) -> Made {
        let mut spare = None;
        if bytes > LARGE {
            self.since_large.store(0, Ordering::Relaxed);
            spare = self.large.1.try_recv().ok();
        } else if self.since_large.fetch_add(1, Ordering::Relaxed) == LARGE_KEPT {
            self.since_large.store(0, Ordering::Relaxed);
            while self.large.1.try_recv().is_ok() {}
        }
        spare
            .or_else(|| self.ordinary.1.try_recv().ok())
            .unwrap_or_default()
    }

    /// Keeps the memory of what nobody has any more.
    pub(super) fn give_back(&self, mut made: Made) {
        made.batches.clear();
        // What is too large gives its memory back here, and not when it is used again.
        made.events.clear();
        let list = if made.events.bytes() > Events::RETAINED_MAX {
            &self.large
        } else {
            &self.ordinary
        };
        // Where enough are kept already, this one is freed.
        let _ = list.0.try_send(made);
    }
}

impl Default for Spares {
    fn default() -> Spares {
        Spares {
            ordinary: bounded(ORDINARY_MAX),
            large: bounded(LARGE_MAX),
            since_large: AtomicU32::new(0),
        }
    }
}

/// Ordinary lists that are kept, of at most [`Events::RETAINED_MAX`] each.
const ORDINARY_MAX: usize = 16;

/// Large lists that are kept, of at most [`Events::LARGE_MAX`] each.
const LARGE_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::{LARGE_MAX, ORDINARY_MAX, Spares};
    use crate::event::{Events, LARGE, LARGE_KEPT};
    use crate::feed::tests::batch;
    use crate::worker::Extraction;
    use std::sync::Arc;

    /// A body with so many messages of 100 bytes.
    fn body(messages: usize) -> String {
        let message = format!(
            r#"{{"id":"wamid.1","type":"text","x":"{}"}},"#,
            "x".repeat(61)
        );
        format!(r#"{{"messages":[{}{{}}]}}"#, message.repeat(messages))
    }

    fn kept(spares: &Spares) -> [usize; 2] {
        [spares.ordinary.1.len(), spares.large.1.len()]
    }

    /// What large batches take is kept for others, is not in the way of small ones, and is given back.
    #[test]
    fn lists_are_kept_for_what_is_as_large() {
        let mut maker = Extraction::new();
        let spares = Arc::clone(&maker.spares);
        let (small, large, huge) = (body(10), body(4_000), body(10_000));
        assert!(large.len() > LARGE);
        let of = |maker: &mut Extraction, body: &String| maker.make(batch(7, &[body]));

        let all: Vec<_> = (0..20).map(|_| of(&mut maker, &large)).collect();
        let bytes = all[0].bytes() - large.len();
        assert!((Events::RETAINED_MAX..Events::LARGE_MAX).contains(&bytes));
        drop(all);
        assert_eq!(kept(&spares), [0, LARGE_MAX]);
        // Tens of thousands of updates are not kept.
        drop(of(&mut maker, &huge));
        assert_eq!(kept(&spares), [1, LARGE_MAX - 1]);
        drop(of(&mut maker, &large));

        let all: Vec<_> = (0..20).map(|_| of(&mut maker, &small)).collect();
        assert!(all.iter().all(|it| it.bytes() < LARGE / 8));
        drop(all);
        assert_eq!(kept(&spares), [ORDINARY_MAX, LARGE_MAX - 1]);
        for _ in 20..=LARGE_KEPT {
            assert_eq!(kept(&spares), [ORDINARY_MAX, LARGE_MAX - 1]);
            drop(of(&mut maker, &small));
        }
        assert_eq!(kept(&spares), [ORDINARY_MAX, 0]);
    }
}
