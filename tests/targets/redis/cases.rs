//! What is peculiar to Redis.

use super::{
    BY_POSITION, ByPosition, PASSWORD, POSITION, REPLAYS, RedisServer, Reply, SINK, STREAM,
};
use crate::common::client::{Client, post};
use crate::common::strace::Strace;
use crate::common::{PROGRAM, Running, Site, UNSIGNED, eventually};
use crate::stage::{audit, dead_letters, is_delivered, metric, site, start, terminate, verb};
use crate::target::Target as _;
use crate::traffic::{self, Lane, Update};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

fn with_secrets(site: Site) -> Site {
    site.variable("REDIS_PASSWORD", PASSWORD)
}

/// A server of Hookline that delivers there, with these lines of the sink.
fn deliver_to(target: &RedisServer, lines: &str) -> (Site, Running) {
    let site = with_secrets(site().sink(&target.sink(lines)));
    let server = start(&site, 0);
    (site, server)
}

fn message(id: &str) -> Vec<u8> {
    let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "100", "changes": [{
        "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": { "phone_number_id": "200" },
        "messages": [{ "from": "15550100042", "id": id, "timestamp": "1750000000", "type": "text",
            "text": { "body": "Grüße" } }] } }] }] });
    body.to_string().into_bytes()
}

fn post_messages(server: &Running, from: usize, count: usize) {
    let mut client = server.connect();
    for number in from..from + count {
        client.send(&post("/webhook", "", &message(&format!("wamid.{number}"))));
        assert_eq!(client.answer().code, 200);
    }
}

fn settle(server: &Running) {
    eventually("all is delivered", || is_delivered(server, SINK));
}

fn is_logged(server: &Running, part: &str) {
    eventually(part, || server.stderr().contains(part));
}

/// What `/status` says of the sink.
fn status(server: &Running) -> Value {
    let (code, page) = server.admin_page("/status").expect("it is served");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&page).expect("JSON");
    status["sinks"][0].clone()
}

fn positions(target: &RedisServer, stream: &str) -> Vec<String> {
    let entries = target.entries(stream);
    let position = |entry: &super::Entry| entry.field("position").to_owned();
    entries.iter().map(position).collect()
}

/// Entries, and how many different events they are.
fn counts(target: &RedisServer) -> (usize, usize) {
    let all = positions(target, STREAM);
    (all.len(), all.iter().collect::<BTreeSet<_>>().len())
}

#[test]
fn an_entry_has_the_position_as_its_id_the_attributes_and_the_data() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 3);
    settle(&server);
    assert_eq!(status(&server)["confirmation"], "memory");
    terminate(server);
    let entries = target.entries(STREAM);
    let ids: Vec<&str> = entries.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["1-0", "2-0", "3-0"]);
    for (entry, event) in entries.iter().zip(site.events()) {
        for (name, value) in event.as_object().expect("an object") {
            if name != "data" {
                assert_eq!(entry.field(name), value.as_str().expect("text"), "{name}");
            }
        }
        assert_eq!(entry.field("datacontenttype"), "application/json");
        let data: Value = serde_json::from_str(entry.field("data")).expect("JSON");
        assert_eq!(data, event["data"]);
    }
    assert_eq!(target.position("position"), "4.0");
    assert_eq!(target.position("journal").len(), 32);
    audit(&site);
}

#[test]
fn with_ids_of_the_server_placeholders_make_streams() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let lines = "stream = \"{provider}.{lane}\"\nids = \"auto\"\ncreate = true";
    let (site, server) = deliver_to(&target, lines);
    post_messages(&server, 0, 3);
    settle(&server);
    terminate(server);
    let entries = target.entries("meta.messages");
    assert_eq!(entries.len(), 3);
    assert!(
        entries.iter().all(|it| !it.id.starts_with("1-")),
        "{entries:?}"
    );
    assert_eq!(entries[0].field("id"), site.events()[0]["id"]);
}

/// The command of the reason, as a person would run it.
fn accept(target: &RedisServer, server: &Running, site: &Site) {
    is_logged(server, "redis-cli");
    let stderr = server.stderr();
    let command = stderr.rsplit("redis-cli ").next().expect("a command");
    let command = command.split(',').next().expect("a command");
    let words: Vec<&str> = command.split(' ').collect();
    let at = words.iter().position(|it| *it == "HSET").expect("HSET");
    assert_eq!(
        words[..at],
        [
            "-h",
            "127.0.0.1",
            "-p",
            &target.address.port().to_string(),
            "-n",
            "0"
        ]
    );
    target.run(&words[at..]);
    let resumed = verb(site, &["sink", "resume", SINK]);
    assert!(resumed.status.success(), "{resumed:?}");
}

