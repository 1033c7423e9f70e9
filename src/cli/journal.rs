//! `hookline journal`: look into a journal, verify it, set damage aside.

use super::Output;
use super::error::CliError;
use super::report::table::Table;
use super::report::units::{bytes, counted, time};
use crate::config::{DATA_DIR, DATA_DIR_VARIABLE, doubtful_type};
use crate::disk::{Disk, Storage, command};
use crate::event::Pattern;
use crate::journal::{self, Damage, Depth, JournalError, Report};
use crate::worker::{Extraction, Forms, Poison};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Args)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    action: JournalAction,
}

/// What `hookline journal` does.
#[derive(Clone, Debug, Subcommand)]
enum JournalAction {
    /// List the segments and what they hold
    Inspect(JournalLocation),
    /// Read everything and check every checksum
    Verify(JournalLocation),
    /// Make a damaged journal usable again, with --quarantine; the server must be stopped. Without that flag
    /// nothing is touched: it says what the flag does, and the exit code is 2
    Repair {
        #[command(flatten)]
        place: JournalLocation,
        /// Go on without what is damaged, after copying it to `quarantine` beside the journal. Only with this
        /// flag anything is changed; `hookline journal verify` says beforehand what would be lost
        #[arg(long)]
        quarantine: bool,
    },
}

/// Which journal, and how to speak of it.
#[derive(Clone, Debug, Args)]
struct JournalLocation {
    /// Directory of the journal
    #[arg(long, value_name = "DIR", env = DATA_DIR_VARIABLE, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

pub(super) fn run(args: &JournalArgs) -> Result<(), CliError> {
    match &args.action {
        JournalAction::Inspect(place) => look(place, Depth::Headers),
        JournalAction::Verify(place) => look(place, Depth::Full),
        JournalAction::Repair { place, quarantine: true } => repair(place),
        JournalAction::Repair { quarantine: false, .. } => Err(CliError::Usage(
            "repair goes on without what is damaged: say so with --quarantine, which copies the damage to \
             `quarantine` beside the journal and deletes nothing"
                .to_owned(),
        )),
    }
}

fn look(place: &JournalLocation, depth: Depth) -> Result<(), CliError> {
    let failed = |error| refused("cannot look into the journal", error);
    let disk = open(&place.data_dir)?;
    journal::exists(&disk).map_err(failed)?;
    if depth == Depth::Full && place.output == Output::Text {
        writeln!(
            io::stderr(),
            "reading every byte of {}",
            place.data_dir.display()
        )?;
    }
    let report = journal::inspect(&disk, depth).map_err(failed)?;
    match place.output {
        Output::Json => writeln!(io::stdout(), "{}", as_json(&report))?,
        Output::Text => write_text(&mut io::stdout().lock(), &report, depth, &place.data_dir)?,
    }
    CliError::unless(report.is_whole())
}

fn repair(place: &JournalLocation) -> Result<(), CliError> {
    let disk: Arc<dyn Storage> = Arc::new(open(&place.data_dir)?);
    if let Err(error @ JournalError::NoJournal { .. }) = journal::exists(&*disk) {
        return Err(CliError::failed(error.to_string()));
    }
    let aside = place.data_dir.join("quarantine");
    let quarantine = make_beside(&place.data_dir, "quarantine")?;
    let repair = journal::repair(&disk, &quarantine);
    drop(quarantine);
    // It stays only if something was copied there; that it does is no reason to fail.
    let _ = Disk::remove_empty(&aside);
    let repair = repair.map_err(|error| CliError::because("cannot repair the journal", error))?;
    match place.output {
        Output::Json => {
            let result = json!({
                "set_aside": repair.set_aside.iter().map(damage_json).collect::<Vec<_>>(),
                "copies": repair.copies,
                "put_right": repair.put_right,
            });
            writeln!(io::stdout(), "{result}")?;
        }
        Output::Text => {
            let mut out = io::stdout().lock();
            for done in &repair.put_right {
                writeln!(out, "{done}")?;
            }
            for damage in &repair.set_aside {
                writeln!(out, "{damage}")?;
            }
            for copy in &repair.copies {
                writeln!(out, "what was there is kept in {copy}")?;
            }
            if repair.set_aside.is_empty() && repair.put_right.is_empty() {
                writeln!(out, "nothing is damaged")?;
            }
        }
    }
    Ok(())
}

/// The directory of a journal, to read.
pub(super) fn open(dir: &Path) -> Result<Disk, CliError> {
    Disk::open(dir).map_err(|error| {
        let shown = dir.display();
        let message = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("this user may not read {shown}; be the user that serves, or root")
            }
            _ => format!("there is no journal in {shown}; see --data-dir"),
        };
        CliError::because(message, error)
    })
}

/// What lies beside a journal is looked at in this directory, which has one.
pub(super) fn is_journal(dir: &Path) -> Result<(), CliError> {
    match journal::exists(&open(dir)?) {
        Err(error @ JournalError::NoJournal { .. }) => Err(CliError::failed(error.to_string())),
        // What else is wrong with it is no matter of what lies beside.
        _ => Ok(()),
    }
}

/// What lies beside the journal in `dir` under this name; nothing as long as no server had need of it.
pub(super) fn open_beside(dir: &Path, name: &str) -> Result<Option<Disk>, CliError> {
    let dir = dir.join(name);
    match Disk::open(&dir) {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::because(
            format!("cannot read {}", dir.display()),
            error,
        )),
    }
}

