mod bodies;
mod former;

use super::super::{Answer, DeadLetter, Failures};
use super::{DeadLetterError, DeadLetters, Listed};
use crate::disk::simulated::{Fault, Faults, SimulatedDisk};
use crate::disk::{Access, Disk, Storage, write_all_at};
use crate::event::{Form, Item, Lane};
use crate::journal::record::{self, FLAG_FOREIGN};
use crate::worker::{EventBatch, Extraction, Forms};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const BODY: &[u8] = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages",
"value":{"metadata":{"phone_number_id":"7"},"messages":[{"from":"1555","id":"wamid.A","timestamp":"1750000000",
"type":"text","text":{"body":"x"}}],"statuses":[{"id":"wamid.B","status":"sent","timestamp":"1750000000",
"recipient_id":"1666"}]}}]}]}"#;

/// The letter of an event of notification `sequence`, or of all of it.
fn dead_letter(sequence: u64, index: Option<u32>) -> DeadLetter {
    let headers = [(b"x-sig".as_slice(), b"a\xff\"\n".as_slice()), (b"n", b"")];
    let came = (3, 0, 1_750_000_000_000_001);
    let delivery = Extraction::new().make_one(sequence, came, headers.into_iter(), BODY);
    dead_letter_of(&delivery, index)
}

fn dead_letter_of(delivery: &EventBatch, index: Option<u32>) -> DeadLetter {
    let notification = delivery.notifications(0).next().unwrap();
    let failures = Failures {
        reason: "422".to_owned(),
        attempts: 50,
        first_failed: 1_750_000_000_000_002,
        last_failed: 1_750_000_100_000_000,
        last_answer: Some(Answer {
            status: 422,
            excerpt: "no \u{1f600}".to_owned(),
        }),
    };
    DeadLetter::new("crm", &notification, index, "/webhook", failures)
}

fn item(text: &str) -> Item {
    text.parse().unwrap()
}

fn listed(letters: &DeadLetters) -> Vec<(String, bool)> {
    let all = letters.list().unwrap().into_iter();
    all.map(|Listed { item, retry }| (item.to_string(), retry))
        .collect()
}

#[test]
fn a_dead_letter_gives_back_what_was_to_be_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let mut letters = DeadLetters::open(storage).unwrap();
    let (whole, event) = (dead_letter(4711, None), dead_letter(4711, Some(1)));
    letters.add_all(&[whole.clone(), event.clone()]).unwrap();
    assert_eq!(letters.read(item("4711")).unwrap(), whole);
    let read = letters.read(item("4711.1")).unwrap();
    assert_eq!(read, event);
    assert_eq!(
        (event.lane, event.kind.as_str(), event.subject.as_deref()),
        (Lane::Statuses, "whatsapp.status.sent", Some("7:1666"))
    );
    assert_eq!((whole.lane, whole.event_id), (Lane::Messages, None));

    let delivery = read.delivery(3, &mut Extraction::new());
    let notification = delivery.notifications(0).next().unwrap();
    assert_eq!(
        (notification.sequence, notification.record.endpoint),
        (4711, 3)
    );
    assert_eq!(notification.record.body, BODY);
    let failures = event.failures.clone();
    let again = DeadLetter::new("crm", &notification, Some(1), "/webhook", failures);
    assert_eq!(again, event, "headers, time of arrival and all");
}

/// Another sender's body means something new each time, so the key of its event has the sequence in it. The letter of
/// such an event forgot where it came from: tried again, it went out under another `id` than before.
#[test]
fn a_dead_letter_from_another_sender_keeps_its_key() {
    let came = (3, FLAG_FOREIGN, 1_750_000_000_000_001);
    let delivery = Extraction::new().make_one(4711, came, std::iter::empty(), b"{\"order\":7}");
    let letter = dead_letter_of(&delivery, Some(0));
    let mut letters = DeadLetters::open(SimulatedDisk::new(1).storage()).unwrap();
    letters.add(&letter).unwrap();
    let read = letters.read(letter.item).unwrap();
    assert_eq!(read, letter);
    let again = read.delivery(3, &mut Extraction::new());
    let id = |delivery: &EventBatch| delivery.events().get(0).unwrap().id().to_owned();
    assert_eq!(id(&again), id(&delivery));
}

