//! What a check learns of a cluster. It sends, makes and changes nothing.

use super::client::{Client, Producer};
use super::topics::{self, ASK_TIMEOUT, Inspected};
use super::{Lines, Options};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer as _;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a cluster is like, for who checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// How many brokers there are.
    pub brokers: usize,
    /// The topic, where it is the same for all events.
    pub topic: Option<Inspected>,
    /// Leaders of the topic's partitions that do not answer, and why.
    pub silent: Vec<String>,
}

/// Connects to each broker and asks. One result for each.
pub fn inspect(options: &Options) -> Vec<(String, Result<Inspection, String>)> {
    let brokers = options.brokers.iter();
    let inspected = brokers.map(|broker| (broker.clone(), inspect_one(options, broker)));
    inspected.collect()
}

fn inspect_one(options: &Options, broker: &str) -> Result<Inspection, String> {
    let options = Options {
        brokers: vec![broker.to_owned()],
        ..options.clone()
    };
    let lines: Arc<Lines> = Arc::default();
    let client = Client::new(&options, lines).map_err(|error| error.to_string())?;
    let producer = client.producer(client.batch_max)?;
    let topic = options.topic.fixed();
    let metadata = topics::metadata(&producer, topic, ASK_TIMEOUT)?;
    let mut inspection = Inspection {
        brokers: metadata.brokers().len(),
        topic: None,
        silent: Vec::new(),
    };
    if let Some(topic) = topic {
        inspection.topic = Some(topics::ask(&client, &producer, topic, None)?);
        inspection.silent = silent(&producer, &metadata, topic);
    }
    Ok(inspection)
}

/// Asks each leader for the end of one of its partitions.
fn silent(producer: &Producer, metadata: &Metadata, topic: &str) -> Vec<String> {
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let mut asked = BTreeSet::new();
    let mut silent = Vec::new();
    for partition in found.map(MetadataTopic::partitions).unwrap_or_default() {
        let leader = partition.leader();
        if leader < 0 || !asked.insert(leader) {
            continue;
        }
        let client = producer.client();
        let Err(error) = client.fetch_watermarks(topic, partition.id(), ASK_TIMEOUT) else {
            continue;
        };
        let broker = metadata.brokers().iter().find(|it| it.id() == leader);
        let address = broker.map_or("an unknown address".to_owned(), |it| {
            format!("{}:{}", it.host(), it.port())
        });
        silent.push(format!(
            "broker {leader}, which leads a part of the topic, does not answer at {address} ({error}); its advertised.listeners must name an address that is reached from here"
        ));
    }
    silent
}