#[test]
fn entries_of_others_stop_the_sink_until_somebody_accepts_them() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    // Before it begins.
    target.run(&["XADD", STREAM, "*", "a", "b"]);
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 5);
    is_logged(&server, "no position of a sink stands beside it");
    assert_eq!(target.entries(STREAM).len(), 1);
    eventually("it has stopped", || {
        metric(&server, "hookline_sink_stopped", SINK) == 1
    });
    accept(&target, &server, &site);
    settle(&server);
    assert_eq!(target.entries(STREAM).len(), 6);
    // And while it runs.
    target.run(&["XADD", STREAM, "9999999999999-0", "a", "b"]);
    post_messages(&server, 5, 5);
    is_logged(&server, "somebody else writes to the stream");
    assert_eq!(target.entries(STREAM).len(), 7);
    accept(&target, &server, &site);
    settle(&server);
    terminate(server);
    let entries = target.entries(STREAM);
    let own: Vec<&str> = entries.iter().map(|it| it.field("position")).collect();
    let own: Vec<&&str> = own.iter().filter(|it| !it.is_empty()).collect();
    let expected = [
        "1.0", "2.0", "3.0", "4.0", "5.0", "6.0", "7.0", "8.0", "9.0", "10.0",
    ];
    assert_eq!(own, expected.iter().collect::<Vec<_>>());
    audit(&site);
}

#[test]
fn another_journal_stops_until_somebody_accepts_it() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let (_site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 5);
    settle(&server);
    terminate(server);
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 7);
    is_logged(&server, "belongs to another journal");
    assert_eq!(target.entries(STREAM).len(), 5);
    accept(&target, &server, &site);
    settle(&server);
    terminate(server);
    let ids: Vec<String> = target.entries(STREAM).into_iter().map(|it| it.id).collect();
    assert_eq!(ids[4..7], ["5-0", "6-0", "7-0"]);
    assert_eq!(ids.len(), 12);
}

#[test]
fn a_cursor_that_is_moved_moves_the_position() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 50);
    settle(&server);
    terminate(server);
    assert_eq!(target.position("position"), "51.0");
    let seek = verb(&site, &["cursor", "seek", SINK, "--to", "31"]);
    assert!(seek.status.success(), "{seek:?}");
    let server = start(&site, 1);
    settle(&server);
    is_logged(&server, "the cursor of the sink was moved");
    assert_eq!(counts(&target), (70, 50));
    // Once.
    terminate(server);
    let server = start(&site, 2);
    post_messages(&server, 50, 10);
    settle(&server);
    assert_eq!(counts(&target), (80, 60));
    terminate(server);
    audit(&site);
}

/// Under another name it goes on where it was, though a crash has left the cursor behind.
#[test]
fn a_former_name_keeps_the_position() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let lines = target.sink(BY_POSITION).replace("\"target\"", "\"before\"");
    let before = with_secrets(site().sink(&lines));
    let server = start(&before, 0);
    post_messages(&server, 0, 50);
    eventually("all is there", || counts(&target).0 == 50);
    server.kill();
    let lines = format!("{}\nformer_name = \"before\"", target.sink(BY_POSITION));
    let site = before.without_endpoints().endpoint(UNSIGNED).sink(&lines);
    let server = start(&site, 1);
    post_messages(&server, 50, 10);
    settle(&server);
    assert_eq!(counts(&target), (60, 60));
    assert_eq!(target.position("sink"), SINK);
    terminate(server);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("copied");
        }
    }
}

/// A power cut, or a replica that lacks the end: the position went back with the entries.
#[test]
fn what_the_server_has_lost_is_delivered_again() {
    let Some(mut target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 20);
    settle(&server);
    let (data, older) = (
        target.directory.path().join("data"),
        target.directory.path().join("older"),
    );
    let restore = |target: &mut RedisServer| {
        target.process.kill();
        fs::remove_dir_all(&data).expect("removed");
        copy(&older, &data);
        target.start_again();
    };
    target.process.kill();
    copy(&data, &older);
    target.start_again();
    post_messages(&server, 20, 30);
    settle(&server);
    // While it runs.
    restore(&mut target);
    assert_eq!(counts(&target).0, 20);
    post_messages(&server, 50, 10);
    eventually("all is there", || counts(&target) == (60, 60));
    is_logged(&server, "lacks what it had confirmed");
    settle(&server);
    terminate(server);
    // While it does not.
    restore(&mut target);
    let server = start(&site, 1);
    eventually("all is there", || counts(&target) == (60, 60));
    is_logged(&server, "less than its cursor says");
    terminate(server);
    audit(&site);
}

