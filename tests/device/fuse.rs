//! A [`Disk`] as a file that a loop device can stand on: a FUSE file system whose root is that file.
//!
//! The file is opened with `FOPEN_DIRECT_IO`, so no cache lies between: what the loop device is asked to write arrives
//! as WRITE before that is confirmed, and a flush of the loop device arrives as FSYNC once all that it covers was
//! confirmed (the kernel makes one of FUA, too). One thread serves, so what arrives has one order.
//!
//! When that thread ends, however it ends, `/dev/fuse` is closed, and from there on all that asks the disk gets
//! an error: nothing waits for ever. Only what include/uapi/linux/fuse.h needs for this one file is spoken.

use super::plate::Disk;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, Timespec};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// Most bytes of one READ or WRITE; the kernel's own bound without further agreement.
const DATA_MAX: usize = 128 << 10;

/// How often the thread looks whether it is enough.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// A disk that is served at a path.
pub(crate) struct Served {
    at: PathBuf,
    disk: Arc<Mutex<Disk>>,
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves `disk` at `at`, where an empty file is made for it. An error says why that cannot be here.
    pub(crate) fn start(disk: Disk, len: u64, at: &Path) -> Result<Served, String> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open("/dev/fuse")
            .map_err(|error| format!("/dev/fuse: {error}"))?;
        File::create(at).map_err(|error| format!("{}: {error}", at.display()))?;
        let shared = device.try_clone().map_err(|error| error.to_string())?;
        let options = "fd=0,rootmode=100600,user_id=0,group_id=0";
        // The program `mount` would run for fuse is not needed (-i), and may not be there.
        let output = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", options, "hookline-disk"])
            .arg(at)
            .stdin(shared)
            .output();
        match output {
            Ok(output) if output.status.success() => {}
            other => return Err(format!("{other:?}")),
        }
        let disk = Arc::new(Mutex::new(disk));
        let enough = Arc::new(AtomicBool::new(false));
        let mut session = Session {
            device,
            disk: Arc::clone(&disk),
            len,
        };
        let stop = Arc::clone(&enough);
        let serve = move || session.run(&stop);
        Ok(Served {
            at: at.to_owned(),
            disk,
            enough,
            thread: Some(thread::spawn(serve)),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("nobody panics with it")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Lazily: what still stands on it gets errors once the thread has gone.
        let _: io::Result<Output> = Command::new("umount").arg("-l").arg(&self.at).output();
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Session {
    device: File,
    disk: Arc<Mutex<Disk>>,
    len: u64,
}

impl Session {
    fn run(&mut self, enough: &AtomicBool) {
        // A disk must not wait for memory that is to be had by writing to it.
        let _ = rustix::process::configure_io_flusher_behavior(true);
        let mut room = vec![0; DATA_MAX + 4096];
        while !enough.load(Ordering::Relaxed) {
            let _ = poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&LOOK));
            match self.device.read(&mut room) {
                Ok(len) => {
                    if self.answer(&room[..len]).is_err() {
                        return;
                    }
                }
                Err(error) => match error.kind() {
                    // ENOENT: a request was taken back while it was read.
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::NotFound => {}
                    // ENODEV: unmounted, and nobody has it open.
                    _ => return,
                },
            }
        }
    }

    /// `fuse_in_header`, and then what its operation has.
    fn answer(&mut self, request: &[u8]) -> io::Result<()> {
        let (operation, unique) = (u32_at(request, 4), u64_at(request, 8));
        let body = &request[40..];
        let result = match operation {
            FORGET | INTERRUPT | BATCH_FORGET => return Ok(()),
            INIT => Ok(init(body)),
            GETATTR | SETATTR => Ok(self.attributes()),
            OPEN => Ok(Out::new().u64(0).u32(FOPEN_DIRECT_IO).u32(0)),
            READ => self.read(body),
            WRITE => self.write(body),
            FSYNC => match self.disk().flush() {
                Ok(()) => Ok(Out::new()),
                Err(_) => Err(EIO),
            },
            FLUSH | RELEASE | DESTROY => Ok(Out::new()),
            _ => Err(ENOSYS),
        };
        let (error, out) = match result {
            Ok(out) => (0, out),
            Err(error) => (-error, Out::new()),
        };
        let header = Out::new()
            .u32(u32::try_from(16 + out.0.len()).expect("small"))
            .u32(error.cast_unsigned())
            .u64(unique);
        match self
            .device
            .write_vectored(&[IoSlice::new(&header.0), IoSlice::new(&out.0)])
        {
            // Nobody waits for it any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map(|_| ()),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("nobody panics with it")
    }

    /// `fuse_attr_out`, valid for long: a regular file of root's, and its size.
    fn attributes(&self) -> Out {
        let out = Out::new().u64(3600).u64(0);
        let out = out.u64(1).u64(self.len).u64(self.len / 512);
        let out = (0..3).fold(out, |out, _| out.u64(0));
        let out = (0..3).fold(out, |out, _| out.u32(0));
        out.u32(0o100_600)
            .u32(1)
            .u32(0)
            .u32(0)
            .u32(0)
            .u32(4096)
            .u32(0)
    }

    fn read(&self, body: &[u8]) -> Result<Out, i32> {
        let (at, len) = (u64_at(body, 8), u64::from(u32_at(body, 16)));
        let len = len.min(self.len.saturating_sub(at));
        let mut out = Out(vec![0; in_memory(len)]);
        self.disk()
            .read(in_memory(at), &mut out.0)
            .map_err(|_| EIO)?;
        Ok(out)
    }

    fn write(&self, body: &[u8]) -> Result<Out, i32> {
        let (at, len) = (u64_at(body, 8), u32_at(body, 16));
        let bytes = &body[40..][..in_memory(u64::from(len))];
        if at + u64::from(len) > self.len {
            return Err(ENOSPC);
        }
        self.disk().write(in_memory(at), bytes).map_err(|_| EIO)?;
        Ok(Out::new().u32(len).u32(0))
    }
}

/// `fuse_init_out`: as the kernel is, but for no more than version 7.31, and without any of its flags.
fn init(body: &[u8]) -> Out {
    let data_max = u32::try_from(DATA_MAX).expect("small");
    let out = Out::new()
        .u32(7)
        .u32(u32_at(body, 4).min(31))
        .u32(u32_at(body, 8))
        .u32(0)
        .u32(0)
        .u32(data_max)
        .u32(1);
    (0..9).fold(out, |out, _| out.u32(0))
}

/// The body of an answer. Numbers are as the machine has them.
struct Out(Vec<u8>);

impl Out {
    fn new() -> Out {
        Out(Vec::new())
    }

    fn u32(mut self, value: u32) -> Out {
        self.0.extend(value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Out {
        self.0.extend(value.to_ne_bytes());
        self
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(*bytes[at..].first_chunk().expect("the kernel's are whole"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(*bytes[at..].first_chunk().expect("the kernel's are whole"))
}

fn in_memory(value: u64) -> usize {
    usize::try_from(value).expect("64 bits")
}

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;
const FOPEN_DIRECT_IO: u32 = 1;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
