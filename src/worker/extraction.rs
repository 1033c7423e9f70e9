//! Takes every body of batches apart, with memory that comes back from the batches before.

use super::event_batch::EventBatch;
use super::forms::{Forms, Reading};
use super::poison::{GuardedExtractor, Poison};
use super::spares::{Made, Spares};
use crate::event::{Headers, Origin, Sender as From};
use crate::journal::batch::{Batch, Seal};
use crate::journal::record::{FLAG_FOREIGN, Record};
use std::sync::Arc;

/// Makes deliveries, with memory that comes back from the ones before.
pub struct Extraction {
    extractor: GuardedExtractor,
    reading: Reading,
    pub(super) spares: Arc<Spares>,
}

impl Extraction {
    /// A maker without any memory yet.
    pub fn new() -> Extraction {
        Extraction::guarded(GuardedExtractor::default())
    }

    /// A maker that spares the bodies that nobody can take apart, and in a server leaves word of what it is at.
    pub fn sparing(poison: &Arc<Poison>) -> Extraction {
        Extraction::guarded(GuardedExtractor::new(poison))
    }

    fn guarded(extractor: GuardedExtractor) -> Extraction {
        Extraction {
            extractor,
            reading: Reading::default(),
            spares: Arc::default(),
        }
    }

    /// The same, that reads each body by the form that it was stored with.
    #[must_use]
    pub fn reading(mut self, forms: &Arc<Forms>) -> Extraction {
        self.read_by(forms);
        self
    }

    /// Reads by these forms from here on.
    pub fn read_by(&mut self, forms: &Arc<Forms>) {
        if !Arc::ptr_eq(&self.reading.forms, forms) {
            self.reading = Reading::new(forms);
        }
    }

    /// Takes every body of a durable batch apart.
    #[must_use]
    pub fn make(&mut self, batch: Batch) -> EventBatch {
        let mut made = self.spares.take(batch.len());
        made.batches.push(batch);
        self.extract(made)
    }

    /// Takes every body of durable batches apart, each of which follows the other; leaves an empty list.
    #[must_use]
    pub fn make_all(&mut self, batches: &mut Vec<Batch>) -> EventBatch {
        let bytes = batches.iter().map(Batch::len).sum();
        let mut made = self.spares.take(bytes);
        std::mem::swap(&mut made.batches, batches);
        self.extract(made)
    }

    fn extract(&mut self, mut made: Made) -> EventBatch {
        let Made {
            batches,
            events,
            counts,
            poisoned,
        } = &mut made;
        events.clear();
        counts.clear();
        *poisoned = 0;
        let first = batches.first().map_or(0, Batch::first_sequence);
        let last = batches.last().map_or(0, Batch::last_sequence);
        self.extractor.begin(first, last);
        let records = batches.iter().flat_map(|batch| batch.records_from(0));
        for ((sequence, record), position) in records.zip(0..) {
            let origin = Origin {
                sequence,
                record: position,
                endpoint: record.endpoint,
                received_at: record.received_at,
                foreign: record.flags & FLAG_FOREIGN != 0,
            };
            let from = self.reading.of(record.flags);
            let from = from.map(|form| From {
                form,
                headers: &record,
            });
            let before = events.len();
            let body = record.body;
            *poisoned += usize::from(!self.extractor.extract(from, body, origin, events));
            counts.push(events.len() - before);
        }
        self.extractor.end();
        events.fit();
        EventBatch {
            made,
            forms: Arc::clone(&self.reading.forms),
            spares: Arc::clone(&self.spares),
        }
    }

    /// A delivery of this one of its notifications, in memory of its own. `None` if it is not in there.
    #[must_use]
    pub fn alone(&mut self, delivery: &EventBatch, sequence: u64) -> Option<EventBatch> {
        let record = delivery.notification(sequence)?.record;
        self.read_by(&delivery.forms);
        Some(self.take_apart(sequence, &record))
    }

    /// A delivery of one stored body, in memory of its own.
    #[must_use]
    pub fn take_apart(&mut self, sequence: u64, record: &Record<'_>) -> EventBatch {
        let came = (record.endpoint, record.flags, record.received_at);
        self.make_one(sequence, came, record.headers(), record.body)
    }

    /// A delivery of one notification, in memory of its own. Beside the sequence that it had: its endpoint, flags and
    /// time of arrival.
    pub(crate) fn make_one<'h>(
        &mut self,
        sequence: u64,
        (endpoint, flags, received_at): (u16, u16, u64),
        headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
        body: &[u8],
    ) -> EventBatch {
        let mut batch = Batch::unpooled();
        batch.append(endpoint, flags, received_at, headers, body);
        batch.seal(&Seal {
            epoch: 0,
            salt: 0,
            first_sequence: sequence,
            committed_at: 0,
            durable: 0,
        });
        self.make(batch)
    }
}

