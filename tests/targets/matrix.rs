//! The cases, for any target.

use super::common::client::post;
use super::common::{Running, Site, eventually, number_from_env};
use super::stage::{
    assert_nothing_is_unaccounted, audit, dead_letters, follow, is_delivered, lines, metric, site,
    start, terminate, verb,
};
use super::target::{Delivered, SINK, Target};
use super::traffic::{Lane, Plan, Traffic, Update, body};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

/// A target and a server that delivers to it.
struct Scene<T> {
    target: T,
    site: Site,
    server: Running,
    lives: u32,
}

impl<T: Target> Scene<T> {
    /// `None` if the target cannot be had. `prepare` may change it before the server starts.
    fn start(prepare: impl FnOnce(&mut T)) -> Option<Scene<T>> {
        let mut target = T::start()?;
        let (name, password) = target.password();
        let site = site().sink(&target.sink()).variable(name, password);
        prepare(&mut target);
        let server = start(&site, 0);
        let lives = 1;
        Some(Scene {
            target,
            site,
            server,
            lives,
        })
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.server, name, SINK)
    }

    fn delivered_events(&self) -> u64 {
        self.metric("hookline_sink_events_total")
    }

    fn retries(&self) -> u64 {
        self.metric("hookline_sink_retries_total")
    }

    /// Waits until a few more deliveries have failed.
    fn wait_for_failures(&self) {
        let before = self.retries();
        let progress = || self.retries();
        follow(&self.server, "deliveries fail", progress, || {
            self.retries() >= before + 3
        });
    }

    /// Waits until everything that is stored is delivered or a dead letter.
    fn settle(&self) {
        let progress = || self.delivered_events() + self.retries();
        follow(&self.server, "all is delivered", progress, || {
            is_delivered(&self.server, SINK)
        });
    }

    /// Takes the server down by `kill -9`, and up again.
    fn kill_hookline(&mut self) {
        self.server.signal(Signal::KILL);
        self.server.wait();
        self.server = start(&self.site, self.lives);
        self.lives += 1;
    }

    /// Posts one message of a conversation of its own.
    fn post(&self, conversation: u32, padding: usize) {
        let update = Update {
            conversation,
            lane: Lane::Messages,
            number: 0,
        };
        let mut client = self.server.connect();
        client.send(&post("/webhook", "", &body(&[update], padding)));
        assert_eq!(client.answer().code, 200);
    }

    /// Journal minus dead letters = target, and everything else that has to hold at the end.
    fn check(mut self, what: &str) {
        self.settle();
        assert_nothing_is_unaccounted(&self.server);
        let known = self.metric("hookline_sink_known_total");
        terminate(self.server);
        let all = self.target.delivered();
        let dead: BTreeSet<String> = dead_letters(&self.site).iter().map(position).collect();
        let mut expected = BTreeMap::new();
        for event in self.site.events() {
            let text = |name: &str| event[name].as_str().expect("text").to_owned();
            if !dead.contains(&text("position")) {
                expected.entry(text("id")).or_insert(0_u64);
            }
        }
        let mut repeated = 0;
        for one in all.iter().filter(|it| it.replay.is_none()) {
            let times = expected.get_mut(&one.id);
            let times = times.unwrap_or_else(|| panic!("{} is not in the journal", one.id));
            *times += 1;
            repeated += u64::from(*times > 1);
        }
        let lost: Vec<&String> = expected
            .iter()
            .filter(|(_, times)| **times == 0)
            .map(|(id, _)| id)
            .collect();
        assert!(lost.is_empty(), "{} lost, {:?}", lost.len(), lost.first());
        let out_of_order = out_of_order(&all);
        eprintln!(
            "{what}: {} events, lost 0, repeated {repeated}, out of order {out_of_order}, known {known}, dead letters \
             {}",
            expected.len(),
            dead.len()
        );
        assert_eq!(out_of_order, 0);
        assert!(!T::EXACTLY_ONCE || repeated == 0, "{repeated} twice");
        audit(&self.site);
    }
}

/// Where a dead letter stood.
fn position(letter: &Value) -> String {
    let sequence = letter["sequence"].as_u64();
    let index = letter["index"].as_u64();
    match (sequence, index) {
        (Some(sequence), Some(index)) => format!("{sequence}.{index}"),
        _ => panic!("a dead letter has a place: {letter}"),
    }
}

/// How many events of a conversation, in a lane, came before one that stands before them. Repeats do not count.
fn out_of_order(all: &[Delivered]) -> usize {
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    let mut count = 0;
    for one in all.iter().filter(|it| it.replay.is_none()) {
        let Some(subject) = &one.subject else {
            continue;
        };
        if seen.insert(&one.id) {
            let before = last.insert((subject, &one.lane), one.position);
            count += usize::from(before.is_some_and(|before| before > one.position));
        }
    }
    count
}

fn plan() -> Plan {
    Plan {
        mixed: true,
        ..Plan::of(number_from_env("HOOKLINE_TARGET_NOTIFICATIONS", 1500))
    }
}

