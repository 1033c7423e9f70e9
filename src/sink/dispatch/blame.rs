//! Whose fault it is that something is not delivered: its own, or that of the state the receiver is in.
//!
//! A receiver that is away, cannot be logged in to or answers everything with 500 says nothing about an item, and no
//! item is to be given up because of it. So an attempt **counts** only when
//!
//! - the receiver rejects just this item (HTTP 400, 409, 413, 415, 422), or
//! - the receiver has taken another item since this one last failed. Then it fails while others pass, and the failure
//!   before counts too, if that was not counted yet.
//!
//! Where the receiver was not even reached, or takes no more at the moment (429, or 503 with `Retry-After`), nothing
//! counts. With `max_attempts` that count the item is a dead letter.
//!
//! With as many failures of which nobody knows what they say, since nothing else was taken meanwhile, the item next in
//! its conversation goes ahead as a **probe**. Taken, the item before it is to blame, and is a dead letter: what is
//! delivered of the conversation is still in order. Not taken, the receiver is away. There is one such probe at a time,
//! so a receiver that comes back at that very moment costs one dead letter and not one for each conversation.
//! An item with nothing behind it is tried on, and the receiver thought away, until something else tells.
//!
//! What counts is saved with the cursor. What does not is forgotten at a restart, and so is what was taken since.

/// What is known of an item that is not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Blame {
    /// Attempts that have failed.
    pub(super) attempts: u32,
    /// Those of them that count.
    pub(super) counted: u32,
    /// The last ones, of which nobody knows what they say.
    unexplained: u32,
    /// How much the receiver had taken when it failed last.
    taken: Option<u64>,
    /// It failed last as everything may, and not for itself.
    waits: bool,
    /// Failures while the receiver was thought to be there: what its pauses grow with.
    pauses: u32,
}

/// How an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The receiver rejects just this.
    Rejected,
    /// It may be about this, or about everything.
    Failed,
    /// It was one of several that went together: it may be about any of them.
    Together,
    /// The receiver was not reached.
    Unreached,
    /// It takes no more at the moment.
    Busy,
}

impl Fault {
    /// True if it says nothing about what was sent.
    pub(super) fn is_about_the_receiver(self) -> bool {
        matches!(self, Fault::Unreached | Fault::Busy)
    }
}

impl Blame {
    /// What was saved before a restart.
    pub(super) fn saved(attempts: u32, counted: u32) -> Blame {
        Blame {
            attempts,
            counted,
            ..Blame::default()
        }
    }

    /// An attempt has failed, and up to now the receiver has taken so much.
    pub(super) fn failed(&mut self, fault: Fault, taken: u64, is_away: bool) {
        if !is_away {
            self.pauses = self.pauses.saturating_add(1);
        }
        self.waits = fault != Fault::Rejected;
        if fault == Fault::Unreached {
            return;
        }
        self.attempts = self.attempts.saturating_add(1);
        if fault == Fault::Busy {
            return;
        }
        if fault == Fault::Together {
            self.taken = Some(taken);
            return;
        }
        let others_pass = self.taken.replace(taken).is_some_and(|then| then < taken);
        if others_pass {
            let before = self.unexplained.min(1);
            self.counted = self.counted.saturating_add(1 + before);
            self.unexplained = 0;
            self.waits = false;
        } else if fault == Fault::Rejected {
            self.counted = self.counted.saturating_add(1);
            self.unexplained = 0;
        } else {
            self.unexplained = self.unexplained.saturating_add(1);
        }
    }

    /// True if it is to be given up.
    pub(super) fn is_its_own(&self, max_attempts: u32) -> bool {
        self.counted >= max_attempts
    }

    /// True if it has failed often enough to be given up, and only something else can tell.
    pub(super) fn is_unknown(&self, max_attempts: u32) -> bool {
        self.unexplained > 0 && self.counted.saturating_add(self.unexplained) >= max_attempts
    }

