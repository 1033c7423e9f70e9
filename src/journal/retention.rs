//! Which segments go: the oldest, once every consumer has passed them and their time or the space is up.
//!
//! By age a segment goes only where all agree that it is old: the wall clock, which must have been steady for a while
//! (`clock.rs`); and for what was written by this process the clock that nobody sets. By the wall clock a segment ends
//! with the first time of what was begun behind it. The clock may have been wrong then: a time to come says nothing,
//! since the clock was ahead, and a time before that of an earlier commit says nothing, since it was behind.
//!
//! What this cannot know: the records of earlier processes that were written while the clock was behind are as old as
//! they say, once they are the first that are left.

use super::clock::Reading;
use crate::disk::block::in_memory;
use std::time::Duration;

/// A segment that holds records, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) epoch: u64,
    pub(crate) size: u64,
    pub(crate) first_sequence: u64,
    /// Time of its first commit, microseconds since 1970. With a clock that nobody sets, its last one was no later than
    /// the first of the next segment.
    pub(crate) since: u64,
    /// The time when, while it was the active one, this process started or the clock was set, which was last. Whatever
    /// stands in segments before it was committed before.
    pub(crate) later: Option<u64>,
    /// When this process began it, by the clock that nobody sets; `None` if another one did.
    pub(crate) begun: Option<Duration>,
}

/// When segments go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) retention: Duration,
    pub(crate) max_size: Option<u64>,
}

/// How many of the oldest segments go. `kept` ends with the active one, which never goes. `floor` is
/// the lowest sequence that a consumer needs, `now` what the clocks say if something may go by its age, and
/// `other_bytes` is what the journal takes on the disk beside these segments.
pub(crate) fn retired(
    kept: &[Retained],
    policy: &Policy,
    floor: u64,
    now: Option<Reading>,
    other_bytes: u64,
) -> usize {
    let mut bytes = other_bytes + kept.iter().map(|it| it.size).sum::<u64>();
    let mut count = 0;
    for (index, (segment, next)) in kept.iter().zip(kept.iter().skip(1)).enumerate() {
        let passed = next.first_sequence <= floor;
        // What is not kept for any time needs no clock.
        let expired = policy.retention.is_zero()
            || now.is_some_and(|now| is_old(kept, index, policy.retention, now));
        let over = policy.max_size.is_some_and(|max_size| bytes > max_size);
        if !passed || !(expired || over) {
            break;
        }
        bytes -= segment.size;
        count += 1;
    }
    in_memory(count)
}

/// What the journal holds beyond `max_size` because a consumer has not had its oldest segment: how many bytes, and the
/// first sequence behind that segment. `kept` is what is left of it.
pub(crate) fn held(
    kept: &[Retained],
    policy: &Policy,
    floor: u64,
    other_bytes: u64,
) -> Option<(u64, u64)> {
    let behind = kept.get(1)?.first_sequence;
    let bytes = other_bytes + kept.iter().map(|it| it.size).sum::<u64>();
    let over = bytes.saturating_sub(policy.max_size?);
    (over > 0 && behind > floor).then_some((over, behind))
}

