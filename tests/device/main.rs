//! What a 200 means when the power goes, on a disk of our own: one that keeps what it is asked to write in a cache
//! until it is asked to flush, and of which a cut leaves what any disk may leave.
//!
//! A server, with its journal, its cursors and the files of a sink, stands on a file system on a loop device on a disk
//! that this process is ([`fuse`], [`plate`]). Under load the power is cut at the n-th write or flush from some moment
//! on. Then come the disks that this cut may have left: everything before the last flush, and of what was written after
//! it nothing, everything, or any part, out of order and torn within a write. Each of them is mounted, a server starts
//! on it, and everything that was answered with 200 before the cut is in the journal, byte for byte, in order, once; a
//! cursor promises no more than the files of the sink have; and in the end they have each event once and in order.
//!
//! Some faults are there to be found by this, each time: a disk that does not flush, a server that leaves out a sync.
//! That of a directory alone is not among them: these file systems make a name durable with what is synced next.
//!
//! `HOOKLINE_DEVICE_CUTS` says how many cuts each file system gets ([`CUTS`]), each with [`DISKS`] disks. It needs
//! root, `/dev/fuse`, loop devices and `mkfs.ext4`, `mkfs.xfs` and `mkfs.btrfs`, and is skipped with a line where they
//! are missing. Everything is mounted for one thread and what it starts alone, and gone with them, `kill -9` or not.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

#[path = "../common/mod.rs"]
mod common;
mod fuse;
mod plate;
mod stall;

use common::delivered::{FileSink, exactly_once};
use common::disk::{self, Mounted, skipped};
use common::load::{self, Load, Tally, Trace, check, stored};
use common::strace::Strace;
use common::{Running, Site, eventually, number_from_env};
use fuse::Served;
use plate::{Disk, Kept, Plate, Random};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

/// Cuts of each file system in the default run.
const CUTS: usize = 2;

/// Disks for each cut.
const DISKS: usize = 3;

/// Cuts of one journal; then a new one begins, so that its reading does not take longer and longer.
const CUTS_EACH: usize = 5;

/// What xfs wants at least, and more.
const DISK_LEN: u64 = 320 << 20;

/// Answers before the n-th write or flush from which on the power is cut.
const ACCEPTED_MAX: usize = 1000;

/// The n is below a power of two, and that below this one: near is as likely as far.
const NTH_BITS: usize = 10;

/// Most writes in the cache that a cut waits for.
const CACHED_MAX: usize = 8;

/// Where a file system expects that what it writes comes whole: a checksum over several sectors that are overwritten in
/// place, and without which it cannot be mounted.
const EXT4_SUPERBLOCK: Range<usize> = 0..4096;
const XFS_SUPERBLOCK: Range<usize> = 0..512;
const BTRFS_SUPERBLOCK: Range<usize> = (64 << 10)..(68 << 10);

/// A server on a file system on a disk whose power can be cut.
struct Machine {
    // In the order in which they have to go.
    mounted: Mounted,
    served: Served,
    site: Site,
    sink: FileSink,
    whole: Range<usize>,
    random: Random,
    _directory: tempfile::TempDir,
}

impl Machine {
    fn new(kind: &str, seed: u64) -> Option<Machine> {
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("empty");
        disk::make(kind, &image, DISK_LEN)?;
        own_mounts()?;
        let disk = Disk::new(contents(&image));
        let served = match Served::start(disk, DISK_LEN, &directory.path().join("disk")) {
            Ok(served) => served,
            Err(why) => return skipped("fuse", &why),
        };
        let site = load::site("stored");
        let mounted = Mounted::on_loop(kind, served.path(), site.path())?;
        let events = site.path().join("events");
        fs::create_dir(&events).expect("made");
        let here = File::open(site.path()).and_then(|directory| directory.sync_all());
        here.expect("and stays");
        let (site, sink) = FileSink::add_with(site, &events, "rotate_size = \"256KiB\"");
        Some(Machine {
            mounted,
            served,
            site,
            sink,
            whole: match kind {
                "ext4" => EXT4_SUPERBLOCK,
                "xfs" => XFS_SUPERBLOCK,
                _ => BTRFS_SUPERBLOCK,
            },
            random: Random(seed),
            _directory: directory,
        })
    }

