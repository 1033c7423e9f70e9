//! What a 200 means when the data directory is moved, removed or replaced under a running server, or its newest segment
//! is.
//!
//! Writes and syncs into open files go on without an error, so a server once answered 200 for hours for what no start
//! found again. It notices within a second or so: one line that says what happened, 503 for whoever waits or comes, and
//! exit code 1, as with every journal that has failed. What was moved is whole, and goes on where it is put back.

mod common;

use common::load::{self, Load, Trace, check, stored};
use common::{Running, Site, eventually, last_words};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

/// Its next segment is not needed soon.
fn site() -> Site {
    load::site("stored").journal("segment_size = \"16MiB\"")
}

/// Lets something happen to the journal under load, and gives what was answered until the server has ended.
fn ends_of(site: &Site, happens: impl FnOnce(&Path), says: &str) -> HashMap<String, Trace> {
    let mut server: Running = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(100);
    // From here on, no name in the directory changes for a while.
    let manifest = site.journal_dir().join("manifest");
    eventually("the next segment is ready", || {
        fs::read_to_string(&manifest).is_ok_and(|text| text.contains("segment 2 -"))
    });
    happens(&site.journal_dir());
    let (status, stderr) = server.wait();
    assert_eq!(status.code(), Some(1), "{stderr}");
    // The sinks may find out first that there is nothing to be read any more.
    let of_delivery = |line: &&str| line.contains("delivery has stopped");
    let errors = stderr.lines().filter(|line| line.contains("\"ERROR\""));
    assert_eq!(
        errors.filter(|line| !of_delivery(line)).count(),
        1,
        "{stderr}"
    );
    let last = last_words(&stderr);
    let begin = "the receiver has stopped: ";
    assert!(last.starts_with(begin) && last.contains(says), "{stderr}");
    let traces: HashMap<_, _> = load.end().into_iter().collect();
    for (name, trace) in &traces {
        assert!(trace.faults.is_empty(), "{name}: {:#?}", trace.faults);
    }
    traces
}

#[test]
fn what_is_moved_goes_on_where_it_is_put_back() {
    let site = site();
    let away = site.path().join("away");
    let traces = ends_of(
        &site,
        |dir| fs::rename(dir, &away).expect("ours"),
        "is gone",
    );
    assert!(!site.journal_dir().exists(), "nothing is made in its place");
    fs::rename(&away, site.journal_dir()).expect("ours");
    site.verify();
    check(&stored(&site), &traces);
}

#[test]
fn what_is_replaced_is_left_alone() {
    let site = site();
    let away = site.path().join("away");
    let replace = |dir: &Path| {
        fs::rename(dir, &away).expect("ours");
        fs::create_dir(dir).expect("ours");
    };
    let traces = ends_of(&site, replace, "moved, removed or replaced");
    let dir = site.journal_dir();
    let made = fs::read_dir(&dir).expect("there").count();
    assert_eq!(made, 0, "in a directory that is not its own");
    fs::remove_dir(&dir).expect("ours");
    fs::rename(&away, &dir).expect("ours");
    site.verify();
    check(&stored(&site), &traces);
}

#[test]
fn what_is_removed_is_missed() {
    let remove = |dir: &Path| fs::remove_dir_all(dir).expect("ours");
    ends_of(&site(), remove, "moved, removed or replaced");
}

/// The segment that is in use, whose next one is ready already.
fn active(dir: &Path) -> PathBuf {
    dir.join("00000000000000000001.segment")
}

#[test]
fn a_segment_that_is_removed_is_missed() {
    let remove = |dir: &Path| fs::remove_file(active(dir)).expect("ours");
    ends_of(&site(), remove, "00000000000000000001.segment is gone");
}

/// What was written behind the cut would stand behind a gap, and what was before is gone.
#[test]
fn a_segment_that_is_truncated_is_missed() {
    for length in [0, 4096, 5 << 20] {
        let cut = |dir: &Path| {
            let file = OpenOptions::new().write(true).open(active(dir));
            file.and_then(|file| file.set_len(length)).expect("ours");
        };
        ends_of(&site(), cut, "00000000000000000001.segment was truncated");
    }
}
