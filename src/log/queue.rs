//! The queue of lines, and the thread that writes them.

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::Value;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Starts the thread that writes; once, and before anything is said.
pub fn start() -> io::Result<()> {
    let queue: &'static Queue = &QUEUE;
    let write = |bytes: &[u8]| rustix::io::write(io::stderr(), bytes);
    let thread = thread::Builder::new()
        .name("hl-log".to_owned())
        .spawn(move || queue.write_lines(write, wait_for_room))?;
    // It is started once.
    let _ = queue.own.set(thread.thread().id());
    Ok(())
}

/// True once [`start`] was called.
pub fn is_running() -> bool {
    QUEUE.own.get().is_some()
}

/// Puts a text of whole lines in the queue as it is, without a time or a level.
pub fn say(text: &str) {
    QUEUE.put(text.as_bytes());
}

/// Waits until everything that was said is written, at most for so long; true if it is.
pub fn flush(patience: Duration) -> bool {
    QUEUE.flush(Instant::now() + patience)
}

/// Lines that were dropped since the process began.
pub fn dropped() -> u64 {
    QUEUE.dropped.load(Ordering::Relaxed)
}

/// Puts each record of a subscriber, which it gets with one call of `write`, in the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writer;

impl io::Write for Writer {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if record.len() > LINE_MAX {
            QUEUE.put(&shortened(record));
        } else {
            QUEUE.put(record);
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Writer;

    fn make_writer(&self) -> Writer {
        Writer
    }
}

/// Bytes of lines that may wait. As many again may be with the thread that writes.
pub const QUEUE_MAX: usize = 256 * 1024;

/// Bytes of one line.
pub const LINE_MAX: usize = 8 * 1024;

/// Bytes that stay of a value in a line that is too long.
const VALUE_MAX: usize = 1024;

static QUEUE: Queue = Queue::new();

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
    dropped: AtomicU64,
    /// The thread that writes.
    own: OnceLock<ThreadId>,
}

struct State {
    lines: Vec<u8>,
    /// Some were taken, and are not written yet.
    is_writing: bool,
}

impl Queue {
    const fn new() -> Queue {
        Queue {
            state: Mutex::new(State {
                lines: Vec::new(),
                is_writing: false,
            }),
            filled: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
            own: OnceLock::new(),
        }
    }

    fn put(&self, lines: &[u8]) {
        // What the thread itself has to say is little, and says what became of the rest.
        let is_own = self.own.get() == Some(&thread::current().id());
        let mut state = self.state.lock();
        if state.lines.len() + lines.len() > QUEUE_MAX && !is_own {
            drop(state);
            self.drop_lines(lines);
            return;
        }
        state.lines.extend_from_slice(lines);
        drop(state);
        self.filled.notify_one();
    }

    fn drop_lines(&self, lines: &[u8]) {
        let count = memchr::memchr_iter(b'\n', lines).count() as u64;
        self.dropped.fetch_add(count.max(1), Ordering::Relaxed);
    }

    fn flush(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        while state.is_writing || !state.lines.is_empty() {
            if self.written.wait_until(&mut state, until).timed_out() {
                return !state.is_writing && state.lines.is_empty();
            }
        }
        true
    }

    /// Writes what is put, for ever.
    fn write_lines(
        &self,
        write: impl Fn(&[u8]) -> Result<usize, Errno>,
        wait_for_room: impl Fn(),
    ) -> ! {
        let mut lines = Vec::new();
        let mut out = Out {
            write,
            wait_for_room,
            is_cut: false,
        };
        let mut reported = 0;
        loop {
            self.take(&mut lines);
            let mut works = false;
            for line in lines.split_inclusive(|&byte| byte == b'\n') {
                works = out.line(line);
                if !works {
                    self.drop_lines(line);
                }
            }
            lines.clear();
            let dropped = self.dropped.load(Ordering::Relaxed);
            if works && dropped > reported {
                let lines = dropped - reported;
                reported = dropped;
                tracing::warn!(
                    lines,
                    "log lines were dropped: stderr was not read, or could not be written to"
                );
            }
        }
    }

    /// Waits for lines, and takes all that there are.
    fn take(&self, lines: &mut Vec<u8>) {
        let mut state = self.state.lock();
        state.is_writing = false;
        while state.lines.is_empty() {
            self.written.notify_all();
            self.filled.wait(&mut state);
        }
        std::mem::swap(&mut state.lines, lines);
        state.is_writing = true;
    }
}

/// Where lines are written.
struct Out<W, R> {
    write: W,
    wait_for_room: R,
    /// A part of a line is out, and its end never will be.
    is_cut: bool,
}

impl<W: Fn(&[u8]) -> Result<usize, Errno>, R: Fn()> Out<W, R> {
    /// True if it is out.
    fn line(&mut self, line: &[u8]) -> bool {
        if self.is_cut && !self.all(b"\n") {
            return false;
        }
        self.is_cut = false;
        self.all(line)
    }

