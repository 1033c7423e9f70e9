//! Sinks that come, change and go while the server runs and is under load: SIGHUP, `hookline sink stop` and `resume`.
//!
//! A receiver keeps the books over all of it: what it has taken twice within the life of a process is a fault, and so
//! is what overtakes another one in its conversation.

use super::common::client::{Answer, Client, get, post};
use super::common::{Running, Site, eventually, number_from_env};
use super::receiver::{Receiver, Reply};
use super::stage::{
    assert_nothing_is_unaccounted, audit, follow, is_delivered, metric, site, start, terminate,
    verb,
};
use super::traffic::{Plan, Traffic};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;

const EVENTS: &str = "unit = \"event\"\nmode = \"structured\"\ntimeout = \"30s\"\n";
const FILE: &str = "name = \"file\"\ntype = \"file\"\npath = \"events.ndjson\"";

/// So many notifications are sent under which all of this happens.
fn plan() -> Plan {
    Plan {
        mixed: true,
        ..Plan::of(number_from_env("HOOKLINE_DELIVERY_NOTIFICATIONS", 2500))
    }
}

/// How often a line says this of a sink.
fn lines(server: &Running, sink: &str, text: &str) -> usize {
    let stderr = server.stderr();
    let lines = stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let says = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["sink"] == sink && message.contains(text)
    };
    lines.filter(says).count()
}

/// Makes the configuration this one, and waits until a line says that of a sink once more.
fn reload(server: &Running, to: &Site, sink: &str, text: &str) {
    let before = lines(server, sink, text);
    to.write_config();
    server.signal(Signal::HUP);
    eventually(text, || lines(server, sink, text) > before);
    assert_eq!(lines(server, sink, text), before + 1, "one line each");
}

const CHANGED: &str = "as the configuration now says";
const ADDED: &str = "the sink is new in the configuration";
const REMOVED: &str = "the sink is not in the configuration any more";

/// The site with these sinks instead.
fn with(site: Site, sinks: &[&str]) -> Site {
    let mut site = site.without_endpoints().endpoint(super::common::UNSIGNED);
    for sink in sinks {
        site = site.sink(sink);
    }
    site
}

/// Waits until the traffic has come so far, in hundredths.
fn sent(server: &Running, traffic: &Traffic, plan: Plan, part: usize) {
    let goal = (plan.notifications * part / 100) as u64;
    let progress = || traffic.notifications();
    follow(server, "some is sent", progress, || progress() >= goal);
}

/// Everything that was sent comes to the receiver, and to the file, each once.
fn comes_to_its_end(server: Running, site: &Site, receiver: &Receiver, traffic: &Traffic) {
    let progress = || receiver.requests() + traffic.notifications();
    follow(&server, "all is sent", progress, || traffic.is_over());
    let updates = traffic.join();
    follow(&server, "all is delivered", progress, || {
        receiver.taken() == updates && is_delivered(&server, "hook")
    });
    eventually("the file has it", || is_delivered(&server, "file"));
    assert_nothing_is_unaccounted(&server);
    terminate(server);
    receiver.check();
    let file = positions(site, "events.ndjson");
    let once: BTreeSet<&String> = file.iter().collect();
    assert_eq!(once.len(), file.len(), "nothing stands in the file twice");
    assert_eq!(file.len(), first_ones(site).len());
    audit(site);
}

/// The events of the journal that are no repeats of earlier ones, in its order.
fn first_ones(site: &Site) -> Vec<Value> {
    let (mut ids, mut events) = (BTreeSet::new(), site.events());
    events.retain(|it| ids.insert(it["id"].as_str().expect("text").to_owned()));
    events
}

/// The positions of the events in a file.
fn positions(site: &Site, file: &str) -> Vec<String> {
    let text = fs::read_to_string(site.path().join(file)).expect("it is there");
    let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let position = |line| event(line)["position"].as_str().expect("text").to_owned();
    text.lines().map(position).collect()
}

