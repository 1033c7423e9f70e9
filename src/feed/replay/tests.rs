use super::{ENDED_MAX, Replay, ReplayError, ReplayState, Replays};
use crate::disk::simulated::{Faults, SimulatedDisk};
use crate::disk::{Disk, Storage};
use crate::feed::EventOutcome;
use crate::feed::tests::batch;
use crate::worker::Extraction;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const NOW: u64 = 1_795_398_300_000_000;

fn requested(replays: &Replays, sink: &str, from: u64) -> Replay {
    let mut replay = Replay::new(sink, from, from + 9, NOW);
    replays.request(&mut replay).unwrap();
    replay
}

#[test]
fn a_replay_is_taken_up_and_gone_on_with() {
    let disk = SimulatedDisk::new(1);
    let verb = Replays::open(disk.storage());
    let mut server = Replays::open(disk.storage());
    assert_eq!(server.waiting_for("crm").unwrap(), None);
    let first = requested(&verb, "crm", 10);
    let second = requested(&verb, "crm", 50);
    requested(&verb, "other", 90);
    assert_eq!(first.id, "20261123-014500-crm");
    assert_eq!(second.id, "20261123-014500-crm-2");

    let mut replay = server.waiting_for("crm").unwrap().unwrap();
    assert_eq!(replay, first);
    (replay.state, replay.next, replay.delivered) = (ReplayState::Running, 15, 4);
    server.save(&mut replay).unwrap();
    assert_eq!(verb.read(&first.id).unwrap(), replay);

    let mut restarted = Replays::open(disk.after_exit().storage());
    let mut again = restarted.waiting_for("crm").unwrap().unwrap();
    assert_eq!(again, replay);
    again.state = ReplayState::Done;
    restarted.save(&mut again).unwrap();
    assert_eq!(restarted.waiting_for("crm").unwrap().unwrap().id, second.id);
}

/// From the tenth of one second on, they came in another order than they were asked for.
#[test]
fn replays_of_one_second_keep_their_order() {
    let disk = SimulatedDisk::new(1);
    let mut server = Replays::open(disk.storage());
    let asked: Vec<String> = (1..=12)
        .map(|from| requested(&server, "crm", from).id)
        .collect();
    assert_eq!(server.ids().unwrap(), asked);
    for id in asked {
        let mut replay = server.waiting_for("crm").unwrap().unwrap();
        assert_eq!(replay.id, id);
        replay.state = ReplayState::Done;
        server.save(&mut replay).unwrap();
    }
}

#[test]
fn a_replay_that_is_cancelled_ends() {
    let disk = SimulatedDisk::new(1);
    let verb = Replays::open(disk.storage());
    let mut server = Replays::open(disk.storage());
    let (first, second) = (requested(&verb, "crm", 10), requested(&verb, "crm", 50));
    verb.cancel(&first.id).unwrap();
    verb.cancel(&first.id).unwrap();
    assert!(verb.is_being_cancelled(&first.id));
    let mut replay = server.waiting_for("crm").unwrap().unwrap();
    assert_eq!(replay.id, second.id, "the first was never begun");
    verb.cancel(&second.id).unwrap();
    server.save(&mut replay).unwrap();
    assert_eq!(replay.state, ReplayState::Cancelled);
    assert_eq!(server.waiting_for("crm").unwrap(), None);
    for id in [&first.id, &second.id] {
        assert_eq!(verb.read(id).unwrap().state, ReplayState::Cancelled);
        assert!(!verb.is_being_cancelled(id));
        let ended = verb.cancel(id);
        assert!(matches!(ended, Err(ReplayError::Ended { .. })), "{ended:?}");
    }
    for unknown in ["x", "../x", ""] {
        let missing = verb.cancel(unknown);
        assert!(
            matches!(missing, Err(ReplayError::Missing(_))),
            "{missing:?}"
        );
    }
}

#[test]
fn the_oldest_that_have_ended_are_removed() {
    let disk = SimulatedDisk::new(1);
    let mut server = Replays::open(disk.storage());
    let waiting = requested(&server, "a-sink-that-is-gone", 1);
    for at in 0..ENDED_MAX as u64 + 3 {
        let mut replay = Replay::new("crm", 1, 2, NOW + at * 1_000_000);
        server.request(&mut replay).unwrap();
        replay.state = ReplayState::Done;
        server.save(&mut replay).unwrap();
    }
    let ids = server.ids().unwrap();
    assert_eq!(ids.len(), ENDED_MAX + 1);
    assert!(ids.contains(&waiting.id));
    let oldest = ids.iter().find(|id| id.ends_with("crm"));
    assert_eq!(oldest.unwrap(), "20261123-014503-crm");
}

#[test]
fn what_is_no_replay_is_set_aside() {
    let disk = SimulatedDisk::new(1);
    let storage = disk.storage();
    storage.replace("1.json", b"no").unwrap();
    let mut other = Replay::new("crm", 1, 2, NOW);
    Replays::open(disk.storage()).request(&mut other).unwrap();
    storage
        .exchange("1.json", "20261123-014500-crm.json")
        .unwrap();
    let mut server = Replays::open(storage);
    assert_eq!(server.waiting_for("crm").unwrap(), None);
    assert_eq!(server.waiting_for("crm").unwrap(), None);
    for id in ["1", "20261123-014500-crm"] {
        let read = server.read(id);
        assert!(
            matches!(read, Err(ReplayError::SetAside { .. })),
            "{read:?}"
        );
    }
}