    fn all(&mut self, mut rest: &[u8]) -> bool {
        while !rest.is_empty() {
            match (self.write)(rest) {
                Ok(count) => {
                    self.is_cut = true;
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                // Whoever shares it may have made it one that does not wait. This thread may.
                Err(Errno::AGAIN) => (self.wait_for_room)(),
                Err(_) => return false,
            }
        }
        self.is_cut = false;
        true
    }
}

fn wait_for_room() {
    let stderr = io::stderr();
    let waited = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
    if waited.is_err() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The same record with less in it: valid JSON if it was.
fn shortened(record: &[u8]) -> Vec<u8> {
    let cut = |text: &mut String, max: usize| {
        if text.len() > max {
            text.truncate(text.floor_char_boundary(max));
            text.push('…');
        }
    };
    let object = serde_json::from_slice::<serde_json::Map<String, Value>>(record);
    let mut text = if let Ok(mut object) = object {
        for value in object.values_mut() {
            if let Value::String(text) = value {
                cut(text, VALUE_MAX);
            }
        }
        Value::Object(object).to_string()
    } else {
        let mut text = String::from_utf8_lossy(record).trim_end().to_owned();
        cut(&mut text, LINE_MAX / 2);
        text
    };
    text.push('\n');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    fn leaked() -> &'static Queue {
        Box::leak(Box::new(Queue::new()))
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let queue = Queue::new();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..QUEUE_MAX / 1024 + 7 {
            queue.put(&line);
        }
        assert_eq!(queue.state.lock().lines.len(), QUEUE_MAX);
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 7);
        assert!(!queue.flush(Instant::now()), "nobody writes");
    }

    #[test]
    fn the_thread_writes_and_a_flush_waits_for_it() {
        let queue = leaked();
        let (give, written) = crossbeam_channel::unbounded();
        let write = move |bytes: &[u8]| {
            give.send(bytes.to_vec()).expect("it is read");
            Ok(bytes.len())
        };
        thread::spawn(move || queue.write_lines(write, || ()));
        queue.put(b"one\ntwo\n");
        queue.put(b"three\n");
        assert!(queue.flush(Instant::now() + Duration::from_secs(30)));
        let lines: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(lines, b"one\ntwo\nthree\n");
    }

    #[test]
    fn whoever_writes_to_what_hangs_holds_up_nobody() {
        let queue = leaked();
        let (release, hangs) = crossbeam_channel::bounded::<()>(0);
        thread::spawn(move || {
            queue.write_lines(
                |bytes| {
                    let _ = hangs.recv();
                    Ok(bytes.len())
                },
                || (),
            )
        });
        for _ in 0..3 * QUEUE_MAX / 4 {
            queue.put(b"abc\n");
        }
        assert!(queue.dropped.load(Ordering::Relaxed) > 0);
        assert!(!queue.flush(Instant::now() + Duration::from_millis(10)));
        drop(release);
        assert!(queue.flush(Instant::now() + Duration::from_secs(30)));
    }

    #[test]
    fn the_next_line_begins_anew_behind_one_that_was_cut() {
        let (room, written) = (Cell::new(3), RefCell::new(Vec::new()));
        let write = |bytes: &[u8]| {
            let count = bytes.len().min(room.get());
            if count == 0 {
                return Err(Errno::NOSPC);
            }
            room.set(room.get() - count);
            written.borrow_mut().extend_from_slice(&bytes[..count]);
            Ok(count)
        };
        let mut out = Out {
            write,
            wait_for_room: || (),
            is_cut: false,
        };
        assert!(!out.line(b"{\"a\":1}\n"));
        assert!(!out.line(b"{\"b\":2}\n"));
        room.set(100);
        assert!(out.line(b"{\"c\":3}\n"));
        assert_eq!(&*written.borrow(), b"{\"a\n{\"c\":3}\n");
    }

    #[test]
    fn what_is_not_ready_is_waited_for() {
        let (turns, waits) = (Cell::new(0), Cell::new(0));
        let write = |bytes: &[u8]| {
            turns.set(turns.get() + 1);
            match turns.get() {
                1 => Err(Errno::AGAIN),
                2 => Err(Errno::INTR),
                _ => Ok(bytes.len()),
            }
        };
        let mut out = Out {
            write,
            wait_for_room: || waits.set(waits.get() + 1),
            is_cut: false,
        };
        assert!(out.line(b"line\n"));
        assert_eq!((turns.get(), waits.get()), (3, 1));
    }

    #[test]
    fn a_long_line_is_cut_and_stays_what_it_is() {
        let long = "é".repeat(LINE_MAX);
        let json = format!("{{\"level\":\"WARN\",\"sink\":\"crm\",\"reason\":\"{long}\"}}\n");
        let short = shortened(json.as_bytes());
        assert!(short.len() < LINE_MAX);
        let value: Value = serde_json::from_slice(&short).expect("still JSON");
        assert_eq!(value["sink"], "crm");
        let text = String::from_utf8(shortened(long.as_bytes())).expect("text");
        assert!(text.len() < LINE_MAX && text.ends_with("…\n"));
    }
}
