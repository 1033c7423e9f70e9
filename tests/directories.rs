//! The order in which a running server makes names durable, as strace sees it.
//!
//! A name that is made or changed is durable once its directory was synced; a file system usually does that soon by
//! itself, so no kill and hardly any power cut shows that it was forgotten. Here each thread's calls are held against
//! what `Storage::replace` promises for each small file that is replaced as a whole, as the manifest is: the directory
//! is synced before the old bytes are written over, the new ones are synced before the names are exchanged, and the
//! directory is synced before anything else becomes of them. What is saved every second or two (cursors, checkpoint)
//! changes no name: it is written into one of two slots and synced, before the other is written.
//!
//! Where strace is missing or may not trace, a line says so and nothing is checked.

mod common;

use common::delivered::FileSink;
use common::eventually;
use common::load::{self, Load};
use common::strace::Strace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What a thread did to names and files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    /// To a file, or to a directory.
    Sync(String),
    /// Into a file, at this offset.
    Write(String, u64),
    Exchange(String, String),
    Rename(String, String),
    /// Took a name that was free.
    Create(String),
}

impl Call {
    /// A line of `strace -f -y`: `PID call(arguments) = result`.
    fn parse(line: &str) -> Option<(u32, Call)> {
        let (pid, call) = line.trim().split_once(' ')?;
        let (name, arguments) = call.trim().split_once('(')?;
        let done = line.rsplit_once(" = ")?.1;
        if done.starts_with('-') {
            return None;
        }
        // `-y` gives the path of each descriptor.
        let of_descriptor = || {
            let path = arguments.split_once('<')?.1.split_once('>')?.0;
            Some(path.to_owned())
        };
        let quoted: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
        let paths = || Some(((*quoted.first()?).to_owned(), (*quoted.get(1)?).to_owned()));
        let call = match name {
            "fsync" | "fdatasync" => Call::Sync(of_descriptor()?),
            "pwrite64" | "pwritev" | "pwritev2" => {
                let numbers = arguments.rsplit_once(" = ")?.0.trim_end();
                let mut numbers = numbers.strip_suffix(')')?.rsplit(", ");
                let offset = numbers.nth(usize::from(name == "pwritev2"))?;
                Call::Write(of_descriptor()?, offset.trim().parse().ok()?)
            }
            "renameat2" if arguments.contains("RENAME_EXCHANGE") => {
                let (one, other) = paths()?;
                Call::Exchange(one, other)
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = paths()?;
                Call::Rename(from, to)
            }
            "openat" if arguments.contains("O_CREAT|O_EXCL") => {
                Call::Create((*quoted.first()?).to_owned())
            }
            _ => return None,
        };
        Some((pid.parse().ok()?, call))
    }
}

fn directory(path: &str) -> String {
    let parent = Path::new(path).parent().expect("absolute");
    parent.to_str().expect("UTF-8").to_owned()
}

/// Calls of each thread. Those that were cut in two, since another thread's came between, are put together.
fn by_thread(output: &str) -> BTreeMap<u32, Vec<Call>> {
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
    for line in output.lines() {
        let (pid, rest) = line.trim().split_once(' ').unwrap_or_default();
        let whole = if let Some(begin) = line.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, begin);
            continue;
        } else if rest.trim_start().starts_with("<... ") {
            let Some((begin, (_, end))) = unfinished.remove(pid).zip(rest.split_once("resumed>"))
            else {
                continue;
            };
            format!("{begin}{end}")
        } else {
            line.to_owned()
        };
        if let Some((pid, call)) = Call::parse(&whole) {
            calls.entry(pid).or_default().push(call);
        }
    }
    calls
}