/// Whether the last commit of this segment, which is not the active one, was so long ago by both clocks.
fn is_old(kept: &[Retained], index: usize, retention: Duration, now: Reading) -> bool {
    let (before, behind) = kept.split_at(index + 1);
    let times = |of: &Retained| [Some(of.since), of.later].into_iter().flatten();
    let is_past = |time: &u64| *time <= now.wall;
    let latest = before.iter().flat_map(times).filter(is_past).max();
    let mut later = behind.iter().flat_map(times).filter(is_past);
    let ended = later.find(|time| latest.is_none_or(|latest| *time >= latest));
    let micros = u64::try_from(retention.as_micros()).unwrap_or(u64::MAX);
    let by_wall = ended.is_some_and(|ended| ended.saturating_add(micros) <= now.wall);
    let passed = |begun| now.monotonic.saturating_sub(begun) >= retention;
    let begun = behind.first().and_then(|next| next.begun);
    by_wall && begun.is_none_or(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<Retained> {
        begun_at(&[1000, 2000, 3000, 4000])
    }

    /// Segments whose first commits have these times.
    fn begun_at(times: &[u64]) -> Vec<Retained> {
        let segment = |(epoch, &since)| Retained {
            epoch,
            size: 100,
            first_sequence: epoch * 10,
            since,
            later: None,
            begun: None,
        };
        (1..).zip(times).map(segment).collect()
    }

    /// What retention reads from the clocks at this time.
    fn at(wall: u64, monotonic: u64) -> Reading {
        Reading {
            wall,
            monotonic: Duration::from_micros(monotonic),
        }
    }

    fn policy(retention: u64, max_size: Option<u64>) -> Policy {
        Policy {
            retention: Duration::from_micros(retention),
            max_size,
        }
    }

    /// How many go by age alone.
    fn old(kept: &[Retained], retention: u64, wall: u64) -> usize {
        retired(
            kept,
            &policy(retention, None),
            u64::MAX,
            Some(at(wall, 0)),
            0,
        )
    }

    #[test]
    fn expired_by_the_last_commit_and_passed_by_every_consumer() {
        // The second segment ends at 3000.
        let policy = policy(500, None);
        assert_eq!(retired(&kept(), &policy, u64::MAX, Some(at(3499, 0)), 0), 1);
        assert_eq!(retired(&kept(), &policy, u64::MAX, Some(at(3500, 0)), 0), 2);
        assert_eq!(retired(&kept(), &policy, 29, Some(at(3500, 0)), 0), 1);
        assert_eq!(retired(&kept(), &policy, 30, Some(at(3500, 0)), 0), 2);
        assert_eq!(retired(&kept(), &policy, 0, Some(at(9999, 0)), 0), 0);
    }

    #[test]
    fn nothing_goes_by_age_while_the_clock_is_not_believed() {
        let (by_age, by_size) = (policy(1, None), policy(1, Some(350)));
        assert_eq!(retired(&kept(), &by_age, u64::MAX, None, 0), 0);
        assert_eq!(retired(&kept(), &by_size, u64::MAX, None, 0), 1);
    }

    #[test]
    fn the_active_segment_never_goes() {
        assert_eq!(
            retired(
                &kept(),
                &policy(0, Some(0)),
                u64::MAX,
                Some(at(u64::MAX, 0)),
                0
            ),
            3
        );
    }

    #[test]
    fn over_size_goes_before_its_time_but_not_before_its_consumers() {
        let policy = policy(u64::MAX, Some(350));
        assert_eq!(retired(&kept(), &policy, u64::MAX, Some(at(0, 0)), 0), 1);
        assert_eq!(retired(&kept(), &policy, u64::MAX, Some(at(0, 0)), 100), 2);
        assert_eq!(retired(&kept(), &policy, 20, Some(at(0, 0)), 300), 1);
    }

    #[test]
    fn what_a_consumer_keeps_beyond_the_size_is_known() {
        let by_size = policy(u64::MAX, Some(350));
        // The second segment begins with 20, so who needs 19 holds the first.
        assert_eq!(held(&kept(), &by_size, 19, 0), Some((50, 20)));
        assert_eq!(held(&kept(), &by_size, 19, 100), Some((150, 20)));
        assert_eq!(held(&kept(), &by_size, 20, 0), None, "it is about to go");
        assert_eq!(held(&kept()[1..], &by_size, 19, 0), None, "it is small");
        assert_eq!(held(&kept()[3..], &by_size, 19, 999), None, "it is in use");
        assert_eq!(held(&kept(), &policy(1, None), 19, 0), None);
    }

    /// The clock was years ahead for three segments: they are as old as the next one that was begun at a right time.
    #[test]
    fn what_was_written_when_the_clock_was_ahead_ages_from_the_next_right_time() {
        let kept = begun_at(&[1000, 90_000, 91_000, 92_000, 2000, 3000]);
        assert_eq!(old(&kept, 500, 2499), 0);
        assert_eq!(old(&kept, 500, 2500), 4);
        assert_eq!(old(&kept, 500, 3500), 5);
        // While no later time is known, nobody knows how old they are.
        assert_eq!(old(&kept[..4], 500, 80_000), 0);
        let mut kept = kept[..4].to_vec();
        kept[3].later = Some(2000);
        assert_eq!(old(&kept, 500, 2499), 0);
        assert_eq!(old(&kept, 500, 2500), 3);
    }

    /// The clock was far behind for two segments: what was written before them is not as old as they seem.
    #[test]
    fn what_was_written_before_the_clock_was_behind_is_no_older_for_that() {
        let kept = begun_at(&[9000, 9100, 10, 20, 9200, 9300]);
        assert_eq!(old(&kept, 500, 9599), 0);
        assert_eq!(old(&kept, 500, 9600), 1);
        // These ended between 9100 and 9200.
        assert_eq!(old(&kept, 500, 9699), 1);
        assert_eq!(old(&kept, 500, 9700), 4);
        // While it is behind all else has a time to come, and how old that is counts from the first look.
        assert_eq!(old(&kept[..4], 500, 509), 0);
        assert_eq!(old(&kept[..4], 500, 510), 2);
    }

    /// The wall clock may say what it likes of what this process has written an hour ago.
    #[test]
    fn what_this_process_wrote_is_as_old_as_its_own_clock_says() {
        let mut kept = kept();
        kept[2].begun = Some(Duration::from_micros(100));
        let now = |monotonic| Some(at(u64::MAX, monotonic));
        let policy = policy(500, None);
        assert_eq!(retired(&kept, &policy, u64::MAX, now(599), 0), 1);
        assert_eq!(retired(&kept, &policy, u64::MAX, now(600), 0), 3);
    }
}
