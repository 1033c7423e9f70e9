use super::{Poison, letters};
use crate::feed::tests::batch;
use crate::feed::{Delivery, Maker};
use crate::journal::{Disk, JournalId};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// What a bug in the extraction would do.
pub(super) fn fail(body: &[u8]) {
    match body {
        PANICS => panic!("as a bug would"),
        ABORTS => std::process::abort(),
        _ => {}
    }
}

const PANICS: &[u8] = br#"{"this":"panics"}"#;
const ABORTS: &[u8] = br#"{"this":"aborts"}"#;
const FINE: &[u8] = br#"{"this":"is fine"}"#;

fn journal(number: u128) -> JournalId {
    JournalId::parse(&format!("{number:032x}")).unwrap()
}

fn open(dir: &Path) -> (Arc<Poison>, Vec<u64>) {
    let (poison, condemned) = Poison::open(&Disk::create(dir).unwrap(), journal(1)).unwrap();
    (Arc::new(poison), condemned)
}

fn kinds(delivery: &Delivery) -> Vec<(u64, &str)> {
    let events = delivery.events().iter();
    events
        .map(|event| (event.sequence(), event.kind()))
        .collect()
}

#[test]
fn a_body_that_panics_passes_whole() {
    let delivery = Maker::new().make(batch(7, &[FINE, PANICS, FINE]));
    let fine = "whatsapp.empty";
    assert_eq!(
        kinds(&delivery),
        [(7, fine), (8, "whatsapp.unparsed"), (9, fine)]
    );
    assert_eq!(delivery.made_from(0), 3);
    let letters = letters(&delivery, |number| format!("/{number}"), 5);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].item.to_string(), letters[0].endpoint.as_str()),
        ("8".to_owned(), "/1")
    );
    assert_eq!(letters[0].body, PANICS);
    assert!(letters[0].failures.reason.contains("twice"));

    let mut line = Vec::new();
    let event = delivery.events().get(1).unwrap();
    crate::event::render(event, PANICS, &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(line.contains("\"data_base64\":\"eyJ0aGlz"), "{line}");
}

/// The process that takes the body apart is this test's own program, started again.
#[test]
fn a_body_that_ends_the_process_twice_passes_whole() {
    const DIR: &str = "HOOKLINE_TEST_POISON_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        let (poison, _) = open(Path::new(&dir));
        let mut maker = Maker::sparing(&poison);
        drop(maker.make(batch(4, &[FINE, FINE, FINE])));
        drop(maker.make(batch(7, &[FINE, ABORTS, FINE])));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ends_well = || {
        let name = "feed::poison::tests::a_body_that_ends_the_process_twice_passes_whole";
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command
            .args([name, "--exact", "--nocapture"])
            .env(DIR, dir.path());
        command.output().unwrap().status.success()
    };
    assert!(!ends_well());
    let seen = Poison::look(&Disk::open(dir.path()).unwrap(), journal(1)).unwrap();
    assert!(!seen.is_condemned(8), "nobody has looked yet");
    assert!(!ends_well());
    let (poison, condemned) = open(dir.path());
    assert_eq!(condemned, [8]);
    assert!(ends_well());

    let (again, condemned) = open(dir.path());
    assert!(condemned.is_empty() && again.is_condemned(8));
    let seen = Poison::look(&Disk::open(dir.path()).unwrap(), journal(1)).unwrap();
    for poison in [poison, Arc::new(seen)] {
        let delivery = Maker::sparing(&poison).make(batch(7, &[FINE, ABORTS, FINE]));
        let crashed: Vec<_> = delivery.crashed().map(|it| it.sequence).collect();
        assert_eq!(crashed, [8]);
    }
    let other = Poison::look(&Disk::open(dir.path()).unwrap(), journal(2)).unwrap();
    assert!(!other.is_condemned(8), "another journal's");
}

/// A server that is killed while it works leaves its batches suspect, and condemns nothing.
#[test]
fn kills_condemn_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..200 {
        let (poison, condemned) = open(dir.path());
        assert!(condemned.is_empty(), "{start}");
        let mut guarded = super::Guarded::new(&poison);
        let first = 1 + start * 3;
        guarded.begin(first, first + 2);
        assert!(!guarded.one_by_one);
        let mut other = super::Guarded::new(&poison);
        other.begin(first.saturating_sub(3).max(1), first);
        assert_eq!(other.one_by_one, start > 0);
        other.end();
    }
    let (poison, _) = open(dir.path());
    assert_eq!(poison.verdicts.suspect.len(), super::SUSPECT_MAX);
    assert!(poison.verdicts.suspect.contains(&(598, 600)));
}

#[test]
fn damage_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (poison, _) = open(dir.path());
    super::Guarded::new(&poison).begin(5, 5);
    let (poison, _) = open(dir.path());
    assert_eq!(poison.verdicts.suspect, [(5, 5)]);
    let path = dir.path().join("verdicts");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("suspect 5", "suspect 6")).unwrap();
    std::fs::write(dir.path().join("marks"), [7; 100]).unwrap();
    let (poison, condemned) = open(dir.path());
    assert!(poison.verdicts.suspect.is_empty() && condemned.is_empty());
}