impl Headers for Record<'_> {
    fn each<'h>(&'h self, take: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        self.headers().for_each(|(name, value)| take(name, value));
    }
}

impl Default for Extraction {
    fn default() -> Extraction {
        Extraction::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Extraction;
    use crate::event;
    use crate::feed::tests::batch;
    use crate::worker::{EventBatch, Notification};

    /// A body with so many messages; one that is no JSON for none.
    fn body(messages: usize) -> Vec<u8> {
        let message =
            |number| format!(r#"{{"id":"wamid.{number}","from":"49{number}","type":"text"}}"#);
        let all: Vec<String> = (0..messages).map(message).collect();
        let value = format!(
            r#"{{"metadata":{{"phone_number_id":"5"}},"messages":[{}]}}"#,
            all.join(",")
        );
        let whole = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{value}}}]}}]}}"#
        );
        if messages == 0 {
            b"{".to_vec()
        } else {
            whole.into_bytes()
        }
    }

    /// What a sink would have of a notification.
    fn lines(notification: &Notification<'_>) -> (u64, Vec<u8>) {
        let mut lines = Vec::new();
        for event in notification.events() {
            event::render(event, notification.record.body, &mut lines);
            lines.push(b'\n');
        }
        (notification.sequence, lines)
    }

    fn all_lines<'d>(
        from: u64,
        of: impl IntoIterator<Item = &'d EventBatch>,
    ) -> Vec<(u64, Vec<u8>)> {
        let all = of.into_iter().flat_map(|it| it.notifications(from));
        all.map(|it| lines(&it)).collect()
    }

    /// However batches are taken together, each notification has the same events.
    #[test]
    fn batches_that_are_taken_together_are_as_each_by_itself() {
        let counts = [1, 3, 0, 2, 1, 1, 5, 0, 1];
        let bodies = counts.map(body);
        let batches = |ends: &[usize]| {
            let starts = [0].into_iter().chain(ends.iter().copied());
            let ends = ends.iter().copied().chain([bodies.len()]);
            let parts = starts
                .zip(ends)
                .map(|(start, end)| batch(7 + start as u64, &bodies[start..end]));
            parts.collect::<Vec<_>>()
        };
        let mut maker = Extraction::new();
        let each: Vec<EventBatch> = batches(&[2, 3, 7])
            .into_iter()
            .map(|it| maker.make(it))
            .collect();
        for ends in [&[][..], &[1], &[2, 3, 7], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let mut list = batches(ends);
            let together = maker.make_all(&mut list);
            assert!(list.is_empty());
            assert_eq!(
                (together.first_sequence(), together.last_sequence()),
                (7, 15)
            );
            for from in [0, 7, 8, 10, 15, 16] {
                assert_eq!(
                    all_lines(from, [&together]),
                    all_lines(from, &each),
                    "{ends:?} {from}"
                );
            }
            for (sequence, count) in (7..).zip(counts) {
                let one = together.notification(sequence).unwrap();
                assert_eq!(one.events().count(), count.max(1));
                assert_eq!(lines(&one), all_lines(sequence, [&together])[0]);
            }
            let events: u64 = counts.iter().map(|count| *count.max(&1) as u64).sum();
            assert_eq!(together.made_from(7), events);
            assert_eq!(together.made_from(9), events - 4);
            assert!(together.notification(6).is_none() && together.notification(16).is_none());
        }
    }

    /// What was read from the journal meanwhile is taken off the front, batch by batch.
    #[test]
    fn what_stands_before_a_sequence_is_released() {
        let bodies = [1, 3, 0, 2].map(body);
        let mut maker = Extraction::new();
        for (begin, first) in [(0, 7), (7, 7), (8, 8), (9, 8), (10, 10), (11, 10), (99, 10)] {
            let parts = [(7, 0..1), (8, 1..3), (10, 3..4)];
            let mut list = Vec::from(parts.map(|(first, part)| batch(first, &bodies[part])));
            let mut together = maker.make_all(&mut list);
            let expected = all_lines(first, [&together]);
            together.begin_at(begin);
            assert_eq!(
                (together.first_sequence(), together.last_sequence()),
                (first, 10)
            );
            assert_eq!(all_lines(0, [&together]), expected, "{begin}");
            assert_eq!(together.made_from(0), together.events().len() as u64);
            assert_eq!(
                lines(&together.notification(10).unwrap()),
                expected[expected.len() - 1]
            );
        }
    }
}
