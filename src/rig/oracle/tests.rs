//! Made-up journals: a faithful one passes, and each way to break the promise is found and named.

use super::*;

const SEED: u64 = 11;

fn body(round: u32, stream: u32, number: u64) -> Vec<u8> {
    let name = Name {
        round,
        stream,
        number,
    };
    let mut body = Vec::new();
    Bodies { seed: SEED }.make(name, &mut body);
    body
}

fn stream(sent: u64, answered: u64) -> Stream {
    Stream {
        sent,
        answered,
        refused: Vec::new(),
    }
}

/// Two connections; of the first 8 were sent and 6 answered, of the second 5 and 5.
fn oracle() -> Oracle {
    let mut oracle = Oracle::new(Bodies { seed: SEED }, 0);
    oracle.note(0, vec![stream(8, 6), stream(5, 5)]);
    oracle
}

/// What is stored when everything was sent to the end: the connections alternate, and one in flight got in.
fn faithful(round: u32) -> Vec<Vec<u8>> {
    let both = (0..5).flat_map(|number| [(0, number), (1, number)]);
    let places = both.chain([(0, 5), (0, 6)]);
    places
        .map(|(stream, number)| body(round, stream, number))
        .collect()
}

fn read(oracle: &mut Oracle, records: &[Vec<u8>]) -> Findings {
    let mut look = oracle.check_all();
    for (sequence, body) in (1..).zip(records) {
        look.meet(sequence, body);
    }
    look.finish();
    oracle.findings.clone()
}

/// The counters in the order of the struct.
fn counts(findings: &Findings) -> [u64; 6] {
    let Findings {
        lost,
        altered,
        invented,
        duplicated,
        disordered,
        moved,
        examples,
    } = findings;
    assert_eq!(examples.is_empty(), findings.is_clean());
    [*lost, *altered, *invented, *duplicated, *disordered, *moved]
}

fn judge(change: impl FnOnce(&mut Vec<Vec<u8>>)) -> [u64; 6] {
    let mut records = faithful(0);
    change(&mut records);
    counts(&read(&mut oracle(), &records))
}

#[test]
fn a_faithful_journal_passes() {
    assert_eq!(judge(|_| {}), [0; 6]);
    let without_the_one_in_flight = |records: &mut Vec<_>| drop(records.pop());
    assert_eq!(judge(without_the_one_in_flight), [0; 6]);
}

#[test]
fn what_was_answered_and_is_not_there_is_lost() {
    assert_eq!(judge(|records| records.truncate(10)), [1, 0, 0, 0, 0, 0]);
    assert_eq!(judge(|records| drop(records.remove(4))), [1, 0, 0, 0, 0, 0]);
    assert_eq!(judge(Vec::clear), [11, 0, 0, 0, 0, 0]);
}

