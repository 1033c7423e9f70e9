//! The extractor that outlives what it is given, and goes by what is decided.

use super::Poison;
use super::decisions::Decision;
use super::marks::Marks;
use crate::event::{Events, Extractor, Origin, Sender, Unparsed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// An extractor that outlives what it is given.
#[derive(Default)]
pub(crate) struct GuardedExtractor {
    extractor: Extractor,
    poison: Arc<Poison>,
    /// Where it leaves word.
    place: Option<u64>,
}

impl GuardedExtractor {
    pub(crate) fn new(poison: &Arc<Poison>) -> GuardedExtractor {
        GuardedExtractor {
            extractor: Extractor::new(),
            poison: Arc::clone(poison),
            place: poison.marks.as_ref().map(Marks::take),
        }
    }

    /// The bodies from sequence `first` to `last` follow. Waits while they are suspect.
    pub(crate) fn begin(&mut self, first: u64, last: u64) {
        self.poison.wait_for(first, last);
        self.leave_word(first, last);
    }

    /// Appends the events of one body, at least one; if nobody can take it apart, what stands for it in the books, and
    /// gives false.
    pub(crate) fn extract(
        &mut self,
        sender: Option<Sender<'_>>,
        body: &[u8],
        origin: Origin,
        events: &mut Events,
    ) -> bool {
        let sequence = origin.sequence;
        match self.poison.decision(sequence, body) {
            Some(Decision::Unparsed) => {
                events.pass_whole(body, origin, Unparsed::Crashed);
                return true;
            }
            Some(Decision::Poisoned(_)) => {
                events.pass_whole(body, origin, Unparsed::Poisoned);
                return false;
            }
            None => {}
        }
        let before = events.mark();
        for _ in 0..ATTEMPTS {
            let attempt = || {
                #[cfg(any(test, debug_assertions))]
                super::faults::on(body);
                self.extractor.extract_from(sender, body, origin, events);
            };
            // Both are put right before anybody sees them.
            if catch_unwind(AssertUnwindSafe(attempt)).is_ok() {
                return true;
            }
            self.extractor = Extractor::new();
            events.truncate(before);
        }
        events.pass_whole(body, origin, Unparsed::Poisoned);
        false
    }

    /// All of them are taken apart.
    pub(crate) fn end(&mut self) {
        self.leave_word(0, 0);
    }

    pub(crate) fn leave_word(&self, first: u64, last: u64) {
        if let (Some(place), Some(marks)) = (self.place, &self.poison.marks) {
            marks.write(place, first, last);
        }
    }
}

impl Drop for GuardedExtractor {
    fn drop(&mut self) {
        if let (Some(place), Some(marks)) = (self.place, &self.poison.marks) {
            marks.give_back(place);
        }
    }
}

/// How often a body may end whoever takes it apart.
pub(crate) const ATTEMPTS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::super::marks::Marks;
    use super::super::{Decisions, Poison};
    use super::GuardedExtractor;
    use crate::disk::simulated::SimulatedDisk;
    use std::sync::Arc;

    /// Places go round, or the file would grow with every reader that comes and goes.
    #[test]
    fn places_of_those_that_are_gone_are_used_again() {
        let storage = SimulatedDisk::new(1).storage();
        let (marks, _) = Marks::open(&*storage).unwrap();
        let poison = Arc::new(Poison::new(Decisions::default(), Some(marks)));
        for _ in 0..1000 {
            let mut one = GuardedExtractor::new(&poison);
            one.begin(1, 1);
            one.end();
        }
        assert_eq!(GuardedExtractor::new(&poison).place, Some(0));
        assert!(storage.list().unwrap().contains(&"marks".to_owned()));
    }
}