#[test]
fn one_of_two_writers_stops() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 5);
    settle(&server);
    // As a process with a copy of the journal has it.
    target.run(&["HSET", POSITION, "writer", "another"]);
    post_messages(&server, 5, 5);
    is_logged(&server, "another process writes to the target");
    assert_eq!(target.entries(STREAM).len(), 5);
    eventually("it has stopped", || {
        metric(&server, "hookline_sink_stopped", SINK) == 1
    });
    let resumed = verb(&site, &["sink", "resume", SINK]);
    assert!(resumed.status.success(), "{resumed:?}");
    settle(&server);
    assert_eq!(counts(&target), (10, 10));
    terminate(server);
}

/// A transaction finds the stream gone: nothing was stored, and the position is where it was.
#[test]
fn a_stream_that_is_removed_is_waited_for() {
    let Some(mut target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 5);
    settle(&server);
    target.remove();
    post_messages(&server, 5, 5);
    eventually("it is tried", || {
        metric(&server, "hookline_sink_retries_total", SINK) > 2
    });
    assert!(
        status(&server)
            .to_string()
            .contains("the stream whatsapp is not there")
    );
    assert_eq!(target.position("position"), "6.0");
    target.create();
    settle(&server);
    let all = positions(&target, STREAM);
    assert!(
        all.ends_with(&["6.0", "7.0", "8.0", "9.0", "10.0"].map(str::to_owned)),
        "{all:?}"
    );
    assert_eq!(counts(&target).0, counts(&target).1);
    terminate(server);
    audit(&site);
}

/// What the server's state is to blame for is waited for, whichever way events are delivered.
#[test]
fn a_server_that_takes_nothing_is_waited_for() {
    for lines in [
        BY_POSITION,
        "stream = \"whatsapp\"\nids = \"auto\"\nmax_attempts = 2\nretry_max = \"500ms\"",
    ] {
        let Some(target) = RedisServer::start("") else {
            return;
        };
        let (site, server) = deliver_to(&target, lines);
        post_messages(&server, 0, 5);
        settle(&server);
        let retries = || metric(&server, "hookline_sink_retries_total", SINK);
        let mut from = 5;
        for (sets, clears, part) in [
            (
                vec!["CONFIG", "SET", "maxmemory", "1"],
                vec!["CONFIG", "SET", "maxmemory", "0"],
                "OOM",
            ),
            (
                vec!["REPLICAOF", "127.0.0.1", "1"],
                vec!["REPLICAOF", "NO", "ONE"],
                "READONLY",
            ),
        ] {
            target.run(&sets);
            let before = retries();
            post_messages(&server, from, 5);
            eventually("it is tried", || retries() > before + 2);
            eventually("it is shown", || status(&server).to_string().contains(part));
            assert_eq!(target.entries(STREAM).len(), from);
            target.run(&clears);
            from += 5;
            eventually("all is delivered", || target.entries(STREAM).len() == from);
            settle(&server);
        }
        assert_eq!(metric(&server, "hookline_sink_dead_total", SINK), 0);
        terminate(server);
        audit(&site);
    }
}

/// At each step of a connection and of a transaction: sent, answered, and nobody has read it.
#[test]
fn a_kill_at_any_step_of_a_transaction_is_none() {
    let Some(mut target) = ByPosition::start() else {
        return;
    };
    let site = with_secrets(site().sink(&target.sink()));
    for (round, step) in STEPS_OF.into_iter().cycle().take(STEPS).enumerate() {
        let mut server = start(&site, 0);
        let inject = format!("inject={step}:signal=KILL:when={}", 1 + round);
        let Some(_strace) =
            Strace::attach_thread(&server, "hl-sink-target", &site, &["-e", &inject])
        else {
            return;
        };
        // It may have come to its end already.
        let mut client = TcpStream::connect(server.address).map(Client::over);
        let from = MOST * round;
        let is_taken = |number: &usize| {
            let body = message(&format!("wamid.{number}"));
            client.as_mut().is_ok_and(|it| {
                it.try_send(&post("/webhook", "", &body)) && matches!(it.next_or_cut(), Ok(Some(_)))
            })
        };
        let taken = (from..from + MOST).take_while(is_taken).count();
        assert!(taken < MOST, "{inject}");
        server.wait();
    }
    let server = start(&site, 1);
    settle(&server);
    terminate(server);
    let expected: Vec<String> = site
        .events()
        .iter()
        .map(|it| it["id"].to_string())
        .collect();
    let delivered = target.delivered();
    let found: Vec<String> = delivered.iter().map(|it| format!("{:?}", it.id)).collect();
    assert_eq!(found, expected, "each once, in order");
    audit(&site);
}

