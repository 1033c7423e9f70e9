//! Dead letters of a sink that has another name now.

use super::super::take_over;
use super::{DeadLetters, dead_letter, item, listed};
use crate::disk::Disk;
use crate::disk::simulated::{Faults, SimulatedDisk};
use std::path::Path;
use std::sync::Arc;

fn at(dir: &Path) -> DeadLetters {
    DeadLetters::open(Arc::new(Disk::create(dir).unwrap())).unwrap()
}

#[test]
fn they_are_taken_over_with_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    let of = |sink: &str| at(&dir.path().join(sink));
    assert_eq!(
        take_over(&dir.path().join("none"), "crm", "erp").unwrap(),
        0
    );
    assert_eq!(take_over(dir.path(), "crm", "erp").unwrap(), 0);
    let letters = [dead_letter(7, None), dead_letter(8, Some(1))];
    of("crm").add_all(&letters).unwrap();
    of("crm").request_retry(item("8.1")).unwrap();
    // An empty one is in nobody's way.
    drop(of("erp"));
    assert_eq!(take_over(dir.path(), "crm", "erp").unwrap(), 2);
    assert!(!dir.path().join("crm").exists());
    let expected = [("7".to_owned(), false), ("8.1".to_owned(), true)];
    assert_eq!(listed(&of("erp")), expected);
    assert_eq!(of("erp").read(item("7")).unwrap(), letters[0]);
    assert_eq!(take_over(dir.path(), "crm", "erp").unwrap(), 0);
}

#[test]
fn they_join_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let of = |sink: &str| at(&dir.path().join(sink));
    let mut own = dead_letter(8, Some(1));
    own.failures.reason = "own".to_owned();
    of("erp")
        .add_all(&[own.clone(), dead_letter(9, None)])
        .unwrap();
    let theirs = [7, 8].map(|sequence| dead_letter(sequence, Some(1)));
    of("crm").add_all(&theirs).unwrap();
    std::fs::write(dir.path().join("crm/10.json"), "no letter").unwrap();
    assert_eq!(take_over(dir.path(), "crm", "erp").unwrap(), 2);
    let names = listed(&of("erp")).into_iter().map(|(name, _)| name);
    assert_eq!(names.collect::<Vec<_>>(), ["7.1", "8.1", "9"]);
    assert_eq!(of("erp").read(own.item).unwrap(), own);
    assert_eq!(of("erp").read(item("7.1")).unwrap().sink, "erp");
    assert_eq!(listed(&of("crm")), [("10".to_owned(), false)], "unreadable");
}

/// Wherever the power goes, each is in one of the two directories, and the next start has all of them in one.
#[test]
fn none_is_lost_wherever_the_power_goes() {
    let mut was_whole = false;
    for power_off_at in 1..120 {
        let [own, theirs] = [1, 2].map(|seed| SimulatedDisk::new(seed * 1000 + power_off_at));
        let letters = [7, 8, 9].map(|sequence| dead_letter(sequence, Some(1)));
        let from = |disk: &SimulatedDisk| DeadLetters::open(disk.storage()).unwrap();
        from(&theirs).add_all(&letters).unwrap();
        from(&theirs).request_retry(item("8.1")).unwrap();
        from(&theirs).sync().unwrap();
        // Each has its own power cut, at another operation.
        for (disk, at) in [(&own, power_off_at), (&theirs, power_off_at / 3 + 1)] {
            disk.set_faults(Faults {
                power_off_at: Some(disk.operations() + at),
                ..Faults::default()
            });
        }
        let taken = DeadLetters::open(own.storage())
            .and_then(|mut own| own.take_from(&mut DeadLetters::open(theirs.storage())?, "erp"));
        was_whole = taken.is_ok();

        let [own, theirs] = [own, theirs].map(|disk| disk.after_power_cut());
        let there = [&own, &theirs].map(|disk| listed(&from(disk)));
        let is_there = |name: &str| there.iter().flatten().any(|(it, _)| it == name);
        assert!(
            ["7.1", "8.1", "9.1"].iter().all(|it| is_there(it)),
            "{power_off_at}"
        );
        from(&own).take_from(&mut from(&theirs), "erp").unwrap();
        let expected = [("7.1", false), ("8.1", true), ("9.1", false)];
        let expected = expected.map(|(name, retry)| (name.to_owned(), retry));
        assert_eq!(listed(&from(&own)), expected, "{power_off_at}");
        assert!(listed(&from(&theirs)).is_empty());
        for mut letter in letters {
            letter.sink = "erp".to_owned();
            assert_eq!(from(&own).read(letter.item).unwrap(), letter);
        }
    }
    assert!(was_whole, "the power goes too early");
}
