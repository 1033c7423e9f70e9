//! Senders like the platform: each conversation comes over one connection at a time, what is not answered with 200 is
//! sent again, some is sent again for no reason, and some updates come once more in other groups.

use super::common::client::{Client, post};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Which kind of update, and so which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    Messages,
    Statuses,
}

/// One of the updates of a conversation, which are numbered in each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Update {
    pub(crate) conversation: u32,
    pub(crate) lane: Lane,
    pub(crate) number: u32,
}

impl Update {
    fn json(self, padding: usize) -> Value {
        let (conversation, number) = (self.conversation, self.number);
        match self.lane {
            Lane::Messages => json!({
                "from": conversation.to_string(), "id": format!("wamid.m.{conversation}.{number}"),
                "timestamp": "1750000000", "type": "text", "text": { "body": "x".repeat(padding) },
            }),
            // The updates about one message differ in their status alone.
            Lane::Statuses => json!({
                "recipient_id": conversation.to_string(), "id": format!("wamid.s.{conversation}.{}", number / 3),
                "timestamp": "1750000000", "status": STATUSES[number as usize % 3],
            }),
        }
    }

    fn read(own: &Value) -> Update {
        let mut parts = own["id"].as_str().expect("an id").split('.').skip(1);
        let lane = parts.next().expect("a lane");
        let mut number = || {
            parts
                .next()
                .and_then(|part| part.parse().ok())
                .expect("a number")
        };
        let (conversation, number) = (number(), number());
        let status = STATUSES.iter().position(|status| own["status"] == *status);
        match status {
            None => Update {
                conversation,
                lane: Lane::Messages,
                number,
            },
            Some(status) => {
                assert_eq!(lane, "s");
                Update {
                    conversation,
                    lane: Lane::Statuses,
                    number: 3 * number + u32::try_from(status).expect("0 to 2"),
                }
            }
        }
    }

    /// That of the data of an event.
    pub(crate) fn of_data(data: &Value) -> Update {
        let own = data.get("message").or_else(|| data.get("status"));
        Update::read(own.expect("one of both"))
    }

    /// Those of a notification, in its order.
    pub(crate) fn all_of(body: &Value) -> Vec<Update> {
        let changes = body["entry"][0]["changes"].as_array().expect("a list");
        let arrays = changes.iter().flat_map(|change| {
            let value = &change["value"];
            [&value["messages"], &value["statuses"]]
        });
        arrays
            .filter_map(Value::as_array)
            .flatten()
            .map(Update::read)
            .collect()
    }
}

/// A notification with these updates in this order, each with so much text.
pub(crate) fn body(updates: &[Update], padding: usize) -> Vec<u8> {
    let changes = updates.chunk_by(|one, next| one.lane == next.lane).map(|chunk| {
        let array = match chunk[0].lane {
            Lane::Messages => "messages",
            Lane::Statuses => "statuses",
        };
        let all: Vec<Value> = chunk.iter().map(|update| update.json(padding)).collect();
        let metadata = json!({ "phone_number_id": "200" });
        json!({ "field": "messages", "value": { "messaging_product": "whatsapp", "metadata": metadata, array: all } })
    });
    let entry = json!({ "id": "100", "changes": changes.collect::<Vec<_>>() });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    body.to_string().into_bytes()
}

/// What senders do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Notifications with something new.
    pub(crate) notifications: usize,
    /// Both lanes in one notification.
    pub(crate) mixed: bool,
    /// Of a thousand notifications, how many are sent again later.
    pub(crate) again: u64,
    /// How many go out over two connections at once.
    pub(crate) twice: u64,
    /// After how many old updates come in another group, with a new one among them.
    pub(crate) regrouped: u64,
    /// Bytes of text in a message.
    pub(crate) padding: usize,
    /// The first conversation.
    pub(crate) first: u32,
}

impl Plan {
    pub(crate) fn of(notifications: usize) -> Plan {
        Plan {
            notifications,
            mixed: false,
            again: 20,
            twice: 0,
            regrouped: 0,
            padding: 60,
            first: 1_000_000,
        }
    }
}

/// Senders that run until everything is answered with 200.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    senders: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    address: Mutex<SocketAddr>,
    notifications: AtomicU64,
    updates: AtomicU64,
    repeated: AtomicU64,
}

impl Traffic {
    pub(crate) fn start(address: SocketAddr, plan: Plan) -> Traffic {
        let shared = Arc::new(Shared {
            address: Mutex::new(address),
            notifications: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        });
        let senders = (0..SENDERS).map(|at| {
            let mut sender = Sender::new(&shared, plan, at);
            let share =
                plan.notifications / SENDERS + usize::from(at < plan.notifications % SENDERS);
            thread::spawn(move || sender.run(share))
        });
        let senders = Mutex::new(senders.collect());
        Traffic { shared, senders }
    }

    /// The server is at another address now.
    pub(crate) fn redirect(&self, address: SocketAddr) {
        *self.shared.address.lock().expect("whole") = address;
    }

    /// Notifications with something new that were answered with 200.
    pub(crate) fn notifications(&self) -> u64 {
        self.shared.notifications.load(Ordering::SeqCst)
    }

    /// The updates in them.
    pub(crate) fn updates(&self) -> u64 {
        self.shared.updates.load(Ordering::SeqCst)
    }

