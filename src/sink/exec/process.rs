//! A child process in a group of its own, whose end can be waited for together with its pipes.

use super::Program;
use crate::children::{self, Awaited};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs, or has ended and was not reaped. Dropped, its group is killed and it is reaped.
#[derive(Debug)]
pub(super) struct Process {
    /// Its pipes are to be taken from here.
    pub(super) child: Child,
    pid: Pid,
    end: OwnedFd,
    reaped: bool,
    /// Goes after it was reaped.
    _awaited: Awaited,
}

impl Process {
    /// Starts it with piped input and error output. Beside the variables that it inherits it has those.
    pub(super) fn start(
        program: &Program,
        variables: &[(&str, &str)],
        stdout: Stdio,
    ) -> io::Result<Process> {
        let (name, arguments) = program
            .command
            .split_first()
            .ok_or(io::ErrorKind::InvalidInput)?;
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(name);
        command
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .envs(program.variables.iter())
            .env("HOOKLINE_SINK", &program.sink)
            .envs(variables.iter().copied())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped());
        let (mut child, awaited) = children::spawn(&mut command)?;
        let pid = Pid::from_child(&child);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(end) => Ok(Process {
                child,
                pid,
                end,
                reaped: false,
                _awaited: awaited,
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Readable once it has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// Waits for its end, at most for so long.
    pub(super) fn has_ended_within(&self, time: Duration) -> io::Result<bool> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
            wait(&mut fds, left)?;
            if !fds[0].revents().is_empty() {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Ends its group, first kindly, and after `patience` otherwise.
    pub(super) fn terminate(&mut self, patience: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.has_ended_within(patience)?;
        // What it has started may not have listened. As long as it is not reaped, the group is no other one.
        self.signal(Signal::KILL);
        self.reap()
    }

    /// Its exit status, once it has ended.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }

    pub(super) fn signal(&self, signal: Signal) {
        // A group that is not there any more is what is wanted.
        let _ = kill_process_group(self.pid, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Waits until one of these is ready, or so much time has passed, or a signal came.
pub(super) fn wait(fds: &mut [PollFd<'_>], time: Duration) -> io::Result<()> {
    // A day is as good as any longer time.
    let time = time.min(Duration::from_hours(24));
    let time = Timespec::try_from(time).map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(fds, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reading from and writing to it does not wait from now on.
pub(super) fn unblock(pipe: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

/// Reads what is there from a pipe that does not wait, at most [`READ_MAX`]; at its end the pipe is dropped.
pub(super) fn read_some(pipe: &mut Option<impl Read>, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    let mut count = 0;
    while let Some(open) = pipe
        && count < READ_MAX
    {
        match open.read(&mut buffer) {
            Ok(0) => *pipe = None,
            Ok(len) => {
                count += len;
                take(&buffer[..len]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => *pipe = None,
        }
    }
}

/// Variables that a program has from the server, if the server has them.
pub const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// What a pipe holds at most, by default.
const READ_MAX: usize = 64 * 1024;
