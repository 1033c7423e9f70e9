//! The bytes of one simulated file: in the cache, and on the device.

use super::super::block::{in_memory, on_disk};
use crate::random::Random;
use std::collections::BTreeSet;
use std::ops::Range;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) cached: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors that the next sync writes.
    pub(super) dirty: BTreeSet<usize>,
    /// Sectors that a sync failed to write: clean, and not on the device.
    pub(super) lost: BTreeSet<usize>,
}

impl Inode {
    pub(super) fn write(&mut self, offset: usize, part: &[u8]) {
        let end = offset + part.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(part);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
    }

    pub(super) fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.persist(sector);
        }
    }

    fn persist(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.cached.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.cached[start..end]);
    }

    /// True when the cache may have what the device has not.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.dirty.is_empty() || !self.lost.is_empty() || self.cached.len() != self.durable.len()
    }

    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let dirty = std::mem::take(&mut self.dirty);
        let mode = random.below(7);
        let cut = in_memory(random.below(on_disk(dirty.len()) + 1));
        let mut keep_block = true;
        for (index, sector) in dirty.into_iter().enumerate() {
            if sector % SECTORS_IN_BLOCK == 0 || index == 0 {
                keep_block = random.below(8) < [4, 7, 4, 4, 4, 4, 4][in_memory(mode)];
            }
            let keep = match mode {
                0 | 1 => keep_block,       // whole blocks, few or most
                2 => random.below(2) == 0, // single sectors
                3 => index < cut,          // the first ones
                4 => index >= cut,         // the last ones
                5 => false,                // none
                _ => true,                 // all
            };
            if keep {
                self.persist(sector);
            } else if mode < 3 && random.below(8) == 0 {
                self.persist(sector);
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(self.durable.len());
                for byte in &mut self.durable[start..end] {
                    *byte = random.below(256).try_into().unwrap();
                }
            }
        }
        self.lost.clear();
        self.cached.clone_from(&self.durable);
    }

    /// The next read of this range comes from the device where a sync has failed.
    pub(super) fn forget(&mut self, range: Range<usize>) {
        let forgotten = range.start / SECTOR..range.end.div_ceil(SECTOR);
        let lost = std::mem::take(&mut self.lost);
        let (forgotten, lost) = lost.into_iter().partition(|it| forgotten.contains(it));
        self.lost = lost;
        let forgotten: BTreeSet<usize> = forgotten;
        for sector in forgotten {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(self.cached.len());
            let mut old = [0; SECTOR];
            let durable = self.durable.get(start..).unwrap_or_default();
            let length = durable.len().min(SECTOR);
            old[..length].copy_from_slice(&durable[..length]);
            self.cached[start..end].copy_from_slice(&old[..end - start]);
        }
    }
}

const SECTOR: usize = 512;
const SECTORS_IN_BLOCK: usize = 8;
