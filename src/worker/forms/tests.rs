//! The file of forms: what is written is read, and what is lost stops nothing.

use super::super::{EventBatch, Extraction};
use super::*;
use crate::disk::simulated::SimulatedDisk;
use crate::event::RULES;

fn form(endpoint: &str) -> Form {
    Form {
        provider: "standard-webhooks".to_owned(),
        endpoint: endpoint.to_owned(),
        id: Some("webhook-id".to_owned()),
        kind: Some("type".to_owned()),
        time: Some("timestamp".to_owned()),
        attributes: vec!["x-a".to_owned(), "x-b".to_owned()],
        ..Form::unknown()
    }
}

fn platform(endpoint: &str) -> Form {
    Form {
        provider: "meta".to_owned(),
        endpoint: endpoint.to_owned(),
        whatsapp: WhatsApp::Always,
        ..Form::unknown()
    }
}

fn open(disk: &SimulatedDisk, last: u64) -> (Forms, bool) {
    Forms::open(Arc::new(disk.clone()), last)
}

fn look(disk: &SimulatedDisk) -> Arc<Forms> {
    Arc::new(Forms::look(Arc::new(disk.clone())))
}

/// Where the two files say what is not a form.
fn damage(disk: &SimulatedDisk, name: &str) {
    disk.damage(name, |bytes| bytes[20] ^= 1);
}

/// Id, type, source and number of extensions of the one event of a record with these flags.
fn read_as(forms: &Arc<Forms>, flags: u16) -> (String, String, String) {
    let headers = [(&b"webhook-id"[..], &b"msg 1"[..]), (b"X-B", b"b")];
    let came = (1, flags, 1_790_500_000_250_000);
    let mut maker = Extraction::new().reading(forms);
    let body = br#"{"type":"order.paid","messages":[{"id":"wamid.A","type":"text"}]}"#;
    let delivery: EventBatch = maker.make_one(41, came, headers.into_iter(), body);
    let events = delivery.events();
    assert_eq!(events.len(), 1);
    let event = events.get(0).unwrap();
    let text = |text: &str| text.to_owned();
    (text(event.id()), text(event.kind()), text(event.source()))
}

fn flags(form: u16) -> u16 {
    record::with_form(FLAG_FOREIGN, form)
}

#[test]
fn what_is_written_is_read_and_nothing_else() {
    let mut other = platform("with-dash.and_dot");
    other.rules = RULES + 1;
    let forms = BTreeMap::from([(1, form("a")), (7, other), (NUMBER_MAX, platform("-"))]);
    let forms: BTreeMap<_, _> = forms.into_iter().map(|it| (it.0, Arc::new(it.1))).collect();
    let text = render(&forms);
    assert_eq!(parse(text.as_bytes()), Some(forms.clone()));
    assert_eq!(parse(format!("{text}\n\n\n").as_bytes()), Some(forms));
    for at in 0..text.len() - 1 {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(parse(changed.as_bytes()), None, "{at}");
        assert_eq!(parse(&text.as_bytes()[..at]), None, "cut at {at}");
    }
}

#[test]
fn a_form_is_durable_when_its_number_is_known() {
    let disk = SimulatedDisk::new(1);
    let (forms, is_whole) = open(&disk, 0);
    assert!(is_whole);
    assert_eq!(forms.number(&form("a")).unwrap(), 1);
    assert_eq!(forms.number(&platform("p")).unwrap(), 2);
    assert_eq!(forms.number(&form("a")).unwrap(), 1, "the same form");
    let cut = disk.after_power_cut();
    let (again, is_whole) = open(&cut, 10);
    assert!(is_whole);
    assert_eq!(again.get(2).as_deref(), Some(&platform("p")));
    let mut changed = form("a");
    changed.attributes.pop();
    assert_eq!(again.number(&changed).unwrap(), 3);
    assert_eq!(
        again.get(1).as_deref(),
        Some(&form("a")),
        "the old one stays"
    );
}

