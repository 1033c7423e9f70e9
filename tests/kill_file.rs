//! A file sink under `kill -9`: every event stands in its files exactly once and in order, whenever the server was
//! killed, be it in the middle of a line, of a rotation, or before its cursor was ever saved.
//!
//! `HOOKLINE_FILE_KILLS=N` kills N times instead of [`KILLS`], `HOOKLINE_FILE_STEPS=N` at N calls of each kind instead
//! of [`STEPS`].

mod common;

use common::delivered::{exactly_once, files, sequences};
use common::disk::{Cut, Mounted};
use common::load::{self, Load};
use common::strace::Strace;
use common::{Running, Site, eventually, number_from_env};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Kills in the default run.
const KILLS: usize = 6;

/// Power cuts in the default run.
const CUTS: usize = 3;

/// Calls of each kind that are the last of a server, in the default run.
const STEPS: usize = 1;

const ROTATED_FROM: usize = 64 * 1024;

/// Largest batch, and then some.
const OVERSHOOT: usize = 2 * 1024 * 1024;

#[test]
fn nothing_is_lost_or_doubled_by_kills() {
    let kills = number_from_env("HOOKLINE_FILE_KILLS", KILLS);
    // A long run has more to write.
    let limit = ROTATED_FROM * (1 + kills / 5);
    let (site, path) = site(&format!("rotate_size = \"{}KiB\"", limit / 1024));
    let mut random = u64::from(std::process::id());
    for round in 0..kills {
        let server = site.start();
        let load = load_for_a_while(&server, round, &mut random);
        server.kill();
        load.end();
    }
    let expected = finish(&site, &path);
    let files = files(&path);
    assert!(files.len() > 2, "{files:?}");
    for file in &files {
        let len = fs::metadata(file).expect("there").len();
        assert!(len < (limit + OVERSHOOT) as u64, "{file:?}: {len}");
    }
    assert!(expected >= kills);
}

/// The same at each step of a rotation, and of what follows it: the first, second, … call of each kind.
#[test]
fn a_kill_at_any_step_of_a_rotation_is_none() {
    let (site, path) = site("rotate_size = \"16KiB\"\nkeep = 1000");
    let steps = ["rename", "openat", "fsync", "fdatasync", "write"];
    let times = number_from_env("HOOKLINE_FILE_STEPS", STEPS);
    let whens = (1..=times).flat_map(|when| steps.map(|step| (step, when)));
    for (round, (step, when)) in whens.enumerate() {
        let mut server = site.start();
        let inject = format!("inject={step}:signal=KILL:when={when}");
        let Some(_strace) = Strace::attach_thread(&server, "hl-sink-file", &site, &["-e", &inject])
        else {
            return;
        };
        let load = Load::start(&server, "/in", round);
        server.wait();
        load.end();
    }
    finish(&site, &path);
    assert!(files(&path).len() > 2);
}

/// The same with a power cut under the disk of the files alone: what was not synced is gone or torn, with the names of
/// files among it, and what the server has synced without an error is there.
#[test]
fn nothing_is_lost_or_doubled_by_power_cuts() {
    let cuts = number_from_env("HOOKLINE_FILE_KILLS", CUTS);
    let (site, path) = site("rotate_size = \"256KiB\"");
    let directory = path.parent().expect("one");
    let image = site.path().join("disk.image");
    let Some(mut disk) = Mounted::ext4(&image, directory, 256 << 20) else {
        return;
    };
    let mut random = u64::from(std::process::id());
    for round in 0..cuts {
        let server = site.start();
        let load = load_for_a_while(&server, round, &mut random);
        // Not `Cut::Hard`: there the kernel lets a sync that is under way return 0 for a file that grows.
        let how = [Cut::LogFlushed, Cut::Flushed][round % 2];
        disk.cut_power(how).expect("ext4 lets its power be cut");
        server.kill();
        load.end();
        disk.remount();
    }
    finish(&site, &path);
}

/// `mv` and a truncation by others: nothing is lost, and with the server killed between, something may come twice.
#[test]
fn what_others_do_to_the_file_loses_nothing() {
    let (site, path) = site("");
    let moved = path.with_extension("moved");
    let server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(50);
    eventually("something is written", || size(&path) > 0);
    fs::rename(&path, &moved).expect("ours");
    eventually("a new file is begun", || size(&path) > 0);
    server.kill();
    load.end();
    fs::rename(&path, path.with_extension("moved.2")).expect("ours");
    let server = site.start();
    eventually("everything is there", || {
        let mut sequences =
            sequences(&[path.clone(), path.with_extension("moved.2"), moved.clone()]);
        // One was moved away with what a kill had left of a line.
        sequences.retain(|sequence| sequence.ends_with(".0"));
        sequences.sort_unstable();
        sequences.dedup();
        sequences.len() == site.records().len()
    });
    assert!(server.terminate().0.success());
}

fn site(rotation: &str) -> (Site, PathBuf) {
    let site = load::site("stored");
    let directory = site.path().join("events");
    fs::create_dir(&directory).expect("made");
    let path = directory.join("events.ndjson");
    let lines = format!(
        "name = \"file\"\ntype = \"file\"\npath = \"{}\"\n{rotation}",
        path.display()
    );
    (site.sink(&lines), path)
}

/// A load that has been under way for any time.
fn load_for_a_while(server: &Running, round: usize, random: &mut u64) -> Load {
    let load = Load::start(server, "/in", round);
    load.reach_accepted(1);
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    // Not a wait for anything: the moment is to be any.
    thread::sleep(Duration::from_micros((*random >> 33) % 1_500_000));
    load
}

/// Lets a server deliver what is left, and holds all files together against the journal.
fn finish(site: &Site, path: &Path) -> usize {
    assert!(site.start().terminate().0.success());
    exactly_once(&site.records(), path)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