/// A target that moves, limits that change, a type that does: each under load, and nothing comes twice or is left out.
#[test]
fn a_sink_that_changes_goes_on_where_it_was() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let hook = receiver.sink("hook", EVENTS);
    let mut site = with(site(), &[&hook, FILE]);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    let (limits, elsewhere) = (
        format!("{hook}concurrency = 3\n"),
        hook.replace("/hook\"", "/elsewhere\""),
    );
    let moved = FILE.replace("path", "rotate_size = \"1GiB\"\npath");
    for (turn, (sinks, sink)) in [
        ([&*limits, FILE], "hook"),
        ([&*elsewhere, FILE], "hook"),
        ([&*elsewhere, &*moved], "file"),
        ([&*hook, &*moved], "hook"),
        ([&*hook, FILE], "file"),
    ]
    .into_iter()
    .enumerate()
    {
        sent(&server, &traffic, plan, 15 * (turn + 1));
        let other = if sink == "hook" { "file" } else { "hook" };
        let thread = server.thread(&format!("hl-sink-{other}"));
        site = with(site, &sinks);
        reload(&server, &site, sink, CHANGED);
        assert_nothing_is_unaccounted(&server);
        // One that is the same is not touched.
        assert_eq!(server.thread(&format!("hl-sink-{other}")), thread);
        assert!(thread.is_some());
    }
    assert_eq!(lines(&server, "hook", CHANGED), 3);
    assert_eq!(lines(&server, "file", CHANGED), 2);
    comes_to_its_end(server, &site, &receiver, &traffic);
}

/// Removed under load, and back: it goes on where it was. Meanwhile a new one has come, and it has gone.
#[test]
fn a_sink_that_is_gone_and_back_goes_on_where_it_was() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let hook = receiver.sink("hook", EVENTS);
    let new = "name = \"new\"\ntype = \"file\"\npath = \"new.ndjson\"\n";
    let mut site = with(site(), &[&hook, FILE]);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    sent(&server, &traffic, plan, 20);
    site = with(site, &[FILE, new]);
    reload(&server, &site, "hook", REMOVED);
    eventually("the new one", || lines(&server, "new", ADDED) == 1);
    let taken = receiver.taken();
    let has_series = |sink: &str| {
        let page = server.metrics();
        page.contains(&format!("hookline_sink_events_total{{sink=\"{sink}\""))
    };
    assert!(!has_series("hook") && has_series("new"));
    sent(&server, &traffic, plan, 50);
    assert_eq!(receiver.taken(), taken, "it is gone");
    site = with(site, &[FILE, &hook]);
    reload(&server, &site, "new", REMOVED);
    eventually("it is back", || lines(&server, "hook", ADDED) == 1);
    comes_to_its_end(server, &site, &receiver, &traffic);
    let new = positions(&site, "new.ndjson");
    let once: BTreeSet<&String> = new.iter().collect();
    assert!(!new.is_empty() && once.len() == new.len());
}

/// Another name under load, with `former_name`: the one begins when the other has ended, and at its place.
#[test]
fn a_sink_with_another_name_takes_its_place_over() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let hook = receiver.sink("hook", EVENTS);
    let crm = receiver.sink("crm", &format!("former_name = \"hook\"\n{EVENTS}"));
    let mut site = with(site(), &[&crm, FILE]);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    for part in 1..4 {
        sent(&server, &traffic, plan, 20 * part);
        // And back, and once more: each time it is the other one that is new.
        let name = if part % 2 == 1 { "hook" } else { "crm" };
        let sink = match part {
            2 => crm.clone(),
            _ => hook.replace("retry_min", "former_name = \"crm\"\nretry_min"),
        };
        site = with(site, &[&sink, FILE]);
        reload(&server, &site, name, ADDED);
        for name in ["hook", "crm"] {
            assert_eq!(lines(&server, name, REMOVED), 0, "nothing is left of it");
        }
        assert_nothing_is_unaccounted(&server);
    }
    comes_to_its_end(server, &site, &receiver, &traffic);
}

/// With another filter it goes on at the same place: what the old one left out stays so, and the new one holds from
/// there on.
#[test]
fn another_filter_holds_from_where_the_sink_was() {
    let plan = plan();
    let only = |lane: &str| format!("{FILE}\ntypes = [\"whatsapp.{lane}.*\"]");
    let (messages, statuses) = (only("message"), only("status"));
    let mut site = with(site(), &[&messages]);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    sent(&server, &traffic, plan, 40);
    site = with(site, &[&statuses]);
    reload(&server, &site, "file", CHANGED);
    traffic.join();
    eventually("all is delivered", || is_delivered(&server, "file"));
    assert_nothing_is_unaccounted(&server);
    terminate(server);
    let file = positions(&site, "events.ndjson");
    let had: BTreeSet<&str> = file.iter().map(String::as_str).collect();
    assert_eq!(had.len(), file.len(), "each once");
    let events = first_ones(&site);
    let wanted: Vec<(u64, bool, bool)> = events
        .iter()
        .map(|event| {
            let position = event["position"].as_str().expect("text");
            let sequence = position.split('.').next().expect("SEQ").parse();
            let is_message = event["type"].as_str().expect("text").contains("message");
            (
                sequence.expect("a number"),
                is_message,
                had.contains(position),
            )
        })
        .collect();
    // There is a place up to which all messages were delivered, and behind it all statuses; and nothing else.
    let fits = |place: u64| {
        let is_right = |(sequence, is_message, had): &(u64, bool, bool)| {
            *had == (*is_message == (*sequence <= place))
        };
        wanted.iter().all(is_right)
    };
    let last = wanted.last().expect("there are some").0;
    assert!((1..last).any(fits));
}