/// Read by another form, or by none, it would go out as another event than before.
#[test]
fn a_dead_letter_keeps_the_form_of_its_body() {
    let (forms, _) = Forms::open(SimulatedDisk::new(1).storage(), 0);
    let form = Form {
        provider: "standard-webhooks".to_owned(),
        endpoint: "orders".to_owned(),
        id: Some("webhook-id".to_owned()),
        ..Form::unknown()
    };
    let number = forms.number(&form).unwrap();
    let forms = Arc::new(forms);
    let flags = record::with_form(FLAG_FOREIGN, number);
    let came = (3, flags, 1_750_000_000_000_001);
    let headers = [(&b"webhook-id"[..], &b"msg_1"[..])];
    let mut maker = Extraction::new().reading(&forms);
    let delivery = maker.make_one(4711, came, headers.into_iter(), b"{\"order\":7}");
    let shown = |delivery: &EventBatch| {
        let event = delivery.events().get(0).unwrap();
        format!("{} {} {}", event.id(), event.kind(), event.source())
    };
    let expected = "msg_1 webhook.received /standard-webhooks/orders";
    assert_eq!(shown(&delivery), expected);
    // Set apart to be tried again, by a maker that has not read anything yet.
    let alone = Extraction::new().alone(&delivery, 4711).unwrap();
    assert_eq!(shown(&alone), expected);
    let letter = dead_letter_of(&delivery, Some(0));
    let mut letters = DeadLetters::open(SimulatedDisk::new(1).storage()).unwrap();
    letters.add(&letter).unwrap();
    let read = letters.read(letter.item).unwrap();
    assert_eq!(shown(&read.delivery(3, &mut maker)), expected);
}

/// A verb that asked again while the server wrote down why it had failed took the only copy with it.
#[test]
fn who_asks_again_at_any_moment_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let mut server = DeadLetters::open(Arc::clone(&storage)).unwrap();
    let verb = DeadLetters::read_only(storage);
    server.add(&dead_letter(1, Some(0))).unwrap();
    let it = item("1.0");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                verb.request_retry(it).unwrap();
            }
        });
        for attempts in 0..300 {
            // Only what somebody has asked for is tried again.
            while server.retries().unwrap().is_empty() {
                thread::yield_now();
            }
            let mut again = server.read(it).unwrap();
            again.failures.attempts = attempts;
            server.failed_again(&again).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.read(it).unwrap().failures.attempts, 299);
    // Nor does who drops it, and then it stays away.
    verb.drop_dead_letter(it).unwrap();
    assert!(listed(&verb).is_empty());
}

#[test]
fn dead_letters_go_their_ways() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let mut server = DeadLetters::open(Arc::clone(&storage)).unwrap();
    let verb = DeadLetters::read_only(storage);
    for at in [10, 9, 11] {
        server.add(&dead_letter(at, Some(0))).unwrap();
    }
    server.add(&dead_letter(9, None)).unwrap();
    server.add(&dead_letter(9, None)).unwrap();
    let names = |list: &[(&str, bool)]| -> Vec<(String, bool)> {
        list.iter()
            .map(|(id, it)| ((*id).to_owned(), *it))
            .collect()
    };
    let all = [
        ("9", false),
        ("9.0", false),
        ("10.0", false),
        ("11.0", false),
    ];
    assert_eq!(listed(&verb), names(&all));
    assert!(server.retries().unwrap().is_empty());

    verb.request_retry(item("10.0")).unwrap();
    verb.request_retry(item("10.0")).unwrap();
    verb.request_retry(item("9")).unwrap();
    assert_eq!(server.retries().unwrap(), [item("9"), item("10.0")]);
    assert_eq!(server.read(item("9")).unwrap(), dead_letter(9, None));
    server.done(item("9")).unwrap();
    let mut again = dead_letter(10, Some(0));
    again.failures.attempts = 51;
    server.failed_again(&again).unwrap();
    assert!(server.retries().unwrap().is_empty());
    assert_eq!(server.read(item("10.0")).unwrap().failures.attempts, 51);

    verb.request_retry(item("10.0")).unwrap();
    verb.drop_dead_letter(item("10.0")).unwrap();
    server.failed_again(&again).unwrap();
    assert_eq!(
        listed(&verb),
        names(&[("9.0", false), ("11.0", false)]),
        "dropped meanwhile"
    );
    for gone in [
        verb.drop_dead_letter(item("10.0")),
        verb.request_retry(item("9")),
    ] {
        assert!(
            matches!(gone, Err(DeadLetterError::Missing { .. })),
            "{gone:?}"
        );
    }
}

#[test]
fn there_is_an_end_to_their_number() {
    let disk = SimulatedDisk::new(1);
    let mut letters = DeadLetters::open(disk.storage()).unwrap();
    letters.count_max = 3;
    for at in [1, 2, 3, 2, 1] {
        letters.add(&dead_letter(at, None)).unwrap();
    }
    let full = letters.add_all(&[dead_letter(3, None), dead_letter(4, None)]);
    assert!(
        matches!(full, Err(DeadLetterError::Full { .. })),
        "{full:?}"
    );
    assert_eq!(listed(&letters).len(), 3);
    DeadLetters::read_only(disk.storage())
        .drop_dead_letter(item("2"))
        .unwrap();
    letters.add(&dead_letter(4, None)).unwrap();
}

