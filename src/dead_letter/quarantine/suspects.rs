//! Suspects are taken apart in a child process first, so that a body that ends it ends nobody else.
//!
//! The child is this program once more, with arguments that say where the journal is and which sequences to take
//! apart, one after the other, as the workers would; so it reads them itself and in the same way. On its standard
//! output it writes the sequence of each body before it begins with it, and `end` at the end. If it ends before that by
//! SIGSEGV, SIGABRT, SIGBUS, SIGILL or SIGFPE, the last sequence that it has named is taken apart by a child of its
//! own. One that ends there too, by such a signal, is the proof. Everything else proves nothing: a signal from outside
//! such as SIGKILL, an exit code, a child that cannot be started, one that takes too long, or that ends at no body.
//!
//! The child bounds its memory by the body, far above what any body needs that is not poisoned: a body whose needs
//! have no end ends the child by SIGABRT and not the machine.
//!
//! Who delivers a suspect batch waits for the child, for [`CHILD_TIME`] at most and [`TIME`] for all suspects; beyond
//! that they are taken for innocent. Nothing else waits.

use super::cause::Cause;
use super::{Keeper, Quarantine};
use crate::children;
use crate::disk::{Storage, command};
use crate::journal::Reader;
use crate::worker::Poison;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The command that takes the bodies apart from a first to a last sequence, see above.
pub type Child = Box<dyn Fn(u64, u64) -> Command + Send>;

/// What a child has come to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing has ended it.
    Survived,
    /// At this sequence, by this signal.
    Died { sequence: u64, signal: i32 },
    /// Nothing follows from it.
    Unproven(String),
    /// The server is to stop.
    Stopped,
}

impl Quarantine {
    /// True if [`Quarantine::examine`] has anything to do.
    pub fn has_to_be_examined(&self) -> bool {
        let unwritten = |keeper: &Mutex<Keeper>| !keeper.lock().unwritten.is_empty();
        self.poison.has_suspects() || self.keeper.as_ref().is_some_and(unwritten)
    }

    /// Has every suspect taken apart by a child, and decides what follows. Ends early, and leaves the rest to the next
    /// start, once `stop` is set. Without a `child` there is nothing to be found out.
    pub fn examine(&self, journal: &Arc<dyn Storage>, child: Option<&Child>, stop: &AtomicBool) {
        // Whatever happens here, nobody waits for ever.
        let _end = End(&self.poison);
        self.write_dead_letters_of_before(journal);
        let until = Instant::now() + TIME;
        loop {
            let Some((first, last)) = self.poison.first_suspect() else {
                return;
            };
            if !self.examine_range((first, last), journal, (child, until), stop) {
                return;
            }
            self.clear((first, last));
        }
    }

    /// False once it is to stop.
    fn examine_range(
        &self,
        (mut first, last): (u64, u64),
        journal: &Arc<dyn Storage>,
        (child, until): (Option<&Child>, Instant),
        stop: &AtomicBool,
    ) -> bool {
        let run = |first, last| match child {
            Some(_) if Instant::now() >= until => {
                Outcome::Unproven("there was no time left for it".to_owned())
            }
            Some(child) => run(child(first, last), stop).unwrap_or_else(|error| {
                Outcome::Unproven(format!("the child cannot be run: {error}"))
            }),
            None => Outcome::Unproven("nobody has said how to start a child".to_owned()),
        };
        loop {
            let (at, signal) = match run(first, last) {
                Outcome::Stopped => return false,
                Outcome::Survived => {
                    tracing::warn!(
                        first,
                        last,
                        "the process before this one has ended while it took these notifications apart; a child has \
                         taken them apart and nothing is wrong with them: they are delivered"
                    );
                    return true;
                }
                Outcome::Unproven(reason) => {
                    tracing::warn!(
                        first,
                        last,
                        reason,
                        "the process before this one has ended while it took these notifications apart; a child \
                         could not find out why, so they are delivered. If one of them ends this process again, set it \
                         aside while no server runs: `{}` for the first",
                        self.set_aside_command(first)
                    );
                    return true;
                }
                Outcome::Died { sequence, signal } => (sequence, signal),
            };
            match run(at, at) {
                Outcome::Stopped => return false,
                Outcome::Died { sequence, signal } if sequence == at => {
                    if let Err(error) = self.set_aside_from(journal, at, Cause::Ends(signal)) {
                        tracing::error!(sequence = at, %error, "a body that ends the process cannot be written as a dead letter: the next start has it taken apart by a child again; make room, or give the data directory to the user that serves");
                    }
                }
                other => tracing::warn!(
                    sequence = at,
                    signal,
                    second = ?other,
                    "taking a body apart has ended one child and not a second one: that proves nothing, and its events are delivered"
                ),
            }
            if !(first..last).contains(&at) {
                return true;
            }
            first = at + 1;
        }
    }

