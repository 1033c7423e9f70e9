use super::*;
use crate::event::{Lane, Pattern};
use crate::feed::tests::Bench;
use crate::worker::Extraction;
use parking_lot::Mutex;

/// What a target has, and how it fails.
#[derive(Default)]
struct Shared {
    at: Option<Position>,
    writer: String,
    events: Vec<Position>,
    /// The next transaction is done, and its answer is lost.
    loses_an_answer: bool,
    /// The next confirmation fails.
    fails_to_confirm: bool,
}

struct Fake(Arc<Mutex<Shared>>, bool);

impl PositionKeeper for Fake {
    type Row = Lane;

    fn is_ready(&mut self, _replay: &str) -> bool {
        self.1
    }

    fn take_over(
        &mut self,
        _replay: &str,
        known: &Known,
        writer: &Writer<'_>,
    ) -> Result<Taken, Failure> {
        let mut shared = self.0.lock();
        let stored = Stored {
            at: shared.at.unwrap_or(known.begin()),
            moved: 0,
            writer: shared.writer.clone(),
        };
        let decision = known.decide(&stored, writer.process)?;
        shared.at = Some(decision.at);
        writer.name.clone_into(&mut shared.writer);
        self.1 = true;
        Ok(Taken {
            decision,
            confirmation: Confirmation::Memory,
        })
    }

    fn push(&self, rows: &mut Rows<Lane>, event: Event<'_>, _raw_body: &[u8]) {
        rows.push(event.position(), |_| event.lane());
    }

    fn store(&mut self, rows: &Rows<Lane>, step: &Step<'_>) -> Result<(), Failure> {
        let mut shared = self.0.lock();
        assert_eq!(shared.at, Some(step.from));
        let stored = rows.first(step.count).map(|(position, ..)| position);
        shared.events.extend(stored);
        shared.at = Some(step.upto);
        if std::mem::take(&mut shared.loses_an_answer) {
            return Err(Failure::Retry("lost".to_owned()));
        }
        Ok(())
    }

    fn is_unconfirmed(&self) -> bool {
        true
    }

    fn confirm(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.0.lock().fails_to_confirm) {
            return Err(Failure::Retry("not yet".to_owned()));
        }
        Ok(())
    }

    fn disconnect(&mut self) {
        self.1 = false;
    }

    fn log(&self, _note: Note, _at: Position, _known: &Known) {}

    fn log_loss(&self, _at: Position) {}
}

/// The confirmation failed, or the answer to what moves the position alone was lost; the runner goes back to what was
/// confirmed, and the first batch comes again. The position in the target is beyond that, and nobody else's.
#[test]
fn what_was_sent_before_it_went_back_is_its_own() {
    for (wanted, is_lost) in [("*", false), ("none", true)] {
        let bench = Bench::new();
        let make = |count| Extraction::new().make(bench.store(count));
        let (first, second) = (make(3), make(2));
        let wanted = Selection {
            types: vec![Pattern::new(wanted)],
            ..Selection::default()
        };
        let shared = Arc::new(Mutex::new(Shared::default()));
        let keeper = Fake(Arc::clone(&shared), false);
        let sink = Positioned::new(keeper, CursorState::default(), Arc::default());
        let mut sink = sink.expect("made");
        sink.resume(0).expect("it begins");
        let deliver = |sink: &mut Positioned<Fake>, batch: &EventBatch| {
            let from = batch.first_sequence();
            sink.deliver(batch, from, &wanted).expect("delivered")
        };
        deliver(&mut sink, &first);
        deliver(&mut sink, &second);
        shared.lock().loses_an_answer = is_lost;
        shared.lock().fails_to_confirm = !is_lost;
        sink.confirm().expect_err("not yet");
        deliver(&mut sink, &first);
        sink.confirm().expect("nobody else writes there");
        deliver(&mut sink, &second);
        sink.confirm().expect("nobody else writes there");
        let shared = shared.lock();
        let once: std::collections::BTreeSet<_> = shared.events.iter().collect();
        assert_eq!(once.len(), shared.events.len(), "nothing twice");
        assert_eq!(shared.at, Some(behind(5)));
    }
}