#[test]
fn damage_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::create(dir.path()).unwrap());
    let mut letters = DeadLetters::open(Arc::clone(&storage)).unwrap();
    letters.add(&dead_letter(5, None)).unwrap();
    let path = dir.path().join("5.json");
    let whole = std::fs::read_to_string(&path).unwrap();
    for (wrong, reason) in [
        ("", "EOF"),
        ("{}", "missing field"),
        (
            &whole.replace("\"sequence\": 5", "\"sequence\": 6"),
            "it is the letter 6",
        ),
        (
            &whole.replace("body_base64\": \"ey", "body_base64\": \"ex"),
            "its body is not",
        ),
        (&whole.replace("\"messages\"", "\"other\""), "no lane"),
        (
            &whole.replace("hookline_letter\": 1", "hookline_letter\": 3"),
            "newer version",
        ),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = letters.read(item("5")).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    std::fs::write(dir.path().join("5.3.tmp"), "half").unwrap();
    for name in [
        "x.json",
        "0.json",
        "05.json",
        "5.json.old",
        "5.-1.json",
        "7.tmp",
    ] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let letters = DeadLetters::open(storage).unwrap();
    assert_eq!(listed(&letters), [("5".to_owned(), false)]);
    assert!(!dir.path().join("5.3.tmp").exists());
}

/// At whatever moment the power goes: what was added is there and whole, and what is there is whole.
#[test]
fn dead_letters_outlive_the_power() {
    let all: Vec<_> = (1..=3).map(|at| dead_letter(at, Some(0))).collect();
    let mut added_all = false;
    for power_off_at in 1..100 {
        let disk = SimulatedDisk::new(power_off_at);
        let mut letters = DeadLetters::open(disk.storage()).unwrap();
        disk.set_faults(Faults {
            power_off_at: Some(power_off_at),
            ..Faults::default()
        });
        let first = letters.add(&all[0]).is_ok();
        let rest = letters.add_all(&all[1..]).is_ok();
        let retry = rest && letters.request_retry(all[0].item).is_ok() && letters.sync().is_ok();
        let done = retry && letters.done(all[0].item).is_ok();
        let mut after = DeadLetters::open(disk.after_power_cut().storage()).unwrap();
        let there = after.list().unwrap();
        for (promised, letter) in [(first && !retry, &all[0]), (rest, &all[1]), (rest, &all[2])] {
            let found = there.iter().any(|it| it.item == letter.item);
            assert!(found || !promised, "{power_off_at}");
            if found {
                assert_eq!(&after.read(letter.item).unwrap(), letter, "{power_off_at}");
            }
        }
        if retry && !done {
            let asked = after.retries().unwrap() == [all[0].item];
            let gone = after.read(all[0].item).is_err();
            assert!(asked || gone, "{power_off_at}: {there:?}");
        }
        if done {
            assert_eq!(there.len(), 2);
            added_all = true;
            break;
        }
    }
    assert!(added_all, "the power did not go any more");
}

#[test]
fn a_full_disk_is_no_end() {
    let disk = SimulatedDisk::new(7);
    let mut letters = DeadLetters::open(disk.storage()).unwrap();
    let operations = disk.operations();
    for at in 1..6 {
        disk.set_faults(Faults {
            error_at: Some((operations + at, Fault::NoSpace)),
            ..Faults::default()
        });
        if let Err(error) = letters.add(&dead_letter(1, None)) {
            assert!(error.is_shortage(), "{error}");
        }
    }
    disk.set_faults(Faults::default());
    letters.add(&dead_letter(1, None)).unwrap();
    assert_eq!(letters.read(item("1")).unwrap(), dead_letter(1, None));
}

/// The file of a letter, as it is on the disk, is given by the module's documentation; old ones are read for ever.
#[test]
fn the_form_stays_as_it_is() {
    let disk = SimulatedDisk::new(1);
    let storage = disk.storage();
    let text = br#"{"hookline_letter":1,"sink":"crm","sequence":4711,"index":3,"id":"wamid.HBg",
        "type":"whatsapp.message.text","subject":"1:2","lane":"messages","endpoint":"/webhook",
        "received_at":"2026-11-23T01:45:00.123456Z","reason":"422","attempts":50,
        "first_failed":"2026-11-23T01:45:00.2Z","last_failed":"2026-11-23T05:45:00.2Z",
        "headers":[["a","\u00ff"]],"body_crc32c":"297bd0aa","body_base64":"e30="}"#;
    let file = storage.create("4711.3.json").unwrap();
    write_all_at(&*file, &mut [IoSlice::new(text)], 0).unwrap();
    drop(storage.open("4711.3.json", Access::Read).unwrap());
    let letter = DeadLetters::read_only(storage)
        .read(item("4711.3"))
        .unwrap();
    assert_eq!(letter.content.body, b"{}");
    assert_eq!(letter.content.headers, [(b"a".to_vec(), vec![0xff])]);
    assert_eq!(letter.received_at, 1_795_398_300_123_456);
}
