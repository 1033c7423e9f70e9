//! What a disk has in its cache and on its plate, and what a power cut may leave of that.
//!
//! A write goes to the cache. A flush brings everything that was written before it to the plate, in this order and
//! whole. A cut loses the cache, but the disk may have brought any part of it to the plate before, in any order: so
//! each sector then has what was flushed last or what any later write gave it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

const CHUNK: usize = 4096;

/// Most bytes in the cache; what came first then goes to the plate, as it may at any time.
const CACHE_MAX: usize = 32 << 20;

/// Writes and flushes that a cut is put off at most.
const PATIENCE: usize = 1000;

/// The bytes of a disk. What was never written is zeros and takes no memory.
#[derive(Clone, Default)]
pub(crate) struct Plate(HashMap<usize, Arc<[u8; CHUNK]>>);

impl Plate {
    pub(crate) fn read(&self, mut at: usize, mut room: &mut [u8]) {
        while !room.is_empty() {
            let (chunk, from) = (at / CHUNK, at % CHUNK);
            let (now, rest) = room.split_at_mut(room.len().min(CHUNK - from));
            match self.0.get(&chunk) {
                Some(bytes) => now.copy_from_slice(&bytes[from..from + now.len()]),
                None => now.fill(0),
            }
            at += now.len();
            room = rest;
        }
    }

    pub(crate) fn write(&mut self, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (chunk, from) = (at / CHUNK, at % CHUNK);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - from));
            let chunk = self.0.entry(chunk).or_insert_with(|| Arc::new([0; CHUNK]));
            Arc::make_mut(chunk)[from..from + now.len()].copy_from_slice(now);
            at += now.len();
            bytes = rest;
        }
    }
}

/// A write that is in the cache.
#[derive(Clone)]
struct Cached {
    at: usize,
    bytes: Vec<u8>,
}

/// A disk with a cache, and a power that can be cut.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    /// What a read gives.
    seen: Plate,
    /// What is safe.
    flushed: Plate,
    /// What was written since the last flush, in this order.
    cache: Vec<Cached>,
    cached: usize,
    cut: Option<Cut>,
    /// Says that it has flushed, and has not.
    lies: bool,
}

/// When the power is cut.
#[derive(Clone)]
struct Cut {
    /// Writes and flushes until then.
    left: usize,
    /// Writes that are then to be in the cache, or it is put off.
    cached: usize,
    /// How many writes and flushes it may be put off.
    patience: usize,
    is_done: bool,
}

/// The power is cut.
#[derive(Debug)]
pub(crate) struct NoPower;

impl Disk {
    /// A disk with this on its plate.
    pub(crate) fn new(plate: Plate) -> Disk {
        Disk {
            seen: plate.clone(),
            flushed: plate,
            ..Disk::default()
        }
    }

    pub(crate) fn read(&self, at: usize, room: &mut [u8]) -> Result<(), NoPower> {
        if self.is_cut() {
            return Err(NoPower);
        }
        self.seen.read(at, room);
        Ok(())
    }

    /// The last one before a cut is in the cache, and nobody gets an error.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) -> Result<(), NoPower> {
        if self.is_cut() {
            return Err(NoPower);
        }
        self.seen.write(at, bytes);
        let bytes = bytes.to_vec();
        self.cached += bytes.len();
        self.cache.push(Cached { at, bytes });
        if self.cached > CACHE_MAX {
            self.write_back();
        }
        self.count()
    }

    pub(crate) fn flush(&mut self) -> Result<(), NoPower> {
        self.count()?;
        if !self.lies {
            self.write_back();
        }
        Ok(())
    }

    fn write_back(&mut self) {
        for Cached { at, bytes } in self.cache.drain(..) {
            self.flushed.write(at, &bytes);
        }
        self.cached = 0;
    }

    fn count(&mut self) -> Result<(), NoPower> {
        let Some(cut) = &mut self.cut else {
            return Ok(());
        };
        if cut.left > 1 {
            cut.left -= 1;
        } else if cut.patience > 0 && self.cache.len() < cut.cached {
            cut.patience -= 1;
        } else {
            cut.is_done = true;
            return Err(NoPower);
        }
        Ok(())
    }

    /// Cuts the power at the n-th write or flush from here on, or a little later, with so many writes in the cache.
    /// That write or flush is not confirmed any more.
    pub(crate) fn cut_at(&mut self, nth: usize, cached: usize) {
        self.cut = Some(Cut {
            left: nth,
            cached,
            patience: PATIENCE,
            is_done: false,
        });
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.is_done)
    }

    /// From here on flushes do nothing.
    pub(crate) fn lie(&mut self) {
        self.lies = true;
    }

    /// Writes in the cache.
    pub(crate) fn cached(&self) -> usize {
        self.cache.len()
    }

    /// What may be on the plate after the cut. No sector of `whole` comes without the others of the same write.
    pub(crate) fn remains(&self, kept: Kept, whole: &Range<usize>, random: &mut Random) -> Plate {
        let mut plate = self.flushed.clone();
        let odd_one = random.below(self.cache.len().max(1));
        for (number, Cached { at, bytes }) in self.cache.iter().enumerate() {
            let is_kept = match kept {
                Kept::Nothing => false,
                Kept::Everything => true,
                Kept::AllButOne => number != odd_one,
                Kept::OnlyOne => number == odd_one,
                Kept::Some | Kept::Torn => random.below(2) == 0,
            };
            if kept != Kept::Torn {
                if is_kept {
                    plate.write(*at, bytes);
                }
                continue;
            }
            for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                let at = at + number * SECTOR;
                if (whole.contains(&at) && is_kept)
                    || (!whole.contains(&at) && random.below(2) == 0)
                {
                    plate.write(at, sector);
                }
            }
        }
        plate
    }
}

/// What of the cache had come to the plate when the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Everything,
    /// Each write or not.
    Some,
    /// All writes but one.
    AllButOne,
    /// One write alone.
    OnlyOne,
    /// Each sector or not.
    Torn,
}

impl Kept {
    pub(crate) const ALL: [Kept; 6] = [
        Kept::Torn,
        Kept::Nothing,
        Kept::Some,
        Kept::OnlyOne,
        Kept::AllButOne,
        Kept::Everything,
    ];
}

/// Numbers by chance, the same for the same seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = (mixed ^ (mixed >> 31)) >> 1;
        usize::try_from(mixed).expect("64 bits") % end
    }
}
