//! One answer to a consumer: events from a position on, and where the next answer begins.

use crate::event::{self, Event, Item, Lane};
use crate::feed::Tally;

/// What a consumer asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Behind this; `None` for what it has committed. Sequence 0 stands for the oldest that there is.
    pub after: Option<Item>,
    /// Only events of this lane.
    pub lane: Option<Lane>,
    /// Events at most.
    pub limit: usize,
}

/// Events as NDJSON.
#[derive(Debug)]
pub struct Page {
    /// One event a line; at most [`PAGE_KIB_MAX`], unless a single one is larger.
    pub bytes: Vec<u8>,
    /// How many.
    pub events: usize,
    /// The `after` of what comes next. It has moved on over what the sink did not ask for, too.
    pub next: Item,
    /// True if nothing is there behind it, as yet.
    pub is_at_end: bool,
    /// True if the next event had no room.
    pub(super) is_full: bool,
    /// What became of the events that were passed.
    pub(super) tally: Tally,
    /// See [`super::Statistics::unaccounted`].
    pub(super) unaccounted: u64,
    /// The lanes of the events of each notification that it has events of, see [`super::Pull::commit`].
    pub(super) lanes: Vec<(u64, Box<[Lane]>)>,
}

impl Page {
    /// An empty one.
    pub(super) fn new(next: Item) -> Page {
        Page {
            bytes: Vec::new(),
            events: 0,
            next,
            is_at_end: false,
            is_full: false,
            tally: Tally::default(),
            unaccounted: 0,
            lanes: Vec::new(),
        }
    }

    /// Adds an event, unless it has no room.
    pub(super) fn push(&mut self, event: Event<'_>, raw_body: &[u8], limit: usize) -> bool {
        let before = self.bytes.len();
        if self.events < limit && before < BYTES_MAX {
            event::render(event, raw_body, &mut self.bytes);
            self.bytes.push(b'\n');
            if self.events == 0 || self.bytes.len() <= BYTES_MAX {
                self.events += 1;
                return true;
            }
            self.bytes.truncate(before);
        }
        self.is_full = true;
        false
    }
}

/// KiB of a page at most, unless its only event has more.
pub const PAGE_KIB_MAX: u32 = 8 << 10;

pub(super) const BYTES_MAX: usize = (PAGE_KIB_MAX as usize) << 10;
