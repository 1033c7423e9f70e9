//! What the journal sees of a simulated disk.

use super::super::block::{in_memory, on_disk};
use super::super::storage::{Access, Guard, Identity, LockError, Storage, StorageFile};
use super::{NameChange, SimulatedDisk};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct SimulatedFile {
    pub(super) disk: SimulatedDisk,
    pub(super) inode: u64,
    pub(super) access: Access,
}

struct Unlock(SimulatedDisk);

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
        state.inodes.insert(inode, Arc::default());
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

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        let change = NameChange::Exchange(
            (one.to_owned(), state.inode_of(one)?),
            (other.to_owned(), state.inode_of(other)?),
        );
        state.change_names(change)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.powered()?;
        state.inode_of(name)?;
        state.change_names(NameChange::Remove(name.to_owned()))
    }

    fn identity(&self, name: &str) -> io::Result<Option<Identity>> {
        let state = self.0.lock();
        state.powered()?;
        Ok(match name {
            "" => (!state.moved).then_some(identity(0)),
            name => state.inode_of(name).ok().map(identity),
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let off = state.operation()?;
        state.record();
        if off {
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

    fn now(&self) -> u64 {
        self.0.lock().clock
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.lock().uptime)
    }
}

impl StorageFile for SimulatedFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity(self.inode))
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.0.lock();
        state.powered()?;
        Ok(on_disk(state.inodes[&self.inode].cached.len()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.meanwhile();
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
            let length = state.random.below(on_disk(data.len() - 1)) + 1;
            data.truncate(in_memory(length));
        }
        let offset = in_memory(offset);
        if !state.has_room(self.inode, offset + data.len()) {
            return Err(ErrorKind::StorageFull.into());
        }
        let off = state.operation()?;
        state.inode_mut(self.inode).write(offset, &data);
        state.record();
        if off {
            state.powered()?;
        }
        Ok(data.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.wait_for_device();
        let mut state = self.disk.0.lock();
        let result = state.operation();
        if result.is_ok() {
            state.record();
        }
        let inode = state.inode_mut(self.inode);
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
        let mut state = self.disk.0.lock();
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
        let inode = state.inode_mut(self.inode);
        inode.forget(in_memory(range.start)..in_memory(range.end));
        Ok(())
    }

    fn read_ahead(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

/// All is on one device, and the directory is number 0.
fn identity(inode: u64) -> Identity {
    Identity { device: 0, inode }
}

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}