/// Each lane has a stream, a position and a thread of its own, and a replay its streams.
#[test]
fn each_lane_has_a_stream_of_its_own() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let lines = "stream = \"lanes.{lane}\"\ncreate = true";
    let (site, mut server) = deliver_to(&target, lines);
    for life in 1..=3_u32 {
        let mut client = server.connect();
        for number in 0..40 {
            let update = |lane| Update {
                conversation: 100 * life + number % 7,
                lane,
                number,
            };
            let body = traffic::body(&[update(Lane::Messages), update(Lane::Statuses)], 10);
            client.send(&post("/webhook", "", &body));
            assert_eq!(client.answer().code, 200);
        }
        if life < 3 {
            server.kill();
            server = start(&site, life);
        }
    }
    settle(&server);
    let replay = ["replay", "--sink", SINK, "--from", "start", "--detach"];
    assert!(verb(&site, &replay).status.success());
    let streams = |end: &str| {
        ["messages", "statuses"].map(|lane| positions(&target, &format!("lanes.{lane}{end}")))
    };
    eventually("it is replayed", || {
        streams(".replay").iter().map(Vec::len).sum::<usize>() >= 240
    });
    let expected = |lane: &str| {
        let events = site.events();
        let own = events.into_iter().filter(|it| it["lane"] == lane);
        own.map(|it| it["position"].as_str().expect("text").to_owned())
            .collect::<Vec<_>>()
    };
    let expected = ["messages", "statuses"].map(expected);
    assert_eq!(expected[0].len(), 120);
    assert_eq!(streams(""), expected);
    assert_eq!(streams(".replay"), expected);
    assert_eq!(metric(&server, "hookline_unaccounted_events", SINK), 0);
    // One that stops stops the sink.
    target.run(&["XADD", "lanes.statuses", "*", "a", "b"]);
    let mut client = server.connect();
    let update = Update {
        conversation: 1,
        lane: Lane::Statuses,
        number: 0,
    };
    client.send(&post("/webhook", "", &traffic::body(&[update], 10)));
    assert_eq!(client.answer().code, 200);
    is_logged(&server, "somebody else writes to the stream lanes.statuses");
    eventually("it has stopped", || {
        metric(&server, "hookline_sink_stopped", SINK) == 1
    });
    terminate(server);
    audit(&site);
}

#[test]
fn a_confirmation_is_worth_what_waitaof_says() {
    for shape in ["", "\nids = \"auto\""] {
        let Some(target) = RedisServer::valkey("") else {
            return;
        };
        let lines = format!("{BY_POSITION}{shape}\nwait_local = 1");
        let (site, server) = deliver_to(&target, &lines);
        post_messages(&server, 0, 20);
        settle(&server);
        assert_eq!(status(&server)["confirmation"], "fsynced");
        assert_eq!(target.entries(STREAM).len(), 20);
        terminate(server);
        audit(&site);
    }
}

/// `WAITAOF` answers when its time is over, too: nothing is confirmed for that.
#[test]
fn what_no_replica_has_on_its_disk_is_not_confirmed() {
    let Some(target) = RedisServer::valkey("") else {
        return;
    };
    let lines = format!("{BY_POSITION}\nwait_replicas = 1").replace("\n\n", "\n");
    let lines = target.sink(&lines).replace("\"5s\"", "\"300ms\"");
    let site = with_secrets(site().sink(&lines));
    let server = start(&site, 0);
    post_messages(&server, 0, 20);
    eventually("it is tried", || {
        metric(&server, "hookline_sink_retries_total", SINK) > 2
    });
    eventually("it is shown", || {
        status(&server)
            .to_string()
            .contains("wait_replicas is 1 and it says 0")
    });
    assert_eq!(metric(&server, "hookline_sink_cursor", SINK), 0);
    let (entries, events) = counts(&target);
    assert_eq!(entries, events, "nothing twice");
    let mut replica = RedisServer::prepared(
        target.program.clone(),
        &format!("replicaof 127.0.0.1 {}", target.address.port()),
    );
    replica.start_again();
    settle(&server);
    assert_eq!(status(&server)["confirmation"], "replicated");
    assert_eq!(counts(&target), (20, 20), "nothing twice");
    terminate(server);
    audit(&site);
}

