//! One file of the journal: a header block, then frames.
//!
//! The file is named by its epoch, twenty digits and `.segment`. An epoch is a life of a file: it is
//! given once in the life of a journal, rising, and stands in every frame. A file is written with zeros
//! to its full size before its first use, and recycled with a new epoch after its last, so no commit
//! ever changes metadata.
//!
//! The header, in the first 64 bytes of a block of 4096, the rest of which is zero:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `HKLS` |
//! | 4 | 2 | format version, 1 |
//! | 6 | 2 | zero |
//! | 8 | 8 | epoch |
//! | 16 | 8 | size of the file |
//! | 24 | 16 | id of the journal |
//! | 40 | 20 | zero |
//! | 60 | 4 | CRC32C of the 60 bytes before |

use super::batch::check_frame;
use super::error::JournalError;
use super::frame::{FrameError, FrameHeader, HEADER_LEN, NUMBER_END};
use super::names::{self, TEMPORARY};
use crate::disk::block::{ALIGNMENT, in_memory, on_disk};
use crate::disk::{self, Access, IoContext, Storage, StorageFile, read_full_at, write_all_at};
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;

/// The random name of a journal, in every segment header and in the manifest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JournalId(pub(crate) [u8; 16]);

impl JournalId {
    /// A new one. It keeps a body from passing for a frame, so nobody may guess it.
    pub(crate) fn random() -> io::Result<JournalId> {
        let mut id = [0; 16];
        // So few bytes come whole or not at all.
        retry_on_intr(|| getrandom(&mut id, GetRandomFlags::empty()))?;
        Ok(JournalId(id))
    }

    /// Takes what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<JournalId> {
        let id = u128::from_str_radix(text, 16).ok()?;
        Some(JournalId(id.to_be_bytes()))
    }

    /// What begins the header checksum of every frame in the segment of this epoch.
    pub(crate) fn salt(self, epoch: u64) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.0), &epoch.to_le_bytes())
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) file: Box<dyn StorageFile>,
    pub(crate) epoch: u64,
    id: JournalId,
    pub(crate) salt: u32,
    /// Bytes of the file, header block included.
    pub(crate) size: u64,
}

impl Segment {
    fn new(file: Box<dyn StorageFile>, id: JournalId, epoch: u64, size: u64) -> Segment {
        Segment {
            file,
            epoch,
            id,
            salt: id.salt(epoch),
            size,
        }
    }

    /// Makes a new file, zeros to its end, durable; its name is with the next change of the manifest.
    pub(crate) fn create(
        storage: &dyn Storage,
        id: JournalId,
        epoch: u64,
        size: u64,
    ) -> Result<Segment, JournalError> {
        Segment::create_paced(storage, id, epoch, size, &mut |_| {})
    }

    /// The same; `pace` is called between two pieces with how many zeros are still to be written, and may wait.
    pub(crate) fn create_paced(
        storage: &dyn Storage,
        id: JournalId,
        epoch: u64,
        size: u64,
        pace: &mut dyn FnMut(u64),
    ) -> Result<Segment, JournalError> {
        check_epoch(epoch)?;
        let temporary = format!("{epoch:020}{TEMPORARY}");
        // One that an attempt before this could not remove would be in the way.
        let _ = storage.remove(&temporary);
        let file = storage
            .create(&temporary)
            .on(storage, "create", &temporary)?;
        let filled = (|| {
            file.allocate(size)?;
            write_header(&*file, id, epoch, size)?;
            write_zeros(&*file, HEADER_BLOCK..size, pace)?;
            file.sync_all()
        })();
        if let Err(error) = filled {
            // Gives back the space that there was. What cannot be removed now is at the next start.
            let _ = storage.remove(&temporary);
            return Err(disk::Error::on(storage, "fill", &temporary, error).into());
        }
        settle(storage, &temporary, epoch)?;
        Ok(Segment::new(file, id, epoch, size))
    }

    /// Gives a file that was set aside a new life. `None` if it has another size, and is then gone.
    pub(crate) fn recycle(
        storage: &dyn Storage,
        spare: &str,
        id: JournalId,
        epoch: u64,
        size: u64,
    ) -> Result<Option<Segment>, JournalError> {
        check_epoch(epoch)?;
        let file = storage
            .open(spare, Access::Write)
            .on(storage, "open", spare)?;
        let length = file.length().on(storage, "read", spare)?;
        if length != size {
            storage.remove(spare).on(storage, "remove", spare)?;
            return Ok(None);
        }
        write_header(&*file, id, epoch, size)
            .and_then(|()| file.sync_data())
            .on(storage, "write", spare)?;
        settle(storage, spare, epoch)?;
        Ok(Some(Segment::new(file, id, epoch, size)))
    }

