//! What stands in a file behind the cursor: written by a process that was killed before it could save its cursor.
//!
//! The cursor names the highest sequence that was synced. From the end of the file on, the last line of the live
//! stream with that sequence or a lower one is looked for; what follows it is compared, line by line, with what the
//! sink would write there now. What is the same byte for byte is passed over. So no state beside the file is needed
//! that could be lost or be about another file, and nothing is passed over because of a number alone: what somebody
//! has moved, cut, copied or edited, what belongs to another journal, or what a power cut has torn is not the same.
//!
//! What is the same is written over with itself. It may be in memory only, and when a sync of it has failed for that
//! other process, the system takes it for written and would sync nothing.
//!
//! Lines of a replay stand in between and are passed over without a look.
//!
//! Builds until November 30, 2026 called the `position` of an event `sequence`, which is as long. Lines of theirs are
//! found by that key too, and those behind the cursor get the new one where they stand.

use super::super::lines::{REPLAYED, begins_event};
use super::output::identity;
use crate::event::Position;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The part of a file that has not been compared.
#[derive(Debug)]
pub(super) struct Tail {
    /// For reading and writing anywhere.
    file: fs::File,
    at: u64,
}

/// What follows that which is the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Perhaps more that is the same.
    More,
    /// The end of the file, maybe in the middle of a line.
    End,
    /// At this place, what a power cut has left of a line.
    Torn(u64),
    /// Something else.
    Different,
}

/// A line that is not the one that is to stand there.
enum Line {
    /// With its length.
    Whole(u64),
    /// The file ends in it.
    Cut,
    /// There are zeros in it. No event has any, and they are what stands where a file got its length before its
    /// content.
    Torn,
}

impl Tail {
    /// What stands behind everything up to sequence `confirmed` in `file`, which is at `path`, if there is anything.
    pub(super) fn find(path: &Path, file: &fs::File, confirmed: u64) -> io::Result<Option<Tail>> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let Some(at) = end_of(file, metadata.len(), confirmed)? else {
            return Ok(None);
        };
        if at >= metadata.len() {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let is_same = identity(&file.metadata()?) == identity(&metadata);
        Ok(is_same.then_some(Tail { file, at }))
    }

    /// Compares whole lines that are to stand next; says how many bytes of them do, and what comes then.
    pub(super) fn compare(&mut self, lines: &[u8]) -> io::Result<(usize, Then)> {
        let mut same = 0;
        while let Some(rest) = lines.get(same..).filter(|rest| !rest.is_empty()) {
            let line = &rest[..memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)];
            let found = read_at(&self.file, self.at, line.len())?;
            if line.starts_with(&found) || with_old_key(line).starts_with(&found) {
                self.file.write_all_at(&line[..found.len()], self.at)?;
                self.at += found.len() as u64;
                same += found.len();
                if found.len() < line.len() {
                    return Ok((same, Then::End));
                }
                continue;
            }
            match self.line()? {
                Line::Torn => return Ok((same, Then::Torn(self.at))),
                Line::Whole(len) if found.starts_with(REPLAYED) => self.at += len,
                Line::Whole(_) | Line::Cut => return Ok((same, Then::Different)),
            }
        }
        Ok((same, Then::More))
    }

    /// What the line is that comes next.
    fn line(&self) -> io::Result<Line> {
        let mut len = 0;
        loop {
            let mut part = read_at(&self.file, self.at + len, CHUNK)?;
            let end = memchr::memchr(b'\n', &part);
            part.truncate(end.map_or(part.len(), |end| end + 1));
            len += part.len() as u64;
            if part.contains(&0) {
                return Ok(Line::Torn);
            } else if end.is_some() {
                return Ok(Line::Whole(len));
            } else if part.is_empty() {
                return Ok(Line::Cut);
            }
        }
    }
}

