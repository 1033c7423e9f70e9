//! What goes on over one connection: batches of commands go out, and two of them at most wait for their answers.

use super::super::connection::{Connection, are_on_disk, ask, wait_for_disks};
use super::super::said::{Follows, described, error_in, follows, text};
use super::super::{Options, entry};
use super::{Context, Dropped, Work, answer};
use crate::event::Event;
use crate::relay;
use crate::sink::transport::{Attempt, BatchItem, Failure, Outcome};
use crate::worker::Notification;
use ::redis::{Cmd, Value, pipe};
use std::collections::VecDeque;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

struct Session<'w> {
    options: &'w Options,
    context: &'w Context,
    outcomes: &'w relay::Sender<Outcome>,
    connection: Connection,
    under_way: VecDeque<Batch>,
    /// For the fields of an entry.
    texts: Vec<u8>,
    name: String,
}

/// What was sent together.
struct Batch {
    tickets: Vec<u64>,
    answers: JoinHandle<Result<Vec<Value>, String>>,
}

/// Delivers until the connection ends; gives why it did.
pub(super) async fn run(work: &mut Work, connection: Connection) -> Result<String, Dropped> {
    let mut session = Session {
        options: &work.options,
        context: &work.context,
        outcomes: &work.outcomes,
        connection,
        under_way: VecDeque::new(),
        texts: Vec::new(),
        name: String::new(),
    };
    loop {
        let has_room = session.under_way.len() < BATCHES_MAX;
        let lost = tokio::select! {
            biased;
            answers = first(&mut session.under_way) => session.answered(answers),
            attempt = work.inbox.recv(), if has_room => match attempt {
                Some(attempt) => session.send(attempt, &mut work.inbox),
                None => return Err(Dropped),
            },
        };
        if let Err(reason) = lost {
            session.leave(&reason);
            return Ok(reason);
        }
    }
}

/// The answers to what was sent first; never comes if nothing was.
async fn first(under_way: &mut VecDeque<Batch>) -> Result<Vec<Value>, String> {
    match under_way.front_mut() {
        Some(batch) => match (&mut batch.answers).await {
            Ok(answers) => answers,
            Err(error) => Err(error.to_string()),
        },
        None => std::future::pending().await,
    }
}

