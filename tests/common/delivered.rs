//! What a file sink has written, against the journal that it was written from.

use super::{Site, sign};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A file sink of a site, outside of its journal.
#[derive(Debug)]
pub(crate) struct FileSink {
    pub(crate) path: PathBuf,
    cursor: PathBuf,
}

impl FileSink {
    /// Adds it to the site, in this directory.
    pub(crate) fn add_to(site: Site, directory: &Path) -> (Site, FileSink) {
        FileSink::add_with(site, directory, "")
    }

    /// The same, with these further lines.
    pub(crate) fn add_with(site: Site, directory: &Path, rest: &str) -> (Site, FileSink) {
        let sink = FileSink {
            path: directory.join("events.ndjson"),
            cursor: site.journal_dir().join("cursors/file.cursor"),
        };
        let path = sink.path.display();
        let lines = format!("name = \"file\"\ntype = \"file\"\npath = \"{path}\"\n{rest}");
        (site.sink(&lines), sink)
    }

    /// Bodies by sequence. An event that was delivered twice was the same both times; a line that a crash has cut
    /// does not count.
    pub(crate) fn bodies(&self) -> BTreeMap<u64, Vec<u8>> {
        let files = files(&self.path).into_iter();
        let text: Vec<u8> = files
            .flat_map(|file| fs::read(file).unwrap_or_default())
            .collect();
        let mut bodies = BTreeMap::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let Ok(event) = serde_json::from_slice::<Value>(line) else {
                continue;
            };
            let field = |name: &str| event[name].as_str().expect("a string").to_owned();
            let sequence = field("position");
            let sequence = sequence
                .split('.')
                .next()
                .and_then(|text| text.parse().ok());
            let sequence: u64 = sequence.expect("a number");
            let body = sign::from_base64(&field("data_base64"));
            let before = bodies.insert(sequence, body.clone());
            assert!(before.is_none_or(|before| before == body), "{sequence}");
        }
        bodies
    }

    /// The cursor as it was saved, 0 when it never was. The lanes of a file move together.
    pub(crate) fn cursor(&self) -> u64 {
        let bytes = fs::read(&self.cursor).unwrap_or_default();
        let slots = bytes.chunks(bytes.len().div_ceil(2).max(1));
        let newest = slots
            .filter_map(sound_slot)
            .max_by_key(|(number, _)| *number);
        let (_, text) = newest.unwrap_or_default();
        let lanes = ["messages ", "statuses ", "rest "].map(|lane| {
            let line = text.lines().find_map(|line| line.strip_prefix(lane));
            let confirmed = line.and_then(|line| line.split(' ').next());
            confirmed.map_or(0, |sequence| sequence.parse().expect("a number"))
        });
        assert!(lanes == [lanes[0]; 3], "{text}");
        lanes[0]
    }

    /// What the cursor says was delivered stands in the file, whatever the journal has.
    pub(crate) fn check_cursor(&self) {
        let (cursor, bodies) = (self.cursor(), self.bodies());
        for sequence in 1..=cursor {
            assert!(
                bodies.contains_key(&sequence),
                "{sequence} <= cursor {cursor}"
            );
        }
    }

    /// Nothing was delivered that is not in the journal under its sequence, and the cursor is not beyond what was
    /// delivered. `from` is the lowest sequence that this file can have.
    pub(crate) fn check(&self, records: &[(u64, Vec<u8>)], from: u64) -> usize {
        // In this order: the sink may be at work.
        let cursor = self.cursor();
        let bodies = self.bodies();
        let first = records.first().map_or(1, |(sequence, _)| *sequence);
        let stored: BTreeMap<u64, &Vec<u8>> =
            records.iter().map(|(at, body)| (*at, body)).collect();
        for (sequence, body) in bodies.range(first..) {
            assert!(
                stored.get(sequence).is_some_and(|stored| *stored == body),
                "{sequence} was delivered and is not in the journal"
            );
        }
        for sequence in from..=cursor {
            assert!(
                bodies.contains_key(&sequence),
                "{sequence} <= cursor {cursor}"
            );
        }
        bodies.len()
    }

    /// And everything that is in the journal was delivered.
    pub(crate) fn check_whole(&self, records: &[(u64, Vec<u8>)], from: u64) -> usize {
        let count = self.check(records, from);
        let bodies = self.bodies();
        for (sequence, _) in records {
            assert!(
                bodies.contains_key(sequence),
                "{sequence} was not delivered"
            );
        }
        count
    }
}

/// The number of the save in one of the two slots of a cursor, and its text; `None` while it is written.
fn sound_slot(slot: &[u8]) -> Option<(u64, String)> {
    let text = String::from_utf8(slot.to_vec()).ok()?;
    let (text, checksum) = text.trim_end().rsplit_once("crc32c ")?;
    let is_sound = checksum == format!("{:08x}", crc32c::crc32c(text.as_bytes()));
    let number = text.lines().find_map(|line| line.strip_prefix("save "))?;
    is_sound.then(|| (number.parse().expect("a number"), text.to_owned()))
}

/// Everything that is in the journal stands in the files of a sink exactly once and in order.
pub(crate) fn exactly_once(records: &[(u64, Vec<u8>)], path: &Path) -> usize {
    let expected: Vec<String> = records
        .iter()
        .map(|(sequence, _)| format!("{sequence}.0"))
        .collect();
    let found = sequences(&files(path));
    let first_wrong = found
        .iter()
        .zip(&expected)
        .position(|(one, other)| one != other);
    assert!(
        found == expected,
        "{} events in {} lines, wrong from {:?} on",
        expected.len(),
        found.len(),
        first_wrong.map(|at| &found[at.saturating_sub(2)..(at + 3).min(found.len())]),
    );
    expected.len()
}

/// The `position` of each line; all of a line that is not whole.
pub(crate) fn sequences(files: &[PathBuf]) -> Vec<String> {
    let mut sequences = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        for line in text.split_inclusive('\n') {
            let event: Value = serde_json::from_str(line)
                .ok()
                .filter(|_| line.ends_with('\n'))
                .unwrap_or_default();
            sequences.push(event["position"].as_str().unwrap_or(line).to_owned());
        }
    }
    sequences
}

/// The file and those that a rotation has put away, the oldest first.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().and_then(OsStr::to_str).expect("UTF-8");
    let directory = path.parent().expect("one");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files = entries
        .filter_map(|entry| {
            let entry = entry.file_name().into_string().expect("UTF-8");
            let mut parts = entry.strip_prefix(name)?.strip_prefix('.')?.split('.');
            let stamp = parts.next().expect("a stamp").to_owned();
            let number = parts.next().map_or(0, |it| it.parse().expect("a number"));
            Some((stamp, number, directory.join(&entry)))
        })
        .collect::<Vec<(String, u32, PathBuf)>>();
    files.sort();
    let mut files: Vec<PathBuf> = files.into_iter().map(|(_, _, file)| file).collect();
    files.push(path.to_owned());
    files
}