    /// Any time to cut the power.
    fn any_moment(&mut self) -> Moment {
        let bits = self.random.below(NTH_BITS);
        Moment {
            accepted: 1 + self.random.below(ACCEPTED_MAX),
            nth: 1 + self.random.below(1 << bits),
            cached: self.random.below(2) * self.random.below(CACHED_MAX + 1),
        }
    }

    /// Loads a server until the disk has no power any more, and takes the disk away.
    fn run_until(&mut self, moment: &Moment, mut server: Running, round: usize) -> Traces {
        let load = Load::start(&server, "/in", round);
        load.reach_accepted(moment.accepted);
        self.served.disk().cut_at(moment.nth, moment.cached);
        eventually("the power is cut", || self.served.disk().is_cut());
        // Nobody has to tell it.
        let (status, stderr) = server.wait();
        assert_eq!(status.code(), Some(1), "{stderr}");
        self.mounted.unmount();
        load.end().into_iter().collect()
    }

    /// Mounts what the cut has left, and lets a server start there and finish what is to be done.
    fn look(&mut self, left: Plate, traces: &Traces) -> Tally {
        *self.served.disk() = Disk::new(left);
        self.mounted.mount_back();
        self.sink.check_cursor();
        let (status, stderr) = self.site.start().terminate();
        assert_eq!(status.code(), Some(0), "{stderr}");
        self.site.verify();
        let tally = check(&stored(&self.site), traces);
        let records = self.site.records();
        self.sink.check_whole(&records, 1);
        exactly_once(&records, &self.sink.path);
        tally
    }
}

/// When the power is cut.
struct Moment {
    /// After so many answers with 200,
    accepted: usize,
    /// at the n-th write or flush from then on,
    nth: usize,
    /// and with so many writes in the cache, if that comes soon.
    cached: usize,
}

type Traces = HashMap<String, Trace>;

/// Cuts, and for each of them several disks that it may have left.
fn survives_cuts_on(kind: &str) {
    let cuts = number_from_env("HOOKLINE_DEVICE_CUTS", CUTS);
    let (mut tally, mut disks, mut cached) = (Tally::default(), 0, 0);
    for first in (0..cuts).step_by(CUTS_EACH) {
        let seed = u64::from(std::process::id()) << 32 | first as u64;
        let Some(mut machine) = Machine::new(kind, seed) else {
            return;
        };
        let mut traces = Traces::new();
        let mut so_far = Tally::default();
        for round in first..cuts.min(first + CUTS_EACH) {
            let moment = machine.any_moment();
            let server = machine.site.start();
            traces.extend(machine.run_until(&moment, server, round));
            let cut = machine.served.disk().clone();
            cached += cut.cached();
            for number in 0..DISKS {
                if number > 0 {
                    machine.mounted.unmount();
                }
                let kept = Kept::ALL[disks % Kept::ALL.len()];
                eprintln!("{kind}, cut {round}: {kept:?} of {} writes", cut.cached());
                let left = cut.remains(kept, &machine.whole, &mut machine.random);
                so_far = machine.look(left, &traces);
                disks += 1;
            }
        }
        tally.acknowledged += so_far.acknowledged;
        tally.refused += so_far.refused;
        tally.kept += so_far.kept;
    }
    eprintln!("{cuts} power cuts, {disks} disks, {kind}: {tally:?}, {cached} writes not flushed");
}

/// A fault that each cut has to find: `plant` makes it, and what it gives is kept while the server runs. The power goes
/// after so many answers, and what is said then has some of these words.
fn is_found<T>(
    (what, words): (&str, &[&str]),
    (accepted, kept): (usize, Kept),
    plant: impl Fn(&Machine, &Running) -> Option<T>,
) {
    let cuts = number_from_env("HOOKLINE_DEVICE_CUTS", CUTS);
    for round in 0..cuts {
        let Some(mut machine) = Machine::new("ext4", round as u64) else {
            return;
        };
        let server = machine.site.start();
        let Some(_planted) = plant(&machine, &server) else {
            return;
        };
        let moment = Moment {
            accepted,
            nth: 1,
            cached: 0,
        };
        let traces = machine.run_until(&moment, server, round);
        let cut = machine.served.disk().clone();
        let left = cut.remains(kept, &machine.whole, &mut machine.random);
        let found = catch_unwind(AssertUnwindSafe(|| machine.look(left, &traces)));
        let found = found.expect_err("a loss is seen");
        let text = found.downcast_ref::<String>().expect("an assertion's");
        assert!(words.iter().any(|words| text.contains(words)), "{text}");
    }
    eprintln!("{what}: found in {cuts} of {cuts} cuts");
}