#[test]
fn a_server_that_cannot_wait_for_disks_is_named() {
    let lines = format!("{BY_POSITION}\nwait_local = 1");
    if let Some(target) = RedisServer::start("") {
        let (_site, server) = deliver_to(&target, &lines);
        post_messages(&server, 0, 1);
        is_logged(&server, "need Redis 7.2 or Valkey");
        assert_eq!(target.entries(STREAM).len(), 0);
    }
    if let Some(target) = RedisServer::valkey("appendonly no") {
        let (_site, server) = deliver_to(&target, &lines);
        post_messages(&server, 0, 1);
        is_logged(&server, "set appendonly yes there");
        assert_eq!(target.entries(STREAM).len(), 0);
    }
}

#[test]
fn a_stream_is_trimmed_where_that_is_asked_for() {
    let Some(target) = RedisServer::start("stream-node-max-entries 10") else {
        return;
    };
    let (site, server) = deliver_to(&target, &format!("{BY_POSITION}\nmax_length = 20"));
    post_messages(&server, 0, 200);
    settle(&server);
    let left = target.entries(STREAM).len();
    assert!((20..=60).contains(&left), "{left}");
    terminate(server);
    audit(&site);
}

/// The least that a server can be made to take is 1 MiB.
#[test]
fn data_that_are_too_large_are_a_dead_letter_or_left_out() {
    let Some(target) = RedisServer::start("proto-max-bulk-len 1mb") else {
        return;
    };
    let large = Site::unsigned()
        .limits("body = \"4MiB\"")
        .limits("unacknowledged = \"16MiB\"");
    let large = large
        .limits("partial = \"16MiB\"")
        .journal("segment_size = \"32MiB\"");
    let update = |conversation| Update {
        conversation,
        lane: Lane::Messages,
        number: 0,
    };
    let send = |server: &Running, from: u32| {
        let mut client = server.connect();
        for conversation in from..from + 5 {
            let padding = if conversation == from + 3 {
                2 << 20
            } else {
                10
            };
            client.send(&post(
                "/webhook",
                "",
                &traffic::body(&[update(conversation)], padding),
            ));
            assert_eq!(client.answer().code, 200);
        }
    };
    let site = with_secrets(large.sink(&target.sink("stream = \"whatsapp\"\nids = \"auto\"")));
    let server = start(&site, 0);
    send(&server, 10);
    settle(&server);
    terminate(server);
    let letters = dead_letters(&site);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("proto-max-bulk-len is 1048576"), "{reason}");
    assert_eq!(target.entries(STREAM).len(), 4);
    target.run(&["XGROUP", "CREATE", "other", "readers", "$", "MKSTREAM"]);
    let site = site
        .without_endpoints()
        .endpoint(UNSIGNED)
        .sink(&target.sink("stream = \"other\""));
    let server = start(&site, 1);
    send(&server, 20);
    is_logged(&server, "larger than the server takes");
    settle(&server);
    terminate(server);
    let entries = target.entries("other");
    let large = entries.iter().filter(|it| it.field("data").is_empty());
    let large: Vec<&str> = large.map(|it| it.field("data_bytes")).collect();
    assert_eq!(large.len(), 1, "{entries:?}");
    assert!(large[0].parse::<usize>().expect("a number") > 2 << 20);
}

