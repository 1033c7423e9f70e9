//! `hookline tail`: events, or raw bodies, from the journal of a running server or a stopped one.

use super::error::CliError;
use super::journal::{check_whole_from, maker, open, refused, warn_of_unknown_types};
use crate::config::{DATA_DIR, DATA_DIR_VARIABLE};
use crate::disk::Storage;
use crate::event::{self, Event, Item, Pattern};
use crate::journal::{Depth, JournalError, Reader, inspect_from};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Args)]
pub(super) struct TailArgs {
    /// Directory of the journal
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Start behind this `position`: 4711 stands for the whole notification, 4711.3 for its event 3
    #[arg(long, value_name = "SEQ[.INDEX]", default_value = "0")]
    after: Item,
    /// Wait for more when the end is reached
    #[arg(long, short)]
    follow: bool,
    /// Only events of this type, as in 'whatsapp.message.*'; may be repeated
    #[arg(long = "type", value_name = "GLOB")]
    types: Vec<Pattern>,
    /// Print each stored raw body as one base64 line, instead of its events
    #[arg(long, conflicts_with = "types")]
    bodies: bool,
}

pub(super) fn run(args: &TailArgs) -> Result<(), CliError> {
    let dir = args.data_dir.display();
    let failed = |error| refused(format!("cannot read the journal in {dir}"), error);
    let disk: Arc<dyn Storage> = Arc::new(open(&args.data_dir)?);
    let Item {
        sequence: after,
        index,
    } = args.after;
    // With an index the notification itself has events left.
    let from = if index.is_some() {
        after
    } else {
        after.saturating_add(1)
    };
    let first = if after == 0 { 0 } else { from };
    let mut reader = Reader::open(Arc::clone(&disk), first).map_err(failed)?;
    let is_behind = |event: &Event<'_>| {
        !event.is_dead() && (event.sequence() > after || Some(event.index()) > index)
    };
    warn_of_unknown_types(&args.types)?;
    let mut looked_behind = false;
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    let mut maker = maker(&args.data_dir, &disk)?;
    let mut line = Vec::new();
    if let Some(last) = end_before(&*disk, after).map_err(failed)? {
        check_whole_from(&*disk, &args.data_dir, last + 1)?;
        writeln!(
            io::stderr(),
            "the journal ends at sequence {last}: there is nothing behind {after} yet"
        )?;
    }
    loop {
        match reader.next(None).map_err(failed)? {
            Some(batch) if args.bodies => {
                for (_, record) in batch.records_from(after.saturating_add(1)) {
                    writeln!(out, "{}", BASE64_STANDARD.encode(record.body))?;
                }
            }
            Some(batch) => {
                let delivery = maker.make(batch);
                for notification in delivery.notifications(from) {
                    for event in notification
                        .events()
                        .filter(|event| is_behind(event) && matches_any(&args.types, event.kind()))
                    {
                        line.clear();
                        event::render(event, notification.record.body, &mut line);
                        line.push(b'\n');
                        out.write_all(&line)?;
                    }
                }
            }
            None => {
                out.flush()?;
                // A server does not start on such damage, so it need not be looked for again.
                if !std::mem::replace(&mut looked_behind, true) {
                    check_whole_from(&*disk, &args.data_dir, reader.position())?;
                }
                if !args.follow {
                    return Ok(());
                }
                std::thread::sleep(FOLLOW_INTERVAL);
            }
        }
    }
}

/// The last sequence of the journal, if that comes before `after`.
fn end_before(storage: &dyn Storage, after: u64) -> Result<Option<u64>, JournalError> {
    if after == 0 {
        return Ok(None);
    }
    let report = inspect_from(storage, Depth::Headers, after)?;
    let last = report.segments.last();
    let last = last.map_or(0, |segment| segment.next_sequence - 1);
    Ok(Some(last).filter(|last| report.is_whole() && *last < after))
}

/// No pattern means every type.
fn matches_any(patterns: &[Pattern], kind: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(kind))
}

const OUTPUT_BUFFER: usize = 256 << 10;

/// How soon new events are seen.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(20);

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline tail                                   everything that is stored, as events
  hookline tail --follow --type 'whatsapp.message.*'
  hookline tail --after 4711.3 --data-dir /var/lib/hookline
  hookline tail --bodies                          each raw body as a line of base64";