/// Where the last whole line ends whose sequence is `confirmed` or lower; the begin of the file if there is none, and
/// nothing if that is too far away to be looked for.
fn end_of(file: &fs::File, len: u64, confirmed: u64) -> io::Result<Option<u64>> {
    let is_confirmed = |line: u64| {
        let sequence = sequence_at(file, line)?;
        Ok::<bool, io::Error>(sequence.is_some_and(|sequence| sequence <= confirmed))
    };
    let mut behind = None;
    let mut chunk_end = len;
    while chunk_end > 0 {
        if len - chunk_end > SEARCH_MAX {
            return Ok(None);
        }
        let begin = chunk_end.saturating_sub(CHUNK as u64);
        let chunk = read_at(
            file,
            begin,
            usize::try_from(chunk_end - begin).unwrap_or(CHUNK),
        )?;
        for newline in memchr::memrchr_iter(b'\n', &chunk) {
            let line = begin + newline as u64 + 1;
            if behind.is_some() && is_confirmed(line)? {
                return Ok(behind);
            }
            behind = Some(line);
        }
        chunk_end = begin;
    }
    if behind.is_some() && is_confirmed(0)? {
        return Ok(behind);
    }
    Ok(Some(0))
}

/// The sequence of the event of the live stream whose line begins at `line`.
fn sequence_at(file: &fs::File, line: u64) -> io::Result<Option<u64>> {
    let head = read_at(file, line, HEAD_MAX)?;
    let position = || {
        let head = begins_event(&head).then_some(&head[..])?;
        let keys = [KEY, OLD_KEY].map(|key| memchr::memmem::find(head, key));
        let text = &head[keys.into_iter().flatten().min()? + KEY.len()..];
        let text = &text[..memchr::memchr(b'"', text)?];
        str::from_utf8(text).ok()?.parse::<Position>().ok()
    };
    Ok(position().map(|position| position.sequence))
}

