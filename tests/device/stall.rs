//! A disk that stalls: nothing is lost by it, and a stop does not wait for it.

use super::common::client::post;
use super::common::disk::skipped;
use super::common::{Guarded, Site, eventually};
use super::fuse::Served;
use super::plate::Disk;
use super::{contents, own_mounts};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

/// The only segment is a file of ours, of which nothing can be read for as long as this holds the disk.
#[test]
fn a_stop_does_not_wait_for_a_recovery_that_stalls() {
    let site = Site::unsigned();
    let server = site.start();
    let mut client = server.connect();
    client.send(&post("/webhook", "", b"stored"));
    assert_eq!(client.answer().code, 200);
    let (status, said) = server.terminate();
    assert!(status.success(), "{said}");

    let segment = site.journal_dir().join("00000000000000000001.segment");
    let aside = site.path().join("segment");
    if own_mounts().is_none() {
        return;
    }
    fs::rename(&segment, &aside).expect("ours");
    let len = fs::metadata(&aside).expect("there").len();
    let device = match Served::start(Disk::new(contents(&aside)), len, &segment) {
        Ok(device) => device,
        Err(why) => return skipped::<()>("fuse", &why).unwrap_or_default(),
    };
    // Whatever happens, the disk answers again before the child is waited for.
    let mut child = Guarded(None);
    let held = device.disk();
    let log = site.path().join("log");
    let mut command = site.command();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&log).expect("made"));
    let running = child.0.insert(command.spawn().expect("the program runs"));
    eventually("the segment is open", || has_open(running.id(), &segment));
    kill_process(Pid::from_child(running), Signal::TERM).expect("it runs");
    // It has come to its end. The system keeps what is left of the process until the disk answers.
    let said = || fs::read_to_string(&log).expect("there");
    eventually("it has stopped", || {
        said().contains("stopped before it ran")
    });
    drop(held);
    eventually("the server ends", || {
        running.try_wait().expect("can be asked").is_some()
    });
    let status = running.wait().expect("it has ended");
    assert_eq!(status.code(), Some(0), "{}", said());

    drop(device);
    fs::rename(&aside, &segment).expect("ours");
    let (status, said) = site.start().terminate();
    assert!(status.success(), "{said}");
    assert_eq!(site.bodies(), [b"stored"]);
    site.verify();
}

fn has_open(pid: u32, path: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.any(|link| link == path)
}
