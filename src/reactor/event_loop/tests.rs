//! A loop whose rounds are taken by hand, with a journal that never syncs.

use super::super::{Options, Phase};
use super::*;
use crate::endpoint::handshake::VerifyTokens;
use crate::endpoint::{Ack, Counters, Endpoint, Proof, Table};
use crate::http;
use crossbeam_utils::CachePadded;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

const SECOND: Duration = Duration::from_secs(1);
const POST: &[u8] = b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

struct Bench {
    event_loop: EventLoop,
    address: SocketAddr,
    position: Arc<DurablePosition>,
    /// Of another loop.
    commit: relay::Sender<Batch>,
    /// What goes in here stays in here.
    inbox: relay::Receiver<Batch>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(options())
    }

    fn with(options: Options) -> Bench {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let position = Arc::new(DurablePosition::new(Box::new(|| {})));
        let (commit, inbox) = relay::channel(16);
        let control = Arc::new(Control::new(Arc::new(table()), 1));
        let setup = Setup {
            index: 0,
            poll: Poll::new().unwrap(),
            listener,
            options,
            control,
            admission: Arc::new(Admission::new(16, 16)),
            pool: Pool::new(4, 4096),
            commit: commit.clone(),
            position: Arc::clone(&position),
            journal: Arc::new(journal::Status::new(1, 1 << 20, 0)),
            statistics: Arc::default(),
        };
        let mut event_loop = EventLoop::new(setup).unwrap();
        event_loop.core.set_table(Arc::new(table()));
        Bench {
            event_loop,
            address,
            position,
            commit,
            inbox,
        }
    }

    /// A client and the slot of its connection.
    fn connect(&mut self) -> (TcpStream, usize) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(30 * SECOND)).unwrap();
        let event_loop = &mut self.event_loop;
        let before = event_loop.connections.len();
        while event_loop.connections.len() == before {
            event_loop.acceptor.mark_readable();
            event_loop.accept();
        }
        let token = |slot: &usize| event_loop.connections[*slot].token;
        let newest = event_loop.connections.slots().into_iter().max_by_key(token);
        (client, newest.unwrap())
    }

    /// Sends, and lets the loop take all of it.
    fn send(&mut self, client: &mut TcpStream, slot: usize, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
        let arrived = |event_loop: &EventLoop| {
            event_loop.core.memory_budget.bytes() > 0 || !event_loop.core.outbox.is_settled()
        };
        while !arrived(&self.event_loop) {
            let token = self.event_loop.connections[slot].token;
            self.event_loop.ready(token, false);
        }
    }

    /// Goes on with the clock without any byte.
    fn pass(&mut self, time: Duration) {
        let core = &mut self.event_loop.core;
        core.clock.now += time;
        self.event_loop.look_at_deadlines();
    }
}

fn options() -> Options {
    Options {
        http: http::Limits {
            head: 1024,
            headers: 16,
            body: 1 << 20,
        },
        pipeline_max: 16,
        unacknowledged_max: 1 << 20,
        partial_max: 1 << 20,
        receive_buffer: 4096,
        batch_bytes: 4096,
        ack_deadline: 600 * SECOND,
        behind_max: SECOND,
        head_timeout: SECOND,
        body_timeout: SECOND,
        idle_timeout: 120 * SECOND,
        write_timeout: SECOND,
        linger_timeout: SECOND,
    }
}

fn table() -> Table {
    let endpoint = |name: &str, number, ack| Endpoint {
        name: name.to_owned(),
        path: format!("/{name}"),
        number,
        ack,
        foreign: false,
        form: 0,
        verify_tokens: VerifyTokens::default(),
        proof: Proof::Unsigned,
        keep_headers: Vec::new(),
        counters: [CachePadded::new(Counters::default())].into(),
    };
    Table::new(vec![
        endpoint("webhook", 0, Ack::Stored),
        endpoint("received", 1, Ack::Received),
    ])
}

/// The wheel looks at a deadline this far away once on the way there; that look is no request.
#[test]
fn an_idle_connection_is_closed_however_far_its_deadline_was() {
    let mut bench = Bench::new();
    let (_client, slot) = bench.connect();
    bench.pass(60 * SECOND);
    assert!(bench.event_loop.connections.get_mut(slot).is_some());
    bench.pass(59 * SECOND);
    assert!(
        bench.event_loop.connections.get_mut(slot).is_some(),
        "a second early"
    );
    bench.pass(2 * SECOND);
    assert!(bench.event_loop.connections.get_mut(slot).is_none());
}

