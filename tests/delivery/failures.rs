//! Each case by itself.

use super::common::{UNSIGNED, eventually, number_from_env};
use super::receiver::{Receiver, Reply, Request};
use super::stage::{
    assert_nothing_is_unaccounted, audit, dead_letters, follow, follow_to, is_delivered, lines,
    metric, site, start, terminate, verb,
};
use super::traffic::{Lane, Plan, Traffic};
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

/// What a backlog may take of memory, however long it is: batches that wait in feeds, and items that are open.
const MEMORY_MAX: u64 = 128 << 20;

const STATUSES: &str = "unit = \"event\"\nmode = \"batch\"\ntypes = [\"whatsapp.status.*\"]\n\
                        phone_number_ids = [\"200\"]";

const EVENTS: &str = "unit = \"event\"\nmode = \"structured\"\ntimeout = \"10s\"\n";

/// Sends so much, and waits until it is answered: so many different updates.
fn send(server: &super::common::Running, plan: Plan) -> u64 {
    Traffic::start(server.address, plan).join()
}

#[test]
fn a_receiver_that_is_gone_stops_its_own_sink_alone() {
    let gone = Receiver::start(|request| match request.number {
        0..20 => Reply::Take,
        _ => Reply::Refuse("410 Gone", ""),
    });
    let other = Receiver::willing();
    let site = site()
        .sink(&gone.sink("gone", EVENTS))
        .sink(&other.sink("other", "unit = \"notification\""))
        .sink("name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"");
    let server = start(&site, 0);
    let updates = send(&server, Plan::of(300));
    eventually("the sink has stopped", || {
        metric(&server, "hookline_sink_stopped", "gone") == 1
    });
    for sink in ["other", "file"] {
        eventually("the others go on", || is_delivered(&server, sink));
        assert_eq!(metric(&server, "hookline_sink_stopped", sink), 0);
    }
    assert_eq!(other.taken(), updates);
    assert!(
        server.stderr().contains("answered 410 Gone"),
        "{}",
        server.stderr()
    );
    terminate(server);
    assert!(gone.taken() <= 20);
    // Put right, it gets the rest, and again no more than it was sent when it said so.
    gone.behave(|_| Reply::Take);
    let server = start(&site, 1);
    follow(
        &server,
        "it gets the rest",
        || gone.taken(),
        || is_delivered(&server, "gone"),
    );
    terminate(server);
    gone.check();
    other.check();
    assert_eq!((gone.taken(), gone.book().repeats), (updates, 0));
    audit(&site);
}

/// Every 32nd conversation, ten of them.
fn is_refused(request: &Request) -> bool {
    let mut updates = request.updates.iter();
    updates.any(|(update, _)| update.conversation < 1_000_320 && update.conversation % 32 == 0)
}

/// Some conversations that were refused for ever were enough for the receiver to be thought away, and whoever was
/// not refused was never tried again.
#[test]
fn refused_conversations_hold_up_no_other_and_are_dead_letters_until_they_are_retried() {
    let receiver = Receiver::start(|request| {
        if is_refused(request) {
            Reply::Refuse("422 Unprocessable Content", "")
        } else {
            Reply::Take
        }
    });
    let site = site().sink(&receiver.sink("hook", &format!("{EVENTS}max_attempts = 3")));
    let server = start(&site, 0);
    let mut updates = send(&server, Plan::of(400));
    let durable = server.metric("hookline_journal_durable_sequence");
    let is_settled = || metric(&server, "hookline_sink_cursor", "hook") >= durable;
    // While others go on it is known that it is not the receiver that is away.
    for round in 2.. {
        let plan = Plan {
            first: round * 1_000_000,
            again: 0,
            ..Plan::of(40)
        };
        let before = receiver.taken();
        let more = send(&server, plan);
        updates += more;
        follow(
            &server,
            "the others go on",
            || receiver.requests(),
            || receiver.taken() >= before + more,
        );
        if is_settled() {
            break;
        }
    }
    let letters = dead_letters(&site);
    assert!(letters.len() >= 10);
    follow(
        &server,
        "all else is delivered",
        || receiver.taken(),
        || receiver.taken() + letters.len() as u64 == updates,
    );
    for letter in &letters {
        let name = letter["dead_letter"].as_str().expect("a name");
        assert!(name.starts_with("hook/"), "{letter}");
        let shown = verb(&site, &["dead-letters", "show", name]);
        let text = String::from_utf8_lossy(&shown.stdout);
        assert!(
            shown.status.success() && text.contains("answered 422 Unprocessable"),
            "{text}"
        );
    }
    audit(&site);

    // One that is refused again stays.
    let first = letters[0]["dead_letter"].as_str().expect("a name");
    let requests = receiver.requests();
    assert!(
        verb(&site, &["dead-letters", "retry", first])
            .status
            .success()
    );
    follow(
        &server,
        "it is tried",
        || 0,
        || receiver.requests() >= requests + 3,
    );
    eventually("it is one again", || {
        dead_letters(&site)
            .iter()
            .all(|letter| letter["retry"] == json!(false))
    });
    assert_eq!(dead_letters(&site).len(), letters.len());

    receiver.behave(|_| Reply::Take);
    assert!(
        verb(&site, &["dead-letters", "retry", "--all"])
            .status
            .success()
    );
    follow_to(&server, &receiver, updates);
    eventually("there are none any more", || dead_letters(&site).is_empty());
    assert_nothing_is_unaccounted(&server);
    terminate(server);
    receiver.check();
    assert_eq!(receiver.book().repeats, 0);
    audit(&site);
}

#[test]
fn a_replay_leaves_nothing_out_beside_live_traffic_and_through_kill_9() {
    let receiver = Receiver::willing();
    let site = site().sink(&receiver.sink("hook", EVENTS));
    let server = start(&site, 0);
    let before = send(&server, Plan::of(500));
    follow_to(&server, &receiver, before);
    let last = server.metric("hookline_journal_durable_sequence");
    let to = last.to_string();
    let ask = [
        "replay", "--sink", "hook", "--from", "start", "--to", &to, "--rate", "300/s", "--detach",
    ];
    let asked = verb(&site, &ask);
    assert!(asked.status.success(), "{asked:?}");
    let live = Plan {
        first: 2_000_000,
        ..Plan::of(1500)
    };
    let traffic = Traffic::start(server.address, live);
    let replayed = || receiver.book().replayed.len() as u64;
    follow(&server, "some is replayed", replayed, || replayed() > 200);
    server.kill();
    let server = start(&site, 1);
    traffic.redirect(server.address);
    let state = || lines(&site, &["replay", "list", "--output", "json"])[0]["state"].clone();
    follow(&server, "the replay is done", replayed, || {
        state() == "done"
    });
    let updates = before + traffic.join();
    follow_to(&server, &receiver, updates);
    terminate(server);
    receiver.check();
    audit(&site);
    let book = receiver.book();
    let asked_for = book.positions().filter(|(_, position)| position.0 <= last);
    let left_out: Vec<_> = asked_for
        .filter(|(_, position)| !book.replayed.contains_key(position))
        .collect();
    assert!(left_out.is_empty(), "{left_out:?}");
    assert_eq!(book.replayed.len() as u64, before);
    let twice = book.replayed.values().filter(|times| **times > 1).count();
    eprintln!(
        "replay: {before} events, of which {twice} came twice after kill -9, beside {} live ones",
        updates - before
    );
}

#[test]
fn a_receiver_that_is_away_costs_no_memory_and_gets_everything_in_order() {
    let mut receiver = Receiver::willing();
    let site = site().sink(&receiver.sink("hook", EVENTS));
    let server = start(&site, 0);
    let notifications = number_from_env("HOOKLINE_DELIVERY_NOTIFICATIONS", 2500);
    let notifications = (notifications * 3 / 8).min(30_000);
    let large = |notifications, first| Plan {
        padding: 30_000,
        first,
        ..Plan::of(notifications)
    };
    let mut updates = send(&server, large(400, 1_000_000));
    follow_to(&server, &receiver, updates);
    let before = server.memory("VmRSS");
    receiver.leave();
    updates += send(&server, large(notifications, 2_000_000));
    let away = server.memory("VmRSS");
    let written = server.metric("hookline_journal_written_bytes_total");
    receiver.come_back();
    follow_to(&server, &receiver, updates);
    let after = server.memory("VmHWM");
    terminate(server);
    receiver.check();
    assert_eq!(receiver.book().repeats, 0);
    let mib = |bytes: u64| bytes >> 20;
    eprintln!(
        "away: {} MiB written; resident {} MiB before, {} MiB meanwhile, {} MiB at most",
        mib(written),
        mib(before),
        mib(away),
        mib(after)
    );
    assert!(
        after < before + MEMORY_MAX,
        "{before} {away} {after} of {written}"
    );
}

#[test]
fn a_stop_during_deliveries_repeats_little() {
    let receiver = Receiver::start(|_| {
        thread::sleep(Duration::from_millis(4));
        Reply::Take
    });
    let lines = format!("{EVENTS}concurrency = 4");
    let site = site()
        .server("drain_timeout = \"1s\"")
        .sink(&receiver.sink("hook", &lines));
    let mut server = start(&site, 0);
    let updates = send(&server, Plan::of(1500));
    let mut repeats = 0;
    for life in 1..=3 {
        let goal = receiver.taken() + 150;
        follow(
            &server,
            "some is delivered",
            || receiver.taken(),
            || receiver.taken() >= goal,
        );
        terminate(server);
        server = start(&site, life);
        let book = receiver.book();
        assert!(book.repeats - repeats < 200, "{}", book.repeats - repeats);
        repeats = book.repeats;
    }
    receiver.behave(|_| Reply::Take);
    follow_to(&server, &receiver, updates);
    terminate(server);
    receiver.check();
    eprintln!(
        "SIGTERM, 3 times under {updates} deliveries: {} came twice",
        receiver.book().repeats
    );
}

#[test]
fn filters_choose_and_sinks_come_and_go() {
    let [messages, statuses, late] = std::array::from_fn(|_| Receiver::willing());
    let site = site()
        .sink(&messages.sink(
            "messages",
            &format!("{EVENTS}types = [\"whatsapp.message.*\"]"),
        ))
        .sink(&statuses.sink("statuses", STATUSES))
        .sink(&late.sink("nothing", "phone_number_ids = [\"4711\"]"));
    let server = start(&site, 0);
    let plan = Plan {
        mixed: true,
        ..Plan::of(300)
    };
    let updates = send(&server, plan);
    for sink in ["messages", "statuses", "nothing"] {
        follow(
            &server,
            "all is delivered",
            || statuses.requests(),
            || is_delivered(&server, sink),
        );
    }
    terminate(server);
    let only = |receiver: &Receiver, lane: Lane| {
        receiver.check();
        assert!(
            receiver
                .book()
                .positions()
                .all(|(update, _)| update.lane == lane)
        );
        receiver.taken()
    };
    assert_eq!(
        only(&messages, Lane::Messages) + only(&statuses, Lane::Statuses),
        updates
    );
    assert_eq!(late.requests(), 0);
    let books = audit(&site);
    let sinks: Vec<&Value> = books["sinks"].as_array().expect("a list").iter().collect();
    assert_eq!(sinks.len(), 3);

    // One goes, and one comes that gets everything from the journal.
    let site = site.without_endpoints().endpoint(UNSIGNED);
    let site = site
        .sink(&messages.sink(
            "messages",
            &format!("{EVENTS}types = [\"whatsapp.message.*\"]"),
        ))
        .sink(&late.sink("late", &format!("{EVENTS}start = \"oldest\"")));
    let server = start(&site, 1);
    let more = Plan {
        first: 2_000_000,
        ..Plan::of(100)
    };
    let updates = updates + send(&server, more);
    for sink in ["messages", "late"] {
        follow(
            &server,
            "all is delivered",
            || late.taken(),
            || is_delivered(&server, sink),
        );
    }
    terminate(server);
    late.check();
    assert_eq!(late.taken(), updates);
    assert_eq!((messages.book().repeats, late.book().repeats), (0, 0));
    only(&messages, Lane::Messages);
}
