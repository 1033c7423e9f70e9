//! File systems of a test's own: a small one in an image file, whose power can be cut, and a tmpfs that fills up.
//!
//! Both need root, and a kernel and a machine that let it mount. Where that is not so, a line says so and the test is
//! skipped. What was mounted is unmounted, also when a test fails.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use super::eventually;
use rustix::ioctl::{Setter, ioctl};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file system that is mounted at a directory.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
    /// The arguments of `mount` to mount it again, without the directory.
    arguments: Vec<String>,
    is_there: bool,
}

/// How `EXT4_IOC_SHUTDOWN` ends a file system (fs/ext4/ioctl.c).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Cut {
    /// What was written so far is flushed first: only what comes after is lost.
    Flushed = 0,
    /// The journal of the file system is flushed, data that was not written back is lost.
    LogFlushed = 1,
    /// Nothing is flushed: as when the plug is pulled.
    Hard = 2,
}

impl Mounted {
    /// An ext4 with this many bytes, in the file `image`.
    pub(crate) fn ext4(image: &Path, at: &Path, bytes: u64) -> Option<Mounted> {
        make("ext4", image, bytes)?;
        Mounted::on_loop("ext4", image, at)
    }

    /// The file system of this type in the file `image`.
    pub(crate) fn on_loop(kind: &str, image: &Path, at: &Path) -> Option<Mounted> {
        let image = image.to_str().expect("UTF-8");
        let arguments = ["-t", kind, "-o", "loop", image].map(str::to_owned);
        Mounted::mount(at, arguments.into())
    }

    /// A tmpfs with room for this many bytes.
    pub(crate) fn tmpfs(at: &Path, bytes: u64) -> Option<Mounted> {
        if !may_mount() {
            return None;
        }
        let size = format!("size={bytes}");
        let arguments = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(str::to_owned);
        Mounted::mount(at, arguments.into())
    }

    fn mount(at: &Path, arguments: Vec<String>) -> Option<Mounted> {
        fs::create_dir_all(at).expect("the directory can be made");
        let mut mounted = Mounted {
            at: at.to_owned(),
            arguments,
            is_there: false,
        };
        let output = mounted.mount_again();
        if output.status.success() {
            Some(mounted)
        } else {
            skipped("mount", &String::from_utf8_lossy(&output.stderr))
        }
    }

    fn mount_again(&mut self) -> Output {
        let mut command = Command::new("mount");
        let output = command.args(&self.arguments).arg(&self.at).output();
        let output = output.expect("mount is there");
        self.is_there |= output.status.success();
        output
    }

    /// Cuts the power of an ext4: from here on everything that asks the device gets EIO.
    pub(crate) fn cut_power(&self, how: Cut) -> io::Result<()> {
        let directory = File::open(&self.at)?;
        #[expect(unsafe_code, reason = "an ioctl is what its number makes of it")]
        // SAFETY: EXT4_IOC_SHUTDOWN reads one u32 from the address that it is given, which Setter keeps alive.
        unsafe {
            ioctl(
                &directory,
                Setter::<EXT4_IOC_SHUTDOWN, u32>::new(how as u32),
            )?;
        }
        Ok(())
    }

    /// Takes it away and mounts it again, as after the power has returned. Nothing may use it.
    pub(crate) fn remount(&mut self) {
        self.unmount();
        self.mount_back();
    }

    /// Takes it away. Nothing may use it.
    pub(crate) fn unmount(&mut self) {
        // What another test starts has a copy of all that is open here, for a moment.
        eventually("nothing uses it", || umount(&[], &self.at).status.success());
        self.is_there = false;
    }

    /// Mounts it again.
    pub(crate) fn mount_back(&mut self) {
        let output = self.mount_again();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The loop device goes with its mount. Something of a test that failed may still be there: then it goes as
        // soon as that does.
        if self.is_there && !umount(&[], &self.at).status.success() {
            umount(&["-l"], &self.at);
        }
    }
}

/// Makes an empty file system of this type with this many bytes, in the file `image`.
pub(crate) fn make(kind: &str, image: &Path, bytes: u64) -> Option<()> {
    if !may_mount() {
        return None;
    }
    let file = File::create(image).expect("the image can be made");
    file.set_len(bytes).expect("and has a length");
    let program = format!("mkfs.{kind}");
    let force = if kind == "ext4" { "-F" } else { "-f" };
    let output = Command::new(&program)
        .args(["-q", force])
        .arg(image)
        .output();
    match output {
        Ok(output) if output.status.success() => Some(()),
        other => skipped(&program, &format!("{other:?}")),
    }
}

fn umount(arguments: &[&str], at: &Path) -> Output {
    let mut command = Command::new("umount");
    command
        .args(arguments)
        .arg(at)
        .output()
        .expect("umount is there")
}

fn may_mount() -> bool {
    let may = rustix::process::geteuid().is_root();
    if !may {
        eprintln!("skipped: only root may mount");
    }
    may
}

pub(crate) fn skipped<T>(what: &str, why: &str) -> Option<T> {
    eprintln!("skipped: {what} does not work here: {}", why.trim());
    None
}

/// `_IOR('X', 125, __u32)`
const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