    /// Updates that were sent again and answered with 200 again.
    pub(crate) fn repeated(&self) -> u64 {
        self.shared.repeated.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        let senders = self.senders.lock().expect("whole");
        senders.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all senders. All that they have sent was answered with 200: so many different updates.
    pub(crate) fn join(&self) -> u64 {
        let mut senders = self.senders.lock().expect("whole");
        for sender in senders.drain(..) {
            sender.join().expect("a sender ends by itself");
        }
        self.updates()
    }
}

struct Sender {
    shared: Arc<Shared>,
    plan: Plan,
    seed: u64,
    connections: [Option<Client>; 2],
    /// The first of its conversations, and the next number of each, by lane.
    first: u32,
    next: [[u32; 2]; CONVERSATIONS],
    /// What was sent last.
    recent: Vec<Vec<Update>>,
}

impl Sender {
    fn new(shared: &Arc<Shared>, plan: Plan, at: usize) -> Sender {
        let number = u32::try_from(at * CONVERSATIONS).expect("few");
        Sender {
            shared: Arc::clone(shared),
            plan,
            seed: 88_172_645_463_325_252 + 7919 * at as u64,
            connections: [None, None],
            first: plan.first + number,
            next: [[0; 2]; CONVERSATIONS],
            recent: Vec::new(),
        }
    }

    fn run(&mut self, notifications: usize) {
        for _ in 0..notifications {
            let updates = self.new_updates();
            self.send(&updates, self.plan.twice);
            self.shared
                .updates
                .fetch_add(updates.len() as u64, Ordering::SeqCst);
            self.shared.notifications.fetch_add(1, Ordering::SeqCst);
            self.recent.push(updates);
            if self.recent.len() > RECENT {
                self.recent.remove(0);
            }
            if self.chance(self.plan.again) {
                let again = self.old().clone();
                self.send(&again, self.plan.twice);
                self.shared
                    .repeated
                    .fetch_add(again.len() as u64, Ordering::SeqCst);
            }
            if self.chance(self.plan.regrouped) {
                self.regroup();
            }
        }
    }

    /// Parts of two earlier notifications, and something new between them.
    fn regroup(&mut self) {
        let (one, other) = (self.old().clone(), self.old().clone());
        let old = one.len().min(2) + other.len();
        let new = self.new_updates();
        let updates: Vec<Update> = one
            .iter()
            .rev()
            .take(2)
            .chain(&new)
            .chain(&other)
            .copied()
            .collect();
        self.send(&updates, self.plan.twice);
        self.shared
            .updates
            .fetch_add(new.len() as u64, Ordering::SeqCst);
        self.shared.repeated.fetch_add(old as u64, Ordering::SeqCst);
        self.recent.push(new);
    }

    fn new_updates(&mut self) -> Vec<Update> {
        let count = 1 + self.below(3);
        let mut lane = self.any_lane();
        let mut updates = Vec::new();
        for _ in 0..count {
            if self.plan.mixed {
                lane = self.any_lane();
            }
            let at = self.below(CONVERSATIONS);
            let next = &mut self.next[at][lane as usize];
            updates.push(Update {
                conversation: self.first + u32::try_from(at).expect("few"),
                lane,
                number: *next,
            });
            *next += 1;
        }
        updates
    }

    fn any_lane(&mut self) -> Lane {
        if self.below(2) == 0 {
            Lane::Messages
        } else {
            Lane::Statuses
        }
    }

    fn old(&mut self) -> &Vec<Update> {
        let at = self.below(self.recent.len());
        &self.recent[at]
    }

    /// Sends it until it is answered with 200; in some cases over both connections at once.
    fn send(&mut self, updates: &[Update], twice: u64) {
        let bytes = post("/webhook", "", &body(updates, self.plan.padding));
        let both = if self.chance(twice) { 2 } else { 1 };
        let mut open = [true, both == 2];
        let deadline = Instant::now() + PATIENCE;
        while open.contains(&true) {
            assert!(Instant::now() < deadline, "nobody answers with 200");
            for (at, open) in open.iter().enumerate() {
                if *open && !self.begin(at, &bytes) {
                    thread::sleep(PAUSE);
                }
            }
            for (at, open) in open.iter_mut().enumerate() {
                *open = *open && !self.is_taken(at);
            }
        }
    }

    fn begin(&mut self, at: usize, bytes: &[u8]) -> bool {
        if self.connections[at].is_none() {
            let address = *self.shared.address.lock().expect("whole");
            self.connections[at] = TcpStream::connect(address).ok().map(Client::over);
        }
        let connection = &mut self.connections[at];
        let began = connection.as_mut().is_some_and(|it| it.try_send(bytes));
        if !began {
            *connection = None;
        }
        began
    }

    fn is_taken(&mut self, at: usize) -> bool {
        let answer = match &mut self.connections[at] {
            Some(connection) => connection.next_or_cut(),
            None => return false,
        };
        match answer {
            Ok(Some(answer)) => {
                if answer.closes() {
                    self.connections[at] = None;
                }
                match answer.code {
                    200 => return true,
                    503 => thread::sleep(PAUSE),
                    code => panic!("answered {code}"),
                }
            }
            Ok(None) | Err(_) => self.connections[at] = None,
        }
        false
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        (self.below(1000) as u64) < of_thousand
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        usize::try_from(self.seed >> 16).expect("64 bits") % end
    }
}

const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

const SENDERS: usize = 8;

/// Of each sender.
const CONVERSATIONS: usize = 40;

/// Notifications that may be sent again.
const RECENT: usize = 50;

/// Before it is tried again.
const PAUSE: Duration = Duration::from_millis(3);

/// Longest wait for a 200, kills included.
const PATIENCE: Duration = Duration::from_mins(1);