/// What is mounted from here on by this thread is seen by it and by what it starts alone, and gone with them.
fn own_mounts() -> Option<()> {
    #[expect(unsafe_code, reason = "only with FILES can it close what is open")]
    // SAFETY: NEWNS concerns mounts, the current directory and the root of this thread, no descriptors.
    let own = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    if let Err(error) = own {
        return skipped("unshare", &error.to_string());
    }
    let output = Command::new("mount")
        .args(["--make-rprivate", "/"])
        .output();
    match output {
        Ok(output) if output.status.success() => Some(()),
        other => skipped("mount", &format!("{other:?}")),
    }
}

/// What is in a file, as a disk.
fn contents(path: &Path) -> Plate {
    let mut file = File::open(path).expect("there");
    let mut plate = Plate::default();
    let mut piece = vec![0; 64 << 10];
    for at in (0..).step_by(piece.len()) {
        match file.read_exact(&mut piece) {
            Ok(()) if piece.iter().all(|&byte| byte == 0) => {}
            Ok(()) => plate.write(at, &piece),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => panic!("{error}"),
        }
    }
    plate
}

#[test]
fn stored_survives_cuts_on_ext4() {
    survives_cuts_on("ext4");
}

#[test]
fn stored_survives_cuts_on_xfs() {
    survives_cuts_on("xfs");
}

#[test]
fn stored_survives_cuts_on_btrfs() {
    survives_cuts_on("btrfs");
}

/// What the oracle says of a notification that was answered and is not there.
const LOST: &str = "answered and not stored";

/// Before the first roll: of a segment that is full the kernel writes back more than it is asked to.
const EARLY: usize = 50;

/// In the third segment or later, where the first two were made before the fault; and a cursor was saved.
const LATE: usize = 1500;

#[test]
fn a_disk_that_does_not_flush_is_found() {
    let fault = ("a disk that does not flush", &[LOST][..]);
    is_found(fault, (EARLY, Kept::Nothing), |machine, _| {
        machine.served.disk().lie();
        Some(())
    });
}

#[test]
fn a_commit_without_a_sync_is_found() {
    let fault = ("a commit without a sync", &[LOST][..]);
    let not = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:retval=0"];
    is_found(fault, (EARLY, Kept::Everything), |machine, server| {
        Strace::attach_thread(server, "hl-commit", &machine.site, &not)
    });
}

#[test]
fn a_segment_that_is_made_without_a_sync_is_found() {
    // The server does not start, as there is a segment that the manifest should list; or, where nothing else had the
    // file system write its directory, the segment is gone.
    let words = &["manifest is damaged", LOST][..];
    let fault = ("a segment that is made without a sync", words);
    let not = ["-e", "trace=fsync", "-e", "inject=fsync:retval=0"];
    is_found(fault, (LATE, Kept::Nothing), |machine, server| {
        Strace::attach_thread(server, "hl-segment", &machine.site, &not)
    });
}

#[test]
fn a_file_that_is_not_synced_is_found() {
    let fault = ("a file of a sink that is not synced", &["<= cursor"][..]);
    is_found(fault, (LATE, Kept::Everything), |machine, server| {
        // Its cursor is synced by the same thread, and stays. What the file has must not come to the disk without a
        // sync.
        let path = machine.sink.path.to_str().expect("UTF-8");
        let calls = ["-P", path, "-e", "trace=fdatasync,fcntl"];
        let not = ["-e", "inject=fdatasync:retval=0"];
        let cached = ["-e", "inject=fcntl:error=EINVAL"];
        let options = [&calls[..], &not, &cached].concat();
        Strace::attach_thread(server, "hl-sink-file", &machine.site, &options)
    });
}
