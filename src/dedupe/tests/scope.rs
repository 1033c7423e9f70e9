//! Whose events are compared with whose.

use super::super::entry::Entry;
use super::super::keys::file_name;
use super::journals::{Journal, message_of, messages};
use super::*;
use crate::disk::Access;

const NOW: u64 = 1_750_000_000_000_000;

const ALL: Options = Options {
    scope: Scope::All,
    ..PLENTY
};

fn sequences(found: &StoredCheckpoint) -> Vec<u64> {
    found.iter().map(|position| position.sequence).collect()
}

/// One body, posted to these endpoints in turn.
fn posted(to: &[(u16, bool)]) -> Journal {
    let mut journal = Journal::default();
    for (number, now) in to.iter().zip(NOW..) {
        journal.push_to(number.0, number.1, now, messages(&[7]));
    }
    journal
}

#[test]
fn what_came_to_one_endpoint_is_new_at_another() {
    let journal = posted(&[
        (1, false),
        (2, false),
        (1, false),
        (3, true),
        (2, false),
        (3, true),
    ]);
    let disk = SimulatedDisk::new(1);
    let found = decide_rest(&mut open(&disk, &PLENTY, &journal), &journal);
    assert_eq!(sequences(&found), [3, 5, 6]);
    // The sinks read the same.
    assert_eq!(read_back(&disk, &journal, journal.last()), found);
    let disk = SimulatedDisk::new(1);
    let found = decide_rest(&mut open(&disk, &ALL, &journal), &journal);
    assert_eq!(sequences(&found), [2, 3, 5, 6]);
}

/// Posts to three endpoints, which come again there and elsewhere.
const THREE_ENDPOINTS: [(u16, bool); 6] = [
    (1, false),
    (2, false),
    (2, false),
    (3, false),
    (1, false),
    (3, false),
];

/// What was decided is what is there after a restart, in whatever order the process finds it.
#[test]
fn endpoints_are_known_after_a_restart() {
    let journal = posted(&THREE_ENDPOINTS);
    for (options, right) in [(PLENTY, [3, 5, 6].as_slice()), (ALL, &[2, 3, 4, 5, 6])] {
        for restart in 0..6 {
            let disk = SimulatedDisk::new(1);
            let before = journal.before(restart);
            let mut dedupe = open(&disk, &options, &before);
            let mut found = decide_rest(&mut dedupe, &before);
            dedupe.checkpoint().unwrap();
            let disk = disk.after_power_cut();
            found.extend(decide_rest(&mut open(&disk, &options, &journal), &journal));
            assert_eq!(sequences(&found), right, "restart behind {restart}");
        }
    }
}

/// The scope may change at a restart; what was decided stays decided.
#[test]
fn another_scope_holds_for_what_comes_then() {
    let journal = posted(&THREE_ENDPOINTS);
    let changed = |from: &Options, to: &Options| {
        let disk = SimulatedDisk::new(1);
        let before = journal.before(3);
        let mut dedupe = open(&disk, from, &before);
        decide_rest(&mut dedupe, &before);
        dedupe.checkpoint().unwrap();
        let mut dedupe = open(&disk, to, &journal);
        decide_rest(&mut dedupe, &journal);
        let keys = dedupe.keys();
        (sequences(&read_back(&disk, &journal, journal.last())), keys)
    };
    assert_eq!(changed(&PLENTY, &ALL), (vec![3, 4, 5, 6], 1));
    // What was joined was written once, and the other endpoints have it anew.
    assert_eq!(changed(&ALL, &PLENTY), (vec![2, 3, 5, 6], 2));
}

