//! Order within conversations: who may go, and who has to wait for whom.
//!
//! Each undone delivery stands in the queue of each of its conversations, in the order in which it came, and may go
//! when it is the first in all of them. One that is to be tried again keeps its place, so its conversation waits and
//! no other does.

use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};

/// Queues of tickets by conversation.
#[derive(Debug, Default)]
pub(super) struct Order {
    queues: HashMap<u64, VecDeque<u64>, RandomState>,
}

impl Order {
    /// Puts a ticket, which is higher than all before, behind the others of its conversations, which are all
    /// different. True if it may go.
    pub(super) fn enter(&mut self, ticket: u64, conversations: &[u64]) -> bool {
        let mut first = true;
        for conversation in conversations {
            let queue = self.queues.entry(*conversation).or_default();
            first &= queue.is_empty();
            queue.push_back(ticket);
        }
        first
    }

    /// The first of a conversation.
    pub(super) fn first(&self, conversation: u64) -> Option<u64> {
        self.queues.get(&conversation)?.front().copied()
    }

    /// All of a conversation, in their order.
    pub(super) fn members(&self, conversation: u64) -> impl Iterator<Item = u64> {
        let queue = self.queues.get(&conversation);
        queue.into_iter().flatten().copied()
    }

    /// True if the ticket is the first in all of its conversations.
    pub(super) fn is_first(&self, ticket: u64, conversations: &[u64]) -> bool {
        let mut conversations = conversations.iter();
        conversations.all(|conversation| self.first(*conversation) == Some(ticket))
    }

    /// A ticket that waits for `first` and for no other: the next one of its conversations, if that is so.
    pub(super) fn behind<'o>(
        &self,
        first: u64,
        conversations: &[u64],
        conversations_of: impl Fn(u64) -> Option<&'o [u64]>,
    ) -> Option<u64> {
        let waits_for_it_alone = |ticket: &u64| {
            let is_next = |conversation: &u64| {
                let mut before = self.members(*conversation).take_while(|it| it != ticket);
                before.all(|it| it == first)
            };
            conversations_of(*ticket).is_some_and(|all| all.iter().all(is_next))
        };
        let mut next = conversations
            .iter()
            .filter_map(|it| self.members(*it).nth(1));
        next.find(waits_for_it_alone)
    }

    /// Takes a ticket out, and gives to `next` each that has become the first of a conversation by that: it may go if
    /// it is so in all of its own.
    pub(super) fn leave(&mut self, ticket: u64, conversations: &[u64], mut next: impl FnMut(u64)) {
        for conversation in conversations {
            let Some(queue) = self.queues.get_mut(conversation) else {
                continue;
            };
            if queue.front() != Some(&ticket) {
                // It was sent ahead of the first.
                queue.retain(|it| *it != ticket);
                continue;
            }
            queue.pop_front();
            match queue.front() {
                Some(first) => next(*first),
                None => {
                    self.queues.remove(conversation);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn conversations_wait_for_themselves_alone() {
        let mut order = Order::default();
        assert!(order.enter(1, &[10]));
        assert!(!order.enter(2, &[10, 11]));
        assert!(order.enter(3, &[12]));
        assert!(!order.enter(4, &[11]));
        assert!(order.enter(5, &[]));
        let mut freed = Vec::new();
        order.leave(3, &[12], |ticket| freed.push(ticket));
        assert!(freed.is_empty() && order.first(12).is_none());
        order.leave(1, &[10], |ticket| freed.push(ticket));
        assert_eq!(freed, [2]);
        assert!(order.is_first(2, &[10, 11]) && !order.is_first(4, &[11]));
        order.leave(2, &[10, 11], |ticket| freed.push(ticket));
        assert_eq!(freed, [2, 4]);
    }

    #[test]
    fn the_next_one_may_be_sent_ahead_if_it_waits_for_nobody_else() {
        let mut order = Order::default();
        let conversations: [&[u64]; 5] = [&[], &[10, 11, 12], &[13], &[10, 13], &[11, 12]];
        for (ticket, conversations) in (0..).zip(conversations) {
            order.enter(ticket, conversations);
        }
        let of = |ticket: u64| conversations.get(usize::try_from(ticket).ok()?).copied();
        assert_eq!(order.behind(1, conversations[1], of), Some(4));
        assert_eq!(
            order.behind(2, conversations[2], of),
            None,
            "it waits for 1 too"
        );
        let mut freed = Vec::new();
        order.leave(4, conversations[4], |ticket| freed.push(ticket));
        assert!(freed.is_empty() && order.is_first(1, conversations[1]));
        assert_eq!(order.behind(1, conversations[1], of), None);
        order.leave(1, conversations[1], |ticket| freed.push(ticket));
        assert_eq!(freed, [3]);
        assert_eq!(order.behind(2, conversations[2], of), Some(3));
    }
}
