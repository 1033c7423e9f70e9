//! What a 200 means when the power goes: a file system of its own, whose power is cut under load.
//!
//! The journal stands on an ext4 in an image file. At some moment `EXT4_IOC_SHUTDOWN` ends that file system: what it
//! had not written is gone, names included, and every call after it fails with EIO. The server sees that by itself and
//! exits with 1. Then the image is mounted again, which replays the file system's journal, and the server starts
//! again: everything that was answered with 200 is there, byte for byte, in order, once, and nothing that was not
//! sent. Segments are small, so that cuts also meet rolls, new names and the manifest. Pages are written back here and
//! there without a sync, as a kernel does at its own discretion, so that cuts tear what was under way. A file sink on
//! another file system has delivered nothing that is not in the journal.
//!
//! `HOOKLINE_POWER_CUTS` says how often (3); it needs root, `mkfs.ext4` and a loop device, and is skipped with a line
//! where they are missing.

#![expect(clippy::print_stderr, reason = "figures are worth a line")]

mod common;

use common::delivered::FileSink;
use common::disk::{Cut, Mounted};
use common::load::{self, Load, Tally, Trace, check, stored};
use common::{Site, eventually, number_from_env};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Cuts of one journal; then a new one begins, so that its reading does not take longer and longer.
const CUTS_EACH: usize = 5;

const IMAGE_BYTES: u64 = 192 << 20;
const SEGMENT_BYTES: u64 = 1 << 20;
const PAGE: usize = 4096;

/// A server whose journal is to be on a disk of its own, and the sink beside it.
fn site(ack: &str) -> (Site, FileSink) {
    let site = load::site(ack);
    let directory = site.path().to_owned();
    FileSink::add_to(site, &directory)
}

/// Cuts, and what the last of them may have cost: with `received` the end of each client's posts, and no more.
fn survives_power_cuts(ack: &str) {
    let cuts = number_from_env("HOOKLINE_POWER_CUTS", 3);
    let mut tally = Tally::default();
    let (mut lost, mut delivered, mut torn) = (0, 0, 0);
    for first in (0..cuts).step_by(CUTS_EACH) {
        let (site, sink) = site(ack);
        let image = site.path().join("disk.image");
        let Some(mut disk) = Mounted::ext4(&image, &site.journal_dir(), IMAGE_BYTES) else {
            return;
        };
        let mut traces = HashMap::new();
        for round in first..cuts.min(first + CUTS_EACH) {
            let mut server = site.start();
            let load = Load::start(&server, "/in", round);
            let writeback = Writeback::start(&site);
            load.reach(answers_before_the_cut(round));
            let how = [Cut::Hard, Cut::LogFlushed, Cut::Hard, Cut::Flushed][round % 4];
            disk.cut_power(how).expect("ext4 lets its power be cut");
            // Nobody has to tell it.
            let (status, stderr) = server.wait();
            assert_eq!(status.code(), Some(1), "{stderr}");
            assert!(stderr.contains("Input/output error"), "{stderr}");
            traces.extend(load.end());
            drop(writeback);
            disk.remount();

            // Recovery comes before the look: what it cuts must not have been answered. And twice gives the same.
            let recovered = site.start();
            torn += usize::from(recovered.stderr().contains("recovery has cut"));
            recovered.kill();
            let records = site.records();
            site.start().kill();
            assert!(site.records() == records, "recovering twice gives the same");
            site.verify();
            let stored = stored(&site);
            if ack == "received" {
                lost += forget_the_end(&mut traces, &stored, round);
            }
            let so_far = check(&stored, &traces);
            delivered = sink.check(&records, 1);
            if round + 1 == cuts.min(first + CUTS_EACH) {
                tally.acknowledged += so_far.acknowledged;
                tally.refused += so_far.refused;
                tally.kept += so_far.kept;
            }
        }
        // What the sink has missed it gets.
        let server = site.start();
        let end = site.records().last().map_or(0, |(sequence, _)| *sequence);
        eventually("the sink has caught up", || server.is_delivered("file"));
        let (status, stderr) = server.terminate();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(sink.cursor(), end);
        delivered = delivered.max(sink.check_whole(&site.records(), 1));
    }
    eprintln!(
        "{cuts} power cuts, {ack}: {tally:?}, {lost} lost of what was answered without a sync, {torn} torn tails, \
         {delivered} delivered of the last journal"
    );
}

/// Makes the kernel write back, over and over, every other page of the last segments: whoever reads past the cache is
/// given what the cache held, so that goes to the device first. It makes nothing durable that the server may count on.
struct Writeback {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writeback {
    fn start(site: &Site) -> Writeback {
        let (directory, enough) = (site.journal_dir(), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&enough);
        let write_back = move || {
            let mut room = vec![0; 2 * PAGE];
            let aligned = room.as_ptr().align_offset(PAGE);
            let page = &mut room[aligned..aligned + PAGE];
            while !stop.load(Ordering::Relaxed) {
                let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
                let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
                paths.retain(|path| path.extension().is_some_and(|end| end == "segment"));
                paths.sort();
                for path in paths.iter().rev().take(2) {
                    let past_the_cache = OFlags::DIRECT.bits().cast_signed();
                    let file = OpenOptions::new()
                        .read(true)
                        .custom_flags(past_the_cache)
                        .open(path);
                    let Ok(file) = file else { continue };
                    for at in (PAGE as u64..SEGMENT_BYTES).step_by(2 * PAGE) {
                        // Fails once the power is cut.
                        let _ = file.read_at(page, at);
                    }
                }
            }
        };
        Writeback {
            enough,
            thread: Some(thread::spawn(write_back)),
        }
    }
}

impl Drop for Writeback {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes back the 200s of a round that were given before the disk had them. It is the end of what each client was
/// answered, never something in the middle.
fn forget_the_end(
    traces: &mut HashMap<String, Trace>,
    stored: &HashMap<String, Vec<usize>>,
    round: usize,
) -> usize {
    let mut lost = 0;
    for (name, trace) in traces {
        let end = stored.get(name).and_then(|numbers| numbers.last());
        let answered = trace.acknowledged.len();
        if name.starts_with(&format!("{round}/")) {
            trace
                .acknowledged
                .retain(|number| end.is_some_and(|end| number <= end));
        }
        lost += answered - trace.acknowledged.len();
    }
    lost
}

/// Different in each round: early ones meet the first roll, late ones many.
fn answers_before_the_cut(round: usize) -> usize {
    50 + round * 977 % 2500
}

#[test]
fn stored_survives_power_cuts() {
    survives_power_cuts("stored");
}

#[test]
fn received_loses_no_more_than_the_end_to_power_cuts() {
    survives_power_cuts("received");
}