/// The drain does not wait for as long as the connection might have stayed open.
#[test]
fn a_drain_does_not_wait_for_idle_connections() {
    let mut bench = Bench::new();
    let (_client, slot) = bench.connect();
    bench.event_loop.core.phase = Phase::Draining;
    bench.event_loop.turn(slot);
    bench.pass(SECOND);
    assert!(bench.event_loop.connections.get_mut(slot).is_none());
}

/// While the answer before it waits for the disk, the refusal of a request that did not arrive in time waits too; its
/// deadline has passed and must not refuse it once more with every tick.
#[test]
fn a_request_that_takes_too_long_is_refused_once() {
    for cut in [POST.len() - 1, POST.len() / 2] {
        let mut bench = Bench::new();
        let (mut client, slot) = bench.connect();
        bench.send(&mut client, slot, &[POST, &POST[..cut]].concat());
        for _ in 0..50 {
            bench.pass(SECOND);
        }
        bench.event_loop.core.outbox.submit();
        bench.position.publish(1);
        bench.event_loop.release();
        // It lingers, and leaves when that has taken long enough.
        bench.pass(5 * SECOND);
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        let codes: Vec<&str> = answers
            .split("HTTP/1.1 ")
            .skip(1)
            .map(|answer| &answer[..3])
            .collect();
        assert_eq!(codes, ["200", "408"], "{answers}");
    }
}

/// What waited for room while the disk took too long is refused with the answers that did, and so is what comes then:
/// nobody waits longer than the deadline, and nothing more is stored that would be refused all the same.
#[test]
fn nobody_waits_for_a_journal_that_is_late() {
    let mut bench = Bench::with(Options {
        unacknowledged_max: 1,
        ack_deadline: SECOND,
        ..options()
    });
    let (mut client, slot) = bench.connect();
    bench.send(&mut client, slot, &POST.repeat(2));
    bench.pass(2 * SECOND);
    bench.event_loop.release();
    bench.event_loop.feed_starved();
    assert_eq!(bench.event_loop.core.statistics.stored.get(), 1);
    drop(bench);
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 503 ").count(), 2, "{answers}");
}

/// What need not wait for the disk is answered at once while the disk keeps up. Beside one that stands still, 36,000
/// answers were once given for what a power cut would have taken: so none is given any more for what comes a second
/// later, until that is durable, and it is a 503 if that takes too long.
#[test]
fn what_need_not_wait_waits_for_a_journal_that_is_behind() {
    let post = "POST /received HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    for durable in [true, false] {
        let mut bench = Bench::with(Options {
            ack_deadline: 4 * SECOND,
            ..options()
        });
        let waits = |bench: &Bench| {
            let connections = &bench.event_loop.connections;
            let mut slots = connections.slots().into_iter();
            slots.any(|slot| connections[slot].waiting > 0)
        };
        let (mut client, slot) = bench.connect();
        bench.send(&mut client, slot, post.as_bytes());
        assert!(!waits(&bench), "its answer has left");
        bench.event_loop.core.outbox.submit();
        bench.pass(SECOND);
        let (mut late, slot) = bench.connect();
        late.write_all(post.as_bytes()).unwrap();
        while bench.event_loop.core.statistics.stored.get() < 2 {
            bench.event_loop.connections[slot].mark_readable(false);
            bench.event_loop.turn(slot);
        }
        assert!(waits(&bench), "its answer has left");
        bench.event_loop.core.outbox.submit();
        if durable {
            bench.position.publish(2);
        } else {
            bench.pass(4 * SECOND);
        }
        bench.event_loop.release();
        assert!(!waits(&bench));
        drop(bench);
        let mut answers = String::new();
        late.read_to_string(&mut answers).unwrap();
        let code = if durable { "200" } else { "503" };
        assert!(
            answers.starts_with(&format!("HTTP/1.1 {code} ")),
            "{answers}"
        );
    }
}

/// A 200 belongs to whoever has sent the body, not to whoever has the place of a connection that is gone.
#[test]
fn an_answer_reaches_nobody_but_its_sender() {
    let mut bench = Bench::new();
    let (mut client, slot) = bench.connect();
    bench.send(&mut client, slot, &POST.repeat(2));
    bench.event_loop.core.outbox.submit();
    bench.event_loop.close(slot);
    let (mut other, same) = bench.connect();
    assert_eq!(same, slot);
    bench.position.publish(2);
    bench.event_loop.release();
    assert!(bench.event_loop.core.outbox.is_settled());
    // Its own request is answered, and nothing before.
    other.write_all(&POST[..POST.len() - 1]).unwrap();
    bench.event_loop.turn(slot);
    bench.pass(30 * SECOND);
    bench.event_loop.turn(slot);
    drop(bench);
    let mut answers = String::new();
    let _ = other.read_to_string(&mut answers);
    assert!(!answers.contains("200"), "{answers}");
    drop(client);
}

