//! What sinks still need of the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lowest sequence that anybody still needs, for the journal's retention.
#[derive(Clone, Debug)]
pub struct Floor {
    lowest: Arc<AtomicU64>,
    places: Arc<parking_lot::Mutex<Vec<Arc<AtomicU64>>>>,
}

/// One part in it.
#[derive(Debug)]
pub struct Place {
    floor: Floor,
    mine: Arc<AtomicU64>,
}

impl Floor {
    /// A floor that keeps `lowest` up to date; without any sink, nothing is needed.
    #[must_use]
    pub fn new(lowest: Arc<AtomicU64>) -> Floor {
        lowest.store(u64::MAX, Ordering::Relaxed);
        Floor {
            lowest,
            places: Arc::default(),
        }
    }

    /// Takes part with everything behind `confirmed`.
    #[must_use]
    pub fn place(&self, confirmed: u64) -> Place {
        let mine = Arc::new(AtomicU64::new(0));
        self.places.lock().push(Arc::clone(&mine));
        let place = Place {
            floor: self.clone(),
            mine,
        };
        place.set(confirmed);
        place
    }
}

impl Place {
    /// Nothing up to `confirmed` is needed any more.
    pub fn set(&self, confirmed: u64) {
        self.mine.store(confirmed + 1, Ordering::Relaxed);
        let places = self.floor.places.lock();
        let lowest = places
            .iter()
            .map(|place| place.load(Ordering::Relaxed))
            .min();
        self.floor
            .lowest
            .store(lowest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
