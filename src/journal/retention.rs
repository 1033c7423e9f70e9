//! Which segments go: the oldest, once every consumer has passed them and their time or the space is up.

use super::frame::in_memory;
use std::time::Duration;

/// A segment that holds records, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) epoch: u64,
    pub(crate) size: u64,
    pub(crate) first_sequence: u64,
    /// Time of its first commit, microseconds since 1970. Its last one was no later than the first
    /// of the next segment.
    pub(crate) since: u64,
}

/// When segments go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) retention: Duration,
    pub(crate) max_size: Option<u64>,
}

/// How many of the oldest segments go. `kept` ends with the active one, which never goes. `floor` is
/// the lowest sequence that a consumer needs, `now` is in microseconds since 1970, and `other_octets`
/// is what the journal takes on the disk beside these segments.
pub(crate) fn retired(
    kept: &[Kept],
    policy: &Policy,
    floor: u64,
    now: u64,
    other_octets: u64,
) -> usize {
    let retention = u64::try_from(policy.retention.as_micros()).unwrap_or(u64::MAX);
    let mut octets = other_octets + kept.iter().map(|it| it.size).sum::<u64>();
    let mut count = 0;
    for (segment, next) in kept.iter().zip(kept.iter().skip(1)) {
        let passed = next.first_sequence <= floor;
        let expired = next.since.saturating_add(retention) <= now;
        let over = policy.max_size.is_some_and(|max_size| octets > max_size);
        if !passed || !(expired || over) {
            break;
        }
        octets -= segment.size;
        count += 1;
    }
    in_memory(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Vec<Kept> {
        (1..=4)
            .map(|epoch| Kept {
                epoch,
                size: 100,
                first_sequence: epoch * 10,
                since: epoch * 1000,
            })
            .collect()
    }

    fn policy(retention: u64, max_size: Option<u64>) -> Policy {
        Policy {
            retention: Duration::from_micros(retention),
            max_size,
        }
    }

    #[test]
    fn expired_by_the_last_commit_and_passed_by_every_consumer() {
        // The second segment ends at 3000.
        let policy = policy(500, None);
        assert_eq!(retired(&kept(), &policy, u64::MAX, 3499, 0), 1);
        assert_eq!(retired(&kept(), &policy, u64::MAX, 3500, 0), 2);
        assert_eq!(retired(&kept(), &policy, 29, 3500, 0), 1);
        assert_eq!(retired(&kept(), &policy, 30, 3500, 0), 2);
        assert_eq!(retired(&kept(), &policy, 0, 9999, 0), 0);
    }

    #[test]
    fn the_active_segment_never_goes() {
        assert_eq!(
            retired(&kept(), &policy(0, Some(0)), u64::MAX, u64::MAX, 0),
            3
        );
    }

    #[test]
    fn over_size_goes_before_its_time_but_not_before_its_consumers() {
        let policy = policy(u64::MAX, Some(350));
        assert_eq!(retired(&kept(), &policy, u64::MAX, 0, 0), 1);
        assert_eq!(retired(&kept(), &policy, u64::MAX, 0, 100), 2);
        assert_eq!(retired(&kept(), &policy, 20, 0, 300), 1);
    }
}
