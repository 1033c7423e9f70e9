//! Attempts against the mock cluster of librdkafka, which says what a real one says too seldom.

use super::*;
use crate::event::{self, Item};
use crate::journal::batch::{Batch, Seal};
use crate::journal::record;
use crate::relay;
use crate::sink::Template;
use crate::sink::transport::{BatchItem, FailureKind, Outcome};
use crate::worker::Extraction;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const MESSAGE: &str = r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"messaging_product":"whatsapp","metadata":{"phone_number_id":"2"},"messages":[{"id":"wamid.A","from":"3","timestamp":"1749416383","type":"text","text":{"body":"a"}}]}}]}]}"#;

struct Bench {
    cluster: MockCluster<'static, DefaultProducerContext>,
    kafka: Kafka,
    outcomes: relay::Receiver<Outcome>,
    item: BatchItem,
    tickets: u64,
}

impl Bench {
    fn new() -> Bench {
        let forms = Arc::new(Forms::default());
        let form = event::Form::unknown();
        let flags = record::with_form(0, forms.number(&form).expect("a number"));
        let mut batch = Batch::unpooled();
        batch.append(1, flags, 1, std::iter::empty(), MESSAGE.as_bytes());
        batch.seal(&Seal {
            epoch: 1,
            salt: 1,
            first_sequence: 1,
            committed_at: 0,
            durable: 0,
        });
        let batch = Arc::new(Extraction::new().reading(&forms).make(batch));
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("w", 2, 1).expect("a topic");
        let options = Options {
            name: "test".to_owned(),
            brokers: vec![cluster.bootstrap_servers()],
            login: None,
            tls: false,
            files: TlsFiles::default(),
            topic: Template::parse_topic("w").expect("valid"),
            structured: false,
            create: None,
            compression: "none",
            properties: vec![("batch.size".to_owned(), "2000".to_owned())],
            timeout: Duration::from_secs(4),
        };
        let context = Context {
            forms,
            statistics: Arc::default(),
        };
        let (give, outcomes) = relay::channel(64);
        Bench {
            cluster,
            kafka: Kafka::new(options, context, give).expect("valid"),
            outcomes,
            item: BatchItem {
                batch,
                item: Item {
                    sequence: 1,
                    index: Some(0),
                },
            },
            tickets: 0,
        }
    }

    fn start(&mut self) -> u64 {
        self.tickets += 1;
        self.kafka.start(Attempt {
            ticket: self.tickets,
            items: vec![self.item.clone()],
            number: 1,
            replay: None,
        });
        self.tickets
    }

    fn outcome(&self) -> Outcome {
        let until = Instant::now() + Duration::from_mins(1);
        loop {
            let outcome = self.outcomes.recv(Some(Duration::from_secs(1)));
            if let Some(outcome) = outcome.expect("it lives") {
                return outcome;
            }
            assert!(Instant::now() < until, "nothing comes back");
        }
    }

    /// What comes of one more attempt.
    fn attempt(&mut self) -> Result<(), Failure> {
        let ticket = self.start();
        let outcome = self.outcome();
        assert_eq!(outcome.ticket, ticket);
        outcome.result
    }

    /// Tries until it works, as the dispatcher does; nothing that happens meanwhile is the event's fault.
    fn attempt_until_delivered(&mut self) {
        let until = Instant::now() + Duration::from_mins(1);
        while let Err(failure) = self.attempt() {
            assert_ne!(failure.kind, FailureKind::Impossible, "{failure:?}");
            assert!(Instant::now() < until, "{failure:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn errors_of_the_brokers_are_tried_again() {
    let mut bench = Bench::new();
    bench.attempt_until_delivered();
    for (error, kind) in [
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            FailureKind::Busy { after: None },
        ),
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            FailureKind::Unreached,
        ),
        (
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            FailureKind::Rejected,
        ),
    ] {
        let produce = RDKafkaApiKey::Produce;
        bench.cluster.request_errors(produce, &[error]);
        let failure = bench.attempt().expect_err("refused");
        assert_eq!(failure.kind, kind, "{failure:?}");
        bench.attempt_until_delivered();
    }
}

/// The mock cluster does not say what a topic takes.
#[test]
fn a_batch_that_is_too_large_comes_again_in_smaller_ones() {
    let mut bench = Bench::new();
    bench.attempt_until_delivered();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    bench
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[error]);
    let failure = bench.attempt().expect_err("refused");
    assert_eq!(failure.kind, FailureKind::Busy { after: None });
    bench.attempt_until_delivered();
    // One that is alone in its batch all the same will never be taken.
    let errors = [error; 40];
    bench
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &errors);
    let until = Instant::now() + Duration::from_mins(2);
    let failure = loop {
        let failure = bench.attempt().expect_err("refused");
        if failure.kind == FailureKind::Impossible {
            break failure;
        }
        assert!(Instant::now() < until, "{failure:?}");
    };
    assert!(
        failure.reason.contains("too large for Kafka"),
        "{failure:?}"
    );
}

#[test]
fn a_fatal_error_is_a_new_producer() {
    let mut bench = Bench::new();
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    bench
        .cluster
        .request_errors(RDKafkaApiKey::InitProducerId, &[error]);
    let failure = bench.attempt().expect_err("fatal");
    assert_eq!(failure.kind, FailureKind::Unreached, "{failure:?}");
    bench.attempt_until_delivered();
}

/// What a producer drops at its end is in no answer of a broker: it is never delivered.
#[test]
fn what_is_dropped_with_a_producer_is_no_delivery() {
    let mut bench = Bench::new();
    bench.attempt_until_delivered();
    bench.cluster.broker_down(1).expect("it is");
    let failure = bench.attempt().expect_err("nobody is there");
    assert_eq!(failure.kind, FailureKind::Unreached);
    assert!(
        failure.reason.contains("it may be stored or not"),
        "{failure:?}"
    );
    let failure = bench.attempt().expect_err("nobody is there");
    assert_eq!(failure.kind, FailureKind::Unreached);
    bench.cluster.broker_up(1).expect("it is");
    bench.attempt_until_delivered();
    bench.cluster.broker_down(1).expect("it is");
    let ticket = bench.start();
    drop(bench.kafka);
    while let Ok(outcome) = bench.outcomes.recv(None) {
        let Some(outcome) = outcome else {
            continue;
        };
        assert!(outcome.result.is_err(), "{outcome:?}");
        if outcome.ticket == NO_ATTEMPT {
            break;
        }
        assert_eq!(outcome.ticket, ticket);
    }
}
