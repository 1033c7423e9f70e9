//! Everything that a simulated disk knows, and what an operation does to it.

use super::super::block::on_disk;
use super::{Fault, Faults, Inode, Recorded, Recorder, SimulatedDisk};
use crate::random::Random;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct State {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) operations: u64,
    pub(super) off: bool,
    pub(super) locked: bool,
    /// The directory has another name now; what is open stays good.
    pub(super) moved: bool,
    pub(super) next_inode: u64,
    pub(super) inodes: BTreeMap<u64, Arc<Inode>>,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) pending_names: Vec<NameChange>,
    /// Microseconds since 1970.
    pub(super) clock: u64,
    /// Microseconds by a clock that nobody sets.
    pub(super) uptime: u64,
    /// What a sync waits for.
    pub(super) device: Option<Arc<Mutex<()>>>,
    pub(super) recorder: Option<Recorder>,
    pub(super) records: Vec<Recorded>,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Set(String, u64),
    Rename(String, String, u64),
    Exchange((String, u64), (String, u64)),
    Remove(String),
}

impl State {
    /// Counts an operation that changes something. `Ok(true)` when the power goes in the middle of it:
    /// it may have its effect, and the caller never hears of it.
    pub(super) fn operation(&mut self) -> io::Result<bool> {
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
        self.clock += 1;
        self.uptime += 1;
        self.crowd();
        self.off = self.faults.power_off_at == Some(self.operations);
        Ok(self.off)
    }

    pub(super) fn powered(&self) -> io::Result<()> {
        if self.off {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    pub(super) fn inode_of(&self, name: &str) -> io::Result<u64> {
        let inode = self.names.get(name).copied().filter(|_| !self.moved);
        inode.ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        if self.moved {
            return Err(ErrorKind::NotFound.into());
        }
        let off = self.operation()?;
        change.apply(&mut self.names);
        self.pending_names.push(change);
        self.record();
        if off { self.powered() } else { Ok(()) }
    }

    /// Bytes of all files but one.
    pub(super) fn used_beside(&self, inode: u64) -> u64 {
        let others = self.names.values().filter(|it| **it != inode);
        others.map(|it| on_disk(self.inodes[it].cached.len())).sum()
    }

    pub(super) fn has_room(&mut self, inode: u64, length: usize) -> bool {
        let Some(capacity) = self.faults.capacity else {
            return true;
        };
        let before = self.inodes[&inode].cached.len();
        let used = self.used_beside(inode);
        length <= before || used + on_disk(length) <= capacity
    }

    /// Others take at once what is free.
    pub(super) fn crowd(&mut self) {
        if let Some(capacity) = self.faults.capacity.filter(|_| self.faults.crowded) {
            self.faults.capacity = Some(capacity.min(self.used_beside(0)));
        }
    }

    /// Drops files that have no name and never get one again: after the end of all processes.
    pub(super) fn forget_removed(&mut self) {
        let mut named: BTreeSet<u64> = self.names.values().copied().collect();
        named.extend(self.durable_names.values());
        for change in &self.pending_names {
            match change {
                NameChange::Set(_, inode) | NameChange::Rename(_, _, inode) => {
                    named.insert(*inode);
                }
                NameChange::Exchange((_, one), (_, other)) => named.extend([one, other]),
                NameChange::Remove(_) => {}
            }
        }
        self.inodes.retain(|inode, _| named.contains(inode));
    }

    /// Keeps the disk as it is in the middle of this operation.
    pub(super) fn record(&mut self) {
        if let Some(recorder) = self.recorder.clone() {
            let mut state = self.clone();
            state.recorder = None;
            state.records = Vec::new();
            let disk = SimulatedDisk::of(state);
            let promised = recorder();
            self.records.push(Recorded { disk, promised });
        }
    }

    pub(super) fn inode_mut(&mut self, inode: u64) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&inode).unwrap())
    }

    pub(super) fn lose_power(&mut self) {
        let kept = self.random.below(on_disk(self.pending_names.len()) + 1);
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
            if inode.is_unsettled() {
                Arc::make_mut(inode).lose_power(&mut self.random);
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
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
            NameChange::Exchange((one, one_inode), (other, other_inode)) => {
                names.insert(one.clone(), *other_inode);
                names.insert(other.clone(), *one_inode);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }
}