/// Checks each exchange of names, and gives the names that were exchanged.
fn check_replaced(calls: &[Call], replaced: &mut BTreeSet<String>) {
    for (at, call) in calls.iter().enumerate() {
        let Call::Exchange(old, name) = call else {
            continue;
        };
        assert_eq!(*old, format!("{name}.old"));
        let synced = Call::Sync(directory(name));
        let before: Vec<&Call> = calls[..at]
            .iter()
            .rev()
            .take_while(|it| **it != synced)
            .collect();
        // Whoever was attached to in the middle of it has no beginning.
        if before.len() < at {
            let is_of_old = |call: &&Call| matches!(call, Call::Write(path, _) | Call::Sync(path) if path == old);
            let last: Vec<&&Call> = before.iter().filter(|it| is_of_old(it)).collect();
            let expected = [Call::Sync(old.clone()), Call::Write(old.clone(), 0)];
            assert!(
                last.len() >= 2
                    && last
                        .iter()
                        .zip(&expected)
                        .all(|(it, expected)| **it == expected),
                "{name}: {before:?}"
            );
        }
        // The trace may have ended between.
        if let Some(next) = calls.get(at + 1) {
            assert_eq!(*next, synced, "behind the exchange of {name}");
        }
        replaced.insert(name.rsplit('/').next().expect("one").to_owned());
    }
}

/// Checks what is written in place, and gives how often each file was.
fn check_slots(calls: &[Call], saved: &mut BTreeMap<String, usize>) {
    let is_slots = |path: &str| path.ends_with(".cursor") || path.ends_with("/checkpoint");
    let mut last: BTreeMap<&str, &Call> = BTreeMap::new();
    let mut offsets: BTreeMap<&str, u64> = BTreeMap::new();
    for call in calls {
        let (Call::Write(path, _) | Call::Sync(path)) = call else {
            continue;
        };
        if !is_slots(path) {
            continue;
        }
        let before = last.insert(path, call);
        if let Call::Write(_, offset) = call {
            assert!(!matches!(before, Some(Call::Write(..))), "{path}: no sync");
            let before = offsets.insert(path, *offset);
            assert_ne!(before, Some(*offset), "{path}: the same slot again");
            let name = path.rsplit('/').next().expect("one");
            *saved.entry(name.to_owned()).or_default() += 1;
        }
    }
}

/// What a segment is called last is durable before the manifest lists it.
fn check_segments(calls: &[Call]) -> usize {
    let mut segments = 0;
    for (at, call) in calls.iter().enumerate() {
        let Call::Rename(_, to) = call else { continue };
        if !to.ends_with(".segment") {
            continue;
        }
        segments += 1;
        let synced = Call::Sync(directory(to));
        let next = calls[at + 1..]
            .iter()
            .find(|it| matches!(it, Call::Exchange(..)) || **it == synced);
        assert!(
            next.is_none_or(|next| *next == synced),
            "behind {to}: {next:?}"
        );
    }
    segments
}

#[test]
fn names_are_durable_before_anything_relies_on_them() {
    let site = load::site("stored").journal("retention = \"0s\"");
    let directory = site.path().to_owned();
    let (site, _sink) = FileSink::add_to(site, &directory);
    let server = site.start();
    let load = Load::start(&server, "/in", 0);
    load.reach_accepted(10);
    let calls = "trace=fsync,fdatasync,pwrite64,pwritev,pwritev2,rename,renameat,renameat2,openat";
    let Some(strace) = Strace::attach(&server, &site, &["-y", "-e", calls]) else {
        return;
    };
    let is_enough = |output: &str| {
        let manifests = output.matches("manifest.old\", ").count();
        let saves = |file: &str| output.matches(&format!("{file}>, [")).count();
        manifests >= 8 && saves("/file.cursor") >= 3 && saves("/checkpoint") >= 2
    };
    eventually("names are exchanged, and slots are written", || {
        is_enough(&strace.output())
    });
    drop(load.stop());
    let output = strace.detach();
    assert!(server.terminate().0.success());
    let (mut replaced, mut saved, mut segments) = (BTreeSet::new(), BTreeMap::new(), 0);
    for calls in by_thread(&output).values() {
        check_replaced(calls, &mut replaced);
        check_slots(calls, &mut saved);
        segments += check_segments(calls);
    }
    assert!(replaced.contains("manifest"), "{replaced:?}");
    // The last call of each may have been cut off.
    assert!(
        saved["file.cursor"] >= 2 && saved["checkpoint"] >= 1,
        "{saved:?}"
    );
    assert!(segments > 0, "{output}");
}
