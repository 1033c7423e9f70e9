//! Deciding allocates nothing for an event in the steady state, new ones and duplicates alike: at most a few times for
//! a delivery of 64.

#![expect(unsafe_code, reason = "GlobalAlloc can be implemented in no other way")]

use hookline::testing::dedupe::{self, Dedupe, Duplicates, Scope};
use hookline::testing::disk::{Disk, Storage};
use hookline::testing::journal::batch::{Batch, Seal};
use hookline::testing::journal::{Journal, Options};
use hookline::testing::worker::{EventBatch, Extraction};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

/// Counts what this thread asks for, and leaves the work to the system's allocator.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn an_event_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = |name: &str| -> Arc<dyn Storage> {
        let path: &Path = &dir.path().join(name);
        Arc::new(Disk::create(path).expect("a directory"))
    };
    let options = Options {
        segment_size: 256 << 10,
        largest_frame: 64 << 10,
        reserve: 0,
        ..Options::default()
    };
    let journal = Journal::open(directory("journal"), options).expect("an empty directory");
    let storage = directory("dedupe");
    let limits = dedupe::Options {
        window: 86_400_000_000,
        keys: 40_000,
        scope: Scope::Endpoint,
    };
    let (mut dedupe, _) =
        Dedupe::open(Arc::clone(&storage), limits, journal.id(), 1, 0).expect("an empty directory");
    let mut maker = Extraction::new();
    // The table has its size, and generations have come and gone.
    for number in 0..1500 {
        dedupe
            .decide(&mut delivery(&mut maker, number))
            .expect("room on the disk");
    }
    let (mut most, mut duplicates) = (0, 0);
    for number in 1500..1560 {
        let mut delivery = delivery(&mut maker, number);
        let before = COUNT.get();
        let decisions = dedupe.decide(&mut delivery).expect("room on the disk");
        most = most.max(COUNT.get() - before);
        duplicates += decisions.duplicates.iter().sum::<u64>();
    }
    assert!(duplicates > 60 * 10, "{duplicates}");
    assert!(most < 16, "{most} in a delivery");

    let mut reader = Duplicates::open(storage);
    let mut most = 0;
    for number in 1500..1560 {
        let mut delivery = delivery(&mut maker, number);
        let before = COUNT.get();
        reader.mark(&mut delivery, 0).expect("readable");
        if number > 1500 {
            most = most.max(COUNT.get() - before);
        }
    }
    assert!(most < 4, "{most} in a delivery");
}

/// 64 statuses, of which a quarter say what some deliveries before have said.
fn delivery(maker: &mut Extraction, number: u64) -> EventBatch {
    let mut batch = Batch::unpooled();
    for event in 0..64 {
        let of = if event % 4 == 0 {
            number.saturating_sub(20) + 1
        } else {
            number
        };
        let id = of * 64 + event + u64::from(event % 4 == 0);
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{"metadata":{{"phone_number_id":"106"}},"statuses":[{{"id":"wamid.{id}","status":"read","timestamp":"1750000000","recipient_id":"1555{event}","recipient_user_id":"US.{event}"}}]}}}}]}}]}}"#
        );
        batch.append(
            1,
            0,
            1_750_000_000_000_000,
            std::iter::empty(),
            body.as_bytes(),
        );
    }
    batch.seal(&Seal {
        epoch: 1,
        salt: 1,
        first_sequence: number * 64 + 1,
        committed_at: 1,
        durable: 0,
    });
    maker.make(batch)
}