/// Stopped under load, killed, and started: it stays stopped, says so, and keeps the journal; then it goes on.
#[test]
fn a_sink_that_somebody_has_stopped_stays_so_until_somebody_resumes_it() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let site = site().sink(&receiver.sink("hook", EVENTS)).sink(FILE);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    sent(&server, &traffic, plan, 20);
    let stop = verb(&site, &["sink", "stop", "hook"]);
    assert!(stop.status.success(), "{stop:?}");
    eventually("it is said", || {
        lines(&server, "hook", "the sink is stopped, as") == 1
    });
    let taken = receiver.taken();
    let stopped = |server: &Running| {
        assert_eq!(metric(server, "hookline_sink_stopped", "hook"), 1);
        assert_eq!(metric(server, "hookline_unaccounted_events", "hook"), 0);
        let (code, text) = server.admin_page("/readyz?strict").expect("it is served");
        assert_eq!(code, 503, "{text}");
        let (_, status) = server.admin_page("/status").expect("it is served");
        assert!(status.contains("hookline sink stop"), "{status}");
    };
    stopped(&server);
    let progress = || traffic.notifications();
    let goal = (plan.notifications / 2) as u64;
    eventually("more is sent", || progress() >= goal);
    assert_eq!(receiver.taken(), taken, "it is stopped");
    server.kill();
    let server = start(&site, 1);
    traffic.redirect(server.address);
    stopped(&server);
    assert!(server.thread("hl-sink-hook").is_none());
    let cursor = metric(&server, "hookline_sink_cursor", "hook");
    assert!(cursor > 0, "it stands where it was");
    // A reload changes nothing about that.
    server.signal(Signal::HUP);
    eventually("it is reloaded", || {
        server.stderr().contains("endpoints are reloaded")
    });
    eventually("more is sent", || traffic.is_over());
    assert_eq!(receiver.taken(), taken);
    let resume = verb(&site, &["sink", "resume", "hook"]);
    assert!(resume.status.success(), "{resume:?}");
    eventually("it goes on", || {
        lines(&server, "hook", "`hookline sink resume` has asked") == 1
    });
    comes_to_its_end(server, &site, &receiver, &traffic);
    assert_eq!(
        receiver.book().repeats,
        0,
        "its cursor was saved when it was stopped"
    );
}

/// It took a restart of the whole receiver.
#[test]
fn a_sink_that_was_stopped_by_410_goes_on_without_a_restart() {
    let receiver = Receiver::start(|request| match request.number {
        0..20 => Reply::Take,
        _ => Reply::Refuse("410 Gone", ""),
    });
    let site = site().sink(&receiver.sink("hook", EVENTS)).sink(FILE);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan());
    eventually("the sink has stopped", || {
        metric(&server, "hookline_sink_stopped", "hook") == 1
    });
    receiver.behave(|_| Reply::Take);
    let resume = verb(&site, &["sink", "resume", "hook"]);
    assert!(resume.status.success(), "{resume:?}");
    eventually("it goes on", || {
        metric(&server, "hookline_sink_stopped", "hook") == 0
    });
    comes_to_its_end(server, &site, &receiver, &traffic);
    assert_eq!(receiver.book().repeats, 0);
}

