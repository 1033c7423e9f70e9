//! The connections of a loop by slot, and the loop's lists of those that get another turn.
//!
//! A token is a generation above a slot: what is late, be it an event, an answer or a place on a list, never reaches
//! another connection on the same slot.

use super::connection::Connection;
use slab::Slab;
use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

/// See the module.
#[derive(Default)]
pub(super) struct Connections {
    table: Slab<Listed>,
    generation: u32,
    /// Tokens of those that have more to read or to serve: first come, first served, some in each round.
    queued: VecDeque<usize>,
    /// Tokens of those that wait for room in the outbox, and since which tick: first come, first served.
    starved: VecDeque<(usize, u64)>,
    /// Slots whose answers were released in this round.
    released: Vec<usize>,
}

/// A connection, and on which of the lists it stands.
struct Listed {
    connection: Connection,
    queued: bool,
    starved: Option<u64>,
    released: bool,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn slots(&self) -> Vec<usize> {
        self.table.iter().map(|(slot, _)| slot).collect()
    }

    /// The token of the next connection that is added.
    pub(super) fn next_token(&mut self) -> usize {
        // Generations wrap after four thousand million connections on one slot: an event is not that old.
        self.generation = self.generation.wrapping_add(1) & GENERATION_MASK;
        (self.generation as usize) << SLOT_BITS | self.table.vacant_key()
    }

    /// Adds one with the token that was given last, and gives its slot.
    pub(super) fn add(&mut self, connection: Connection) -> usize {
        self.table.insert(Listed {
            connection,
            queued: false,
            starved: None,
            released: false,
        })
    }

    pub(super) fn remove(&mut self, slot: usize) -> Connection {
        self.table.remove(slot).connection
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.table
            .get_mut(slot)
            .map(|listed| &mut listed.connection)
    }

    /// The connection that has this token, if it is still there, and its slot.
    pub(super) fn find(&mut self, token: usize) -> Option<(usize, &mut Connection)> {
        let (slot, listed) = listed(&mut self.table, token)?;
        Some((slot, &mut listed.connection))
    }

    /// Lists one that has more to read or to serve. Once: with a place for each of its turns, one that never ends would
    /// get more of them in every round.
    pub(super) fn queue(&mut self, slot: usize) {
        let listed = &mut self.table[slot];
        if !listed.queued {
            listed.queued = true;
            self.queued.push_back(listed.connection.token);
        }
    }

    /// True when it queues with others of its kind for its turns: it does already, or what it sends costs so much.
    pub(super) fn is_queueing(&self, slot: usize) -> bool {
        let listed = &self.table[slot];
        listed.queued || listed.connection.is_heavy()
    }

    /// How many places there are on that list, of connections that are gone too.
    pub(super) fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Takes the next from that list.
    pub(super) fn take_queued(&mut self) -> Option<usize> {
        while let Some(token) = self.queued.pop_front() {
            if let Some((slot, listed)) = listed(&mut self.table, token) {
                listed.queued = false;
                return Some(slot);
            }
        }
        None
    }

    /// Lists one that waits for room in the outbox from the tick `now` on, unless it waits already.
    pub(super) fn list_starved(&mut self, slot: usize, now: u64) {
        let listed = &mut self.table[slot];
        if listed.starved.is_none() {
            listed.starved = Some(now);
            self.starved.push_back((listed.connection.token, now));
        }
    }

    /// True while it waits for room in the outbox.
    pub(super) fn is_starved(&self, slot: usize) -> bool {
        self.table[slot].starved.is_some()
    }

    /// Since which tick the first on that list waits.
    pub(super) fn starved_since(&self) -> Option<u64> {
        self.starved.front().map(|&(_, since)| since)
    }

    /// Takes the first from that list; `None` if it is gone. The time in which nothing was read for want of room was
    /// not the sender's.
    pub(super) fn take_starved(&mut self, now: u64) -> Option<usize> {
        let (token, since) = self.starved.pop_front()?;
        let (slot, listed) = listed(&mut self.table, token)?;
        listed.starved = None;
        listed.connection.deadline += now - since;
        Some(slot)
    }

    /// The connection that an answer is for, if it is still there. It is listed to write its answers once all of this
    /// round were released.
    pub(super) fn list_released(&mut self, token: usize) -> Option<&mut Connection> {
        let (slot, listed) = listed(&mut self.table, token)?;
        if !listed.released {
            listed.released = true;
            self.released.push(slot);
        }
        Some(&mut listed.connection)
    }

    /// Takes one from that list.
    pub(super) fn take_released(&mut self) -> Option<usize> {
        while let Some(slot) = self.released.pop() {
            if let Some(listed) = self.table.get_mut(slot) {
                listed.released = false;
                return Some(slot);
            }
        }
        None
    }
}

impl Index<usize> for Connections {
    type Output = Connection;

    fn index(&self, slot: usize) -> &Connection {
        &self.table[slot].connection
    }
}

impl IndexMut<usize> for Connections {
    fn index_mut(&mut self, slot: usize) -> &mut Connection {
        &mut self.table[slot].connection
    }
}

fn listed(table: &mut Slab<Listed>, token: usize) -> Option<(usize, &mut Listed)> {
    let slot = token & ((1 << SLOT_BITS) - 1);
    let listed = table.get_mut(slot)?;
    (listed.connection.token == token).then_some((slot, listed))
}

/// Both stay clear of the tokens of waker and listener.
const SLOT_BITS: u32 = 32;
const GENERATION_MASK: u32 = u32::MAX >> 1;