    /// True if nothing says that it would fail if the receiver worked: it waits for that alone.
    pub(super) fn waits_for_the_receiver(&self) -> bool {
        self.waits
    }

    /// What its pause grows with, from 1.
    pub(super) fn pauses(&self) -> u32 {
        self.pauses.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Blame, Fault};

    fn after(failures: &[(Fault, u64)]) -> Blame {
        let mut blame = Blame::default();
        for (fault, taken) in failures {
            blame.failed(*fault, *taken, false);
        }
        blame
    }

    use Fault::{Busy, Failed, Rejected, Together, Unreached};

    #[test]
    fn what_fails_while_others_pass_counts_each_time() {
        let blame = after(&[(Failed, 7), (Failed, 8), (Failed, 20)]);
        assert_eq!((blame.attempts, blame.counted), (3, 3));
        assert!(blame.is_its_own(3) && !blame.is_its_own(4) && !blame.is_unknown(3));
    }

    #[test]
    fn what_fails_with_everything_else_never_counts() {
        let blame = after(&[(Failed, 7); 100]);
        assert_eq!((blame.attempts, blame.counted), (100, 0));
        assert!(blame.is_unknown(100) && !blame.is_unknown(101));
        // An outage, long as it was, is one failure at most.
        let mut back = blame;
        back.failed(Failed, 8, false);
        assert_eq!(back.counted, 2);
        assert!(!back.is_unknown(3));
    }

    #[test]
    fn what_is_rejected_counts_whatever_else_happens() {
        let blame = after(&[(Rejected, 0), (Rejected, 0), (Failed, 0), (Rejected, 0)]);
        assert_eq!((blame.attempts, blame.counted), (4, 3));
    }

    #[test]
    fn what_did_not_reach_the_receiver_is_no_attempt() {
        let blame = after(&[(Failed, 0), (Unreached, 5), (Unreached, 9), (Unreached, 12)]);
        assert_eq!((blame.attempts, blame.counted, blame.pauses()), (1, 0, 4));
        assert!(!blame.is_unknown(2));
    }

    #[test]
    fn one_too_many_is_an_attempt_that_never_counts() {
        let blame = after(&[(Busy, 0), (Busy, 5), (Busy, 9)]);
        assert_eq!((blame.attempts, blame.counted, blame.pauses()), (3, 0, 3));
        assert!(!blame.is_unknown(1));
        let blame = after(&[(Failed, 0), (Busy, 5), (Failed, 5)]);
        assert_eq!((blame.attempts, blame.counted), (3, 2));
    }

    #[test]
    fn what_failed_with_others_in_one_delivery_is_tried_alone_before_it_counts() {
        let blame = after(&[(Together, 3), (Failed, 90)]);
        assert_eq!((blame.attempts, blame.counted), (2, 1));
        assert!(!after(&[(Together, 3), (Together, 3)]).is_unknown(1));
    }

    #[test]
    fn what_fails_while_others_pass_does_not_wait_for_the_receiver() {
        for (waits, failures) in [
            (true, &[(Failed, 7)][..]),
            (true, &[(Failed, 7), (Failed, 8), (Failed, 8)]),
            (true, &[(Failed, 7), (Failed, 8), (Unreached, 9)]),
            (true, &[(Together, 7), (Together, 8)]),
            (true, &[(Busy, 7)]),
            (false, &[(Failed, 7), (Failed, 8)]),
            (false, &[(Rejected, 7)]),
            (false, &[(Unreached, 7), (Rejected, 7)]),
        ] {
            assert_eq!(
                after(failures).waits_for_the_receiver(),
                waits,
                "{failures:?}"
            );
        }
    }

    #[test]
    fn pauses_do_not_grow_while_the_receiver_is_away() {
        let mut blame = Blame::saved(9, 2);
        (0..9).for_each(|_| blame.failed(Failed, 0, true));
        assert_eq!((blame.attempts, blame.counted, blame.pauses()), (18, 2, 1));
    }
}
