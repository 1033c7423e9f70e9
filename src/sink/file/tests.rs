use super::output::Output;
use super::{File, Lines, Rotation, Sink};
use crate::feed::Selection;
use crate::feed::tests::batch;
use crate::worker::{EventBatch, Extraction};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

fn delivery(bodies: &[&[u8]]) -> EventBatch {
    Extraction::new().make(batch(7, bodies))
}

/// A disk took the begin of a batch and was full; the next attempt wrote all of it behind that, so that its first
/// event stood on one line with a part of itself, and the cursor passed it. Cut by its owner meanwhile, the file
/// had the rest of a line at its begin.
#[test]
fn what_was_taken_in_part_is_gone_on_with() {
    let delivery = delivery(&[b"{}", b"{\"x\":1}", b"[]"]);
    let write = |lines: &mut Lines, out: &mut Vec<u8>, room: usize| {
        lines.begin(&delivery, 7);
        loop {
            let is_whole = lines.fill(&delivery, &Selection::default());
            lines.write_to(|rest| {
                let taken = rest.len().min(room.saturating_sub(out.len()));
                out.extend_from_slice(&rest[..taken]);
                match taken {
                    0 => Err(io::ErrorKind::StorageFull.into()),
                    taken => Ok(taken),
                }
            })?;
            if is_whole {
                return Ok::<_, io::Error>(lines.finish().wanted);
            }
        }
    };
    let mut whole = Vec::new();
    let mut lines = Lines::default();
    assert_eq!(write(&mut lines, &mut whole, 9999).unwrap(), 3);
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).collect();
    assert!(
        ends[1] > 512 && ends[2] > 2 * ends[0],
        "filled more than once"
    );
    // Within the first line, behind it, within the second one and within the third one.
    for room in [40, ends[0] + 1, ends[0] + 40, ends[1] + 40] {
        let mut out = Vec::new();
        write(&mut lines, &mut out, room).unwrap_err();
        assert_eq!(write(&mut lines, &mut out, 9999).unwrap(), 3);
        assert!(out == whole, "{room}");
    }
    // Of what had gone out, so much is gone: the line that was cut is there again.
    for (room, cut, from) in [
        (40, 0, 0),
        (40, 40, 0),
        (40, 999, 0),
        (ends[0] + 1, 0, ends[0] + 1),
        (ends[0] + 1, 1, 0),
        (ends[0] + 40, 30, ends[0] + 1),
        (ends[0] + 40, 41, 0),
    ] {
        let mut out = Vec::new();
        write(&mut lines, &mut out, room).unwrap_err();
        lines.go_back(cut);
        out.clear();
        assert_eq!(write(&mut lines, &mut out, 9999).unwrap(), 3);
        assert!(out == whole[from..], "{room} {cut}");
    }
}

/// What others follow waits for them, and neither the last of them nor a confirmation passes it.
#[test]
fn small_deliveries_that_follow_each_other_are_written_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let mut sink = File::open(&path, Rotation::default(), MODE).unwrap();
    sink.resume(0).unwrap();
    let lines = || fs::read_to_string(&path).unwrap().lines().count();
    let mut deliver = |sequence: u64, more: bool| {
        let one = Extraction::new().make(batch(sequence, &[b"{}"]));
        sink.note_more(more);
        let tally = sink.deliver(&one, sequence, &Selection::default()).unwrap();
        assert_eq!(tally.wanted, 1);
        (sink.holds_back(), lines())
    };
    assert_eq!(deliver(1, true), (true, 0));
    assert_eq!(deliver(2, true), (false, 2), "they are enough");
    assert_eq!(deliver(3, true), (true, 2));
    assert_eq!(deliver(4, false), (false, 4));
    assert_eq!(deliver(5, false), (false, 5));
    assert_eq!(deliver(6, true), (true, 5));
    sink.flush().unwrap();
    assert_eq!((sink.holds_back(), lines()), (false, 6));
    let last = Extraction::new().make(batch(7, &[b"{}"]));
    sink.note_more(true);
    sink.deliver(&last, 7, &Selection::default()).unwrap();
    sink.confirm().unwrap();
    assert_eq!((sink.holds_back(), lines()), (false, 7));
    let positions = (1..=7).map(|sequence| format!("\"position\":\"{sequence}.0\""));
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.lines()
            .zip(positions)
            .all(|(line, it)| line.contains(&it)),
        "{text}"
    );
}