    /// Opens a segment and checks that it is what its name says.
    pub(crate) fn open(
        storage: &dyn Storage,
        access: Access,
        id: JournalId,
        epoch: u64,
    ) -> Result<Segment, JournalError> {
        let name = names::segment(epoch);
        let file = storage
            .open(&name, access)
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => JournalError::SegmentMissing {
                    path: storage.describe(&name),
                    first_sequence: 0,
                },
                _ => disk::Error::on(storage, "open", &name, error).into(),
            })?;
        let mut header = [0; HEADER_LEN];
        let length = read_full_at(&*file, &mut header, 0)
            .and_then(|_| file.length())
            .on(storage, "read", &name)?;
        let size = decode_header(&header, id, epoch).map_err(|reason| match reason {
            NEWER => JournalError::Newer {
                path: storage.describe(&name),
            },
            reason => JournalError::SegmentHeader {
                path: storage.describe(&name),
                reason,
            },
        })?;
        if size != length {
            return Err(JournalError::SegmentHeader {
                path: storage.describe(&name),
                reason: "its length is not what its header says",
            });
        }
        Ok(Segment::new(file, id, epoch, size))
    }

    /// Opens a segment whose header block or length is not what it should be, to look for its frames.
    /// One block is added to its end, where what is missing can be noted. `None` if it is not there.
    pub(crate) fn adopt(
        storage: &dyn Storage,
        access: Access,
        id: JournalId,
        epoch: u64,
    ) -> Result<Option<Segment>, JournalError> {
        let name = names::segment(epoch);
        let file = match storage.open(&name, access) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.on(storage, "open", &name)?,
        };
        let length = file.length().on(storage, "read", &name)?;
        let alignment = on_disk(ALIGNMENT);
        let size = length.max(HEADER_BLOCK).next_multiple_of(alignment) + alignment;
        Ok(Some(Segment::new(file, id, epoch, size)))
    }

    /// Gives a segment that was adopted the header and the length that it should have.
    pub(crate) fn mend(&self) -> io::Result<()> {
        let length = self.file.length()?.max(HEADER_BLOCK);
        let missing = length.next_multiple_of(on_disk(ALIGNMENT))..self.size;
        write_zeros(&*self.file, missing, &mut |_| {})?;
        let unaligned = length % on_disk(ALIGNMENT);
        if unaligned > 0 {
            let zeros = vec![0; ALIGNMENT - in_memory(unaligned)];
            write_all_at(&*self.file, &mut [IoSlice::new(&zeros)], length)?;
        }
        write_header(&*self.file, self.id, self.epoch, self.size)?;
        self.file.sync_all()
    }

    /// Whose segment a file says that it is, and its size by that; `None` without a whole header.
    pub(crate) fn claim(storage: &dyn Storage, name: &str) -> Option<(JournalId, u64, u64)> {
        let file = storage.open(name, Access::Read).ok()?;
        let mut header = [0; HEADER_LEN];
        read_full_at(&*file, &mut header, 0).ok()?;
        let id = JournalId(*header.get(24..)?.first_chunk()?);
        let epoch = u64::from_le_bytes(*header.get(8..)?.first_chunk()?);
        let size = decode_header(&header, id, epoch).ok()?;
        Some((id, epoch, size))
    }

    /// The frame header at `offset`, if one of this segment stands there whose frame ends within it.
    pub(crate) fn header_at(&self, offset: u64) -> io::Result<Result<FrameHeader, FrameError>> {
        let mut header = [0; HEADER_LEN];
        if offset >= self.size || read_full_at(&*self.file, &mut header, offset)? < HEADER_LEN {
            return Ok(Err(FrameError::Magic));
        }
        Ok(self.check_header(&header, offset))
    }

    /// The frame at `offset`, read into `buffer` and checked whole.
    pub(crate) fn frame_at(
        &self,
        offset: u64,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Result<FrameHeader, FrameError>> {
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        self.read(offset, &header, buffer)?;
        // The salt says that the bytes are of this epoch, also if they changed between the two reads.
        Ok(check_frame(buffer, self.salt))
    }

    /// Reads the frame with this header at `offset`, unchecked.
    pub(crate) fn read(
        &self,
        offset: u64,
        header: &FrameHeader,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.clear();
        buffer.resize(header.len(), 0);
        let read = read_full_at(&*self.file, buffer, offset)?;
        buffer.truncate(read);
        Ok(())
    }

    /// Checks what only the segment can know about a header at `offset`.
    pub(crate) fn check_header(
        &self,
        bytes: &[u8; HEADER_LEN],
        offset: u64,
    ) -> Result<FrameHeader, FrameError> {
        let header = match FrameHeader::decode(bytes, self.salt) {
            // A leftover of a former life is whole under the salt of that life; anything else was torn.
            Err(FrameError::HeaderChecksum) => {
                let salt = self.id.salt(FrameHeader::claimed_epoch(bytes));
                let leftover = FrameHeader::decode(bytes, salt);
                return Err(match leftover {
                    Ok(header) if header.epoch < self.epoch => FrameError::Epoch(header.epoch),
                    _ => FrameError::HeaderChecksum,
                });
            }
            result => result?,
        };
        // The salt is that of the epoch, so a header that passes under it is of this one.
        if on_disk(header.padded_len()) > self.size - offset {
            Err(FrameError::Header)
        } else {
            Ok(header)
        }
    }
}

