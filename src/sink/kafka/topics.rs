//! What topics there are and what they take, asked of the cluster, and made where that is wanted.

use super::Creation;
use super::client::{Client, Producer, serve};
use crate::sink::statistics::Confirmation;
use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::producer::Producer as _;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime;

/// A topic that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    pub partitions: usize,
    /// Brokers that keep a partition: the fewest of all.
    pub replicas: usize,
    /// Brokers that have to have a record before it is confirmed; `None` if it is not known.
    pub min_insync: Option<usize>,
    /// The largest batch in bytes; `None` if it is not known.
    pub message_max: Option<usize>,
    /// Why something is not known.
    pub unknown: Option<String>,
}

/// What was learnt about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    There(Topic),
    /// It is not there, or may not be used; the reason says what to do.
    Missing(String),
}

impl Topic {
    /// What a confirmation is worth. Kafka syncs no record before it confirms.
    pub fn confirmation(&self) -> Confirmation {
        let in_sync = self.min_insync.unwrap_or(1);
        if in_sync.min(self.replicas) > 1 {
            Confirmation::Replicated
        } else {
            Confirmation::Memory
        }
    }
}

/// What the cluster is like, and the topic if one is named; the error says why nobody answers.
pub(super) fn metadata(
    producer: &Producer,
    topic: Option<&str>,
    patience: Duration,
) -> Result<Metadata, String> {
    let until = Instant::now() + patience;
    loop {
        let error = match producer.client().fetch_metadata(topic, SLICE) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        // What is wrong comes as a report.
        serve(producer, PAUSE);
        let reports = producer.context();
        if let Some(refused) = reports.refused() {
            return Err(refused);
        }
        if Instant::now() >= until {
            let said = reports.said();
            return Err(said.unwrap_or_else(|| format!("no broker answers ({error})")));
        }
    }
}

/// Asks; makes the topic if it is not there and `create` says so.
pub(super) fn ask(
    client: &Client,
    producer: &Producer,
    topic: &str,
    create: Option<Creation>,
) -> Result<Inspected, String> {
    let metadata = metadata(producer, Some(topic), ASK_TIMEOUT)?;
    match (described(&metadata, topic), create) {
        (Ok(Some(mut found)), _) => {
            match limits(client, topic) {
                Ok((message_max, min_insync)) => {
                    (found.message_max, found.min_insync) = (message_max, min_insync);
                }
                Err(reason) => {
                    found.unknown = Some(format!(
                        "the cluster does not say what the topic takes ({reason}); the login may lack DESCRIBE_CONFIGS"
                    ));
                }
            }
            Ok(Inspected::There(found))
        }
        (Ok(None), Some(creation)) => {
            let brokers = metadata.brokers().len();
            match made(client, topic, creation, brokers) {
                Ok(()) => made_known(client, producer, topic),
                Err(reason) => Ok(Inspected::Missing(format!(
                    "the topic {topic} is not there and cannot be made: {reason}"
                ))),
            }
        }
        (Ok(None), None) => Ok(Inspected::Missing(format!(
            "the topic {topic} is not there; make it (kafka-topics.sh --create), or correct topic; nothing makes it unasked"
        ))),
        (Err(reason), _) => Ok(Inspected::Missing(reason)),
    }
}

/// What the cluster says about a topic; `None` if there is none.
fn described(metadata: &Metadata, topic: &str) -> Result<Option<Topic>, String> {
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let error = found.and_then(MetadataTopic::error);
    match error.map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            return Err(format!(
                "the login may not use the topic {topic}, or it is not there: grant DESCRIBE and WRITE, and make it"
            ));
        }
        Some(code) => return Err(format!("the topic {topic} cannot be used: {code}")),
    }
    let partitions = found.map(MetadataTopic::partitions).unwrap_or_default();
    let replicas = partitions.iter().map(|it| it.replicas().len()).min();
    Ok(replicas.map(|replicas| Topic {
        partitions: partitions.len(),
        replicas,
        ..Topic::default()
    }))
}

/// `max.message.bytes` and `min.insync.replicas` of a topic, as they hold for it.
fn limits(client: &Client, topic: &str) -> Result<(Option<usize>, Option<usize>), String> {
    let admin = client.admin()?;
    let wanted = [ResourceSpecifier::Topic(topic)];
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let answered = wait(admin.describe_configs(&wanted, &options))?;
    let answered = answered.map_err(|error| error.to_string())?;
    let first = answered.into_iter().next().ok_or("an empty answer")?;
    let config = first.map_err(|code| code.to_string())?;
    let number = |name: &str| config.get(name)?.value.as_ref()?.parse().ok();
    Ok((number("max.message.bytes"), number("min.insync.replicas")))
}

fn made(client: &Client, topic: &str, creation: Creation, brokers: usize) -> Result<(), String> {
    let brokers = i32::try_from(brokers).unwrap_or(i32::MAX).max(1);
    let replicas = TopicReplication::Fixed(creation.replicas.min(brokers));
    let admin = client.admin()?;
    let wanted = [NewTopic::new(topic, creation.partitions, replicas)];
    let options = AdminOptions::new()
        .request_timeout(Some(ASK_TIMEOUT))
        .operation_timeout(Some(ASK_TIMEOUT));
    let answered = wait(admin.create_topics(&wanted, &options))?;
    let answered = answered.map_err(|error| error.to_string())?;
    match answered.into_iter().next() {
        Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(code.to_string()),
        None => Err("an empty answer".to_owned()),
    }
}

/// A topic that was made is known to all brokers a moment later.
fn made_known(client: &Client, producer: &Producer, topic: &str) -> Result<Inspected, String> {
    let until = Instant::now() + ASK_TIMEOUT;
    loop {
        let asked = ask(client, producer, topic, None)?;
        if matches!(asked, Inspected::There(_)) || Instant::now() >= until {
            return Ok(asked);
        }
        serve(producer, PAUSE);
    }
}

/// Why records of a topic are not confirmed, as far as the cluster shows it.
pub(super) fn trouble(producer: &Producer, topic: &str, min_insync: usize) -> Option<String> {
    let metadata = metadata(producer, Some(topic), SLICE).ok()?;
    let found = metadata.topics().iter().find(|it| it.name() == topic)?;
    let leaderless = found.partitions().iter().filter(|it| it.leader() < 0);
    let leaderless = leaderless.count();
    if leaderless > 0 {
        let all = found.partitions().len();
        return Some(format!(
            "{leaderless} of its {all} partitions have no leader"
        ));
    }
    let in_sync = found.partitions().iter().map(|it| it.isr().len()).min()?;
    (in_sync < min_insync).then(|| {
        format!(
            "{in_sync} replicas of a partition are in sync, and min.insync.replicas is {min_insync}"
        )
    })
}

/// Runs what the library gives as a future; its own threads drive it.
fn wait<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    Ok(runtime.block_on(future))
}

/// Until the cluster has answered.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one try of that takes at most.
const SLICE: Duration = Duration::from_millis(500);

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_worth_what_several_brokers_have() {
        for (replicas, min_insync, confirmation) in [
            (3, Some(2), Confirmation::Replicated),
            (3, Some(1), Confirmation::Memory),
            (1, Some(2), Confirmation::Memory),
            (3, None, Confirmation::Memory),
        ] {
            let topic = Topic {
                replicas,
                min_insync,
                ..Topic::default()
            };
            assert_eq!(topic.confirmation(), confirmation, "{topic:?}");
        }
    }
}
