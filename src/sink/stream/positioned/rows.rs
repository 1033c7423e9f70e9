//! Rows on their way into the target: their texts in one buffer, and where each of them begins.

use crate::event::Position;

/// Rows in the order of the journal. `R` is what a target keeps of each beside its texts.
#[derive(Debug)]
pub(in crate::sink) struct Rows<R> {
    rows: Vec<Row<R>>,
    texts: Vec<u8>,
}

#[derive(Debug)]
struct Row<R> {
    position: Position,
    /// Where its texts begin.
    start: usize,
    rest: R,
}

impl<R> Default for Rows<R> {
    fn default() -> Rows<R> {
        Rows {
            rows: Vec::new(),
            texts: Vec::new(),
        }
    }
}

impl<R> Rows<R> {
    pub(in crate::sink) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(in crate::sink) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// True when it is time for them to go out.
    pub(in crate::sink) fn are_enough(&self) -> bool {
        self.rows.len() >= ROWS_ENOUGH || self.texts.len() >= BYTES_ENOUGH
    }

    /// Adds one, whose texts `write` appends.
    pub(in crate::sink) fn push(
        &mut self,
        position: Position,
        write: impl FnOnce(&mut Vec<u8>) -> R,
    ) {
        let start = self.texts.len();
        let rest = write(&mut self.texts);
        self.rows.push(Row {
            position,
            start,
            rest,
        });
    }

    /// The first `count`, each with its position and where its texts begin.
    pub(in crate::sink) fn first(
        &self,
        count: usize,
    ) -> impl Iterator<Item = (Position, usize, &R)> {
        let rows = self.rows.iter().take(count);
        rows.map(|row| (row.position, row.start, &row.rest))
    }

    /// The texts of all.
    pub(in crate::sink) fn texts(&self) -> &[u8] {
        &self.texts
    }

    /// The rows from sequence `from` on are not to go out, or come again.
    pub(super) fn truncate(&mut self, from: u64) {
        let len = self
            .rows
            .partition_point(|row| row.position.sequence < from);
        let end = self.rows.get(len).map_or(self.texts.len(), |row| row.start);
        self.rows.truncate(len);
        self.texts.truncate(end);
    }

    /// Those before `position` are in the target.
    pub(super) fn drop_before(&mut self, position: Position) {
        let count = self.rows.partition_point(|row| row.position < position);
        self.rows.drain(..count);
        if self.rows.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.texts.clear();
        self.texts.shrink_to(RETAINED_MAX);
    }

    /// The position of the row at a place, from 0.
    pub(in crate::sink) fn position(&self, at: usize) -> Option<Position> {
        self.rows.get(at).map(|row| row.position)
    }
}

/// Rows that go out together. More gain nothing, and fewer cost a round trip and a sync each.
const ROWS_ENOUGH: usize = if cfg!(test) { 64 } else { 2000 };

/// Bytes of them. A single row may have more.
const BYTES_ENOUGH: usize = 2 << 20;

/// Bytes that are kept for them.
const RETAINED_MAX: usize = 2 * BYTES_ENOUGH;
