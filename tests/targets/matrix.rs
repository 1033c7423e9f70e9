//! The cases, for any target.

use super::common::client::post;
use super::common::{Running, Site, eventually, number_from_env};
use super::stage::{
    assert_nothing_is_unaccounted, audit, dead_letters, follow, is_delivered, lines, metric, site,
    terminate, verb,
};
use super::target::{Delivered, SINK, Target};
use super::traffic::{Lane, Plan, Traffic, Update, body};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A target and a server that delivers to it.
struct Scene<T> {
    target: T,
    site: Site,
    server: Running,
    lives: u32,
    /// Events have come in the order of their conversations.
    keeps_order: bool,
}

impl<T: Target> Scene<T> {
    /// `None` if the target cannot be had, or the case has no meaning for it. `prepare` may change it before the server
    /// starts.
    fn start(case: &str, prepare: impl FnOnce(&mut T)) -> Option<Scene<T>> {
        if let Some((_, why)) = T::NO_MEANING.iter().find(|(it, _)| *it == case) {
            eprintln!("{case} has no meaning here: {why}");
            return None;
        }
        let mut target = T::start()?;
        prepare(&mut target);
        let (name, password) = target.password();
        let site = site().sink(&target.sink()).variable(name, password);
        let server = target.serve(&site, 0);
        let lives = 1;
        Some(Scene {
            target,
            site,
            server,
            lives,
            keeps_order: true,
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

    /// Waits until a few more deliveries have failed, or for a while where nothing fails.
    fn wait_for_failures(&self) {
        if !T::SHOWS_FAILURES {
            return thread::sleep(AWAY);
        }
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
        self.serve_again();
    }

    fn serve_again(&mut self) {
        self.server = self.target.serve(&self.site, self.lives);
        self.lives += 1;
    }

    /// Everything is to be delivered once more, from the first on.
    fn seek_to_start(&mut self) {
        self.settle();
        self.server.signal(Signal::TERM);
        let (status, log) = self.server.wait();
        assert!(status.success(), "{log}");
        let seek = verb(&self.site, &["cursor", "seek", SINK, "--to", "start"]);
        assert!(seek.status.success(), "{seek:?}");
        self.serve_again();
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
        self.target.settle();
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
        assert!(out_of_order == 0 || !self.keeps_order, "{out_of_order}");
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
    let Some(mut scene) = Scene::<T>::start("everything_is_delivered", |_| {}) else {
        return;
    };
    under_load(&mut scene, 0, |_, _| {});
    scene.check("delivery");
}

pub(crate) fn killed_under_load<T: Target>() {
    let Some(mut scene) = Scene::<T>::start("killed_under_load", |_| {}) else {
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
    let Some(mut scene) = Scene::<T>::start("stopped_for_a_while", |_| {}) else {
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
    let Some(mut scene) = Scene::<T>::start("slow", |_| {}) else {
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
    let Some(mut scene) = Scene::<T>::start("wrong_login_at_a_reconnect", |_| {}) else {
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
    let Some(mut scene) = Scene::<T>::start("missing_and_made_later", T::remove) else {
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
    let Some(mut scene) = Scene::<T>::start("too_large_is_a_dead_letter", T::give_up_soon) else {
        return;
    };
    if !scene.target.limit(SMALL) {
        eprintln!("it takes events of any size");
        return;
    }
    for conversation in 1..=20 {
        scene.post(conversation, if conversation == 7 { 2 * SMALL } else { 10 });
    }
    // Where only trying tells, an attempt may count only if others are taken beside it.
    let mut conversation = 21;
    while !T::KNOWS_SIZES && scene.metric("hookline_sink_dead_total") == 0 {
        assert!(conversation < 10_000, "it is tried again and again");
        scene.post(conversation, 10);
        conversation += 1;
        thread::sleep(Duration::from_millis(20));
    }
    scene.settle();
    let letters = dead_letters(&scene.site);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().expect("a reason");
    if T::KNOWS_SIZES {
        assert!(reason.contains("too large"), "{reason}");
        assert!(reason.contains(&SMALL.to_string()), "{reason}");
    }
    // There is room now.
    scene.target.limit(LARGE);
    let retried = verb(&scene.site, &["dead-letters", "retry", "--all"]);
    assert!(retried.status.success(), "{retried:?}");
    let left = || dead_letters(&scene.site).len() as u64;
    eventually("the dead letter is delivered", || left() == 0);
    scene.check("too large");
}

pub(crate) fn known_ids_again<T: Target>() {
    if T::EXACTLY_ONCE && !T::COUNTS_KNOWN {
        eprintln!("nothing known is sent: the target says where the sink is");
        return;
    }
    let Some(mut scene) = Scene::<T>::start("known_ids_again", |_| {}) else {
        return;
    };
    under_load(&mut scene, 0, |_, _| {});
    scene.settle();
    let delivered = scene.delivered_events();
    scene.seek_to_start();
    scene.settle();
    if T::COUNTS_KNOWN {
        assert_eq!(scene.metric("hookline_sink_known_total"), delivered);
    }
    scene.check("known ids again");
}

/// As from a backup: what it had at a third of the load, it has again at two thirds, and all of the rest is gone.
pub(crate) fn restarted_with_another_state<T: Target>() {
    let Some(mut scene) = Scene::<T>::start("restarted_with_another_state", |_| {}) else {
        return;
    };
    let Some(state) = scene.target.state() else {
        eprintln!("its state cannot be put back");
        return;
    };
    let kept = tempfile::tempdir().expect("a directory");
    let kept = kept.path().join("state");
    under_load(&mut scene, 2, |scene, time| {
        scene.target.kill();
        if time == 1 {
            copy(&state, &kept);
        } else {
            fs::remove_dir_all(&state).expect("it is there");
            copy(&kept, &state);
        }
        scene.target.start_again();
    });
    if !T::SAYS_WHERE_IT_IS {
        scene.seek_to_start();
        // What it has lost comes behind what it has taken since.
        scene.keeps_order = false;
    }
    scene.check("restarted with an older state");
}

/// With owners and times.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).output();
    let copied = copied.expect("there is a cp");
    assert!(copied.status.success(), "{copied:?}");
}

pub(crate) fn hookline_killed<T: Target>() {
    let Some(mut scene) = Scene::<T>::start("hookline_killed", |_| {}) else {
        return;
    };
    under_load(&mut scene, 5, |scene, _| scene.kill_hookline());
    scene.check("hookline killed -9 five times");
}

pub(crate) fn replayed<T: Target>() {
    let Some(mut scene) = Scene::<T>::start("replayed", |_| {}) else {
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
    // What was handed to a pipe, its reader may still have to keep.
    eventually("all of both replays is there", || {
        let all = scene.target.delivered();
        let marked = all.iter().filter(|it| it.replay.is_some());
        marked.count() as u64 == 2 * delivered
    });
    let all = scene.target.delivered();
    let mut replays: BTreeMap<&String, u64> = BTreeMap::new();
    for replay in all.iter().filter_map(|it| it.replay.as_ref()) {
        *replays.entry(replay).or_default() += 1;
    }
    assert_eq!(replays.len(), 2, "{replays:?}");
    assert!(
        replays.values().all(|it| *it == delivered),
        "{delivered}: {replays:?}"
    );
    scene.check("replayed twice");
}

const STOPPED: Duration = Duration::from_secs(20);

/// How long a target is away whose absence shows nowhere.
const AWAY: Duration = Duration::from_secs(1);

const SLOW: Duration = Duration::from_millis(60);

/// Bytes that a target takes which is asked to take little, and then more.
const SMALL: usize = 4096;
const LARGE: usize = 1 << 20;
