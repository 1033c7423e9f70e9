//! A directory in memory, for the journal: nothing fails in it and nothing is lost.
//!
//! Files share their content until one is written to, so a copy of a prepared journal costs next to nothing.

use hookline::testing::disk::{Access, Guard, Identity, LockError, Storage, StorageFile};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The directory. A clone is another name for the same one; see [`Memory::copy`].
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: Arc<Mutex<BTreeMap<String, File>>>,
}

/// One file, also when it has no name any more.
#[derive(Clone, Debug, Default)]
struct File(Arc<Mutex<Arc<Vec<u8>>>>);

impl Memory {
    /// A directory of its own with the same files.
    #[must_use]
    pub fn copy(&self) -> Memory {
        let copy = Memory::default();
        for (name, bytes) in self.contents() {
            copy.put_shared(&name, bytes);
        }
        copy
    }

    /// Every file with what is in it.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Arc<Vec<u8>>> {
        let files = self.files();
        let content = |file: &File| Arc::clone(&file.bytes());
        files
            .iter()
            .map(|(name, file)| (name.clone(), content(file)))
            .collect()
    }

    /// What is in a file; nothing if there is none of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Arc<Vec<u8>> {
        self.files()
            .get(name)
            .map(|file| Arc::clone(&file.bytes()))
            .unwrap_or_default()
    }

    /// Puts a file there, in place of the one that had the name.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.put_shared(name, Arc::new(bytes));
    }

    /// Changes a file, if it is there.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(file) = self.files().get(name) {
            change(Arc::make_mut(&mut file.bytes()));
        }
    }

    /// Removes a file, if it is there.
    pub fn forget(&self, name: &str) {
        self.files().remove(name);
    }

    fn put_shared(&self, name: &str, bytes: Arc<Vec<u8>>) {
        self.files()
            .insert(name.to_owned(), File(Arc::new(Mutex::new(bytes))));
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().expect("a panic ends the process")
    }
}

impl File {
    fn bytes(&self) -> MutexGuard<'_, Arc<Vec<u8>>> {
        self.0.lock().expect("a panic ends the process")
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = File::default();
        files.insert(name.to_owned(), file.clone());
        Ok(Box::new(file))
    }

    fn open(&self, name: &str, _access: Access) -> io::Result<Box<dyn StorageFile>> {
        match self.files().get(name) {
            Some(file) => Ok(Box::new(file.clone())),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        let mut files = self.files();
        let (Some(first), Some(second)) = (files.get(one).cloned(), files.get(other).cloned())
        else {
            return Err(ErrorKind::NotFound.into());
        };
        files.insert(one.to_owned(), second);
        files.insert(other.to_owned(), first);
        Ok(())
    }

    fn now(&self) -> u64 {
        1_700_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.files().remove(name);
        removed
            .map(|_| ())
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn identity(&self, name: &str) -> io::Result<Option<Identity>> {
        if name.is_empty() {
            return Ok(Some(Identity {
                device: 0,
                inode: 0,
            }));
        }
        self.files()
            .get(name)
            .map(StorageFile::identity)
            .transpose()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _name: &str, _holder: &str) -> Result<Guard, LockError> {
        Ok(Box::new(()))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl StorageFile for File {
    fn identity(&self) -> io::Result<Identity> {
        Ok(Identity {
            device: 0,
            inode: Arc::as_ptr(&self.0).addr() as u64,
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let length = buffer.len().min(bytes.len() - start);
        buffer[..length].copy_from_slice(&bytes[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = self.bytes();
        let bytes = Arc::make_mut(&mut bytes);
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let end = start
            .checked_add(length)
            .filter(|end| *end <= FILE_MAX)
            .ok_or(ErrorKind::FileTooLarge)?;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        let mut at = start;
        for part in parts {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        if length <= FILE_MAX as u64 {
            Ok(())
        } else {
            Err(ErrorKind::FileTooLarge.into())
        }
    }

    fn bypass_cache(&self, _bypass: bool) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn forget_cache(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn read_ahead(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }
}

/// No file of a target is as large as that.
const FILE_MAX: usize = 16 << 20;