/// Takes the endpoints out of a log of keys, and so makes it what an older version has written.
fn forget_endpoints(disk: &SimulatedDisk, number: u64) {
    let file = disk
        .storage()
        .open(&file_name(number), Access::Write)
        .unwrap();
    let len = usize::try_from(file.length().unwrap()).unwrap();
    let mut bytes = vec![0; len];
    assert_eq!(
        crate::disk::read_full_at(&*file, &mut bytes, 0).unwrap(),
        len
    );
    let (mut older, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some((entry, behind)) = Entry::decode(rest) {
        Entry {
            endpoint: 0,
            ..entry
        }
        .encode(&mut older);
        rest = behind;
    }
    assert_eq!(older.len(), len);
    crate::disk::write_all_at(&*file, &mut [std::io::IoSlice::new(&older)], 0).unwrap();
    // The checkpoint says what the file is.
    let super::super::checkpoint::StoredCheckpoint::Saved(mut saved) =
        super::super::checkpoint::read(&*disk.storage()).unwrap()
    else {
        panic!("there is one");
    };
    for facts in saved
        .generations
        .iter_mut()
        .filter(|it| it.number == number)
    {
        facts.crc = crc32c::crc32c(&older[..usize::try_from(facts.bytes).unwrap()]);
    }
    let mut slots = super::super::checkpoint::slots(&disk.storage());
    saved.save(&mut slots).unwrap();
}

#[test]
fn what_an_older_version_has_written_holds_for_all_endpoints_until_its_generation_goes() {
    let mut journal = Journal::default();
    let both = |id| message_of(Some("15551"), Some("US.1"), id);
    journal.push_to(1, false, NOW, both(7));
    let before = journal.clone();
    for endpoint in [1, 2, 3, 2] {
        journal.push_to(endpoint, false, NOW + 2 * DAY, both(7));
    }
    // Others come, and its generation goes.
    for day in 3..16 {
        journal.push_to(9, false, NOW + day * DAY, messages(&[100 + day]));
    }
    journal.push_to(4, false, NOW + 15 * DAY, both(7));
    let few = Options { keys: 8, ..PLENTY };
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &few, &before);
    decide_rest(&mut dedupe, &before);
    dedupe.checkpoint().unwrap();
    drop(dedupe);
    forget_endpoints(&disk, 1);
    let mut dedupe = open(&disk, &few, &journal);
    assert_eq!(dedupe.decided(), 1, "it was taken up");
    // A restart in between changes nothing.
    let half = journal.before(3);
    let mut found = decide_rest(&mut dedupe, &half);
    dedupe.checkpoint().unwrap();
    let mut dedupe = open(&disk.after_power_cut(), &few, &journal);
    found.extend(decide_rest(&mut dedupe, &journal));
    assert_eq!(sequences(&found), [2, 3, 4, 5]);
    assert_eq!(dedupe.unnumbered, 0);
}

/// One tenant must not hold up another one's conversations, nor say who they are with.
#[test]
fn conversations_of_two_endpoints_are_two() {
    let mut journal = Journal::default();
    let (phone, user_id) = (Some("15551"), Some("US.1"));
    journal.push_to(1, false, 1, message_of(phone, user_id, 1));
    for (endpoint, id) in [(1, 2), (2, 3)] {
        journal.push_to(endpoint, false, 2, message_of(None, user_id, id));
        journal.push_to(endpoint, false, 2, message_of(phone, None, id + 10));
    }
    let conversations = |options: &Options| {
        let disk = SimulatedDisk::new(1);
        let mut dedupe = open(&disk, options, &journal);
        decide_rest(&mut dedupe, &journal);
        dedupe.checkpoint().unwrap();
        let again = open(&disk.after_power_cut(), options, &journal);
        let of = |dedupe: &Dedupe| -> Vec<_> {
            let deliveries: Vec<EventBatch> = journal.deliveries(2).collect();
            let events = deliveries.iter().flat_map(|it| it.events().iter());
            let parties = &dedupe.parties;
            events.map(|it| parties.conversation(it).unwrap()).collect()
        };
        assert_eq!(of(&dedupe), of(&again));
        of(&dedupe)
    };
    let [a_id, a_phone, b_id, b_phone] = conversations(&PLENTY)[..] else {
        panic!("four");
    };
    // The first has learned whose it is, the second has not.
    assert_eq!(a_id.main, a_phone.main);
    assert_eq!(b_id.also, None);
    let a = [Some(a_id.main), a_id.also, Some(a_phone.main)];
    assert!(!a.contains(&Some(b_id.main)) && !a.contains(&Some(b_phone.main)));
    let [a_id, a_phone, b_id, b_phone] = conversations(&ALL)[..] else {
        panic!("four");
    };
    assert_eq!((a_id, a_phone), (b_id, b_phone));
}