impl Session<'_> {
    /// Sends this one and what waits behind it; an error if the connection is of no use any more.
    fn send(
        &mut self,
        attempt: Attempt,
        inbox: &mut UnboundedReceiver<Attempt>,
    ) -> Result<(), String> {
        if self.connection.has_ended() {
            let reason = "the connection to Redis ended";
            let failure = Failure::unreached(reason);
            answer(self.outcomes, attempt.ticket, Err(failure));
            return Err(reason.to_owned());
        }
        let mut commands = pipe();
        let (mut tickets, mut bytes) = (Vec::new(), 0);
        let mut next = Some(attempt);
        while let Some(attempt) = next {
            match self.command(&attempt) {
                Ok(command) => {
                    commands.add_command(command);
                    tickets.push(attempt.ticket);
                }
                Err(failure) => answer(self.outcomes, attempt.ticket, Err(failure)),
            }
            bytes += self.texts.len();
            let is_enough = tickets.len() >= ATTEMPTS_MAX || bytes >= BYTES_MAX;
            next = if is_enough {
                None
            } else {
                inbox.try_recv().ok()
            };
        }
        if tickets.is_empty() {
            return Ok(());
        }
        let (wait, timeout) = (self.options.wait, self.options.timeout);
        if wait.is_asked() {
            wait_for_disks(&mut commands, wait, timeout);
        }
        let mut redis = self.connection.beside();
        let answers = tokio::spawn(async move {
            // The server answers when its own time is over.
            let asked = tokio::time::timeout(timeout + GRACE, ask(&mut redis, &commands)).await;
            asked.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
        });
        self.under_way.push_back(Batch { tickets, answers });
        Ok(())
    }

    /// The command of an attempt, or why there can be none.
    fn command(&mut self, attempt: &Attempt) -> Result<Cmd, Failure> {
        let first = attempt.items.first();
        let first = first.ok_or_else(|| Failure::retry("an attempt without anything in it"))?;
        let (event, notification) = event(first).map_err(Failure::retry)?;
        self.texts.clear();
        let (max, body) = (self.connection.value_max, notification.record.body);
        let written = entry::write(event, body, max, &mut self.texts);
        if let (Some(bytes), Some(max)) = (written.left_out, max) {
            return Err(Failure::impossible(format!(
                "too large for Redis: {bytes} bytes of data, and the server's proto-max-bulk-len is {max}"
            )));
        }
        self.name.clear();
        let (stream, forms) = (&self.context.stream, &self.context.forms);
        stream.subject(event, notification, forms, &mut self.name);
        let mut add = Cmd::with_capacity(written.texts + 8, self.texts.len());
        add.arg("XADD").arg(self.name.as_str());
        if !self.options.create {
            add.arg("NOMKSTREAM");
        }
        if self.options.max_length > 0 {
            add.arg("MAXLEN").arg("~").arg(self.options.max_length);
        }
        add.arg("*");
        if let Some(replay) = &attempt.replay {
            add.arg("replay").arg(&**replay);
        }
        entry::add(&mut add, &self.texts, written.texts);
        Ok(add)
    }

    /// What came of the first batch.
    fn answered(&mut self, answers: Result<Vec<Value>, String>) -> Result<(), String> {
        let answers = answers?;
        let Some(batch) = self.under_way.pop_front() else {
            return Ok(());
        };
        let on_disk = match answers.get(batch.tickets.len()) {
            Some(answer) => are_on_disk(answer, self.options.wait),
            None => Ok(()),
        };
        let mut lost = Ok(());
        for (ticket, said) in batch.tickets.iter().zip(&answers) {
            let result = self.result(said, &on_disk);
            if error_in(said).is_some_and(|error| follows(error) == Follows::Reconnect)
                && let Err(failure) = &result
            {
                lost = Err(failure.reason.clone());
            }
            answer(self.outcomes, *ticket, result);
        }
        lost
    }

    fn result(&self, said: &Value, on_disk: &Result<(), String>) -> Result<(), Failure> {
        let Some(error) = error_in(said) else {
            return match (text(said), on_disk) {
                (Some(_), Ok(())) => Ok(()),
                // It is there, and comes a second time: it counts as safe only once it is.
                (Some(_), Err(reason)) => Err(Failure::busy(reason.as_str())),
                (None, _) => Err(Failure::unreached(format!(
                    "the stream {} is not there: make it (XGROUP CREATE STREAM GROUP $ MKSTREAM), or set create = true",
                    self.context.stream_text
                ))),
            };
        };
        let reason = described(error);
        Err(match follows(error) {
            Follows::Reconnect | Follows::Missing => Failure::unreached(reason),
            Follows::Busy => Failure::busy(reason),
            Follows::Retry => Failure::retry(reason),
        })
    }

    /// Nobody knows what became of the others.
    fn leave(&mut self, reason: &str) {
        for batch in self.under_way.drain(..) {
            batch.answers.abort();
            for ticket in batch.tickets {
                let reason = format!("{reason}; it may be stored or not");
                answer(self.outcomes, ticket, Err(Failure::unreached(reason)));
            }
        }
    }
}

fn event(one: &BatchItem) -> Result<(Event<'_>, Notification<'_>), String> {
    let sequence = one.item.sequence;
    let notification = one.notification();
    let notification =
        notification.ok_or_else(|| format!("sequence {sequence} is not in its delivery"))?;
    let index = one.item.index;
    let index = index.ok_or("a notification in the place of an event")?;
    let event = notification.event(index);
    let event = event.ok_or_else(|| format!("event {sequence}.{index} is not in its delivery"))?;
    Ok((event, notification))
}

/// Batches that wait for their answers: while one does, the next one is made.
const BATCHES_MAX: usize = 2;

/// Attempts that go together.
const ATTEMPTS_MAX: usize = 512;

/// Bytes of them, beside the last one.
const BYTES_MAX: usize = 2 << 20;

/// Beside the time that the server is given itself.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
