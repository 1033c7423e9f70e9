//! A disk in memory that loses power and fails on demand.
//!
//! A write stays pending, sector by sector, until the file is synced; a name until the directory is.
//! When the power goes, each pending sector is kept, lost or garbled as the seed wants, and of the
//! pending names the first few are kept, in order, as a journalling file system does, or any of them. A sync that
//! fails leaves its sectors in the cache but not on the device, and the next sync knows nothing of
//! them, as on Linux.

mod files;
mod inode;
mod state;

use super::storage::{Access, Storage, StorageFile};
use crate::random::Random;
use files::SimulatedFile;
use inode::Inode;
use parking_lot::Mutex;
use state::{NameChange, State};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The disk of one running system.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>, Arc<Mutex<Option<Happens>>>);

/// After how many reads, and what.
type Happens = (u64, Box<dyn FnOnce() + Send>);

/// The disk in the middle of an operation, and what was promised by then.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) disk: SimulatedDisk,
    pub(crate) promised: u64,
}

/// Says what is promised as of now.
pub(crate) type Recorder = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What fails, and when. Operations that change something are counted from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The power goes in the middle of this operation.
    pub(crate) power_off_at: Option<u64>,
    /// This operation fails once.
    pub(crate) error_at: Option<(u64, Fault)>,
    /// Every write is cut short where it can be.
    pub(crate) short_writes: bool,
    /// Bytes that all files may have together.
    pub(crate) capacity: Option<u64>,
    /// Whatever gets free is taken by others at once.
    pub(crate) crowded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Broken,
    NoSpace,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk::of(State {
            random: Random(seed),
            faults: Faults::default(),
            operations: 0,
            off: false,
            locked: false,
            moved: false,
            next_inode: 0,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            clock: EPOCH,
            uptime: 0,
            device: None,
            recorder: None,
            records: Vec::new(),
        })
    }

    fn of(state: State) -> SimulatedDisk {
        SimulatedDisk(Arc::new(Mutex::new(state)), Arc::default())
    }

    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// So many operations from now on, 1 for the next one, is one that fails.
    pub(crate) fn fail_once(&self, operations: u64, fault: Fault) {
        self.set_faults(Faults {
            error_at: Some((self.operations() + operations, fault)),
            ..Faults::default()
        });
    }

    /// Syncs of files wait from now on while what this gives is locked.
    pub(crate) fn hang(&self) -> Arc<Mutex<()>> {
        let device = Arc::default();
        self.0.lock().device = Some(Arc::clone(&device));
        device
    }

    /// Lets something happen between two reads: before the one that comes after `reads` of them.
    pub(crate) fn before_read(&self, reads: u64, happens: impl FnOnce() + Send + 'static) {
        *self.1.lock() = Some((reads, Box::new(happens)));
    }

    /// True until what was to happen between two reads has happened.
    pub(crate) fn is_to_happen(&self) -> bool {
        self.1.lock().is_some()
    }

    fn meanwhile(&self) {
        let happens = {
            let mut next = self.1.lock();
            match &mut *next {
                Some((0, _)) => next.take(),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, happens)) = happens {
            happens();
        }
    }

    /// Waits without the lock of the disk, so that all else goes on.
    fn wait_for_device(&self) {
        let device = self.0.lock().device.clone();
        if let Some(device) = device {
            drop(device.lock());
        }
    }

    /// Bytes that all files may have together from now on.
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.0.lock().faults.capacity = capacity;
    }

    /// Gives the directory another name behind everybody's back; the next process knows it.
    pub(crate) fn move_away(&self) {
        self.0.lock().moved = true;
    }

    /// There is no free byte from now on, and what gets free is taken by others.
    pub(crate) fn crowd_to_the_last_byte(&self) {
        let mut state = self.0.lock();
        state.faults.capacity = Some(state.used_beside(0));
        state.faults.crowded = true;
    }

    /// Operations so far that changed something.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The disk as the next process finds it when only the process ended. No faults are set.
    pub(crate) fn after_exit(&self) -> SimulatedDisk {
        let mut old = self.0.lock();
        old.off = true;
        let mut state = old.clone();
        state.off = false;
        state.locked = false;
        state.moved = false;
        state.operations = 0;
        state.faults = Faults::default();
        state.recorder = None;
        state.device = None;
        state.records = Vec::new();
        state.forget_removed();
        SimulatedDisk::of(state)
    }

    /// The disk as the next process finds it after a power cut. No faults are set.
    pub(crate) fn after_power_cut(&self) -> SimulatedDisk {
        let disk = self.after_exit();
        disk.0.lock().lose_power();
        disk
    }

    /// As [`SimulatedDisk::after_power_cut`], with chances of its own.
    pub(crate) fn after_power_cut_of(&self, seed: u64) -> SimulatedDisk {
        let disk = self.after_exit();
        disk.0.lock().random = Random(seed);
        disk.0.lock().lose_power();
        disk
    }

    /// From now on, keeps the disk as it is in the middle of each operation.
    pub(crate) fn set_recorder(&self, recorder: Option<Recorder>) {
        self.0.lock().recorder = recorder;
    }

    /// What was kept since the last call.
    pub(crate) fn take_records(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.0.lock().records)
    }

    /// Lets time pass until the clock stands there, in microseconds since 1970; it is set back at once.
    pub(crate) fn set_clock(&self, clock: u64) {
        let mut state = self.0.lock();
        state.uptime += clock.saturating_sub(state.clock);
        state.clock = clock;
    }

    /// Sets the clock to a wrong time, or a right one, in microseconds since 1970. No time passes.
    pub(crate) fn jump_clock(&self, clock: u64) {
        self.0.lock().clock = clock;
    }

    /// Lets so many microseconds pass.
    pub(crate) fn pass_time(&self, micros: u64) {
        let mut state = self.0.lock();
        state.uptime += micros;
        state.clock += micros;
    }

    /// Bytes of all files together.
    pub(crate) fn used(&self) -> u64 {
        self.0.lock().used_beside(0)
    }

    /// Changes what is on the device and in the cache behind everybody's back.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut [u8])) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        let inode = state.inode_mut(inode);
        change(&mut inode.cached);
        inode.durable.clone_from(&inode.cached);
        inode.dirty.clear();
    }

    /// Cuts a file short behind everybody's back.
    pub(crate) fn truncate(&self, name: &str, length: usize) {
        let mut state = self.0.lock();
        let inode = state.names[name];
        let inode = state.inode_mut(inode);
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

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SimulatedDisk")
    }
}

/// Where the clock of a new disk stands.
const EPOCH: u64 = 1_700_000_000_000_000;