/// The server is killed while sinks change, again and again: each goes on as its cursor says.
#[test]
fn a_kill_in_the_middle_of_a_reload_loses_nothing() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let hook = receiver.sink("hook", EVENTS);
    let elsewhere = hook.replace("/hook\"", "/elsewhere\"");
    let mut site = with(site(), &[&hook, FILE]);
    let mut server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    let kills = 6;
    for life in 1..=kills {
        let goal = (plan.notifications * life / (kills + 1)) as u64;
        let progress = || traffic.notifications();
        follow(&server, "some is sent", progress, || {
            progress() >= goal || traffic.is_over()
        });
        let sinks = match life % 3 {
            0 => vec![&*hook, FILE],
            1 => vec![&*elsewhere, FILE],
            _ => vec![FILE],
        };
        site = with(site, &sinks);
        site.write_config();
        let before = server.stderr().matches("endpoints are reloaded").count();
        server.signal(Signal::HUP);
        if life > 3 {
            eventually("it has begun", || {
                server.stderr().matches("endpoints are reloaded").count() > before
            });
        }
        server.kill();
        server = start(&site, u32::try_from(life).expect("few"));
        traffic.redirect(server.address);
    }
    comes_to_its_end(server, &site, &receiver, &traffic);
}

/// A receiver that answers nothing: the reload does not wait for it, the one that takes its place does, and no longer
/// than `drain_timeout`. What hung comes again.
#[test]
fn a_target_that_hangs_holds_up_its_own_sink_alone() {
    let receiver = Receiver::start(|_| Reply::Hang);
    let hook = receiver.sink("hook", EVENTS);
    let mut site = with(site(), &[&hook, FILE]).server("drain_timeout = \"2s\"");
    let server = start(&site, 0);
    let plan = plan();
    let traffic = Traffic::start(server.address, plan);
    eventually("requests hang", || receiver.requests() > 4);
    let elsewhere = hook.replace("/hook\"", "/elsewhere\"");
    let moved = FILE.replace("path", "rotate_size = \"1GiB\"\npath");
    site = with(site, &[&elsewhere, &moved]);
    reload(&server, &site, "file", CHANGED);
    assert!(server.stderr().contains("endpoints are reloaded"));
    receiver.behave(|_| Reply::Take);
    eventually("it has its successor", || {
        lines(&server, "hook", CHANGED) == 1
    });
    assert_eq!(
        lines(&server, "hook", "have had no answer within drain_timeout"),
        1
    );
    comes_to_its_end(server, &site, &receiver, &traffic);
}

/// What cannot be started is named, and what ran before goes on.
#[test]
fn a_sink_that_cannot_be_started_as_it_is_wanted_goes_on_as_it_was() {
    let (plan, receiver) = (plan(), Receiver::willing());
    let hook = receiver.sink("hook", EVENTS);
    // Consumers cannot be served there, which is seen with the first sink for them.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let file = format!("{FILE}\n[pull]\nlisten = \"{address}\"\n");
    let asks =
        |name: &str| format!("name = \"{name}\"\ntype = \"pull\"\naccept_unauthenticated = true");
    let mut site = with(site(), &[&hook, &file]);
    let server = start(&site, 0);
    let traffic = Traffic::start(server.address, plan);
    sent(&server, &traffic, plan, 20);
    site = with(site, &[&asks("hook"), &file]);
    reload(&server, &site, "hook", "goes on as it was before");
    assert!(server.stderr().contains("is in use by another process"));
    assert_nothing_is_unaccounted(&server);
    site = with(site, &[&hook, &asks("more"), &file]);
    reload(&server, &site, "more", "the sink cannot be started");
    assert_eq!(metric(&server, "hookline_sink_stopped", "more"), 1);
    // It never ran, so it leaves nothing that a line could name.
    site = with(site, &[&hook, &file]);
    site.write_config();
    server.signal(Signal::HUP);
    eventually("it is gone", || !server.metrics().contains("sink=\"more\""));
    comes_to_its_end(server, &site, &receiver, &traffic);
}

/// A page of the sink `asks`, for who has this token; or of its cursor, where the target says so.
fn ask(address: SocketAddr, token: &str, target: &str) -> Answer {
    let mut client = Client::connect(address);
    let head = get(target);
    client.send(&head[..head.len() - 2]);
    client.send(format!("Authorization: Bearer {token}\r\n\r\n").as_bytes());
    client.answer()
}

