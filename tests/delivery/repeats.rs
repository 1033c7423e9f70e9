//! What is sent again is delivered once.
//!
//! Some notifications come again, some over two connections at once, and some updates once more in other groups, with
//! new ones between them; the server is stopped in turn by SIGTERM and by `kill -9`, and has one worker or several in
//! turn. Whatever reads the journal when, an update stands under one position.

use super::common::{eventually, number_from_env};
use super::receiver::{Position, Receiver, of_event};
use super::stage::{audit, dead_letters, follow, is_delivered, metric, site, start, terminate};
use super::traffic::{Lane, Plan, Traffic, Update};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

#[test]
fn what_is_sent_again_in_any_group_is_delivered_once() {
    let notifications = number_from_env("HOOKLINE_DELIVERY_NOTIFICATIONS", 2500);
    let kills = number_from_env("HOOKLINE_DELIVERY_KILLS", 3);
    let receiver = Receiver::willing();
    let lines = "unit = \"event\"\nmode = \"structured\"\ntimeout = \"10s\"";
    let mut site = site()
        .sink("name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"")
        .sink(&receiver.sink("hook", lines));
    let mut server = start(&site, 0);
    let plan = Plan {
        mixed: true,
        again: 20,
        twice: 10,
        regrouped: 50,
        ..Plan::of(notifications)
    };
    let traffic = Traffic::start(server.address, plan);
    let stops = 2 * kills;
    for life in 1..=stops {
        let part = (notifications * life / (stops + 1)) as u64;
        follow(
            &server,
            "some is sent",
            || traffic.notifications(),
            || traffic.notifications() >= part || traffic.is_over(),
        );
        if life % 2 == 0 {
            server.kill();
        } else {
            terminate(server);
        }
        // Only several workers need a thread that puts in order what they make.
        let workers = [1, 3][life / 2 % 2];
        site = site.server(&format!("workers = {workers}"));
        server = start(&site, u32::try_from(life).expect("few"));
        eventually("it delivers", || server.thread("hl-sink-file").is_some());
        // A thread names itself, and an earlier one may do so later.
        eventually("who decides runs", || {
            server.thread("hl-dedupe").is_some() == (workers > 1)
        });
        traffic.redirect(server.address);
    }
    follow(
        &server,
        "all is sent",
        || traffic.notifications(),
        || traffic.is_over(),
    );
    let updates = traffic.join();
    for sink in ["hook", "file"] {
        follow(
            &server,
            "all is confirmed",
            || receiver.requests(),
            || is_delivered(&server, sink),
        );
    }
    let duplicates = metric(&server, "hookline_sink_duplicates_total", "hook");
    terminate(server);
    receiver.check();
    assert_eq!(receiver.taken(), updates);
    assert!(dead_letters(&site).is_empty());
    let books = audit(&site);
    let (positions, again) = in_file(&site.path().join("events.ndjson"));
    assert_eq!(positions.len() as u64, updates);
    let book = receiver.book();
    for (update, position) in book.positions() {
        assert_eq!(positions.get(&update), Some(&position), "{update:?}");
    }
    eprintln!(
        "repeats: {notifications} notifications with {updates} updates, and {} updates again; {kills} times SIGTERM, \
         {kills} times kill -9: the http sink delivered {} twice, the file {again}; duplicates since the last start: \
         {duplicates}; the journal holds {}",
        traffic.repeated(),
        book.repeats,
        books["events"]["repeats"],
    );
}

/// The position of each update in the file, and how many lines repeat an earlier one. In each conversation the first
/// ones come in order.
fn in_file(path: &Path) -> (BTreeMap<Update, Position>, u64) {
    let mut positions = BTreeMap::new();
    let mut next: BTreeMap<(u32, Lane), u32> = BTreeMap::new();
    let mut again = 0;
    for line in BufReader::new(File::open(path).expect("there is one")).lines() {
        // A line that a kill has cut is followed by the rest of another.
        let Ok(event) = serde_json::from_str::<Value>(&line.expect("text")) else {
            continue;
        };
        let (update, position) = of_event(&event);
        if let Some(before) = positions.insert(update, position) {
            assert_eq!(before, position, "{update:?} stands under two positions");
            again += 1;
        } else {
            let next = next.entry((update.conversation, update.lane)).or_default();
            assert_eq!(*next, update.number, "{update:?} overtakes");
            *next += 1;
        }
    }
    (positions, again)
}
