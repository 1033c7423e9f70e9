//! What is due when: each of it a pure function of the options and a number, so that nothing is kept.
//!
//! Platforms tell how to size a receiver: requests a second = 3 x outgoing messages + incoming ones. So every outgoing
//! message brings three statuses, `sent`, `delivered` and `read`, at even pauses and each with a lag behind the one
//! before; customers answer what they have just read, two messages at a time. The first statuses are those of
//! messages that went out before: the load is whole from the first second on.
//!
//! Notifications are numbered from 0 in the order in which they are due. Those with statuses go round the business's
//! phone numbers; each of these has a row of statuses of its own, which is cut into notifications of `batch`.

use crate::random::Random;
use std::time::Duration;

/// The traffic that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Outgoing messages.
    pub(crate) messages_per_second: u64,
    /// Incoming messages for a million outgoing ones.
    pub(crate) replies: u64,
    /// Statuses in a notification.
    pub(crate) batch: u64,
    /// Phone numbers of the business.
    pub(crate) numbers: u64,
    /// Of a million notifications, those that come twice.
    pub(crate) duplicates: u64,
    /// Of a million messages, those whose updates come in another order.
    pub(crate) disorder: u64,
    pub(crate) seed: u64,
    pub(crate) time: Duration,
}

/// Which notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// One with statuses, numbered from 0.
    Statuses(u64),
    /// One with a message, numbered from 0.
    Message(u64),
}

/// What became of an outgoing message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Sent,
    Delivered,
    Read,
}

impl Status {
    pub(crate) const ALL: [Status; 3] = [Status::Sent, Status::Delivered, Status::Read];

    /// As the platform says it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::Sent => "sent",
            Status::Delivered => "delivered",
            Status::Read => "read",
        }
    }
}

/// One status, of one outgoing message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// The outgoing message, counted through all phone numbers.
    pub(crate) message: u64,
    pub(crate) status: Status,
    /// Seconds since the start.
    pub(crate) at: u64,
}

/// One incoming message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// In the order in which they were written.
    pub(crate) number: u64,
    /// The outgoing message that it answers.
    pub(crate) to: u64,
    /// Seconds since the start.
    pub(crate) at: u64,
}

/// When a notification comes once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redelivered {
    /// Beside the first time, which defeats a receiver that looks first and stores then.
    AtOnce,
    /// A second later.
    Later,
}

impl Plan {
    /// How many notifications there are, each counted once.
    pub(crate) fn count(&self) -> u64 {
        let (per, nanos) = self.pace();
        clamp(self.time.as_nanos() * per / nanos).max(1)
    }

    /// Notifications a second, each counted once.
    pub(crate) fn rate(&self) -> u64 {
        let (per, nanos) = self.pace();
        clamp(u128::from(NANOS) * per / nanos)
    }

    /// When this one is due, from the start.
    pub(crate) fn due(&self, index: u64) -> Duration {
        let (per, nanos) = self.pace();
        Duration::from_nanos(clamp(u128::from(index) * nanos / per))
    }

    /// How many are due by then, each counted once.
    pub(crate) fn due_by(&self, time: Duration) -> u64 {
        let (per, nanos) = self.pace();
        clamp(time.as_nanos() * per / nanos + 1).min(self.count())
    }

    pub(crate) fn name(&self, index: u64) -> Name {
        let before = self.messages_before(index);
        if self.messages_before(index + 1) > before {
            Name::Message(before)
        } else {
            Name::Statuses(index - before)
        }
    }