    /// Bodies that the version before has passed as `whatsapp.unparsed`, and that are no dead letter.
    fn write_dead_letters_of_before(&self, journal: &Arc<dyn Storage>) {
        let Some(keeper) = &self.keeper else { return };
        let unwritten = std::mem::take(&mut keeper.lock().unwritten);
        for sequence in unwritten {
            if let Err(error) = self.set_aside_from(journal, sequence, Cause::Before) {
                tracing::error!(
                    sequence,
                    %error,
                    "a notification that a version before this one has delivered as whatsapp.unparsed is in no dead \
                     letter: no sink whose filter leaves that type out gets it; `hookline audit` counts it as unaccounted"
                );
            }
        }
    }

    /// What sets a body aside by hand.
    fn set_aside_command(&self, sequence: u64) -> String {
        let words = format!("dead-letters set-aside {sequence}");
        match &self.keeper {
            Some(keeper) => keeper.lock().dead_letters.command(&words),
            None => command(&words, Path::new("")),
        }
    }

    fn set_aside_from(
        &self,
        journal: &Arc<dyn Storage>,
        sequence: u64,
        cause: Cause,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let batch = Reader::open(Arc::clone(journal), sequence)?.next(None)?;
        let is_there = batch.map_or(Ok(false), |it| self.set_aside(&it, sequence, cause))?;
        if is_there {
            return Ok(());
        }
        Err(Box::from("it is not in the journal any more"))
    }

    /// These are not suspect any more.
    fn clear(&self, range: (u64, u64)) {
        self.poison.clear(range);
        if let Some(keeper) = &self.keeper
            && let Err(error) = self.save(&mut keeper.lock())
        {
            // The next start looks at them once more.
            tracing::warn!(%error, "a child has taken the suspect notifications apart, but that cannot be saved: delivery goes on, and the next start looks at them once more; make room");
        }
        self.poison.wake();
    }
}

/// Ends all waiting.
struct End<'p>(&'p Poison);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end_waiting();
    }
}

/// Runs a child to its end.
fn run(mut command: Command, stop: &AtomicBool) -> io::Result<Outcome> {
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let (mut child, _awaited) = children::spawn(command.stdout(Stdio::piped()))?;
    let read = read(child.stdout.take(), stop);
    if !matches!(read, Ok(Read::All(_))) {
        // It has ended, perhaps.
        let _ = child.kill();
    }
    let ended = child.wait()?;
    Ok(match read? {
        Read::Stopped => Outcome::Stopped,
        Read::TooLong => {
            Outcome::Unproven(format!("it had not ended after {} s", CHILD_TIME.as_secs()))
        }
        Read::All(output) => outcome(&output, ended),
    })
}

enum Read {
    All(Vec<u8>),
    TooLong,
    Stopped,
}

/// What the child writes, until it ends.
fn read(output: Option<std::process::ChildStdout>, stop: &AtomicBool) -> io::Result<Read> {
    let Some(mut output) = output else {
        return Ok(Read::All(Vec::new()));
    };
    let until = Instant::now() + CHILD_TIME;
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if stop.load(Ordering::Acquire) {
            return Ok(Read::Stopped);
        }
        if Instant::now() >= until {
            return Ok(Read::TooLong);
        }
        let mut polled = [PollFd::new(&output, PollFlags::IN)];
        match poll(&mut polled, Some(&POLL_TIME)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        let length = output.read(&mut chunk)?;
        if length == 0 {
            return Ok(Read::All(all));
        }
        all.extend_from_slice(&chunk[..length]);
        // The last lines count.
        let beyond = all.len().saturating_sub(OUTPUT_MAX);
        all.drain(..beyond);
    }
}

fn outcome(output: &[u8], ended: ExitStatus) -> Outcome {
    let text = String::from_utf8_lossy(output);
    let last = text.trim_end().lines().next_back().unwrap_or_default();
    let fault = ended.signal().filter(|signal| FAULTS.contains(signal));
    match (last.parse(), fault) {
        (Ok(sequence), Some(signal)) => Outcome::Died { sequence, signal },
        _ if ended.success() && last == END => Outcome::Survived,
        _ => Outcome::Unproven(format!("it has ended with {ended}")),
    }
}

/// The last word of a child that was not ended by a body.
pub const END: &str = "end";

/// What a fault in the process itself ends it by: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
const FAULTS: [i32; 5] = [
    signal_hook::consts::SIGILL,
    signal_hook::consts::SIGABRT,
    signal_hook::consts::SIGBUS,
    signal_hook::consts::SIGFPE,
    signal_hook::consts::SIGSEGV,
];

/// Time for one child: a hundred times what a batch takes.
const CHILD_TIME: Duration = Duration::from_secs(20);

/// Time for all of them.
const TIME: Duration = Duration::from_mins(1);

