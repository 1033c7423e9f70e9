//! Files that are Hookline's own, or that it reads: no sink writes its events there.
//!
//! A file sink appends to what is there and renames it for a new one. Done to the lock, a segment or a cursor, that
//! loses what was answered; done to a secret or the configuration, the next start. So everything in the data directory
//! is refused, whatever it is called, and so is each file that the configuration names to be read. A path is followed
//! through symbolic links, also where nothing is there yet, and a hard link is known by its inode.

use super::finding::Location;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// What there is to compare, as it is read.
#[derive(Debug, Default)]
pub(super) struct OwnFiles {
    /// Files that are read, and what each is.
    read: Vec<(PathBuf, &'static str)>,
    /// Files of sinks.
    written: Vec<(Location, PathBuf)>,
}

impl OwnFiles {
    /// Notes a file that is read: `what` it is, as in "the configuration".
    pub(super) fn reads(&mut self, path: impl Into<PathBuf>, what: &'static str) {
        self.read.push((path.into(), what));
    }

    /// Notes the file of a sink.
    pub(super) fn writes(&mut self, place: Location, path: &Path) {
        self.written.push((place, path.to_owned()));
    }

    /// What is wrong with sinks whose file is one of these. `has_stdout` says that another sink writes to the standard
    /// output.
    pub(super) fn mistakes(mut self, data_dir: &Path, has_stdout: bool) -> Vec<(Location, String)> {
        self.reads("/proc/self/fd/2", "where this process writes its log");
        if has_stdout {
            self.reads("/proc/self/fd/1", "where a sink of type \"stdout\" writes");
        }
        let mut mistakes = Vec::new();
        for (place, path) in self.written {
            if let Some(why) = is_own(&path, data_dir, &self.read) {
                mistakes.push((place, format!("{} {why}", path.display())));
            }
        }
        mistakes
    }
}

/// True if two paths lead to one file, whether it is there or not.
pub(super) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
    let place = |path: &Path| {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = fs::canonicalize(dir.unwrap_or(Path::new("."))).ok()?;
        Some(dir.join(path.file_name()?))
    };
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other || place(one).is_some_and(|it| Some(it) == place(other)),
    }
}

/// Why no sink may write to this file.
fn is_own(path: &Path, data_dir: &Path, read: &[(PathBuf, &str)]) -> Option<String> {
    let found = fs::metadata(path).ok();
    let steps = steps(path);
    if steps.iter().any(|step| step.starts_with("/proc")) {
        // What is there and no file is refused as that.
        return found.is_none_or(|it| it.is_file()).then(|| {
            "is a name in /proc for what a process has open, which cannot be rotated; name the file itself".to_owned()
        });
    }
    let elsewhere = "name a file in another directory";
    let dir = steps_end(data_dir);
    if steps.iter().any(|step| step.starts_with(&dir)) {
        let dir = data_dir.display();
        return Some(format!(
            "is in the data directory {dir}, where all files are Hookline's own; {elsewhere}"
        ));
    }
    if let Some((_, what)) = read.iter().find(|(own, _)| is_same_file(own, path)) {
        return Some(format!("is {what}; name another file"));
    }
    let found = found.filter(|it| it.is_file() && it.nlink() > 1)?;
    let other = linked_within(&dir, (found.dev(), found.ino()))?;
    let other = other.display();
    Some(format!(
        "is another name of {other}, which is Hookline's own; {elsewhere}"
    ))
}

/// Where a path leads: its own place first, then that of what each symbolic link on the way points to. The last is the
/// file itself, there or not.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut open = reversed(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let (mut done, mut steps, mut links) = (PathBuf::from("/"), Vec::new(), 0);
    while let Some(name) = open.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        done.push(name);
        let target = fs::read_link(&done).ok().filter(|_| links < LINKS_MAX);
        if let Some(target) = target {
            links += 1;
            let rest: PathBuf = open.iter().rev().collect();
            steps.push(done.join(rest));
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            open.extend(reversed(&target));
        }
    }
    steps.push(done);
    steps
}

fn steps_end(path: &Path) -> PathBuf {
    steps(path).pop().unwrap_or_default()
}

/// The names in a path, the last one first.
fn reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|it| match it {
        Component::Normal(_) | Component::ParentDir => Some(it.as_os_str().to_owned()),
        _ => None,
    });
    names.rev().collect()
}

/// The file in this directory, or below it, that has this device and inode.
fn linked_within(dir: &Path, identity: (u64, u64)) -> Option<PathBuf> {
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if (metadata.dev(), metadata.ino()) == identity {
                return Some(entry.path());
            }
        }
    }
    None
}

/// As many as the system follows.
const LINKS_MAX: usize = 40;
