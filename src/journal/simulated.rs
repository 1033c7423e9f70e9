//! A disk in memory that loses power and fails on demand.
//!
//! A write stays pending, sector by sector, until the file is synced; a name until the directory is.
//! When the power goes, each pending sector is kept, lost or garbled as the seed wants, and of the
//! pending names the first few are kept, in order, as a journalling file system does, or any of them. A sync that
//! fails leaves its sectors in the cache but not on the device, and the next sync knows nothing of
//! them, as on Linux.

use super::frame::{in_memory, octets};
use super::storage::{Access, Guard, LockError, Storage, StorageFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::Arc;

/// The disk of one running system.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

/// What fails, and when. Operations that change something are counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The power goes in the middle of this operation.
    pub(crate) power_off_at: Option<u64>,
    /// This operation fails once.
    pub(crate) error_at: Option<(u64, Fault)>,
    /// Every write is cut short where it can be.
    pub(crate) short_writes: bool,
    /// Octets that all files may have together.
    pub(crate) capacity: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `EIO`.
    Broken,
    /// `ENOSPC`.
    NoSpace,
}

#[derive(Clone, Debug)]
struct State {
    random: Random,
    faults: Faults,
    operations: u64,
    off: bool,
    locked: bool,
    next_inode: u64,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, u64),
    Rename(String, String, u64),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
    /// Sectors that a sync failed to write: clean, and not on the device.
    lost: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: u64,
    access: Access,
}

struct Unlock(SimulatedDisk);

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            faults: Faults::default(),
            operations: 0,
            off: false,
            locked: false,
            next_inode: 0,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
        })))
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Operations so far that changed something.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().off
    }

    /// The disk as the next process finds it when only the process ended. No faults are set.
    pub(crate) fn after_exit(&self) -> SimulatedDisk {
        let mut old = self.0.lock();
        old.off = true;
        let mut state = old.clone();
        state.off = false;
        state.locked = false;
        state.operations = 0;
        state.faults = Faults::default();
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    /// The disk as the next process finds it after a power cut. No faults are set.
    pub(crate) fn after_power_cut(&self) -> SimulatedDisk {
        let disk = self.after_exit();
        disk.0.lock().lose_power();
        disk
    }

    /// Changes what is on the device and in the cache behind everybody's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        let inode = state.inodes.get_mut(&inode).unwrap();
        change(&mut inode.cached);
        inode.durable.clone_from(&inode.cached);
        inode.dirty.clear();
    }

    /// Cuts a file short behind everybody's back.
    pub(crate) fn truncate(&self, name: &str, length: usize) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        let inode = state.inodes.get_mut(&inode).unwrap();
        inode.cached.truncate(length);
        inode.durable.truncate(length);
        inode.dirty.clear();
    }

    fn file(&self, inode: u64, access: Access) -> Box<dyn StorageFile> {
        Box::new(SimulatedFile {
            disk: self.clone(),
            inode,
            access,
        })
    }
}

impl State {
    /// Counts an operation that changes something. `Ok(true)` when the power goes in the middle of it:
    /// it may have its effect, and the caller never hears of it.
    fn operation(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.operations += 1;
        if let Some((at, fault)) = self.faults.error_at
            && at == self.operations
        {
            return Err(match fault {
                Fault::Broken => io::Error::from_raw_os_error(5),
                Fault::NoSpace => ErrorKind::StorageFull.into(),
            });
        }
        self.off = self.faults.power_off_at == Some(self.operations);
        Ok(self.off)
    }

