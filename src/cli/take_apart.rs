//! `hookline take-apart`: what a server runs as a child, to find out whether a body ends whoever takes it apart.
//!
//! Takes the stored bodies from a first to a last sequence apart, one after the other, as the workers would, and throws
//! the result away. Writes the sequence of each before it begins with it, and `end` at the end. It ends with the one
//! that has started it, leaves no core file, and may have only so much memory: see [`bound_memory`].

use super::error::CliError;
use super::journal::{maker, open, refused};
use crate::config::DATA_DIR;
use crate::dead_letter::{Child, END};
use crate::disk::Storage;
use crate::journal::{JournalError, Reader};
use clap::Args;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

#[derive(Clone, Debug, Args)]
pub(super) struct TakeApartArgs {
    /// Directory of the journal
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The first sequence
    #[arg(value_name = "FIRST")]
    first: u64,
    /// The last sequence
    #[arg(value_name = "LAST")]
    last: u64,
}

pub(super) fn run(args: &TakeApartArgs) -> Result<(), CliError> {
    let limited = |error: io::Error| CliError::because("cannot limit this process", error);
    let with_parent = set_parent_process_death_signal(Some(Signal::KILL));
    with_parent.map_err(|error| limited(error.into()))?;
    let core = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    setrlimit(Resource::Core, core).map_err(|error| limited(error.into()))?;
    bound_memory(0).map_err(limited)?;
    let args = args.clone();
    // With the stack that a worker has.
    let thread = thread::Builder::new().spawn(move || take_apart(&args));
    let thread = thread.map_err(|error| CliError::because("cannot start a thread", error))?;
    thread
        .join()
        .unwrap_or_else(|_| Err(CliError::failed("it has panicked".to_owned())))
}

fn take_apart(args: &TakeApartArgs) -> Result<(), CliError> {
    let failed = |error: JournalError| refused("cannot read the journal", error);
    let disk: Arc<dyn Storage> = Arc::new(open(&args.data_dir)?);
    let mut maker = maker(&args.data_dir, &disk)?;
    let mut reader = Reader::open(disk, args.first).map_err(failed)?;
    let mut out = io::stdout();
    while reader.position() <= args.last {
        let Some(batch) = reader.next(None).map_err(failed)? else {
            break;
        };
        let records = batch.records_from(args.first);
        for (sequence, record) in records.take_while(|(sequence, _)| *sequence <= args.last) {
            let bounded = bound_memory(record.body.len() as u64);
            bounded.map_err(|error| CliError::because("cannot limit the memory", error))?;
            writeln!(out, "{sequence}")?;
            out.flush()?;
            drop(maker.take_apart(sequence, &record));
        }
    }
    Ok(writeln!(out, "{END}")?)
}

/// Bounds the address space of this process by what a body of so many bytes could ever need: its places, 8 bytes
/// for each of its own and twice that while they grow; its events, of which there are at most
/// [`UPDATES_MAX`](crate::event::UPDATES_MAX) with some hundred bytes each; the body itself; and the program. All of
/// that is less than half of it. An error if not so much may be had: then what happens here would prove nothing.
fn bound_memory(body: u64) -> io::Result<()> {
    let wanted = Some(MEMORY_MIN + MEMORY_FACTOR * body);
    let Rlimit { maximum, .. } = getrlimit(Resource::As);
    let limit = Rlimit {
        current: wanted,
        maximum,
    };
    Ok(setrlimit(Resource::As, limit)?)
}

/// This program once more, as [`Child`].
pub(super) fn child(data_dir: &Path) -> Child {
    let data_dir = data_dir.to_owned();
    Box::new(move |first, last| {
        // The file that this process runs, also where another version stands under its name by now.
        let itself = Path::new("/proc/self/exe");
        let program = if itself.exists() {
            Some(itself.to_owned())
        } else {
            std::env::current_exe().ok()
        };
        let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from("hookline")));
        command.arg("take-apart").arg("--data-dir").arg(&data_dir);
        command.args([first.to_string(), last.to_string()]);
        command
    })
}

/// Bytes of address space for any body.
const MEMORY_MIN: u64 = 1 << 30;

/// The same for each byte of it.
const MEMORY_FACTOR: u64 = 64;

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline take-apart 4711 4711 --data-dir /var/lib/hookline      a server does this by itself";
