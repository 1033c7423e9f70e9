//! When a file is set aside for a new one, under which name, and which of those stay.
//!
//! `events.ndjson` becomes `events.ndjson.20261123T014500Z`, or `….000001` behind that where there is one already. In
//! the order of their names they were written, also when the clock goes backwards. Builds until November 30, 2026 wrote
//! numbers without the zeros, which count as the same.

use super::directory;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// When a file is set aside. By default never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes from which on it is; `None` for any size.
    pub size: Option<u64>,
    /// How old it gets, from when it was made; `None` for any age.
    pub every: Option<Duration>,
    /// Files that stay beside the one that is written; `None` keeps all of them.
    pub keep: Option<NonZeroU32>,
}

/// When a file was set aside, in seconds, and which one of that second. Ordered as they were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    time: String,
    number: u32,
    /// What stands behind the name of the file, and a dot.
    text: String,
}

impl Rotation {
    /// True for the length of a file that is as large as it may get.
    pub(super) fn is_full(&self, len: u64) -> bool {
        self.size.is_some_and(|size| len >= size)
    }

    /// True if the file with this metadata is to be set aside. Where the file system does not know when it was made,
    /// or that time is still to come since the clock was set back, it was when this process opened it.
    pub(super) fn is_due(&self, metadata: &Metadata, opened: Instant) -> bool {
        if metadata.len() == 0 || !metadata.is_file() {
            return false;
        }
        let age = || {
            let since = |made| SystemTime::now().duration_since(made).ok();
            let made = metadata.created().ok().and_then(since);
            made.unwrap_or_default().max(opened.elapsed())
        };
        self.is_full(metadata.len()) || self.every.is_some_and(|every| age() >= every)
    }

    /// Renames the file, and removes those that are too many. Durable with the directory, which whoever makes the new
    /// file syncs.
    pub(super) fn set_aside(&self, path: &Path, sink: &str) -> io::Result<()> {
        let mut stamps = stamps(path)?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        let stamp = Stamp::behind(stamps.last(), time.to_string());
        fs::rename(path, stamp.path(path))?;
        stamps.push(stamp);
        let keep = self.keep.map_or(usize::MAX, |keep| keep.get() as usize);
        let surplus = stamps.len().saturating_sub(keep);
        for stamp in &stamps[..surplus] {
            let path = stamp.path(path);
            if let Err(error) = fs::remove_file(&path) {
                let path = path.display();
                tracing::warn!(sink, %error, %path, "a rotated file of the sink that is one too many cannot be removed: it stays; remove it");
            }
        }
        Ok(())
    }
}

impl Stamp {
    fn new(time: String, number: u32) -> Stamp {
        let text = match number {
            0 => time.clone(),
            _ => format!("{time}.{number:06}"),
        };
        Stamp { time, number, text }
    }

    fn behind(last: Option<&Stamp>, time: String) -> Stamp {
        match last {
            Some(last) if last.time >= time => Stamp::new(last.time.clone(), last.number + 1),
            _ => Stamp::new(time, 0),
        }
    }

    fn path(&self, path: &Path) -> PathBuf {
        let mut name = OsString::from(path);
        name.push(format!(".{}", self.text));
        name.into()
    }

    /// Takes only what [`Stamp::new`] makes, or made: other files beside are not ours.
    fn parse(text: &str) -> Option<Stamp> {
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let (time, number) = match text.split_once('.') {
            Some((time, number)) => {
                let number = Some(number).filter(|it| digits(it))?;
                (time, number.parse().ok().filter(|it| *it > 0)?)
            }
            None => (text, 0),
        };
        let (date, of_day) = time.strip_suffix('Z')?.split_once('T')?;
        let fits = date.len() == 8 && of_day.len() == 6 && digits(date) && digits(of_day);
        fits.then(|| Stamp {
            time: time.to_owned(),
            number,
            text: text.to_owned(),
        })
    }
}

/// Of the files that were set aside, the oldest first.
fn stamps(path: &Path) -> io::Result<Vec<Stamp>> {
    let name = path.file_name().unwrap_or_default();
    let mut stamps = Vec::new();
    for entry in fs::read_dir(directory(path))? {
        let entry = entry?.file_name();
        let behind = entry
            .as_encoded_bytes()
            .strip_prefix(name.as_encoded_bytes());
        let text = behind.and_then(|rest| str::from_utf8(rest.strip_prefix(b".")?).ok());
        stamps.extend(text.and_then(Stamp::parse));
    }
    stamps.sort_unstable();
    Ok(stamps)
}

#[cfg(test)]
mod tests {
    use super::{Rotation, Stamp, stamps};
    use std::fs;
    use std::num::NonZeroU32;

    #[test]
    fn names_follow_each_other_also_when_the_clock_goes_backwards() {
        let first = Stamp::behind(None, "20261123T014500Z".to_owned());
        let same = Stamp::behind(Some(&first), "20261123T014500Z".to_owned());
        let back = Stamp::behind(Some(&same), "20261122T235959Z".to_owned());
        let next = Stamp::behind(Some(&back), "20261123T014501Z".to_owned());
        let path = std::path::Path::new("e.ndjson");
        let names = [&first, &same, &back, &next].map(|stamp| stamp.path(path));
        let expected = [
            "e.ndjson.20261123T014500Z",
            "e.ndjson.20261123T014500Z.000001",
            "e.ndjson.20261123T014500Z.000002",
            "e.ndjson.20261123T014501Z",
        ];
        assert_eq!(names.map(|name| name.display().to_string()), expected);
        assert!(first < same && same < back && back < next);
    }

    #[test]
    fn the_oldest_go_and_foreign_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        let foreign = [
            "e.ndjson.1",
            "e.ndjson.gz",
            "e.ndjson.20261123T014500Z.gz",
            "f.ndjson.20261123T014500Z",
        ];
        for name in foreign {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let rotation = Rotation {
            keep: NonZeroU32::new(3),
            ..Rotation::default()
        };
        for number in 0..12 {
            fs::write(&path, number.to_string()).unwrap();
            rotation.set_aside(&path, "file").unwrap();
        }
        let left = stamps(&path).unwrap();
        // Whoever lists the directory sees them in the same order.
        assert!(left.is_sorted_by_key(|stamp| stamp.path(&path)));
        let left: Vec<String> = left
            .iter()
            .map(|stamp| fs::read_to_string(stamp.path(&path)).unwrap())
            .collect();
        assert_eq!(left, ["9", "10", "11"]);
        for name in foreign {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    /// Names were in another order than the files from the tenth of a second on.
    #[test]
    fn names_are_in_the_order_of_the_files_and_those_of_old_builds_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.ndjson");
        // A clock that was ahead.
        for name in ["29990101T000000Z", "29990101T000000Z.1"] {
            fs::write(dir.path().join(format!("e.ndjson.{name}")), "old").unwrap();
        }
        let rotation = Rotation {
            keep: NonZeroU32::new(13),
            ..Rotation::default()
        };
        for number in 2..14 {
            fs::write(&path, number.to_string()).unwrap();
            rotation.set_aside(&path, "file").unwrap();
        }
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort_unstable();
        let texts = names.iter().map(|name| fs::read_to_string(name).unwrap());
        let mut texts: Vec<String> = texts.collect();
        // That of an old build is behind the others, as they stand there.
        assert_eq!(texts.pop().unwrap(), "old");
        let expected: Vec<String> = (2..14).map(|number| number.to_string()).collect();
        assert_eq!(texts, expected);
    }
}