/// How soon it notices that it is to stop.
const POLL_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Bytes of what a child writes that are kept.
const OUTPUT_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::Paths;
    use super::{Child, Outcome, Quarantine, run};
    use crate::dead_letter::DeadLetters;
    use crate::disk::simulated::SimulatedDisk;
    use crate::feed::tests::Bench;
    use crate::journal::JournalId;
    use crate::worker::Extraction;
    use crate::worker::poison::{Decisions, GuardedExtractor, Stored};
    use std::process::Command;
    use std::sync::Arc;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    fn outcome(script: &str) -> Outcome {
        run(shell(script), &false.into()).unwrap()
    }

    /// A process that has left word of sequences 1 to 4, and what the next one decides with this child; gives what is
    /// poisoned, and what is a dead letter.
    fn examined(child: Option<&Child>, stop: bool) -> (Vec<u64>, usize) {
        let bench = Bench::new();
        bench.store(4);
        let (storage, letters) = (
            SimulatedDisk::new(1).storage(),
            SimulatedDisk::new(2).storage(),
        );
        let id = JournalId::parse("1").unwrap();
        let open = || {
            let letters = DeadLetters::open(Arc::clone(&letters)).unwrap();
            let paths: Paths = Box::new(|_| String::new());
            Quarantine::open(&storage, (id, 1), letters, paths).unwrap()
        };
        let before = open();
        let guarded = GuardedExtractor::new(before.poison());
        guarded.leave_word(1, 4);
        std::mem::forget(guarded);
        let quarantine = open();
        assert!(quarantine.has_to_be_examined());
        quarantine.examine(&bench.feeds().journal, child, &stop.into());
        // Nobody waits any more.
        drop(Extraction::sparing(quarantine.poison()).make(bench.store(1)));
        assert_eq!(
            open().has_to_be_examined(),
            stop,
            "the next start looks if this one did not"
        );
        let Ok(Stored::Whole(_, decisions)) = Decisions::read(&*storage, id) else {
            panic!("there is a file");
        };
        let letters = DeadLetters::open(letters).unwrap();
        let sequences = decisions.bodies.keys().copied().collect();
        (sequences, letters.list().unwrap().len())
    }

    /// A child that takes a sequence after the other, and does this with it before.
    fn child(each: &'static str) -> Child {
        Box::new(move |first, last| {
            shell(&format!(
                "i={first}; while [ $i -le {last} ]; do echo $i; {each}; i=$((i+1)); done; echo end"
            ))
        })
    }

    #[test]
    fn only_a_fault_at_a_body_counts() {
        let died = |signal| Outcome::Died {
            sequence: 8,
            signal,
        };
        assert_eq!(outcome("echo 7; echo 8; kill -SEGV $$"), died(11));
        assert_eq!(outcome("echo 8; kill -ABRT $$"), died(6));
        assert_eq!(outcome("echo 8; kill -BUS $$"), died(7));
        assert_eq!(outcome("echo 7; echo 8; echo end"), Outcome::Survived);
        for script in [
            "echo 8; kill -KILL $$",
            "echo 8; kill -TERM $$",
            "echo 8; exit 134",
            "echo 8; exit 0",
            "kill -SEGV $$",
            "echo 8; echo end; kill -SEGV $$",
            "echo end; exit 1",
        ] {
            assert!(matches!(outcome(script), Outcome::Unproven(_)), "{script}");
        }
        run(Command::new("/there/is/no/such/program"), &false.into()).unwrap_err();
        let stopped = run(shell("sleep 1000"), &true.into()).unwrap();
        assert_eq!(stopped, Outcome::Stopped);
    }

    #[test]
    fn two_faults_at_one_body_are_the_proof() {
        let dies = "[ $i = 2 ] && kill -SEGV $$; [ $i = 4 ] && kill -ILL $$";
        assert_eq!(examined(Some(&child(dies)), false), (vec![2, 4], 2));
        assert_eq!(examined(Some(&child("true")), false), (vec![], 0));
    }

    #[test]
    fn nothing_else_is_one() {
        assert_eq!(
            examined(Some(&child("[ $i = 2 ] && kill -KILL $$")), false),
            (vec![], 0)
        );
        assert_eq!(
            examined(Some(&child("[ $i = 2 ] && exit 134")), false),
            (vec![], 0)
        );
        let missing: Child = Box::new(|_, _| Command::new("/there/is/no/such/program"));
        assert_eq!(examined(Some(&missing), false), (vec![], 0));
        assert_eq!(examined(None, false), (vec![], 0));
        let once = tempfile::tempdir().unwrap();
        let once = once.path().join("died").display().to_string();
        let dies_once: Child = Box::new(move |first, last| {
            shell(&format!(
                "for i in $(seq {first} {last}); do echo $i; [ $i = 3 ] && mkdir {once} && kill -SEGV $$; done; echo end"
            ))
        });
        assert_eq!(examined(Some(&dies_once), false), (vec![], 0));
        assert_eq!(
            examined(Some(&child("sleep 1000")), true),
            (vec![], 0),
            "it is to stop"
        );
    }
}