#[test]
fn tls_with_an_own_authority_and_a_unix_socket_are_taken() {
    let Some(mut target) = RedisServer::start("") else {
        return;
    };
    let made = rcgen::generate_simple_self_signed(["redis.example".to_owned()]).expect("made");
    let path = |name: &str| target.directory.path().join(name).display().to_string();
    let (cert, key, socket) = (path("cert.pem"), path("key.pem"), path("socket"));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = crate::process::free_address();
    target.settings = format!(
        "tls-port {}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-ca-cert-file {cert}\ntls-auth-clients no\n\
         unixsocket {socket}",
        tls.port()
    );
    target.process.kill();
    target.start_again();
    let plain = format!("redis://hookline@{}/0", target.address);
    let lines = target.sink(BY_POSITION);
    let encrypted = lines.replace(&plain, &format!("rediss://hookline@{tls}/0"));
    let encrypted = format!("{encrypted}\nca_file = {cert:?}\n");
    // The certificate has another name than the address.
    let (code, report) = check(&with_secrets(Site::unsigned().sink(&encrypted)));
    assert_eq!(code, 1, "{report}");
    assert!(
        report["connect"][0].to_string().contains("certificate"),
        "{report}"
    );
    let site = with_secrets(site().sink(&format!("{encrypted}server_name = \"redis.example\"")));
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    let server = start(&site, 0);
    post_messages(&server, 0, 3);
    settle(&server);
    terminate(server);
    assert_eq!(target.entries(STREAM).len(), 3);
    let local = lines.replace(&plain, &format!("unix://{socket}"));
    let site = site
        .without_endpoints()
        .endpoint(UNSIGNED)
        .sink(&format!("user = \"hookline\"\n{local}"));
    let server = start(&site, 1);
    post_messages(&server, 3, 3);
    settle(&server);
    terminate(server);
    assert_eq!(target.entries(STREAM).len(), 6);
}

/// `hookline check --connect`: exit code and report.
fn check(site: &Site) -> (i32, Value) {
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--connect", "--output", "json", "--config"]);
    command.arg(site.write_config()).env_clear();
    command
        .env("REDIS_PASSWORD", PASSWORD)
        .env("TOKEN", "token");
    let output = command.output().expect("it runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().expect("it ends"), report)
}

#[test]
fn a_check_says_what_the_target_is_like() {
    let Some(mut target) = RedisServer::start("") else {
        return;
    };
    let text = |report: &Value| report["connect"][0].to_string();
    let site = with_secrets(site().sink(&target.sink(BY_POSITION)));
    let (code, report) = check(&site);
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report}");
    for part in [
        "Redis 7",
        "takes the login",
        "the stream whatsapp is there",
        "memory",
    ] {
        assert!(text(&report).contains(part), "{part}: {report}");
    }
    assert_eq!(report["connect"][0]["warnings"], json!([]), "{report}");
    target.run(&["CONFIG", "SET", "maxmemory", "1gb"]);
    target.run(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    target.run(&["CONFIG", "SET", "appendonly", "no"]);
    let (code, report) = check(&site);
    assert_eq!(code, 0, "{report}");
    for part in ["maxmemory-policy is allkeys-lru", "no append-only file"] {
        assert!(text(&report).contains(part), "{part}: {report}");
    }
    target.remove();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(
        text(&report).contains("the stream whatsapp is missing"),
        "{report}"
    );
    target.run(&["SET", STREAM, "1"]);
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("no stream"), "{report}");
    target.run(&["REPLICAOF", "127.0.0.1", "1"]);
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("it is a replica"), "{report}");
    target.take_login(false);
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(
        text(&report).contains("correct user and password"),
        "{report}"
    );
    target.process.kill();
    let (code, report) = check(&site);
    assert_eq!(code, 1, "{report}");
    assert!(text(&report).contains("refused"), "{report}");
}

/// A replay that is killed again and again is in its stream once.
#[test]
fn a_replay_that_is_killed_stands_there_once() {
    let Some(target) = RedisServer::start("") else {
        return;
    };
    let (site, server) = deliver_to(&target, BY_POSITION);
    post_messages(&server, 0, 300);
    settle(&server);
    let replay = [
        "replay", "--sink", SINK, "--from", "start", "--rate", "100", "--detach",
    ];
    assert!(verb(&site, &replay).status.success());
    let mut server = server;
    for life in 1..=3 {
        let before = target.entries(REPLAYS).len();
        eventually("it goes on", || {
            target.entries(REPLAYS).len() >= before + 20
        });
        server.kill();
        server = start(&site, life);
    }
    eventually("it is done", || target.entries(REPLAYS).len() >= 300);
    settle(&server);
    terminate(server);
    let all = positions(&target, REPLAYS);
    assert_eq!(all.len(), 300);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 300);
    assert!(matches!(target.run(&["XLEN", STREAM]), Reply::Number(300)));
}

/// Posted before a call at most.
const MOST: usize = 100_000;

/// Calls with which the sink's thread sends, and receives.
const STEPS_OF: [&str; 2] = ["sendto,sendmsg,writev", "recvfrom,recvmsg,readv"];

/// Steps at which a server is killed, in turn sent and received.
const STEPS: usize = 16;
