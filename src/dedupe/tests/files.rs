//! What is written of a journal, byte by byte, held against maps of all keys and pairs.

use super::super::keys::file_name;
use super::journals::{Journal, button, message_of, messages};
use super::*;
use crate::disk::simulated::Fault;
use crate::disk::{Access, read_full_at};
use crate::event::fingerprint;
use crate::random::Random;
use std::collections::HashMap;

/// Several endpoints, one of them for other senders; persons with one name and with two, some of whom get a new
/// number; keys that are weak or never come again; and much that was there before.
fn journal(random: &mut Random) -> Journal {
    let mut journal = Journal::default();
    let mut now = 1_750_000_000_000_000;
    for _ in 0..200 {
        now += random.below(2_400_000_000);
        let id = random.below(250);
        let person = random.below(40);
        let phone = format!("4930{}", person + 100 * random.below(2));
        let user_id = format!("US.{}", "7".repeat(usize::try_from(person).unwrap()));
        let body = match random.below(10) {
            0 => format!(r#"{{"object":"{id}","entry":[]}}"#),
            1 => button(),
            2 => message_of(Some(&phone), None, id),
            3 => message_of(None, Some(&user_id), id),
            4..7 => message_of(Some(&phone), Some(&user_id), id),
            _ => messages(&[id, id + 1, random.below(250), id]),
        };
        match random.below(8) {
            0 => journal.push_to(3, true, now, body),
            1 | 2 => journal.push_to(2, false, now, body),
            3 => journal.push(vec![
                (now, body),
                (now - 5, messages(&[id])),
                (now, button()),
            ]),
            _ => journal.push_to(1, false, now, body),
        }
    }
    journal
}

/// The same memory, as simple as can be: nothing but maps and files.
struct Model {
    options: Options,
    /// The time that is counted by, and the last one of arrival.
    clock: Option<(u64, u64)>,
    generations: Vec<Generation>,
    /// Where the newest entry of each key is, and its time of arrival.
    keys: HashMap<(u32, String), (u64, u64)>,
    /// The phone number of each user id, and where that was written last.
    pairs: HashMap<(u32, u64), (u64, u64)>,
    found: StoredCheckpoint,
}

struct Generation {
    number: u64,
    file: Vec<u8>,
    keys: u64,
    first: u64,
    latest: u64,
}

impl Generation {
    fn write(&mut self, event: Event<'_>, kind: u8, text: &[u8]) {
        let file = &mut self.file;
        file.extend(event.received_at().to_le_bytes());
        file.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        file.extend([kind, u8::from(event.is_foreign())]);
        file.extend(event.endpoint().to_le_bytes());
        file.extend(text);
        while !file.len().is_multiple_of(8) {
            file.push(0);
        }
        self.keys += u64::from(kind < 3);
    }
}

impl Model {
    fn new(options: &Options) -> Model {
        Model {
            options: options.clone(),
            clock: None,
            generations: Vec::new(),
            keys: HashMap::new(),
            pairs: HashMap::new(),
            found: StoredCheckpoint::new(),
        }
    }

    fn decide(&mut self, delivery: &EventBatch) {
        let first = delivery.events().get(0).unwrap();
        self.turn(first.received_at());
        for event in delivery.events().iter() {
            self.learn_from(event);
        }
        for event in delivery.events().iter() {
            self.decide_event(event);
        }
    }

    fn turn(&mut self, reading: u64) {
        let Options { window, keys, .. } = self.options;
        let share = keys.div_ceil(8);
        let now = self.clock.map_or(reading, |(time, before)| {
            let step = before.abs_diff(reading).min(window / 1024);
            if reading < before {
                time - step
            } else {
                time + step
            }
        });
        self.clock = Some((now, reading));
        if let Some(active) = self.generations.last_mut() {
            active.first = active.first.min(now);
            if active.keys < share && now - active.first < window / 8 {
                active.latest = active.latest.max(now);
                return;
            }
        }
        let number = self.generations.last().map_or(0, |it| it.number) + 1;
        let oldest = self.generations.first();
        if oldest.is_some_and(|it| it.latest + window + window / 8 < now) {
            self.drop_oldest();
        }
        let all = |it: &[Generation]| it.iter().map(|it| it.keys).sum::<u64>();
        while all(&self.generations) + share > keys && !self.generations.is_empty() {
            self.drop_oldest();
        }
        self.generations.push(Generation {
            number,
            file: Vec::new(),
            keys: 0,
            first: now,
            latest: now,
        });
    }

    fn drop_oldest(&mut self) {
        let gone = self.generations.remove(0).number;
        self.keys.retain(|_, it| it.0 != gone);
        self.pairs.retain(|_, it| it.1 > gone);
    }

    fn learn_from(&mut self, event: Event<'_>) {
        let (Some(user_id), Some(phone)) = (event.party_user_id(), event.party_phone()) else {
            return;
        };
        let active = self.generations.last_mut().unwrap();
        let group = self
            .options
            .scope
            .group(event.endpoint(), event.is_foreign());
        let hash = |name: &str| {
            let number = event.phone_number_id().unwrap_or("-");
            fingerprint(number.as_bytes()).rotate_left(1) ^ fingerprint(name.as_bytes())
        };
        let (user_id, phone) = (hash(user_id), hash(phone));
        let pair = (phone, active.number);
        if self.pairs.insert((group, user_id), pair) != Some(pair) {
            let text = [user_id.to_le_bytes(), phone.to_le_bytes()].concat();
            active.write(event, 3, &text);
        }
    }

    fn decide_event(&mut self, event: Event<'_>) {
        let Options { window, scope, .. } = self.options;
        let active = self.generations.last_mut().unwrap();
        let group = scope.group(event.endpoint(), event.is_foreign());
        let key = (group, event.id().to_owned());
        let now = event.received_at();
        let weak = event.has_weak_key();
        let older = self.keys.get(&key).copied();
        let goes_with = older.is_some_and(|(number, then)| {
            number == active.number && now.abs_diff(then) < window / 8 && !weak
        });
        if !goes_with {
            let kind = if older.is_some() { 2 } else { 1 };
            active.write(event, kind, event.id().as_bytes());
            self.keys.insert(key, (active.number, now));
        }
        let repeats = |(_, then): (u64, u64)| {
            if weak {
                now.abs_diff(then) <= 600_000_000
            } else {
                now.saturating_sub(then) <= window + window / 8
            }
        };
        if older.is_some_and(repeats) {
            self.found.insert(event.position());
        }
    }
}

fn file_of(disk: &SimulatedDisk, number: u64) -> Vec<u8> {
    let name = file_name(number);
    let file = disk.storage().open(&name, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    read_full_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

/// Also where tags collide, where the disk is full now and then, and over restarts.
#[test]
fn it_finds_and_writes_what_a_map_does() {
    let (mut refused, mut gone) = (0, 0);
    for seed in 0..12 {
        let mut random = Random(seed);
        let journal = journal(&mut random);
        let scope = [Scope::Endpoint, Scope::All][usize::from(seed % 2 == 1)];
        let options = Options {
            window: [DAY, 100 * DAY][usize::from(seed % 3 == 2)],
            keys: 120 + seed * 40,
            scope,
        };
        let tags = || match seed % 4 {
            3 => Tags::few(),
            _ => Tags::new(),
        };
        let disk = SimulatedDisk::new(seed);
        let reopen = || open_at(disk.storage(), &options, tags(), 1, journal.last()).unwrap();
        let mut dedupe = reopen();
        let mut model = Model::new(&options);
        let mut found = StoredCheckpoint::new();
        for mut delivery in journal.deliveries(1) {
            if random.below(5) == 0 {
                disk.fail_once(random.below(3) + 1, Fault::NoSpace);
            }
            while let Err(error) = dedupe.decide(&mut delivery) {
                assert!(error.is_shortage());
                refused += 1;
            }
            disk.fail_once(0, Fault::NoSpace);
            found.extend(marked(&delivery));
            model.decide(&delivery);
            if random.below(30) == 0 {
                dedupe.checkpoint().unwrap();
                drop(dedupe);
                dedupe = reopen();
            }
        }
        assert_eq!(found, model.found, "seed {seed}");
        assert_eq!(dedupe.keys(), model.keys.len(), "seed {seed}");
        assert_eq!(dedupe.parties.len(), model.pairs.len(), "seed {seed}");
        for (&(group, user_id), &(phone, _)) in &model.pairs {
            let known = dedupe.parties.phone_of(group, user_id);
            assert_eq!(known, Some(phone), "seed {seed}");
        }
        for generation in &model.generations {
            let (number, right) = (generation.number, &generation.file);
            assert_eq!(&file_of(&disk, number), right, "seed {seed}, {number}");
        }
        gone += model.generations[0].number - 1;
    }
    assert!(refused > 50 && gone > 20, "{refused} {gone}");
}
