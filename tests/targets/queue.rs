//! What the targets of the old sinks have in common: a directory with a file of events, a line each, and beside it what
//! the target is like at the moment.
//!
//! | file | is |
//! |---|---|
//! | `queue/taken` | the events, in the order in which they were taken; without `queue` nothing is taken |
//! | `password` | what has to be shown |
//! | `limit` | bytes that an event may have |
//! | `down` | there while the target is away, where no process is |

use super::target::Delivered;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The directory.
pub(crate) struct Queue(tempfile::TempDir);

impl Queue {
    pub(crate) fn new() -> Queue {
        let queue = Queue(tempfile::tempdir().expect("a directory"));
        queue.take_login(true);
        queue.limit(usize::from(u16::MAX) << 10);
        queue.create();
        queue
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // Whole at any time.
        let path = self.file(name);
        let other = path.with_extension("new");
        fs::write(&other, text).expect("written");
        fs::rename(other, path).expect("the same directory");
    }

    pub(crate) fn take_login(&self, takes: bool) {
        let password = if takes { PASSWORD } else { "another" };
        self.write("password", &format!("{password}\n"));
    }

    pub(crate) fn limit(&self, bytes: usize) {
        self.write("limit", &format!("{bytes}\n"));
    }

    pub(crate) fn is_down(&self, is_down: bool) {
        if is_down {
            self.write("down", "");
        } else {
            fs::remove_file(self.file("down")).expect("it is there");
        }
    }

    pub(crate) fn create(&self) {
        fs::create_dir(self.file("queue")).expect("it is not there");
    }

    pub(crate) fn remove(&self) {
        fs::remove_dir_all(self.file("queue")).expect("it is there");
    }

    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        delivered(&self.file("queue/taken"))
    }
}

/// The events in a file. What stands behind the last line end was cut off.
pub(crate) fn delivered(path: &Path) -> Vec<Delivered> {
    let text = fs::read(path).unwrap_or_default();
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let whole = lines.filter(|line| line.ends_with(b"\n"));
    whole.map(event).collect()
}

fn event(line: &[u8]) -> Delivered {
    let event = serde_json::from_slice::<Value>(line);
    let event = event.unwrap_or_else(|_| panic!("JSON: {}", String::from_utf8_lossy(line)));
    let optional = |name: &str| event[name].as_str().map(str::to_owned);
    let text = |name: &str| optional(name).expect("it is there");
    let position = text("position");
    let (sequence, index) = position.split_once('.').expect("SEQ.INDEX");
    let number = |text: &str| text.parse().expect("a number");
    Delivered {
        id: text("id"),
        position: (number(sequence), number(index)),
        lane: text("lane"),
        subject: optional("subject"),
        replay: optional("replay"),
    }
}

/// The side of the process that takes events.
pub(crate) struct Taker(PathBuf);

impl Taker {
    pub(crate) fn of(directory: &Path) -> Taker {
        Taker(directory.to_owned())
    }

    pub(crate) fn password(&self) -> String {
        self.text("password")
    }

    pub(crate) fn limit(&self) -> usize {
        self.text("limit").parse().expect("a number")
    }

    fn text(&self, name: &str) -> String {
        let text = fs::read_to_string(self.0.join(name)).expect("it is there");
        text.trim().to_owned()
    }

    /// Keeps lines, all or none of them. An error if there is no queue.
    pub(crate) fn take(&self, lines: &[u8]) -> io::Result<()> {
        let path = self.0.join("queue/taken");
        let mut file = File::options().create(true).append(true).open(path)?;
        file.write_all(lines)
    }
}

/// Attempts that count, after which an event is given up; so many that it is none because a target is away.
pub(crate) const ATTEMPTS: u32 = 1000;
pub(crate) const FEW_ATTEMPTS: u32 = 5;

pub(crate) const PASSWORD: &str = "right";