/// The disk was full in the middle of a write, and the owner of the file made room by cutting it.
#[test]
fn what_was_cut_behind_a_failed_write_begins_as_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let (delivery, whole, first) = lived(&path);
    for (out, left) in [
        (first + 40, first + 20),
        (first + 40, 20),
        (40, 40),
        (40, 0),
    ] {
        fs::remove_file(&path).unwrap();
        let mut sink = File::open(&path, Rotation::default(), MODE).unwrap();
        sink.resume(6).unwrap();
        sink.lines.begin(&delivery, 7);
        assert!(!sink.lines.fill(&delivery, &Selection::default()));
        sink.output.append(&whole[..out]).unwrap();
        sink.lines.pass(out);
        sink.failed_at = Some(out as u64);
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(left as u64)
            .unwrap();
        sink.deliver(&delivery, 7, &Selection::default()).unwrap();
        let now = fs::read(&path).unwrap();
        let again = if left < first { 0 } else { first };
        let expected = if left == 0 || left == out {
            whole.clone()
        } else {
            [&whole[..left], b"\n", &whole[again..]].concat()
        };
        assert!(
            now == expected,
            "{out} {left}: {}",
            String::from_utf8_lossy(&now)
        );
    }
}

/// Pieces of any length come to any place of the file, on a file system that writes past the cache and on one that
/// cannot.
#[test]
fn what_is_appended_is_what_stands_there() {
    let mut bytes = vec![0; 3 << 20];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::try_from(at % 251).unwrap();
    }
    for dir in [std::env::temp_dir(), "/dev/shm".into()] {
        let Ok(dir) = tempfile::tempdir_in(dir) else {
            continue;
        };
        let path = dir.path().join("events.ndjson");
        let mut output = Output::open(&path, MODE).unwrap();
        let (mut at, mut len) = (0, 1);
        while at < bytes.len() {
            let end = bytes.len().min(at + len);
            while at < end {
                at += output.append(&bytes[at..end]).unwrap();
            }
            assert_eq!(output.len(), at as u64);
            len = (len * 7 + 1) % 300_001;
        }
        output.sync().unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn lines_are_appended_and_a_cut_one_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    fs::write(&path, "{\"whole\":1}\n{\"cut").unwrap();
    let delivery = delivery(&[b"{\"object\":\"x\",\"entry\":[]}", b"not json", b"{}"]);
    let mut sink = File::open(&path, Rotation::default(), MODE).unwrap();
    sink.resume(7).unwrap();
    assert_eq!(
        sink.deliver(&delivery, 8, &Selection::default())
            .unwrap()
            .wanted,
        2,
        "from the second one on"
    );
    sink.confirm().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (4, "{\"cut"));
    assert!(
        lines[2].contains("\"type\":\"whatsapp.unparsed\"")
            && lines[2].contains("\"position\":\"8.0\"")
    );
    assert!(lines[3].contains("\"position\":\"9.0\""));
}

/// Delivers everything from `from` on, as a process that begins behind that does, and ends without a word.
fn live(path: &Path, rotation: Rotation, delivery: &EventBatch, from: u64) {
    let mut sink = File::open(path, rotation, MODE).unwrap();
    sink.resume(from - 1).unwrap();
    sink.deliver(delivery, from, &Selection::default()).unwrap();
}

/// Delivers three events to a new file; what stands in it then, and the length of the first of its lines.
fn lived(path: &Path) -> (EventBatch, Vec<u8>, usize) {
    let delivery = delivery(&[b"{}", b"{\"x\":1}", b"not json"]);
    live(path, Rotation::default(), &delivery, 7);
    let whole = fs::read(path).unwrap();
    let first = 1 + whole.iter().position(|byte| *byte == b'\n').unwrap();
    (delivery, whole, first)
}

