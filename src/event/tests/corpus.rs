//! A directory of bodies, each checked against the reference: `HOOKLINE_PAYLOADS=dir cargo test corpus`.

use super::super::Extractor;
use super::{ORIGIN, extract, properties, reference};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
#[expect(
    clippy::print_stderr,
    reason = "says what was read, and what to look at"
)]
fn a_directory_of_bodies() {
    let Some(root) = std::env::var_os("HOOKLINE_PAYLOADS") else {
        eprintln!("skipped: HOOKLINE_PAYLOADS names no directory of *.json bodies");
        return;
    };
    let mut files = Vec::new();
    collect(Path::new(&root), &mut files);
    assert!(
        !files.is_empty(),
        "no *.json in {}",
        Path::new(&root).display()
    );
    let mut unknown = BTreeMap::new();
    let mut events_count = 0;
    for file in &files {
        let body = fs::read(file).unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        // The reference has the members sorted.
        let sorted: serde_json::Value = serde_json::from_str(text).unwrap();
        properties::check(&sorted.to_string());
        let events = extract(&body);
        assert_eq!(events.len(), reference::updates(&sorted).len());
        assert!(events.iter().all(|event| event.unparsed().is_none()));
        events_count += events.len();
        for event in events.iter().filter(|event| !event.is_known()) {
            unknown.insert(event.kind().to_owned(), file.clone());
        }
        // A redelivery has the same keys, the test button's excepted.
        let mut again = super::Events::new();
        let later = super::Origin {
            sequence: 99,
            ..ORIGIN
        };
        Extractor::new().extract(&body, later, &mut again);
        for (event, again) in events.iter().zip(again.iter()) {
            assert_eq!(event.id() == again.id(), !event.id().contains(":test:"));
        }
    }
    eprintln!(
        "{} bodies, {events_count} events, unknown kinds: {unknown:#?}",
        files.len()
    );
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension() == Some(OsStr::new("json")) {
            files.push(path);
        }
    }
    files.sort();
}