/// The way in which a record is read was that of the configuration of the day.
#[test]
fn a_record_is_read_as_it_was_stored() {
    let disk = SimulatedDisk::new(2);
    let (forms, _) = open(&disk, 0);
    let (first, second) = (form("orders"), form("shop"));
    let numbers = [&first, &second].map(|form| forms.number(form).unwrap());
    let expected = |name: &str| {
        let source = format!("/standard-webhooks/{name}");
        (
            "msg%201".to_owned(),
            "webhook.order.paid".to_owned(),
            source,
        )
    };
    let forms = Arc::new(forms);
    assert_eq!(read_as(&forms, flags(numbers[0])), expected("orders"));
    assert_eq!(read_as(&forms, flags(numbers[1])), expected("shop"));
    // Another process, such as `tail`, which began before the form was there.
    let beside = look(&disk);
    assert_eq!(read_as(&beside, flags(1)), expected("orders"));
    let third = forms.number(&form("later")).unwrap();
    assert_eq!(read_as(&beside, flags(third)), expected("later"));
    // What a version without forms has stored is read as that did.
    let (id, kind, source) = read_as(&forms, FLAG_FOREIGN);
    let old = ("-:-:wamid.A", "whatsapp.message.text", "/whatsapp");
    assert_eq!((&id[..], &kind[..], &source[..]), old);
}

#[test]
fn a_damaged_file_is_replaced_by_the_other() {
    for name in [NAME, OLD] {
        let disk = SimulatedDisk::new(3);
        open(&disk, 0).0.number(&form("a")).unwrap();
        damage(&disk, name);
        let (forms, is_whole) = open(&disk, 5);
        assert!(is_whole);
        assert_eq!(forms.number(&form("a")).unwrap(), 1);
        let first = disk::read_file(&*disk.storage(), NAME, LENGTH_MAX)
            .unwrap()
            .unwrap();
        assert!(parse(&first).is_some(), "{name}");
    }
}

/// The next form is written over the file before, which must not be the only one that is whole.
#[test]
fn the_only_whole_file_is_not_written_over() {
    let disk = SimulatedDisk::new(6);
    open(&disk, 0).0.number(&form("a")).unwrap();
    damage(&disk, NAME);
    let (forms, _) = open(&disk, 5);
    // A power cut in the midst of writing.
    damage(&disk, OLD);
    assert!(forms.get(1).is_some());
    let (forms, is_whole) = open(&disk, 5);
    assert!(is_whole);
    assert_eq!(forms.number(&form("a")).unwrap(), 1);
}

#[test]
fn lost_forms_stop_nothing_and_their_numbers_mean_nothing_else() {
    let disk = SimulatedDisk::new(4);
    open(&disk, 0).0.number(&form("a")).unwrap();
    damage(&disk, NAME);
    damage(&disk, OLD);
    let (forms, is_whole) = open(&disk, 4711);
    assert!(!is_whole, "it is logged");
    let names = disk.storage().list().unwrap();
    assert!(names.contains(&"forms.damaged".to_owned()), "{names:?}");
    let number = forms.number(&platform("b")).unwrap();
    assert_eq!(number, 4711 % NUMBER_MAX + 1);
    let forms = Arc::new(forms);
    let (id, kind, source) = read_as(&forms, flags(1));
    assert!(
        id.starts_with("-:received:body-") && id.ends_with(":41"),
        "{id}"
    );
    assert_eq!((&kind[..], &source[..]), ("webhook.received", "/webhook"));
    assert_eq!(
        read_as(&forms, flags(record::NO_FORM)).1,
        "webhook.received"
    );
    // One of the platform has the ids and types that it had.
    let (id, kind, _) = read_as(&forms, record::with_form(0, 1));
    assert_eq!(
        (&id[..], &kind[..]),
        ("-:-:wamid.A", "whatsapp.message.text")
    );
    assert!(open(&disk, 5000).1, "the next start has a file");
}

#[test]
fn numbers_run_out_and_a_full_disk_gives_none() {
    let forms = Forms::default();
    for number in 1..=NUMBER_MAX {
        let form = Arc::new(form(&number.to_string()));
        forms.known.lock().forms.insert(number, form);
    }
    assert!(matches!(forms.number(&form("new")), Err(FormsError::Full)));
    assert_eq!(forms.number(&form("77")).unwrap(), 77);
    let disk = SimulatedDisk::new(5);
    disk.set_capacity(Some(0));
    let (forms, _) = open(&disk, 0);
    assert!(matches!(forms.number(&form("a")), Err(FormsError::Io(_))));
    disk.set_capacity(None);
    assert_eq!(forms.number(&form("a")).unwrap(), 1, "once there is room");
}