    fn powered(&self) -> io::Result<()> {
        if self.off {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    fn inode_of(&self, name: &str) -> io::Result<u64> {
        let inode = self.names.get(name).copied();
        inode.ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        let off = self.operation()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        if off { self.powered() } else { Ok(()) }
    }

    fn has_room(&self, inode: u64, length: usize) -> bool {
        let used: u64 = self
            .names
            .values()
            .filter(|it| **it != inode)
            .map(|it| octets(self.inodes[it].cached.len()))
            .sum();
        self.faults
            .capacity
            .is_none_or(|capacity| used + octets(length) <= capacity)
    }

    fn lose_power(&mut self) {
        let kept = self.random.below(octets(self.pending_names.len()) + 1);
        let in_order = self.random.below(2) == 0;
        for (change, index) in self.pending_names.drain(..).zip(0..) {
            let keep = if in_order {
                index < kept
            } else {
                self.random.below(2) == 0
            };
            if keep {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        for inode in self.inodes.values_mut() {
            inode.lose_power(&mut self.random);
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Set(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, offset: usize, part: &[u8]) {
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

    fn sync(&mut self) {
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

    fn lose_power(&mut self, random: &mut Random) {
        let dirty = std::mem::take(&mut self.dirty);
        let mode = random.below(7);
        let cut = in_memory(random.below(octets(dirty.len()) + 1));
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
                for octet in &mut self.durable[start..end] {
                    *octet = random.below(256).try_into().unwrap();
                }
            }
        }
        self.lost.clear();
        self.cached.clone_from(&self.durable);
    }
}

impl Storage for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        state.powered()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.0.lock();
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.next_inode += 1;
        let inode = state.next_inode;
        state.inodes.insert(inode, Inode::default());
        state.change_names(NameChange::Set(name.to_owned(), inode))?;
        Ok(self.file(inode, Access::Write))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let state = self.0.lock();
        state.powered()?;
        Ok(self.file(state.inode_of(name)?, access))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let inode = state.inode_of(from)?;
        state.change_names(NameChange::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.powered()?;
        state.inode_of(name)?;
        state.change_names(NameChange::Remove(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.operation()? {
            return state.powered();
        }
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn lock(&self, _name: &str, _holder: &str) -> Result<Guard, LockError> {
        let mut state = self.0.lock();
        if state.locked {
            return Err(LockError::Held("another".to_owned()));
        }
        state.locked = true;
        Ok(Box::new(Unlock(self.clone())))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl StorageFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        state.powered()?;
        Ok(octets(state.inodes[&self.inode].cached.len()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        state.powered()?;
        let cached = &state.inodes[&self.inode].cached;
        let rest = cached.get(in_memory(offset)..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        assert_eq!(self.access, Access::Write, "opened for reading");
        let mut state = self.disk.0.lock();
        let mut data = Vec::new();
        for part in parts {
            data.extend_from_slice(part);
        }
        if state.faults.short_writes && data.len() > 1 {
            let length = state.random.below(octets(data.len() - 1)) + 1;
            data.truncate(in_memory(length));
        }
        let offset = in_memory(offset);
        if !state.has_room(self.inode, offset + data.len()) {
            return Err(ErrorKind::StorageFull.into());
        }
        let off = state.operation()?;
        state
            .inodes
            .get_mut(&self.inode)
            .unwrap()
            .write(offset, &data);
        if off {
            state.powered()?;
        }
        Ok(data.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let result = state.operation();
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        match result {
            Ok(false) => {
                inode.sync();
                Ok(())
            }
            Ok(true) => Err(io::Error::other("the power is off")),
            Err(error) => {
                let dirty = std::mem::take(&mut inode.dirty);
                inode.lost.extend(dirty);
                Err(error)
            }
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        state.powered()?;
        if state.has_room(self.inode, in_memory(length)) {
            Ok(())
        } else {
            Err(ErrorKind::StorageFull.into())
        }
    }

    fn bypass_cache(&self, _bypass: bool) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn forget_cache(&self, range: Range<u64>) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.powered()?;
        let inode = state.inodes.get_mut(&self.inode).unwrap();
        let forgotten = in_memory(range.start) / SECTOR..in_memory(range.end).div_ceil(SECTOR);
        let lost = std::mem::take(&mut inode.lost);
        let (forgotten, lost) = lost.into_iter().partition(|it| forgotten.contains(it));
        inode.lost = lost;
        let forgotten: BTreeSet<usize> = forgotten;
        for sector in forgotten {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(inode.cached.len());
            let mut old = [0; SECTOR];
            let durable = inode.durable.get(start..).unwrap_or_default();
            let length = durable.len().min(SECTOR);
            old[..length].copy_from_slice(&durable[..length]);
            inode.cached[start..end].copy_from_slice(&old[..end - start]);
        }
        Ok(())
    }
}

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Below `bound`, which is not 0. `SplitMix64`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const SECTOR: usize = 512;
const SECTORS_IN_BLOCK: usize = 8;
