//! `hookline replay --dry-run`: what would be delivered, by type.

use super::super::error::CliError;
use super::super::journal::{check_whole_from, maker, refused};
use super::super::report::progress::Progress;
use super::super::report::table::Table;
use super::super::report::units::{counted, sequences};
use super::percent;
use crate::cli::Output;
use crate::disk::Storage;
use crate::feed::{EventOutcome, Replay};
use crate::journal::Reader;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

/// Counts what would be delivered.
pub(super) fn count(
    dir: &Path,
    disk: &Arc<dyn Storage>,
    replay: &Replay,
    output: Output,
) -> Result<(), CliError> {
    let Counts {
        notifications,
        events,
        types,
    } = counts(dir, disk, replay)?;
    let mut out = io::stdout().lock();
    if output == Output::Json {
        let counted = json!({
            "from": replay.from, "to": replay.to,
            "notifications": notifications, "events": events, "types": types,
        });
        writeln!(out, "{counted}")?;
        return Ok(());
    }
    let mut table = Table::new("> |");
    for (kind, count) in &types {
        table.row(&[count, kind]);
    }
    table.write(&mut out)?;
    writeln!(
        out,
        "{} in {}, of {}; duplicates count here, and nothing was delivered",
        counted(events, "event"),
        counted(notifications, "notification"),
        sequences(replay.from, replay.to),
    )?;
    Ok(())
}

/// What a replay would deliver.
#[derive(Default)]
struct Counts {
    notifications: u64,
    events: u64,
    types: BTreeMap<String, u64>,
}

fn counts(dir: &Path, disk: &Arc<dyn Storage>, replay: &Replay) -> Result<Counts, CliError> {
    let unreadable = |error| refused("cannot read the journal", error);
    let mut reader = Reader::open(Arc::clone(disk), replay.from).map_err(unreadable)?;
    let (mut maker, selection) = (maker(dir, disk)?, replay.selection());
    let mut counts = Counts::default();
    // Nothing is delivered: only who looks at it wants to know how far it is.
    let mut progress = Progress::on_terminal();
    let mut shown = replay.clone();
    while let Some(batch) = reader.next(None).map_err(unreadable)? {
        let delivery = maker.make(batch);
        for notification in delivery.notifications(replay.from) {
            if notification.sequence > replay.to {
                break;
            }
            let endpoint = notification.record.endpoint;
            let before = counts.events;
            for event in notification.events() {
                if selection.outcome(event, endpoint) == EventOutcome::Wanted {
                    counts.events += 1;
                    match counts.types.get_mut(event.kind()) {
                        Some(count) => *count += 1,
                        None => drop(counts.types.insert(event.kind().to_owned(), 1)),
                    }
                }
            }
            counts.notifications += u64::from(counts.events > before);
        }
        shown.next = reader.position();
        if shown.next > replay.to {
            break;
        }
        if let Some(progress) = &mut progress {
            progress.show(|| {
                let percent = percent(&shown);
                format!("counting  {percent:>3} %  sequence {}", shown.next)
            });
        }
    }
    if let Some(progress) = &mut progress {
        progress.clear();
    }
    // What a damage hides is not counted.
    check_whole_from(&**disk, dir, reader.position())?;
    Ok(counts)
}
