//! Processes that are started, and what they leave behind.
//!
//! Process 1 of a container, and a process that is a subreaper, inherits what its children have started and left. When
//! that ends it stays a zombie until somebody asks for its status, and zombies use up process numbers.
//! [`look_after_orphans`] asks once a second, and never for the status of a child that somebody waits for: those are
//! started by [`spawn`], and known before they can have ended. What else has ended is left for a second, for whoever
//! started it otherwise and waits for it.

use parking_lot::{Mutex, RwLock};
use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, waitid};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// Starts a child whose status is left to whoever has this. Dropped, it is nobody's any more: after `Child::wait`.
#[derive(Debug)]
pub struct Awaited(Pid);

/// Starts a program. The child is to be waited for before the other is dropped.
pub fn spawn(command: &mut Command) -> io::Result<(Child, Awaited)> {
    // From the fork until it is known.
    let _starting = STARTING.read();
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    AWAITED.lock().insert(pid.as_raw_pid());
    Ok((child, Awaited(pid)))
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.lock().remove(&self.0.as_raw_pid());
    }
}

/// Starts a thread that lets what was inherited go when it has ended. Does nothing in a process that inherits nothing.
pub fn look_after_orphans() -> io::Result<()> {
    let subreaper = child_subreaper().is_ok_and(|signal| signal.is_some());
    if !getpid().is_init() && !subreaper {
        return Ok(());
    }
    let look = || {
        let mut seen = BTreeSet::new();
        loop {
            thread::sleep(LOOK_INTERVAL);
            seen = reap_orphans(&seen);
        }
    };
    let thread = thread::Builder::new().name("hl-reap".to_owned());
    thread.spawn(look).map(drop)
}

/// Takes the status of every child that had ended at the last look and that nobody waits for; gives those that have
/// ended by now.
fn reap_orphans(seen: &BTreeSet<i32>) -> BTreeSet<i32> {
    // Cheap, and almost always all that there is to it.
    let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, any), Ok(Some(_))) {
        return BTreeSet::new();
    }
    let _nobody_starts = STARTING.write();
    let awaited = AWAITED.lock().clone();
    let mut ended: BTreeSet<i32> = zombies().into_iter().collect();
    ended.retain(|pid| !awaited.contains(pid));
    for pid in ended.intersection(seen) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Some(pid) = Pid::from_raw(*pid) {
            // One that somebody else was quicker to wait for is gone as well.
            let _ = waitid(WaitId::Pid(pid), options);
        }
    }
    ended
}

/// The children of this process that have ended, by the numbers that it knows them by itself. `/proc` may be that of a
/// namespace above, where it was not mounted anew for process 1, and has other numbers.
fn zombies() -> Vec<i32> {
    let link = fs::read_link("/proc/self").unwrap_or_default();
    let Some(shown) = link.to_str().and_then(|link| link.parse::<i32>().ok()) else {
        return Vec::new();
    };
    // How far below the namespace of `/proc` this one is.
    let depth = (shown != getpid().as_raw_pid()).then(|| numbers_of(shown).len());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_zombie = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `PID (NAME) STATE PARENT ...`, and a name may hold anything.
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
        rest.is_some_and(|rest| rest.starts_with(&format!("Z {shown} ")))
    };
    let own = |pid: i32| match depth {
        None => Some(pid),
        Some(depth) => numbers_of(pid).get(depth.checked_sub(1)?).copied(),
    };
    all.filter(is_zombie).filter_map(own).collect()
}

/// The numbers of a process in its namespaces, from that of `/proc` on down.
fn numbers_of(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers = line.into_iter().flat_map(str::split_whitespace);
    numbers.filter_map(|number| number.parse().ok()).collect()
}

static STARTING: RwLock<()> = RwLock::new(());
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Only this one child is looked at: other tests of this process have children of their own, which they do not
    /// start here.
    #[test]
    fn a_child_that_is_awaited_stays_a_zombie_until_then() {
        let (mut child, awaited) = spawn(&mut Command::new("true")).expect("there is one");
        let pid = Pid::from_child(&child).as_raw_pid();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !zombies().contains(&pid) {
            assert!(Instant::now() < deadline, "it ends");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(AWAITED.lock().contains(&pid));
        assert!(child.wait().expect("its status is there").success());
        drop(awaited);
        assert!(!AWAITED.lock().contains(&pid) && !zombies().contains(&pid));
    }
}