/// Up to `len` bytes from `at` on; fewer at the end of the file.
fn read_at(file: &fs::File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The line as builds wrote it that had the old key.
fn with_old_key(line: &[u8]) -> Vec<u8> {
    let mut old = line.to_vec();
    if let Some(at) = memchr::memmem::find(line, KEY) {
        old[at..at + KEY.len()].copy_from_slice(OLD_KEY);
    }
    old
}

/// What stands before the position. Nothing before it in an envelope holds a quotation mark of its own, so the first
/// one counts.
const KEY: &[u8] = b"\",\"position\":\"";
const OLD_KEY: &[u8] = b"\",\"sequence\":\"";

/// Where the position in an envelope ends at the latest: id, source, type and subject stand before it.
const HEAD_MAX: usize = 4096;

const CHUNK: usize = 256 * 1024;

/// How far from the end the cursor is looked for: much more than what is written between two saves of it.
const SEARCH_MAX: u64 = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{Tail, Then, end_of};
    use std::fs;
    use std::path::PathBuf;

    fn line(position: &str) -> String {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"x\",\"position\":\"{position}\",\"data\":{{}}}}\n"
        )
    }

    fn lines(positions: &[&str]) -> String {
        positions.iter().map(|position| line(position)).collect()
    }

    fn replayed(position: &str) -> String {
        line(position).replacen("\"id\"", "\"replay\":\"r\",\"id\"", 1)
    }

    struct Case {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    fn case(content: &[u8]) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, content).unwrap();
        Case { _dir: dir, path }
    }

    impl Case {
        fn tail(&self, confirmed: u64) -> Option<Tail> {
            let file = fs::File::open(&self.path).unwrap();
            Tail::find(&self.path, &file, confirmed).unwrap()
        }

        fn compare(&self, confirmed: u64, with: &str) -> (usize, Then) {
            self.tail(confirmed)
                .unwrap()
                .compare(with.as_bytes())
                .unwrap()
        }
    }

    #[test]
    fn what_is_the_same_is_passed_over_to_the_byte() {
        let whole = lines(&["1.0", "1.1", "2.0", "3.0"]);
        let there = lines(&["1.0", "1.1"]).len();
        let next = lines(&["2.0", "3.0"]);
        for cut in there..=whole.len() {
            let case = case(&whole.as_bytes()[..cut]);
            let Some(mut tail) = case.tail(1) else {
                assert_eq!(cut, there);
                continue;
            };
            let then = if cut == whole.len() {
                Then::More
            } else {
                Then::End
            };
            assert_eq!(tail.compare(next.as_bytes()).unwrap(), (cut - there, then));
            assert_eq!(fs::read(&case.path).unwrap(), whole.as_bytes()[..cut]);
        }
        assert!(case(whole.as_bytes()).tail(3).is_none(), "all is confirmed");
        assert!(case(b"").tail(0).is_none());
        let fresh = case(&whole.as_bytes()[..100]);
        assert_eq!(
            fresh.compare(0, &whole),
            (100, Then::End),
            "without a cursor"
        );
    }

    /// Where the old key stands, in whole lines and in one that a kill has cut anywhere, the new one stands afterwards.
    #[test]
    fn lines_of_the_builds_before_get_the_new_key() {
        let new = lines(&["1.0", "1.1", "2.0", "3.0"]);
        let old = new.replace("position", "sequence");
        let there = lines(&["1.0", "1.1"]).len();
        for cut in there + 1..=old.len() {
            let case = case(&old.as_bytes()[..cut]);
            let (same, then) = case.compare(1, &new[there..]);
            assert_eq!((same, then == Then::End), (cut - there, cut < old.len()));
            let now = fs::read_to_string(&case.path).unwrap();
            assert_eq!(now, format!("{}{}", &old[..there], &new[there..cut]));
        }
        let mixed = old[..there].to_owned() + &new[there..];
        assert!(case(mixed.as_bytes()).tail(3).is_none(), "all is confirmed");
        assert!(case(old.as_bytes()).tail(3).is_none(), "all is confirmed");
        let named = line("1.0").replace("{}", "{\"a\":\"b\",\"sequence\":\"9.0\"}");
        let same = case(format!("{named}{}", line("2.0")).as_bytes()).compare(1, &line("2.0"));
        assert_eq!(same, (line("2.0").len(), Then::More), "a key in the data");
    }

    #[test]
    fn what_is_not_the_same_is_not_passed_over() {
        let other = lines(&["1.0", "2.0", "3.0"]).replace("\"id\":\"x\"", "\"id\":\"y\"");
        let first = line("2.0").len();
        assert_eq!(
            case(other.as_bytes()).compare(1, &line("2.0")),
            (0, Then::Different)
        );
        let gap = case(lines(&["1.0", "2.0", "4.0"]).as_bytes());
        assert_eq!(
            gap.compare(1, &lines(&["2.0", "3.0", "4.0"])),
            (first, Then::Different)
        );
        let foreign = case(format!("{}hello\n", lines(&["1.0", "2.0"])).as_bytes());
        assert_eq!(
            foreign.compare(1, &lines(&["2.0", "3.0"])),
            (first, Then::Different)
        );
    }

    #[test]
    fn what_a_power_cut_has_torn_is_found() {
        let mut bytes = lines(&["1.0", "2.0", "3.0", "4.0"]).into_bytes();
        let len = line("1.0").len();
        bytes[2 * len + 30..2 * len + 50].fill(0);
        let next = lines(&["2.0", "3.0", "4.0"]);
        assert_eq!(
            case(&bytes).compare(1, &next),
            (len, Then::Torn(2 * len as u64))
        );
        bytes[2 * len..].fill(0);
        assert_eq!(
            case(&bytes).compare(1, &next),
            (len, Then::Torn(2 * len as u64))
        );
    }

    #[test]
    fn lines_of_a_replay_do_not_count() {
        let text = [
            line("7.0"),
            replayed("1.0"),
            line("8.0"),
            replayed("9.0"),
            line("9.0"),
        ]
        .concat();
        let next = lines(&["8.0", "9.0"]);
        let case = case(text.as_bytes());
        assert_eq!(case.compare(7, &next), (next.len(), Then::More));
        let file = fs::File::open(&case.path).unwrap();
        assert_eq!(
            end_of(&file, text.len() as u64, 7).unwrap(),
            Some(line("7.0").len() as u64)
        );
    }
}