    /// How many of each kind there are: with statuses, with a message.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let messages = self.messages_before(self.count());
        (self.count() - messages, messages)
    }

    /// Whether and when this one comes once more.
    pub(crate) fn redelivered(&self, index: u64) -> Option<Redelivered> {
        let mut random = self.random(DUPLICATES, index);
        if random.below(MILLION) >= self.duplicates {
            return None;
        }
        let fits = index + self.later() < self.count();
        let later = fits && random.below(2) == 0;
        Some(if later {
            Redelivered::Later
        } else {
            Redelivered::AtOnce
        })
    }

    /// How many come between one and its [`Redelivered::Later`].
    pub(crate) fn later(&self) -> u64 {
        self.rate().max(1)
    }

    /// The statuses in such a notification.
    pub(crate) fn updates(&self, number: u64) -> impl Iterator<Item = Update> {
        let (phone, place) = (number % self.numbers, number / self.numbers);
        let places = place * self.batch..(place + 1) * self.batch;
        places.map(move |place| self.update(phone, place))
    }

    /// The notification whose first status says this of this message.
    pub(crate) fn statuses_of(&self, message: u64, status: Status) -> Option<Name> {
        let slot = self.slot(message, status);
        let (phone, tick) = (message % self.numbers, message / self.numbers);
        let place = 3 * tick.checked_sub(self.ahead(slot))? + slot as u64;
        Some(Name::Statuses(place / self.batch * self.numbers + phone))
    }

    /// The incoming message in such a notification.
    pub(crate) fn reply(&self, number: u64) -> Reply {
        let number = self.other_place(number);
        let to = clamp(u128::from(number & !1) * u128::from(MILLION) / u128::from(self.replies));
        let at = to / self.messages_per_second;
        Reply { number, to, at }
    }

    /// The notification with this incoming message.
    pub(crate) fn message_of(&self, reply: u64) -> Name {
        Name::Message(self.other_place(reply))
    }

    /// So many notifications in so many nanoseconds.
    fn pace(&self) -> (u128, u128) {
        // A million messages bring 3 million statuses, `batch` in each, and `replies` messages.
        let per = u128::from(self.messages_per_second) * self.notifications();
        (per, u128::from(self.batch * MILLION) * u128::from(NANOS))
    }

    /// Notifications of a million outgoing messages, times `batch`.
    fn notifications(&self) -> u128 {
        u128::from(3 * MILLION + self.replies * self.batch)
    }

    /// Incoming messages among the notifications before this one: as many as there should be, evenly.
    fn messages_before(&self, index: u64) -> u64 {
        let messages = u128::from(self.replies * self.batch);
        clamp(u128::from(index) * messages / self.notifications())
    }

    /// What stands at this place in the row of this phone number.
    fn update(&self, phone: u64, place: u64) -> Update {
        let tick = place / 3;
        let slot = Status::ALL[usize::try_from(place % 3).unwrap_or_default()];
        let message = (tick + self.ahead(slot)) * self.numbers + phone;
        // Of two that change places, each takes what the other would have said.
        let status = self.slot(message, slot);
        // One that comes late says when it was; one that comes early is no earlier than it comes.
        let was = (tick + self.ahead(slot)).saturating_sub(self.ahead(status));
        let at = was.min(tick) * self.numbers / self.messages_per_second;
        Update {
            message,
            status,
            at,
        }
    }

    /// The status in whose stead this one comes: mostly itself.
    fn slot(&self, message: u64, status: Status) -> Status {
        let mut random = self.random(DISORDER, message);
        if random.below(MILLION) >= self.disorder {
            return status;
        }
        match (random.below(2) == 0, status) {
            (true, Status::Sent) | (false, Status::Read) => Status::Delivered,
            (true, Status::Delivered) => Status::Sent,
            (false, Status::Delivered) => Status::Read,
            (true, Status::Read) | (false, Status::Sent) => status,
        }
    }

    /// Two incoming messages of one customer follow each other; some change places.
    fn other_place(&self, number: u64) -> u64 {
        let mut random = self.random(DISORDER_OF_REPLIES, number / 2);
        number ^ u64::from(random.below(MILLION) < self.disorder)
    }

    /// How many messages of its phone number went out between the one that this status tells of and the one that is
    /// read by then.
    fn ahead(&self, status: Status) -> u64 {
        let in_time = |lag: Duration| {
            let lag = clamp(lag.as_millis());
            (self.messages_per_second * lag).div_ceil(self.numbers * 1000)
        };
        match status {
            Status::Sent => 1 + in_time(UNTIL_DELIVERED) + in_time(UNTIL_READ),
            Status::Delivered => in_time(UNTIL_READ),
            Status::Read => 0,
        }
    }

    /// What chance says about this number.
    pub(crate) fn random(&self, what: u64, number: u64) -> Random {
        Random(Random(self.seed ^ what).next() ^ number)
    }
}