/// At whatever moment the power goes, the server goes on from a place that it has saved, or the one before it.
#[test]
fn progress_outlives_the_power() {
    let mut saved_all = false;
    for power_off_at in 1..200 {
        let disk = SimulatedDisk::new(power_off_at);
        disk.set_faults(Faults {
            power_off_at: Some(power_off_at),
            ..Faults::default()
        });
        let mut server = Replays::open(disk.storage());
        let mut replay = Replay::new("crm", 10, 20, NOW);
        let mut saved = server.request(&mut replay).is_ok().then_some(10);
        replay.state = ReplayState::Running;
        for next in [12, 14, 16] {
            replay.next = next;
            if saved.is_some() && server.save(&mut replay).is_ok() {
                saved = Some(next);
            }
        }
        let mut after = Replays::open(disk.after_power_cut().storage());
        let found = after.waiting_for("crm").unwrap().map(|replay| replay.next);
        assert!(found >= saved, "{power_off_at}: {found:?} {saved:?}");
        if saved == Some(16) {
            saved_all = true;
            break;
        }
    }
    assert!(saved_all, "the power did not go any more");
}

#[test]
fn events_are_chosen() {
    let body = br#"{"entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"7"},
        "statuses":[{"id":"wamid.B","status":"sent","timestamp":"1750000000","recipient_id":"1666"}]}}]}]}"#;
    let delivery = Extraction::new().make(batch(1, &[body]));
    let event = delivery.events().get(0).unwrap();
    for (types, numbers, wanted) in [
        ([].as_slice(), [].as_slice(), true),
        (&["whatsapp.status.*"], &["8", "7"], true),
        (&["whatsapp.message.*"], &[], false),
        (&[], &["8"], false),
    ] {
        let texts = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let mut replay = Replay::new("crm", 1, 1, NOW);
        (replay.types, replay.phone_number_ids) = (texts(types), texts(numbers));
        assert_eq!(
            replay.selection().outcome(event, 1) == EventOutcome::Wanted,
            wanted,
            "{types:?} {numbers:?}"
        );
    }
}

/// Beside a server of another user, or on a broken disk: one file that could not be read stopped every sink for good,
/// again after each restart.
#[test]
fn what_cannot_be_used_is_set_aside_and_the_next_one_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(Disk::open(dir.path()).unwrap());
    let path = |name: &str| dir.path().join(name);
    fs::write(path("20260101-000000-crm.json"), "no replay").unwrap();
    fs::create_dir(path("20260101-000001-crm.json")).unwrap();
    mkfifo(&path("20260101-000002-crm.json"));
    symlink("/nowhere", path("20260101-000003-crm.json")).unwrap();
    // Asked for by somebody who gave a directory the name of the file that comes next.
    let verb = Replays::open(Arc::clone(&storage));
    let last = requested(&verb, "crm", 10);
    fs::create_dir(path(&format!("{}.json.old", last.id))).unwrap();

    for id in ["20260101-000000-crm", "20260101-000001-crm"] {
        verb.cancel(id).unwrap();
    }
    let mut server = Replays::open(Arc::clone(&storage));
    let taken = server.take_up("crm").map(|replay| replay.id);
    assert_eq!(taken.as_ref(), Some(&last.id));
    let cancelled = verb.cancel("20260101-000002-crm");
    assert!(
        matches!(cancelled, Err(ReplayError::SetAside { .. })),
        "{cancelled:?}"
    );
    let mut names = storage.list().unwrap();
    names.retain(|name| name.contains(".aside"));
    names.sort();
    let aside = [
        "20260101-000000-crm.json.aside",
        "20260101-000001-crm.json.aside",
        "20260101-000002-crm.json.aside",
        &format!("{}.json.old.aside", last.id),
    ];
    assert_eq!(names, aside);
    assert!(!path("20260101-000000-crm.cancel").exists());
}

fn mkfifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// A replay of a sink that has another name now goes on under its own name, wherever the power goes.
#[test]
fn what_waits_or_runs_is_taken_over() {
    let mut was_whole = false;
    for power_off_at in 1..60 {
        let disk = SimulatedDisk::new(power_off_at);
        let mut server = Replays::open(disk.storage());
        let mut replays = ["crm", "crm", "crm", "log"].map(|sink| requested(&server, sink, 10));
        (replays[0].state, replays[0].next) = (ReplayState::Running, 15);
        server.save(&mut replays[0]).unwrap();
        replays[1].state = ReplayState::Done;
        server.save(&mut replays[1]).unwrap();
        disk.set_faults(Faults {
            power_off_at: Some(disk.operations() + power_off_at),
            ..Faults::default()
        });
        was_whole = server.take_over("crm", "erp").is_ok();

        let after = Replays::open(disk.after_power_cut().storage());
        let again = after.take_over("crm", "erp").unwrap();
        assert!(again == 0 || !was_whole, "{power_off_at}");
        let sinks = ["erp", "crm", "erp", "log"];
        for (replay, sink) in replays.iter().zip(sinks) {
            let expected = Replay {
                sink: sink.to_owned(),
                ..replay.clone()
            };
            assert_eq!(after.read(&replay.id).unwrap(), expected, "{power_off_at}");
        }
    }
    assert!(was_whole, "the power goes too early");
}
