//! Each attempt has one outcome, whatever becomes of it.

use super::*;

#[test]
fn an_odd_job_has_an_outcome_too() {
    let server = Server::new(vec![ok()]);
    let mut bench = Bench::new(&server, RequestForm::Structured);
    for places in [
        &[][..],
        &[(FIRST, None)],
        &[(FIRST, Some(9))],
        &[(FIRST + 9, Some(0))],
    ] {
        bench.start(places, None);
        bench.outcome().expect_err("cannot be sent");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn a_task_that_panics_and_a_thread_that_ends_say_so() {
    let server = Server::new(vec![ok()]);
    let panics = |options: &mut Options| options.paths = Paths::new(|_| panic!("a test"));
    let mut bench = Bench::with(&server, RequestForm::Notification, panics);
    let failure = bench.notification().expect_err("it was given up");
    assert_eq!(failure, Failure::retry("the request was given up half-way"));
    let Bench { http, outcomes, .. } = bench;
    drop(http);
    // What is dropped wakes too, without an outcome.
    let outcome = loop {
        match outcomes.recv(Some(Duration::from_secs(20))).expect("open") {
            None => {}
            outcome => break outcome,
        }
    };
    let broken = Err(Failure::broken(ENDED));
    assert_eq!(
        outcome,
        Some(Outcome {
            ticket: NO_ATTEMPT,
            result: broken
        })
    );
}