/// Consumers see the same: nobody is left waiting, and nothing that was committed comes again.
#[test]
fn a_sink_that_is_read_comes_changes_stops_and_goes_too() {
    const EVENTS: &str = "/v1/events?sink=asks";
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let address = free.expect("a port");
    let listen = format!("{FILE}\n[pull]\nlisten = \"{address}\"\n");
    let asks =
        |token: &str| format!("name = \"asks\"\ntype = \"pull\"\ntoken = {{ file = \"{token}\" }}");
    let mut site = with(site(), &[&listen]);
    for token in ["first", "second"] {
        fs::write(site.path().join(token), format!("{token}-token")).expect("written");
    }
    let server = start(&site, 0);
    Traffic::start(server.address, Plan::of(20)).join();
    site = with(site, &[&asks("first"), &listen]);
    reload(&server, &site, "asks", ADDED);
    Traffic::start(
        server.address,
        Plan {
            first: 2_000_000,
            ..Plan::of(20)
        },
    )
    .join();
    let page =
        |token: &str, parameters: &str| ask(address, token, &format!("{EVENTS}{parameters}"));
    eventually("there is something", || {
        let answer = page("first-token", "&wait=1s");
        assert_eq!(answer.code, 200, "{answer:?}");
        !answer.body.is_empty()
    });
    let answer = page("first-token", "&limit=5");
    let next = answer.field("hookline-next").expect("always").to_owned();
    let mut client = Client::connect(address);
    let body = format!("{{\"position\": \"{next}\"}}");
    let token = "Authorization: Bearer first-token\r\n";
    client.send(&post("/v1/cursors/asks", token, body.as_bytes()));
    assert_eq!(client.answer().code, 200);
    let goes_on = page("first-token", "&limit=1").body;
    let last = server.metric("hookline_journal_durable_sequence");
    let end = format!("&after={last}&wait=50s");
    let waits = thread::spawn(move || ask(address, "first-token", &format!("{EVENTS}{end}")).code);
    site = with(site, &[&asks("second"), &listen]);
    reload(&server, &site, "asks", CHANGED);
    // Refused if it came behind the change, answered without an event if it was there before.
    assert!([200, 401, 409, 503].contains(&waits.join().expect("answered")));
    assert_eq!(page("first-token", "").code, 401);
    assert_eq!(page("second-token", "&limit=1").body, goes_on);
    let stop = verb(&site, &["sink", "stop", "asks"]);
    assert!(stop.status.success(), "{stop:?}");
    assert_eq!(page("second-token", "").code, 503);
    assert_eq!(metric(&server, "hookline_sink_stopped", "asks"), 1);
    let resume = verb(&site, &["sink", "resume", "asks"]);
    assert!(resume.status.success(), "{resume:?}");
    eventually("it goes on", || page("second-token", "").code == 200);
    assert_eq!(page("second-token", "&limit=1").body, goes_on);
    assert_nothing_is_unaccounted(&server);
    site = with(site, &[&listen]);
    reload(&server, &site, "asks", REMOVED);
    assert_eq!(page("second-token", "").code, 401);
    terminate(server);
}

#[test]
fn what_needs_a_restart_is_named() {
    let mut site = with(site(), &[FILE]);
    let server = start(&site, 0);
    site = site.server("loops = 2").limits("idle_timeout = \"50s\"");
    site.write_config();
    server.signal(Signal::HUP);
    eventually("it is reloaded", || {
        server.stderr().contains("endpoints are reloaded")
    });
    let stderr = server.stderr();
    let named: Vec<Value> = stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["setting"].is_string())
        .collect();
    let settings: Vec<&str> = named
        .iter()
        .filter_map(|it| it["setting"].as_str())
        .collect();
    assert_eq!(
        settings,
        ["server.loops", "limits.idle_timeout"],
        "{stderr}"
    );
    assert!(
        named
            .iter()
            .all(|it| it["why"].as_str().is_some_and(|it| !it.is_empty()))
    );
    terminate(server);
}

/// Without a server it is written down for the next start.
#[test]
fn a_sink_is_stopped_and_resumed_without_a_server_too() {
    let receiver = Receiver::willing();
    let site = site().sink(&receiver.sink("hook", EVENTS));
    terminate(start(&site, 0));
    let text = |verb: &std::process::Output| String::from_utf8_lossy(&verb.stdout).into_owned();
    let stop = verb(&site, &["sink", "stop", "hook"]);
    assert!(
        stop.status.success() && text(&stop).contains("no server runs"),
        "{stop:?}"
    );
    let server = start(&site, 1);
    assert_eq!(metric(&server, "hookline_sink_stopped", "hook"), 1);
    terminate(server);
    let resume = verb(&site, &["sink", "resume", "hook"]);
    assert!(resume.status.success(), "{resume:?}");
    let server = start(&site, 2);
    assert_eq!(metric(&server, "hookline_sink_stopped", "hook"), 0);
    terminate(server);
    let unknown = verb(&site, &["sink", "stop", "crm"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
}