/// Nobody says when there is room again in an inbox that is full of the batches of other loops.
#[test]
fn a_batch_that_found_no_room_is_tried_again() {
    let mut bench = Bench::new();
    while bench.commit.try_send(Batch::unpooled()).is_ok() {}
    let (mut client, slot) = bench.connect();
    bench.send(&mut client, slot, POST);
    bench.event_loop.core.outbox.submit();
    assert!(bench.event_loop.sleep().unwrap() < SECOND);
    while let Ok(Some(_)) = bench.inbox.try_recv() {}
    bench.event_loop.release();
    assert_eq!(bench.inbox.len(), 1);
    assert!(!bench.event_loop.core.outbox.is_refused());
}

/// One that always has more to read has one place on the list of those that go on, however many turns a round gives
/// it; with one for each turn a sender without pause would take all time there is.
#[test]
fn a_connection_that_goes_on_stands_once_on_the_list() {
    let mut bench = Bench::new();
    let (mut client, slot) = bench.connect();
    let flood = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".repeat(16 * 4096 / 32);
    let mut reader = client.try_clone().unwrap();
    let reading = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    client.set_nonblocking(true).unwrap();
    let mut longest = 0;
    for _ in 0..100 {
        // Whole requests, or what the socket takes of them: the rest does not matter here.
        while client.write(&flood).is_ok() {}
        let Some(connection) = bench.event_loop.connections.get_mut(slot) else {
            break;
        };
        let token = connection.token;
        bench.event_loop.ready(token, false);
        bench.event_loop.go_on();
        longest = longest.max(bench.event_loop.connections.queued());
    }
    assert_eq!(longest, 1);
    drop(bench);
    drop(client);
    let _ = reading.join();
}

/// A client that sent thousands of requests at once had all of them answered in one turn, and two hundred such clients
/// a whole round in which the others waited.
#[test]
fn one_round_serves_few_of_what_floods_it() {
    let mut bench = Bench::new();
    let flood = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let crowd: Vec<_> = (0..10).map(|_| bench.connect()).collect();
    let mut reading = Vec::new();
    for (client, _) in &crowd {
        let (mut reader, mut writer) = (client.try_clone().unwrap(), client.try_clone().unwrap());
        writer.write_all(&flood).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        reading.push(std::thread::spawn(move || {
            let mut answers = String::new();
            reader.read_to_string(&mut answers).unwrap();
            answers.matches("HTTP/1.1 404 ").count()
        }));
    }
    let statistics = Arc::clone(&bench.event_loop.core.statistics);
    let served = || statistics.refusals[http::Status::NotFound.index()].get();
    let (turn, mut before) = (16, 0);
    for (_, slot) in &crowd {
        let token = bench.event_loop.connections[*slot].token;
        // Once it has more it is no use to come again: it queues.
        for _ in 0..10 {
            bench.event_loop.ready(token, true);
        }
        assert!(served() - before <= turn, "{}", served() - before);
        before = served();
    }
    while bench.event_loop.connections.queued() > 0 {
        bench.event_loop.go_on();
        assert!(served() - before <= 4 * turn, "{}", served() - before);
        before = served();
    }
    assert_eq!(served(), 10 * 1000);
    for reader in reading {
        assert_eq!(reader.join().unwrap(), 1000);
    }
}

/// A hundred senders of large bodies had half a megabyte each read in every round.
#[test]
fn one_round_reads_few_pieces_of_large_bodies() {
    let mut bench = Bench::new();
    let head = b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n";
    let post = [&head[..], &b"x".repeat(70_000)].concat();
    let mut crowd: Vec<_> = (0..10).map(|_| bench.connect()).collect();
    for (client, slot) in &mut crowd {
        client.write_all(&post).unwrap();
        let token = bench.event_loop.connections[*slot].token;
        let before = bench.event_loop.core.memory_budget.bytes();
        for _ in 0..10 {
            bench.event_loop.ready(token, false);
        }
        assert!(bench.event_loop.core.memory_budget.bytes() <= before + 4096);
    }
    let stored = Arc::clone(&bench.event_loop.core.statistics);
    while stored.stored.get() < 10 {
        let before = bench.event_loop.core.memory_budget.bytes();
        // Loopback may still be on its way.
        for (_, slot) in &crowd {
            let token = bench.event_loop.connections[*slot].token;
            bench.event_loop.ready(token, false);
        }
        bench.event_loop.go_on();
        assert!(bench.event_loop.core.memory_budget.bytes() <= before + 14 * 4096);
    }
}

