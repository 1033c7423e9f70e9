//! Two names of one party, and the order they keep.

use super::super::Parties;
use super::super::parties::Conversation;
use super::journals::{Journal, message_of, messages};
use super::*;
use crate::random::Random;
use std::collections::HashMap;

fn conversations(journal: &Journal, parties: &Parties) -> Vec<Conversation> {
    let mut all = Vec::new();
    for delivery in journal.deliveries(1) {
        let events = delivery.events().iter();
        all.extend(events.filter_map(|event| parties.conversation(event)));
    }
    all
}

#[test]
fn two_names_are_one_conversation_once_both_were_seen_together() {
    let mut journal = Journal::default();
    let (phone, user_id) = (Some("15551"), Some("US.1"));
    journal.push(vec![(1, message_of(None, user_id, 1))]);
    journal.push(vec![(2, message_of(phone, None, 2))]);
    journal.push(vec![(3, message_of(phone, user_id, 3))]);
    journal.push(vec![(4, message_of(None, Some("US.2"), 4))]);
    let [id, number, both, other] = conversations(&journal, &Parties::default())[..] else {
        panic!("each has one");
    };
    assert_eq!((id.also, number.also), (None, None));
    assert_ne!(id.main, number.main);
    assert_eq!((both.main, both.also), (number.main, Some(id.main)));

    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    let parties = Parties::default();
    dedupe.share(&parties);
    decide_rest(&mut dedupe, &journal);
    assert_eq!(parties.len(), 1);
    let known = [both, number, both, other];
    assert_eq!(conversations(&journal, &parties), known);
    assert!([id.main, number.main].iter().all(|it| *it != other.main));

    // And after a restart.
    dedupe.checkpoint().unwrap();
    let again = open(&disk.after_power_cut(), &PLENTY, &journal);
    assert_eq!(conversations(&journal, &again.parties), known);
}

#[test]
fn a_person_with_a_new_number_has_that_one() {
    let mut journal = Journal::default();
    journal.push(vec![(1, message_of(Some("15551"), Some("US.1"), 1))]);
    journal.push(vec![(2, message_of(Some("15552"), Some("US.1"), 2))]);
    journal.push(vec![(3, message_of(None, Some("US.1"), 3))]);
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    decide_rest(&mut dedupe, &journal);
    let all = conversations(&journal, &dedupe.parties);
    assert_ne!(all[0].main, all[1].main);
    assert_eq!(all[1], all[2]);
}

#[test]
fn what_has_no_other_side_has_no_conversation() {
    let mut journal = Journal::default();
    journal.push(vec![(1, r#"{"object":"x","entry":[]}"#.to_owned())]);
    assert!(conversations(&journal, &Parties::default()).is_empty());
}

/// Also when the numbers of generations have gone round in the bits that are kept of them, and for one name at several
/// endpoints.
#[test]
fn pairs_are_those_of_a_map() {
    let parties = Parties::default();
    let mut map = HashMap::new();
    let mut random = Random(1);
    for generation in 1..=80 {
        for _ in 0..100 {
            let name = (1 + (random.next() & 3) as u32, random.below(2000));
            let phone = random.next();
            parties.learn(name, phone, generation);
            map.insert(name, (phone, generation));
        }
        if let Some(gone) = generation.checked_sub(30) {
            parties.forget(gone);
            map.retain(|_, it| it.1 > gone);
        }
        assert_eq!(parties.len(), map.len());
        for (&(group, name), &(phone, _)) in &map {
            assert_eq!(parties.phone_of(group, name), Some(phone));
        }
    }
    assert!((1000..3000).contains(&map.len()), "{}", map.len());
}

#[test]
fn while_so_many_pairs_are_there_no_more_are_learned() {
    let mut journal = Journal::default();
    let both = |id| message_of(Some("15551"), Some("US.1"), id);
    journal.push(vec![(1, both(1))]);
    journal.push(vec![(2, both(2))]);
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &PLENTY, &journal);
    let parties = dedupe.parties.clone();
    let names: Vec<u64> = (0..10_000).collect();
    for name in &names {
        parties.learn((1, *name), 7, 1);
    }
    let most = parties.len();
    assert_eq!(most, 8192 / 4 * 3);
    // One that is known has a new number, and no other one is known.
    for (name, phone) in [(0, Some(8)), (9999, None)] {
        parties.learn((1, name), 8, 1);
        assert_eq!(parties.phone_of(1, name), phone);
    }
    let mut deliveries = journal.deliveries(1);
    let mut decide = |dedupe: &mut Dedupe| {
        let mut delivery = deliveries.next().unwrap();
        dedupe.decide(&mut delivery).unwrap();
        (parties.len(), disk.used())
    };
    let (pairs, one) = decide(&mut dedupe);
    assert_eq!(pairs, most);
    parties.forget(1);
    let (pairs, two) = decide(&mut dedupe);
    assert_eq!((pairs, two - one), (1, one + 32));
}

/// A pair goes with the generation in which it was seen last.
#[test]
fn pairs_go_with_their_generation() {
    let mut journal = Journal::default();
    let both = |phone| message_of(Some(phone), Some(phone), 1);
    journal.push(vec![(1, both("1")), (1, both("2"))]);
    for round in 0..40 {
        let now = 2 + round;
        journal.push(vec![(now, messages(&[round])), (now, both("2"))]);
    }
    let options = Options {
        window: DAY,
        keys: 16,
        scope: Scope::Endpoint,
    };
    let disk = SimulatedDisk::new(1);
    let mut dedupe = open(&disk, &options, &journal);
    decide_rest(&mut dedupe, &journal);
    let parties = &dedupe.parties;
    assert!(parties.len() < 20);
    let before = conversations(&journal, parties);
    // A name that is both is one name; what it says is not in question here.
    assert_eq!(before[0].also, None);
    let pairs = parties.len();
    dedupe.checkpoint().unwrap();
    let again = open(&disk.after_power_cut(), &options, &journal);
    assert_eq!(again.parties.len(), pairs);
}