/// The same, made where it is not there.
pub(super) fn make_beside(dir: &Path, name: &str) -> Result<Disk, CliError> {
    let dir = dir.join(name);
    Disk::create_within(&dir)
        .map_err(|error| CliError::because(format!("cannot use {}", dir.display()), error))
}

/// Takes bodies of the journal in `dir` apart, but for those that are known to end whoever does.
pub(super) fn maker(dir: &Path, disk: &Arc<dyn Storage>) -> Result<Extraction, CliError> {
    let poison = Arc::new(poison(dir, &**disk)?);
    let forms = Arc::new(Forms::look(Arc::clone(disk)));
    Ok(Extraction::sparing(&poison).reading(&forms))
}

/// Which bodies of the journal in `dir` are known to end whoever takes them apart.
pub(super) fn poison(dir: &Path, disk: &dyn Storage) -> Result<Poison, CliError> {
    let id = journal::stored_id(disk).map_err(|error| refused("cannot read the journal", error))?;
    let (Some(storage), Some(id)) = (open_beside(dir, "poison")?, id) else {
        return Ok(Poison::default());
    };
    let dir = dir.join("poison");
    Poison::read(&storage, id)
        .map_err(|error| CliError::because(format!("cannot read {}", dir.display()), error))
}

/// Refuses where the journal is damaged from this sequence on, where it seems to end: a reader cannot tell damage in
/// the newest segment from its end.
pub(super) fn check_whole_from(
    disk: &dyn Storage,
    dir: &Path,
    sequence: u64,
) -> Result<(), CliError> {
    let report = journal::inspect_from(disk, Depth::Full, sequence);
    let report =
        report.map_err(|error| refused("cannot look behind the end of the journal", error))?;
    // One that takes no sequence stands behind the last that was read.
    let is_behind =
        |it: &&Damage| it.hole.first_sequence.saturating_add(it.hole.count.max(1)) > sequence;
    let Some(damage) = report.damage.iter().find(is_behind) else {
        return Ok(());
    };
    Err(CliError::failed(format!(
        "the journal is damaged, and nothing behind that was read: {damage}; restore the file from a backup, or set \
         the damage aside with `{}` and go on without these records",
        command("journal repair --quarantine", dir)
    )))
}

/// Says which types nothing that is known fits. They are no mistake: the platform may have new ones.
pub(super) fn warn_of_unknown_types(patterns: &[Pattern]) -> io::Result<()> {
    for doubt in patterns.iter().filter_map(doubtful_type) {
        writeln!(io::stderr(), "warning: --type: {doubt}")?;
    }
    Ok(())
}

/// Says that there is no journal, or what could not be done with the one that there is.
pub(super) fn refused(what: impl Into<String>, error: JournalError) -> CliError {
    match error {
        JournalError::NoJournal { .. } => CliError::failed(error.to_string()),
        error => CliError::because(what, error),
    }
}

fn write_text(out: &mut impl Write, report: &Report, depth: Depth, dir: &Path) -> io::Result<()> {
    writeln!(out, "journal {}\n", report.id)?;
    let mut table = Table::new(
        ">epoch | >first sequence | >records | >frames | >used | >size | first commit | last commit",
    );
    for segment in &report.segments {
        table.row(&[
            &segment.epoch,
            &segment.first_sequence,
            &segment.records,
            &segment.frames,
            &bytes(segment.used),
            &bytes(segment.size),
            &time(segment.first_commit),
            &time(segment.last_commit),
        ]);
        if segment.torn_tail > 0 {
            table.note(format!(
                "       {} bytes of a commit that did not end; the next start cuts them",
                segment.torn_tail
            ));
        }
    }
    table.write(out)?;
    writeln!(out)?;
    for (number, path) in &report.endpoints {
        writeln!(out, "endpoint {number}: {path}")?;
    }
    if report.spares > 0 {
        writeln!(
            out,
            "waiting for a new life: {}",
            counted(report.spares as u64, "retired segment")
        )?;
    }
    for hole in &report.holes {
        writeln!(out, "set aside before: {hole}")?;
    }
    for damage in &report.damage {
        writeln!(out, "{damage}")?;
    }
    for unusable in &report.unusable {
        writeln!(out, "unusable: {unusable}")?;
    }
    let conclusion = match (report.is_whole(), depth) {
        (true, Depth::Full) => "whole: every record and every checksum was read".to_owned(),
        (true, Depth::Headers) => format!(
            "no damage seen; only headers were read, `{}` reads everything",
            command("journal verify", dir)
        ),
        (false, _) => format!(
            "damaged: restore from a backup, or set it aside with `{}`",
            command("journal repair --quarantine", dir)
        ),
    };
    writeln!(out, "{conclusion}")
}

fn as_json(report: &Report) -> Value {
    json!({
        "id": report.id.to_string(),
        "whole": report.is_whole(),
        "segments": report.segments,
        "endpoints": report.endpoints.iter().map(|(number, path)| json!({ "number": number, "path": path }))
            .collect::<Vec<_>>(),
        "spares": report.spares,
        "set_aside_before": report.holes,
        "damage": report.damage.iter().map(damage_json).collect::<Vec<_>>(),
        "unusable": report.unusable,
    })
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "path": damage.path,
        "reason": damage.reason,
        "offset": damage.hole.offset,
        "length": damage.hole.length,
        "first_sequence": damage.hole.first_sequence,
        "count": damage.hole.count,
        "counted": damage.counted,
    })
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline journal inspect --data-dir /var/lib/hookline
  hookline journal verify --output json
  hookline journal repair --quarantine";
