//! Load, a receiver that fails in every way, and `kill -9`.

use super::common::number_from_env;
use super::receiver::{Receiver, Reply, Request};
use super::stage::{
    assert_nothing_is_unaccounted, audit, dead_letters, follow, is_delivered, metric, site, start,
    terminate,
};
use super::traffic::{Plan, Traffic};

#[test]
fn whole_notifications_survive_everything() {
    survives("notifications", "unit = \"notification\"", false);
}

#[test]
fn single_events_survive_everything() {
    survives("events", "unit = \"event\"\nmode = \"structured\"", true);
}

#[test]
fn batches_of_events_survive_everything() {
    survives(
        "batches",
        "unit = \"event\"\nmode = \"batch\"\nbatch = 20",
        true,
    );
}

fn survives(what: &str, unit: &str, mixed: bool) {
    let notifications = number_from_env("HOOKLINE_DELIVERY_NOTIFICATIONS", 2500);
    let kills = number_from_env("HOOKLINE_DELIVERY_KILLS", 3);
    let mut receiver = Receiver::start(chaos);
    let lines = format!("{unit}\ntimeout = \"5s\"\nconcurrency = 32");
    let site = site().sink(&receiver.sink("hook", &lines));
    let mut server = start(&site, 0);
    let plan = Plan {
        mixed,
        ..Plan::of(notifications)
    };
    let traffic = Traffic::start(server.address, plan);
    for life in 1..=kills {
        let part = (notifications * life / (kills + 1)) as u64;
        let progress = || receiver.requests() + traffic.notifications();
        follow(&server, "some is delivered", progress, || {
            traffic.notifications() >= part && receiver.taken() >= part || traffic.is_over()
        });
        // It restarts, and is not back before that was noticed.
        receiver.leave();
        let retries = || metric(&server, "hookline_sink_retries_total", "hook");
        let before = retries();
        let progress = || retries() + traffic.notifications();
        follow(&server, "its absence is noticed", progress, || {
            retries() >= before + 9
        });
        if life % 2 == 0 {
            server.kill();
            receiver.come_back();
        } else {
            receiver.come_back();
            let taken = receiver.taken();
            follow(
                &server,
                "it goes on",
                || receiver.requests(),
                || receiver.taken() > taken + 20,
            );
            server.kill();
        }
        server = start(&site, u32::try_from(life).expect("few"));
        traffic.redirect(server.address);
    }
    let progress = || receiver.requests() + traffic.notifications();
    follow(&server, "all is sent", progress, || traffic.is_over());
    let updates = traffic.join();
    follow(&server, "all is delivered", progress, || {
        receiver.taken() == updates
    });
    follow(&server, "all is confirmed", progress, || {
        is_delivered(&server, "hook")
    });
    assert_nothing_is_unaccounted(&server);
    terminate(server);
    receiver.check();
    assert!(dead_letters(&site).is_empty());
    audit(&site);
    let repeats = receiver.book().repeats;
    eprintln!(
        "{what}: {notifications} notifications and {} updates again, {updates} updates delivered over {} requests, \
         {kills} times kill -9: {repeats} delivered twice",
        traffic.repeated(),
        receiver.requests(),
    );
}

/// A receiver on a bad day.
fn chaos(request: &Request) -> Reply {
    let mut mixed = request.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
    match (mixed >> 32) % 10_000 {
        0..600 => Reply::Refuse("500 Internal Server Error", ""),
        600..650 => Reply::Refuse("503 Service Unavailable", "Retry-After: 1\r\n"),
        650..700 => Reply::Refuse("429 Too Many Requests", "Retry-After: 0\r\n"),
        700..1000 => Reply::Close,
        1000..1200 => Reply::Cut,
        1200..1300 => Reply::TakeAndCut,
        1300..1305 => Reply::Hang,
        _ => Reply::Take,
    }
}