fn clamp(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// From sent to delivered, and from there to read: short, that a short run has whole messages.
const UNTIL_DELIVERED: Duration = Duration::from_millis(500);
const UNTIL_READ: Duration = Duration::from_millis(1500);

/// The whole of a share.
pub(crate) const MILLION: u64 = 1_000_000;

const NANOS: u64 = 1_000_000_000;

/// What is drawn, so that one drawing does not repeat the other.
const DUPLICATES: u64 = 1 << 60;
const DISORDER: u64 = 2 << 60;
const DISORDER_OF_REPLIES: u64 = 3 << 60;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl Plan {
        /// 3000 statuses in 10 seconds, one by one, and nothing else.
        pub(crate) fn plain() -> Plan {
            Plan {
                messages_per_second: 100,
                replies: 0,
                batch: 1,
                numbers: 1,
                duplicates: 0,
                disorder: 0,
                seed: 1,
                time: Duration::from_secs(10),
            }
        }
    }

    fn plan() -> Plan {
        Plan {
            messages_per_second: 1000,
            replies: 300_000,
            numbers: 7,
            ..Plan::plain()
        }
    }

    #[test]
    fn a_second_has_three_statuses_for_each_message_and_the_replies() {
        let mut plan = plan();
        assert_eq!((plan.rate(), plan.count()), (3300, 33_000));
        assert_eq!(plan.counts(), (30_000, 3000));
        assert_eq!(plan.due(3300), Duration::from_secs(1));
        assert_eq!(plan.due_by(Duration::from_millis(1)), 4);
        assert_eq!(plan.due_by(Duration::from_mins(1)), 33_000);
        plan.batch = 10;
        assert_eq!((plan.rate(), plan.counts()), (600, (3000, 3000)));
        plan.replies = 0;
        assert_eq!(plan.counts(), (3000, 0));
    }

    #[test]
    fn every_notification_has_its_turn() {
        let plan = plan();
        let (mut statuses, mut messages) = (0, 0);
        for index in 0..plan.count() {
            match plan.name(index) {
                Name::Statuses(number) => {
                    assert_eq!(number, statuses);
                    statuses += 1;
                }
                Name::Message(number) => {
                    assert_eq!(number, messages);
                    messages += 1;
                }
            }
        }
        assert_eq!((statuses, messages), plan.counts());
    }

    #[test]
    fn a_message_is_sent_then_delivered_then_read() {
        for (batch, disorder) in [(1, 0), (10, 0), (1, 200_000)] {
            let plan = Plan {
                batch,
                disorder,
                ..plan()
            };
            let mut statuses: BTreeMap<u64, Vec<Status>> = BTreeMap::new();
            for number in 0..plan.counts().0 {
                for (index, update) in (0..).zip(plan.updates(number)) {
                    assert!(update.at <= plan.time.as_secs());
                    if index == 0 {
                        let name = plan.statuses_of(update.message, update.status);
                        assert_eq!(name, Some(Name::Statuses(number)));
                    }
                    statuses
                        .entry(update.message)
                        .or_default()
                        .push(update.status);
                }
            }
            let whole = statuses.values().filter(|row| row.len() == 3);
            let (mut ordered, mut others) = (0, 0);
            for row in whole {
                for status in Status::ALL {
                    assert!(row.contains(&status), "{row:?}");
                }
                match row[..] {
                    [Status::Sent, Status::Delivered, Status::Read] => ordered += 1,
                    _ => others += 1,
                }
            }
            assert!(ordered > 6000, "{ordered}");
            assert_eq!(others > 1000, disorder > 0, "{others}");
        }
    }

    #[test]
    fn replies_come_by_two_and_some_in_another_order() {
        let plan = Plan {
            disorder: 100_000,
            ..plan()
        };
        let mut turned = 0;
        for number in 0..plan.counts().1 {
            let reply = plan.reply(number);
            assert_eq!(plan.message_of(reply.number), Name::Message(number));
            assert_eq!(reply.to, plan.reply(number ^ 1).to);
            turned += u64::from(reply.number != number);
        }
        assert!((200..400).contains(&turned), "{turned}");
    }

    #[test]
    fn duplicates_are_as_many_as_asked_for() {
        let plan = Plan {
            duplicates: 100_000,
            ..plan()
        };
        let again: Vec<_> = (0..plan.count())
            .filter_map(|index| plan.redelivered(index))
            .collect();
        assert!((3000..3600).contains(&again.len()), "{}", again.len());
        let at_once = again.iter().filter(|again| **again == Redelivered::AtOnce);
        let at_once = at_once.count();
        assert!((1500..2200).contains(&at_once), "{at_once}");
    }
}