/// A kill left the file at any length; what follows is as if nothing had been.
#[test]
fn after_a_kill_the_file_is_as_it_would_have_been() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let (delivery, whole, first) = lived(&path);
    for cut in (0..whole.len()).step_by(17) {
        fs::write(&path, &whole[..cut]).unwrap();
        live(&path, Rotation::default(), &delivery, 7);
        assert!(fs::read(&path).unwrap() == whole, "{cut}");
        // Up to the cursor everything was synced.
        if cut >= first {
            fs::write(&path, &whole[..cut]).unwrap();
            live(&path, Rotation::default(), &delivery, 8);
            assert!(fs::read(&path).unwrap() == whole, "{cut}");
        }
    }
}

/// A power cut left the length of the file and not all of its content.
#[test]
fn after_a_power_cut_what_is_torn_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let (delivery, whole, first) = lived(&path);
    for hole in (first..whole.len()).step_by(61) {
        for len in [1, 60, whole.len()] {
            let mut torn = whole.clone();
            let end = whole.len().min(hole + len);
            torn[hole..end].fill(0);
            fs::write(&path, &torn).unwrap();
            live(&path, Rotation::default(), &delivery, 8);
            assert!(fs::read(&path).unwrap() == whole, "{hole} {len}");
        }
    }
}

/// Only a file whose lines are confirmed and saved is set aside, and a new one begins with the next event.
#[test]
fn an_old_file_is_set_aside_once_it_is_at_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let one = delivery(&[b"{}"]);
    let rotation = Rotation {
        every: Some(Duration::from_nanos(1)),
        ..Rotation::default()
    };
    let count = || fs::read_dir(dir.path()).unwrap().count();
    let mut sink = File::open(&path, rotation, MODE).unwrap();
    sink.resume(6).unwrap();
    let mut deliver = |saved: bool| {
        sink.deliver(&one, 7, &Selection::default()).unwrap();
        sink.confirm().unwrap();
        if saved {
            sink.saved();
        }
    };
    deliver(false);
    deliver(true);
    assert_eq!(
        count(),
        1,
        "an empty file is not old, and one without a cursor stays"
    );
    deliver(true);
    assert_eq!(count(), 2);
    fs::remove_file(&path).unwrap();
    deliver(true);
    assert_eq!(count(), 2, "what others remove is made anew");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
}

const MODE: u32 = 0o640;

/// The umask left the file open to everybody.
#[test]
fn a_new_file_has_its_mode_and_an_old_one_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    for wanted in [0o640, 0o664] {
        drop(File::open(&path, Rotation::default(), wanted).unwrap());
        assert_eq!(mode(), wanted);
        drop(File::open(&path, Rotation::default(), 0o600).unwrap());
        assert_eq!(mode(), wanted, "it was there");
        fs::remove_file(&path).unwrap();
    }
}

/// The same event was written to a pipe without end, for it could never be synced.
#[test]
fn what_cannot_be_synced_is_refused_also_when_it_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.ndjson");
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for other in [
        "/dev/null",
        dir.path().to_str().unwrap(),
        pipe.to_str().unwrap(),
    ] {
        let refused = File::open(Path::new(other), Rotation::default(), MODE);
        assert!(refused.is_err(), "{other}");
    }
    let target = dir.path().join("target");
    symlink(&target, &path).unwrap();
    let one = delivery(&[b"{}"]);
    let mut sink = File::open(&path, Rotation::default(), MODE).unwrap();
    sink.resume(6).unwrap();
    let mut deliver = |from| {
        sink.deliver(&one, from, &Selection::default())?;
        sink.confirm()?;
        sink.saved();
        Ok::<(), io::Error>(())
    };
    deliver(7).unwrap();
    assert_eq!(
        fs::read_to_string(&target).unwrap().lines().count(),
        1,
        "through a link"
    );
    fs::remove_file(&path).unwrap();
    symlink(&pipe, &path).unwrap();
    for _ in 0..3 {
        let refused = deliver(7).unwrap_err();
        assert!(refused.to_string().contains("no regular file"), "{refused}");
    }
    fs::remove_file(&path).unwrap();
    deliver(7).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}
