//! What each maker is at, for the next start to find if this process does not come to the end of it.

use crate::disk::{self, Access, Storage, StorageFile, write_all_at};
use parking_lot::Mutex;
use std::io::{self, ErrorKind, IoSlice};

/// The file of marks. Written and not synced: what was written outlives the process, and a machine that loses power
/// was not ended by a body.
#[derive(Debug)]
pub(crate) struct Marks {
    file: Box<dyn StorageFile>,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// How many were ever needed at the same time.
    count: u64,
    /// Those of them that nobody has now.
    free: Vec<u64>,
}

impl Marks {
    /// Opens the file, and gives what the makers of the process before this one were at when it ended.
    pub(crate) fn open(storage: &dyn Storage) -> io::Result<(Marks, Vec<(u64, u64)>)> {
        let file = match storage.open(MARKS, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => storage.create(MARKS)?,
            file => file?,
        };
        let mut bytes = vec![0; usize::try_from(file.length()?.min(LENGTH_MAX)).unwrap_or(0)];
        let length = disk::read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(length);
        let found = bytes.chunks_exact(MARK_LEN).filter_map(decode).collect();
        let places = Mutex::default();
        Ok((Marks { file, places }, found))
    }

    /// Nobody is at anything. The places of the makers to come are there before they are needed.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let length = usize::try_from(self.file.length()?.min(LENGTH_MAX)).unwrap_or(0);
        let zeros = vec![0; length.max(MAKERS * MARK_LEN)];
        write_all_at(&*self.file, &mut [IoSlice::new(&zeros)], 0)
    }

    /// A place for one maker, which gives it [back](Marks::give_back).
    pub(crate) fn take(&self) -> u64 {
        let mut places = self.places.lock();
        if let Some(place) = places.free.pop() {
            return place;
        }
        places.count += 1;
        places.count - 1
    }

    pub(crate) fn give_back(&self, place: u64) {
        self.write(place, 0, 0);
        self.places.lock().free.push(place);
    }

    /// The maker with this place is at these sequences; at nothing with zeros.
    pub(crate) fn write(&self, place: u64, first: u64, last: u64) {
        let mark = encode(first, last);
        // Nothing depends on it unless something else is wrong.
        let _ = write_all_at(
            &*self.file,
            &mut [IoSlice::new(&mark)],
            place * MARK_LEN as u64,
        );
    }
}

fn encode(first: u64, last: u64) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    mark[..8].copy_from_slice(&first.to_le_bytes());
    mark[8..16].copy_from_slice(&last.to_le_bytes());
    let checksum = crc32c::crc32c(&mark[..16]);
    mark[16..20].copy_from_slice(&checksum.to_le_bytes());
    mark
}

/// What a maker was at; `None` if it was at nothing.
fn decode(mark: &[u8]) -> Option<(u64, u64)> {
    let field = |at: usize| Some(u64::from_le_bytes(*mark.get(at..)?.first_chunk()?));
    let (first, last) = (field(0)?, field(8)?);
    let is_one = first > 0 && first <= last && encode(first, last) == *mark;
    is_one.then_some((first, last))
}

const MARKS: &str = "marks";

/// Bytes of a mark: 16 for its sequences, 4 for their checksum, 4 zeros.
const MARK_LEN: usize = 24;

/// Places that the file has from the begin; with more makers it grows.
const MAKERS: usize = 256;

/// Most bytes that are read of the file.
const LENGTH_MAX: u64 = 8 << 20;
