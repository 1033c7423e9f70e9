//! Rows on their way into the table: their texts in one buffer, and where each of them lies.

use crate::event::{self, Event, Position};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Rows in the order of the journal.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    texts: Vec<u8>,
}

#[derive(Debug)]
struct Row {
    position: Position,
    /// Where its texts begin.
    start: usize,
    /// Behind the one before: id, source, type, subject, data.
    ends: [usize; 5],
    has_subject: bool,
    /// Microseconds since 1970.
    time: u64,
    received: u64,
    lane: &'static str,
}

/// The columns of some rows, as a statement takes them.
#[derive(Debug, Default)]
pub(super) struct Columns<'r> {
    pub(super) sequence: Vec<i64>,
    pub(super) index: Vec<i32>,
    pub(super) id: Vec<&'r str>,
    pub(super) source: Vec<&'r str>,
    pub(super) kind: Vec<&'r str>,
    pub(super) subject: Vec<Option<&'r str>>,
    pub(super) time: Vec<SystemTime>,
    pub(super) received: Vec<SystemTime>,
    pub(super) lane: Vec<&'static str>,
    pub(super) data: Vec<&'r str>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// True when it is time for them to go out.
    pub(super) fn are_enough(&self) -> bool {
        self.rows.len() >= ROWS_ENOUGH || self.texts.len() >= BYTES_ENOUGH
    }

    /// Adds an event. `id` where that is not its own.
    pub(super) fn push(&mut self, event: Event<'_>, raw_body: &[u8], id: Option<&str>) {
        let start = self.texts.len();
        let mut ends = [0; 5];
        let subject = event.subject();
        let texts = [
            id.unwrap_or(event.id()),
            event.source(),
            event.kind(),
            subject.unwrap_or_default(),
        ];
        for (text, end) in texts.into_iter().zip(&mut ends) {
            self.texts.extend_from_slice(text.as_bytes());
            *end = self.texts.len();
        }
        self.push_data(event, raw_body);
        ends[4] = self.texts.len();
        self.rows.push(Row {
            position: event.position(),
            start,
            ends,
            has_subject: subject.is_some(),
            time: event.time(),
            received: event.received_at(),
            lane: event.lane().name(),
        });
    }

    /// The data as JSON; of a body that is none, the bytes in base64.
    fn push_data(&mut self, event: Event<'_>, raw_body: &[u8]) {
        let start = self.texts.len();
        event::render_json_data(event, raw_body, &mut self.texts);
        let data = &self.texts[start..];
        if simdutf8::basic::from_utf8(data).is_err() {
            // What is JSON is UTF-8; if a bug says otherwise, that is no reason to stop.
            let text = serde_json::Value::from(String::from_utf8_lossy(data)).to_string();
            self.texts.truncate(start);
            self.texts.extend_from_slice(text.as_bytes());
        }
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

    /// Those before `position` are in the table.
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
    pub(super) fn position(&self, at: usize) -> Option<Position> {
        self.rows.get(at).map(|row| row.position)
    }

    /// The days on which these were received, counted from 1970, each once.
    pub(super) fn days(&self) -> Vec<i64> {
        let day = |row: &Row| i64::try_from(capped(row.received) / DAY_MICROS).unwrap_or(0);
        let mut days: Vec<i64> = self.rows.iter().map(day).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// The first `count` as columns; `by_id` in the order of their ids, so that two writers never wait for each other.
    pub(super) fn columns(&self, count: usize, by_id: bool) -> Columns<'_> {
        let mut rows: Vec<&Row> = self.rows.iter().take(count).collect();
        if by_id {
            rows.sort_by_key(|row| self.text(row, 0));
        }
        let mut columns = Columns::default();
        for row in rows {
            let Position { sequence, index } = row.position;
            columns.sequence.push(whole(sequence));
            columns.index.push(i32::try_from(index).unwrap_or(i32::MAX));
            columns.id.push(self.text(row, 0));
            columns.source.push(self.text(row, 1));
            columns.kind.push(self.text(row, 2));
            let subject = row.has_subject.then(|| self.text(row, 3));
            columns.subject.push(subject);
            columns.time.push(time(row.time));
            columns.received.push(time(row.received));
            columns.lane.push(row.lane);
            columns.data.push(self.text(row, 4));
        }
        columns
    }

    fn text(&self, row: &Row, at: usize) -> &str {
        let start = at
            .checked_sub(1)
            .map_or(row.start, |before| row.ends[before]);
        let range: Range<usize> = start..row.ends[at];
        let text = self.texts.get(range).unwrap_or_default();
        simdutf8::basic::from_utf8(text).unwrap_or_default()
    }
}

/// A sequence as the table has it.
pub(super) fn whole(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn time(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(capped(micros))
}

/// A clock that is beyond the year 9999 tells nothing.
fn capped(micros: u64) -> u64 {
    micros.min(YEAR_9999)
}

const DAY_MICROS: u64 = 86_400_000_000;

/// The last microsecond of it.
const YEAR_9999: u64 = 253_402_300_799_999_999;

/// Rows that go out together. More gain nothing, and fewer cost a round trip and a sync each.
const ROWS_ENOUGH: usize = if cfg!(test) { 64 } else { 2000 };

/// Bytes of them. A single row may have more.
const BYTES_ENOUGH: usize = 2 << 20;

/// Bytes that are kept for them.
const RETAINED_MAX: usize = 2 * BYTES_ENOUGH;