/// Bytes before the first frame.
pub(crate) const HEADER_BLOCK: u64 = 4096;

fn check_epoch(epoch: u64) -> Result<(), JournalError> {
    if epoch < NUMBER_END {
        Ok(())
    } else {
        Err(JournalError::UsedUp)
    }
}

/// Writes zeros to a range that begins and ends with multiples of [`ALIGNMENT`]. Past the cache where the file system
/// can: that costs a fifth of the time, and the cache keeps what is read again. Elsewhere it is synced as it goes, so
/// that no flood of dirty pages stands before a commit.
fn write_zeros(
    file: &dyn StorageFile,
    Range { start, end }: Range<u64>,
    pace: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let length = in_memory(end.saturating_sub(start).min(on_disk(ZEROS)));
    let buffer = vec![0; length + ALIGNMENT];
    let aligned = buffer.as_ptr().align_offset(ALIGNMENT);
    let zeros = buffer.get(aligned..aligned + length).unwrap_or_default();
    let mut direct = file.bypass_cache(true).is_ok();
    let (mut at, mut unsynced) = (start, 0);
    while at < end {
        let length = on_disk(zeros.len()).min(end - at);
        let piece = zeros.get(..in_memory(length)).unwrap_or_default();
        match write_all_at(file, &mut [IoSlice::new(piece)], at) {
            // Some file systems take the flag and refuse the write.
            Err(error) if direct && error.kind() == ErrorKind::InvalidInput => {
                file.bypass_cache(false)?;
                direct = false;
                write_all_at(file, &mut [IoSlice::new(piece)], at)?;
            }
            result => result?,
        }
        at += length;
        unsynced += length;
        if !direct && unsynced >= UNSYNCED_ZEROS_MAX {
            file.sync_data()?;
            unsynced = 0;
        }
        if at < end {
            pace(end - at);
        }
    }
    if direct {
        file.bypass_cache(false)
    } else {
        Ok(())
    }
}

/// Gives a segment that is whole its name; durable once the manifest lists it, which syncs the directory first.
fn settle(storage: &dyn Storage, from: &str, epoch: u64) -> Result<(), disk::Error> {
    storage
        .rename(from, &names::segment(epoch))
        .on(storage, "rename", from)
}

fn write_header(file: &dyn StorageFile, id: JournalId, epoch: u64, size: u64) -> io::Result<()> {
    let mut block = [0; ALIGNMENT];
    let fields: [&[u8]; 6] = [
        &MAGIC,
        &VERSION.to_le_bytes(),
        &[0; 2],
        &epoch.to_le_bytes(),
        &size.to_le_bytes(),
        &id.0,
    ];
    let checksummed = fields.concat().into_iter().chain([0; 20]);
    for (byte, value) in block.iter_mut().zip(checksummed) {
        *byte = value;
    }
    let (checksummed, rest) = block.split_at_mut(HEADER_LEN - 4);
    let crc = crc32c::crc32c(checksummed).to_le_bytes();
    if let Some(place) = rest.first_chunk_mut() {
        *place = crc;
    }
    write_all_at(file, &mut [IoSlice::new(&block)], 0)
}

/// Gives the size of the segment.
fn decode_header(bytes: &[u8; HEADER_LEN], id: JournalId, epoch: u64) -> Result<u64, &'static str> {
    let (checksummed, crc) = bytes.split_last_chunk::<4>().ok_or("it has no header")?;
    let field8 = |at: usize| {
        let field = checksummed.get(at..).and_then(<[u8]>::first_chunk::<8>);
        field.copied().map(u64::from_le_bytes)
    };
    if !bytes.starts_with(&MAGIC) {
        Err("it has no header")
    } else if crc32c::crc32c(checksummed).to_le_bytes() != *crc {
        Err("its header checksum does not match")
    } else if checksummed.get(4..6) != Some(&VERSION.to_le_bytes()) {
        Err(NEWER)
    } else if checksummed.get(24..40) != Some(&id.0) {
        Err("it belongs to another journal")
    } else if field8(8) != Some(epoch) {
        Err("its epoch is not that of its name")
    } else {
        field8(16).ok_or("it has no header")
    }
}

const MAGIC: [u8; 4] = *b"HKLS";
const VERSION: u16 = 1;
const NEWER: &str = "it was written by a newer version";
/// Bytes of zeros in one write. A commit may have to wait for as much.
const ZEROS: usize = 256 << 10;

/// Bytes of zeros between two syncs, where it takes these.
const UNSYNCED_ZEROS_MAX: u64 = 1 << 20;
