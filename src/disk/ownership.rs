//! Who owns what is made in a directory, and who may read it.
//!
//! A verb may be run by root beside a server of another user, which has to read and replace what the verb leaves there.
//! So whatever is made in a directory gets the owner and the group of that directory, as far as the process may give
//! it away, and its group may read it where the group may read the directory. Nobody else ever may: what is stored is
//! other people's messages.

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
use rustix::process::geteuid;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

/// A file just made in `directory` gets its look.
pub(super) fn give_to_file(file: &File, directory: &File) -> io::Result<()> {
    let wanted = directory.metadata()?;
    let mode = FILE_MODE | wanted.mode() & GROUP_READS;
    give(file, &wanted, mode)
}

/// Makes a directory that looks like the one that it is made in; one that is there stays as it is.
pub(super) fn make_directory(path: &Path, within: &Path) -> io::Result<()> {
    let wanted = File::open(within)?.metadata()?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    let mode = DIRECTORY_MODE | wanted.mode() & GROUP_AND_ITS_BIT;
    give(&File::open(path)?, &wanted, mode)?;
    File::open(within)?.sync_all()
}

fn give(file: &File, wanted: &Metadata, mode: u32) -> io::Result<()> {
    let is = file.metadata()?;
    let owner = (geteuid().is_root() && is.uid() != wanted.uid()).then(|| wanted.uid());
    let group = (is.gid() != wanted.gid()).then(|| wanted.gid());
    if owner.is_some() || group.is_some() {
        // Where a process may not, as in some containers and on some networks, its own user reads what it makes.
        let _ = fchown(file, owner.map(Uid::from_raw), group.map(Gid::from_raw));
    }
    // Behind the owner, whose change takes some of the bits; and whatever the umask was.
    if file.metadata()?.mode() & MODE_BITS != mode {
        fchmod(file, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// For the owner alone, or for the group as well.
pub(super) const FILE_MODE: u32 = 0o600;
pub(super) const DIRECTORY_MODE: u32 = 0o700;

const GROUP_READS: u32 = 0o040;

/// What the group may, and that what is made in it has the same group.
const GROUP_AND_ITS_BIT: u32 = 0o2070;

const MODE_BITS: u32 = 0o7777;