/// Sends, and does something each time when a part of it is taken.
fn under_load<T: Target>(scene: &mut Scene<T>, times: u64, each: impl Fn(&mut Scene<T>, u64)) {
    let plan = plan();
    let traffic = Traffic::start(scene.server.address, plan);
    for time in 1..=times {
        let part = plan.notifications as u64 * time / (times + 1);
        let progress = || traffic.notifications();
        follow(&scene.server, "some is sent", progress, || {
            traffic.notifications() >= part || traffic.is_over()
        });
        each(scene, time);
        traffic.redirect(scene.server.address);
    }
    let progress = || traffic.notifications();
    follow(&scene.server, "all is sent", progress, || traffic.is_over());
    traffic.join();
}

pub(crate) fn everything_is_delivered<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 0, |_, _| {});
    scene.check("delivery");
}

pub(crate) fn killed_under_load<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 3, |scene, _| {
        scene.target.kill();
        scene.wait_for_failures();
        scene.target.start_again();
    });
    scene.check("target killed -9 three times");
}

pub(crate) fn stopped_for_a_while<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 1, |scene, _| {
        scene.target.stop();
        thread::sleep(STOPPED);
        scene.target.go_on();
    });
    scene.check("target stopped");
}

pub(crate) fn slow<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 40, |scene, _| {
        scene.target.stop();
        thread::sleep(SLOW);
        scene.target.go_on();
    });
    scene.check("slow target");
}

pub(crate) fn wrong_login_at_a_reconnect<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 1, |scene, _| {
        scene.target.take_login(false);
        scene.wait_for_failures();
        scene.target.take_login(true);
    });
    assert_eq!(scene.metric("hookline_sink_dead_total"), 0);
    scene.check("wrong login at a reconnect");
}

pub(crate) fn missing_and_made_later<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(T::remove) else {
        return;
    };
    under_load(&mut scene, 1, |scene, _| {
        scene.wait_for_failures();
        assert_eq!(scene.delivered_events(), 0);
        scene.target.create();
    });
    assert_eq!(scene.metric("hookline_sink_dead_total"), 0);
    scene.check("missing and made later");
}

pub(crate) fn too_large_is_a_dead_letter<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    if !scene.target.limit(SMALL) {
        return;
    }
    for conversation in 1..=20 {
        scene.post(conversation, if conversation == 7 { 2 * SMALL } else { 10 });
    }
    scene.settle();
    let letters = dead_letters(&scene.site);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("too large"), "{reason}");
    assert!(reason.contains(&SMALL.to_string()), "{reason}");
    // There is room now.
    scene.target.limit(LARGE);
    let retried = verb(&scene.site, &["dead-letters", "retry", "--all"]);
    assert!(retried.status.success(), "{retried:?}");
    let left = || dead_letters(&scene.site).len() as u64;
    eventually("the dead letter is delivered", || left() == 0);
    scene.check("too large");
}

pub(crate) fn known_ids_again<T: Target>() {
    if !T::COUNTS_KNOWN {
        return;
    }
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 0, |_, _| {});
    scene.settle();
    let delivered = scene.delivered_events();
    terminate(scene.server);
    let seek = verb(&scene.site, &["cursor", "seek", SINK, "--to", "start"]);
    assert!(seek.status.success(), "{seek:?}");
    scene.server = start(&scene.site, 1);
    scene.settle();
    assert_eq!(scene.metric("hookline_sink_known_total"), delivered);
    scene.check("known ids again");
}

pub(crate) fn hookline_killed<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 5, |scene, _| scene.kill_hookline());
    scene.check("hookline killed -9 five times");
}

pub(crate) fn replayed<T: Target>() {
    let Some(mut scene) = Scene::<T>::start(|_| {}) else {
        return;
    };
    under_load(&mut scene, 0, |_, _| {});
    scene.settle();
    let delivered = scene.delivered_events();
    for _ in 0..2 {
        let replay = ["replay", "--sink", SINK, "--from", "start", "--detach"];
        let asked = verb(&scene.site, &replay);
        assert!(asked.status.success(), "{asked:?}");
        let replays = || lines(&scene.site, &["replay", "list", "--output", "json"]);
        let is_done = |replay: &Value| replay["state"] == "done";
        eventually("the replay is done", || replays().iter().all(is_done));
    }
    let all = scene.target.delivered();
    let mut replays: BTreeMap<&String, usize> = BTreeMap::new();
    for replay in all.iter().filter_map(|it| it.replay.as_ref()) {
        *replays.entry(replay).or_default() += 1;
    }
    assert_eq!(replays.len(), 2, "{replays:?}");
    let delivered = usize::try_from(delivered).expect("few");
    assert!(
        replays.values().all(|it| *it == delivered),
        "{delivered}: {replays:?}"
    );
    scene.check("replayed twice");
}

const STOPPED: Duration = Duration::from_secs(4);

const SLOW: Duration = Duration::from_millis(60);

/// Bytes that a target takes which is asked to take little, and then more.
const SMALL: usize = 4096;
const LARGE: usize = 1 << 20;
