//! A bounded channel whose receiver parks at once and is woken only if it sleeps.
//!
//! crossbeam's own blocking `recv` spins and yields before it parks, which costs system calls and steals
//! time from the sender where both share a core. Here the sender pays one fence and one load; the wake, one
//! `futex`, is at most one for each time the receiver went to sleep. Any number of senders, one receiver.
//!
//! It bounds messages. Where one of them may hold megabytes, a [`Room`] beside it bounds what all of them hold.

use crossbeam_channel::{TryRecvError, TrySendError, bounded};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

/// A channel for up to `capacity` messages.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    channel_of(&Arc::default(), capacity)
}

/// A channel whose messages wake `sleeper`, for a thread that waits for several.
pub fn channel_of<T>(sleeper: &Arc<Sleeper>, capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = bounded(capacity);
    let sleeper = Arc::clone(sleeper);
    let sender = Sender {
        sender: Some(sender),
        sleeper: Arc::clone(&sleeper),
    };
    (sender, Receiver { receiver, sleeper })
}

/// The sending end. The channel is closed when the last one is dropped.
#[derive(Debug)]
pub struct Sender<T> {
    /// Taken on drop, so that the receiver is woken only after the channel is seen as closed.
    sender: Option<crossbeam_channel::Sender<T>>,
    sleeper: Arc<Sleeper>,
}

/// The receiving end; it belongs to one thread at a time.
pub struct Receiver<T> {
    receiver: crossbeam_channel::Receiver<T>,
    sleeper: Arc<Sleeper>,
}

/// The channel is closed and empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl<T> Sender<T> {
    /// Sends without waiting; gives the message back when the channel is full or nobody receives.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        let sender = self.sender.as_ref().expect("taken only by drop");
        match sender.try_send(message) {
            Ok(()) => {
                self.sleeper.wake();
                Ok(())
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => Err(message),
        }
    }

    /// Wakes the receiver without a message, so that it looks at whatever else it watches.
    pub fn wake(&self) {
        self.sleeper.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            sender: self.sender.clone(),
            sleeper: Arc::clone(&self.sleeper),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        drop(self.sender.take());
        self.sleeper.wake();
    }
}

impl<T> Receiver<T> {
    /// The next message, if one waits. `Err` when the channel is closed and empty.
    pub fn try_recv(&self) -> Result<Option<T>, Closed> {
        match self.receiver.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Closed),
        }
    }

    /// The next message. `Ok(None)` when `timeout` passed, somebody called [`Sender::wake`], or now and then for no
    /// reason: the wake for a message may come after that was received, and then ends the next sleep.
    pub fn recv(&self, timeout: Option<Duration>) -> Result<Option<T>, Closed> {
        if let Some(message) = self.try_recv()? {
            return Ok(Some(message));
        }
        let mut found = Ok(None);
        self.sleeper.sleep(timeout, || {
            found = self.try_recv();
            !matches!(found, Ok(None))
        });
        match found {
            Ok(None) => self.try_recv(),
            found => found,
        }
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// Bytes that may be on their way at a time, between those who send and the one who receives.
pub struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Room {
    /// Room for up to `most` bytes, or for one message that is larger.
    pub fn new(most: usize) -> Room {
        Room {
            taken: AtomicUsize::new(0),
            most,
        }
    }

    /// Takes so many, to be given back once they are received. False if there is no room for them.
    #[must_use]
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before + bytes <= self.most;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// So many are not on their way any more.
    pub fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Whether a thread sleeps, so that whoever brings it something wakes it only then: for the one a store, a fence and a
/// last look, for the other a fence and a load.
///
/// The thread says that it goes to sleep and then looks; the other one publishes and then looks whether it sleeps. With
/// a fence on each side at least one of them sees the other.
#[derive(Debug, Default)]
pub struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// The thread is about to sleep. It looks for something to do after this, and in any case calls
    /// [`SleepFlag::awake`] when it is up again.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is up and needs no wake.
    pub fn awake(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Something was published. True when the thread has to be woken for it, once for each time that it went to sleep.
    #[must_use]
    pub fn needs_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// A thread that may be asleep, and what wakes it.
#[derive(Debug, Default)]
pub struct Sleeper {
    asleep: SleepFlag,
    thread: Mutex<Option<Thread>>,
}

impl Sleeper {
    /// Puts this thread to sleep until somebody sends or `timeout` has passed, unless `is_ready` finds on a last look
    /// that there is something to do. It belongs to one thread at a time.
    pub fn sleep(&self, timeout: Option<Duration>, is_ready: impl FnOnce() -> bool) {
        *self.thread.lock() = Some(thread::current());
        self.asleep.set();
        if !is_ready() {
            match timeout {
                Some(timeout) => thread::park_timeout(timeout),
                None => thread::park(),
            }
        }
        self.asleep.awake();
    }

    fn wake(&self) {
        if self.asleep.needs_wake() {
            // Not under the lock, which the thread takes as soon as it is awake.
            let thread = self.thread.lock().clone();
            if let Some(thread) = thread {
                thread.unpark();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn only_a_thread_that_sleeps_is_woken_and_only_once() {
        let flag = SleepFlag::default();
        assert!(!flag.needs_wake());
        flag.set();
        assert!(flag.needs_wake());
        assert!(!flag.needs_wake());
        flag.set();
        flag.awake();
        assert!(!flag.needs_wake());
    }

    #[test]
    fn what_is_published_is_seen_or_the_thread_is_woken() {
        let (flag, published, rounds) = (SleepFlag::default(), AtomicUsize::new(0), 2000);
        let start = Barrier::new(2);
        thread::scope(|scope| {
            let woken = scope.spawn(|| {
                let publish = |round| {
                    start.wait();
                    published.store(round, Ordering::Relaxed);
                    let woken = flag.needs_wake();
                    start.wait();
                    woken
                };
                (1..=rounds).map(publish).collect::<Vec<bool>>()
            });
            let look = |round| {
                start.wait();
                flag.set();
                let seen = published.load(Ordering::Relaxed) == round;
                start.wait();
                flag.awake();
                seen
            };
            let seen: Vec<bool> = (1..=rounds).map(look).collect();
            let woken = woken.join().expect("no panic");
            assert!(seen.iter().zip(woken).all(|(seen, woken)| *seen || woken));
        });
    }
}