/// While there was no room in the journal the loop read nothing, and then blamed the sender with a 408.
#[test]
fn nobody_is_too_slow_while_nothing_is_read() {
    let mut bench = Bench::with(Options {
        unacknowledged_max: 1,
        ..options()
    });
    let (mut client, slot) = bench.connect();
    let (most, last) = POST.split_at(POST.len() - 1);
    bench.send(&mut client, slot, most);
    let (mut other, others_slot) = bench.connect();
    other.write_all(POST).unwrap();
    while bench.event_loop.core.outbox.is_settled() {
        let token = bench.event_loop.connections[others_slot].token;
        bench.event_loop.ready(token, false);
    }
    client.write_all(last).unwrap();
    let token = bench.event_loop.connections[slot].token;
    bench.event_loop.ready(token, false);
    for _ in 0..50 {
        bench.pass(SECOND);
    }
    bench.event_loop.core.outbox.submit();
    bench.position.publish(1);
    bench.event_loop.release();
    bench.event_loop.feed_starved();
    assert_eq!(bench.event_loop.core.statistics.stored.get(), 2);
    assert_eq!(bench.event_loop.core.statistics.body_timeouts.get(), 0);
}

/// A loop that was held up finds deadlines that have passed beside bytes that came in time.
#[test]
fn what_has_arrived_is_read_before_anybody_is_too_slow() {
    let mut bench = Bench::new();
    let (mut client, slot) = bench.connect();
    let (most, last) = POST.split_at(POST.len() - 1);
    bench.send(&mut client, slot, most);
    client.write_all(last).unwrap();
    // Loopback takes its time only if it has to: the byte lies there, or the next look finds it.
    bench.pass(50 * SECOND);
    assert_eq!(bench.event_loop.core.statistics.stored.get(), 1);
    assert_eq!(bench.event_loop.core.statistics.body_timeouts.get(), 0);
}

/// One that asks for more memory than there is has it as soon as others are slow.
#[test]
fn the_slow_give_up_what_they_hold() {
    let mut bench = Bench::with(Options {
        partial_max: 3000,
        ..options()
    });
    let head = b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n";
    let piece = [&head[..], &[b'x'; 1900]].concat();
    let (mut early, earlier) = bench.connect();
    bench.send(&mut early, earlier, &piece);
    for (wait, refused) in [(Duration::ZERO, 0), (3 * SECOND, 1)] {
        bench.event_loop.core.clock.now += wait;
        let (mut other, slot) = bench.connect();
        other.write_all(&piece).unwrap();
        let statistics = Arc::clone(&bench.event_loop.core.statistics);
        let before = statistics.given_up.get();
        while statistics.given_up.get() == before {
            let token = bench.event_loop.connections[slot].token;
            bench.event_loop.ready(token, false);
        }
        early.set_nonblocking(true).unwrap();
        let mut answer = [0; 12];
        assert_eq!(early.peek(&mut answer).unwrap_or(0), 12 * refused);
        bench.event_loop.close(slot);
    }
    assert_eq!(bench.event_loop.core.memory_budget.bytes(), 0);
}

/// Requests that waited for room in the journal were stored and answered with 200 whenever their turn came, which is
/// long after their sender has given up when the journal is slow and thousands wait.
#[test]
fn nobody_waits_too_long_for_room() {
    let mut bench = Bench::with(Options {
        unacknowledged_max: 1,
        ack_deadline: 10 * SECOND,
        ..options()
    });
    let (mut client, slot) = bench.connect();
    bench.send(&mut client, slot, &POST.repeat(2));
    bench.pass(4 * SECOND);
    bench.event_loop.feed_starved();
    assert_eq!(bench.event_loop.core.statistics.expired.get(), 0);
    bench.pass(2 * SECOND);
    bench.event_loop.feed_starved();
    assert_eq!(bench.event_loop.core.statistics.expired.get(), 1);
    bench.event_loop.core.outbox.submit();
    bench.position.publish(1);
    bench.event_loop.release();
    assert_eq!(bench.event_loop.core.statistics.stored.get(), 1);
    drop(bench);
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    let ok = answers.find("HTTP/1.1 200 ").unwrap();
    assert!(ok < answers.find("HTTP/1.1 503 ").unwrap(), "{answers}");
}