#[test]
fn one_byte_is_altered() {
    let flip = |records: &mut Vec<Vec<u8>>| {
        let behind_the_id = records[3].len() - 40;
        records[3][behind_the_id] ^= 1;
    };
    assert_eq!(judge(flip), [0, 1, 0, 0, 0, 0]);
    let shorten = |records: &mut Vec<Vec<u8>>| {
        records[3].pop();
    };
    assert_eq!(judge(shorten), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn what_nobody_sent_is_invented() {
    let foreign = |records: &mut Vec<Vec<u8>>| records.push(b"{}".to_vec());
    assert_eq!(judge(foreign), [0, 0, 1, 0, 0, 0]);
    for (round, stream, number) in [(0, 0, 8), (0, 2, 0), (1, 0, 0)] {
        let never_sent =
            |records: &mut Vec<Vec<u8>>| records.insert(5, body(round, stream, number));
        assert_eq!(judge(never_sent), [0, 0, 1, 0, 0, 0]);
    }
}

#[test]
fn twice_is_duplicated() {
    let at_once = |records: &mut Vec<Vec<u8>>| records.insert(3, body(0, 0, 1));
    assert_eq!(judge(at_once), [0, 0, 0, 1, 0, 0]);
    let later = |records: &mut Vec<Vec<u8>>| records.push(body(0, 1, 0));
    assert_eq!(judge(later), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn swapped_is_out_of_order() {
    assert_eq!(judge(|records| records.swap(2, 6)), [0, 0, 0, 0, 2, 0]);
    let connections = |records: &mut Vec<Vec<u8>>| records.swap(2, 3);
    assert_eq!(
        judge(connections),
        [0; 6],
        "order is that of each connection"
    );
}

#[test]
fn a_sequence_that_is_left_out_or_comes_again() {
    for sequences in [[1, 2, 4], [1, 2, 2]] {
        let mut oracle = Oracle::new(Bodies { seed: SEED }, 0);
        oracle.note(0, vec![stream(3, 3)]);
        let mut look = oracle.check_all();
        for (sequence, number) in sequences.into_iter().zip(0..) {
            look.meet(sequence, &body(0, 0, number));
        }
        look.finish();
        assert_eq!(counts(&oracle.findings), [0, 0, 0, 0, 0, 1]);
    }
}

#[test]
fn a_refusal_may_be_there_or_not() {
    let mut refused = stream(6, 0);
    refused.answered = 2;
    refused.refuse(1);
    refused.refuse(1);
    refused.answered += 1;
    assert_eq!((refused.stored(), refused.refused.len()), (3, 1));
    for (present, lost) in [
        (&[0, 1, 4][..], 0),
        (&[0, 1, 2, 3, 4, 5], 0),
        (&[0, 1, 3, 4], 0),
        (&[0, 1, 2, 3], 1),
        (&[0, 4], 1),
        (&[], 3),
    ] {
        let mut oracle = Oracle::new(Bodies { seed: SEED }, 0);
        oracle.note(0, vec![refused.clone()]);
        let records: Vec<_> = present.iter().map(|&number| body(0, 0, number)).collect();
        let expected = [lost, 0, 0, 0, 0, 0];
        assert_eq!(
            counts(&read(&mut oracle, &records)),
            expected,
            "{present:?}"
        );
    }
}

#[test]
fn rounds_stand_one_behind_the_other() {
    let two = || {
        let mut oracle = oracle();
        oracle.note(1, vec![stream(8, 6), stream(5, 5)]);
        oracle
    };
    let records = [faithful(0), faithful(1)].concat();
    assert_eq!(counts(&read(&mut two(), &records)), [0; 6]);
    let mut mixed = records.clone();
    mixed.swap(11, 12);
    assert_eq!(counts(&read(&mut two(), &mixed)), [0, 0, 0, 0, 1, 0]);
    let again = [faithful(0), faithful(1), vec![body(0, 0, 2)]].concat();
    assert_eq!(counts(&read(&mut two(), &again)), [0, 0, 0, 1, 0, 0]);
    assert_eq!(
        counts(&read(&mut two(), &faithful(1))),
        [11, 0, 0, 0, 0, 0],
        "nobody has seen the first, so nobody knows that retention could take it"
    );
}

/// Three rounds of one frame each, which were seen, and then a look at everything that finds what is there from this
/// sequence on.
fn look_at_rest(retained: u64, from: u64) -> ([u64; 6], u64) {
    let mut oracle = Oracle::new(Bodies { seed: SEED }, retained);
    let records = [faithful(0), faithful(1), faithful(2)].concat();
    let read = |oracle: &mut Oracle, from: u64| {
        let mut look = oracle.check_all();
        for (sequence, body) in (1..).zip(&records).filter(|(at, _)| *at >= from) {
            if (sequence - 1) % 12 == 0 || sequence == from {
                look.begin_frame(4096);
            }
            look.meet(sequence, body);
        }
        look.finish();
        counts(&oracle.findings)
    };
    for round in 0..3 {
        oracle.note(round, vec![stream(8, 6), stream(5, 5)]);
    }
    assert_eq!(oracle.retained_from(), u64::MAX);
    assert_eq!(read(&mut oracle, 1), [0; 6]);
    let retained_from = oracle.retained_from();
    (read(&mut oracle, from), retained_from)
}

/// Whatever was missing at the front once counted as retired, so a server that retires at once kept the promise.
#[test]
fn retention_is_believed_as_far_as_it_can_come() {
    let all = [0; 6];
    assert_eq!(look_at_rest(4096, 13), (all, 25), "the first round");
    assert_eq!(look_at_rest(4096, 17), (all, 25), "a part of the second");
    assert_eq!(look_at_rest(4096, 25), (all, 25), "the second");
    let gone = |lost, moved| [lost, 0, 0, 0, 0, moved];
    assert_eq!(look_at_rest(4096, 26), (gone(1, 1), 25), "one of the last");
    assert_eq!(look_at_rest(8192, 13), (all, 13));
    assert_eq!(look_at_rest(8192, 25), (gone(11, 0), 13));
    assert_eq!(look_at_rest(3 * 4096 - 1, 25), (gone(11, 0), 13));
    assert_eq!(look_at_rest(3 * 4096, 13), (gone(11, 0), 1));
    assert_eq!(look_at_rest(u64::MAX, 17), (gone(11 + 4, 1), 1));
    assert_eq!(look_at_rest(0, 36), (all, u64::MAX));
}

/// Two rounds and a look after each, the second with these records from the first sequence on.
fn look_again(records: &[Vec<u8>]) -> [u64; 6] {
    let mut oracle = oracle();
    assert_eq!(counts(&read(&mut oracle, &faithful(0))), [0; 6]);
    oracle.note(1, vec![stream(8, 6), stream(5, 5)]);
    let mut look = oracle.check_new();
    assert_eq!(look.start, 1);
    for (sequence, body) in (1..).zip(records) {
        look.meet(sequence, body);
    }
    look.finish();
    counts(&oracle.findings)
}

#[test]
fn what_was_seen_once_has_to_stay() {
    assert_eq!(look_again(&[faithful(0), faithful(1)].concat()), [0; 6]);
    assert_eq!(look_again(&faithful(0)), [11, 0, 0, 0, 0, 0]);
    // The last one of the first round was never answered, but the first recovery has kept it.
    let cut = [faithful(0)[..11].to_vec(), faithful(1)].concat();
    assert_eq!(look_again(&cut), [0, 0, 0, 0, 0, 1]);
    let mut turned = [faithful(0), faithful(1)].concat();
    turned.swap(2, 3);
    assert_eq!(look_again(&turned), [0, 0, 0, 0, 0, 1]);
}

#[test]
fn retention_may_cut_a_round_but_not_its_end() {
    let read_from = |first: usize, end: usize| {
        let mut oracle = oracle();
        for (first, end) in [(0, 12), (first, end)] {
            let mut look = oracle.check_all();
            look.begin_frame(4096);
            for (sequence, body) in (1..).zip(&faithful(0)).take(end).skip(first) {
                look.meet(sequence, body);
            }
            look.finish();
        }
        counts(&oracle.findings)
    };
    assert_eq!(read_from(5, 12), [0; 6]);
    assert_eq!(read_from(11, 12), [0; 6]);
    assert_eq!(read_from(5, 10), [1, 0, 0, 0, 0, 1]);
}
