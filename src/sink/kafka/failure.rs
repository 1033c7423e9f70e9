//! What an error, or a size, comes to.

use super::topics::{Inspected, Topic};
use crate::sink::transport::{Failure, FailureKind};
use rdkafka::error::RDKafkaErrorCode;

/// Whether so large a record can go to a topic, as far as that is known.
pub(super) fn permitted(bytes: usize, known: Option<&Inspected>) -> Result<(), Failure> {
    match known {
        Some(Inspected::Missing(reason)) => Err(Failure::unreached(reason.clone())),
        Some(Inspected::There(topic)) => too_large(bytes, topic).map_or(Ok(()), Err),
        None => Ok(()),
    }
}

fn too_large(bytes: usize, topic: &Topic) -> Option<Failure> {
    let max = topic.message_max.filter(|max| bytes > *max)?;
    Some(Failure::impossible(format!(
        "too large for Kafka: {bytes} bytes with its headers, and the topic's max.message.bytes is {max}"
    )))
}

/// What an error of a record comes to.
pub(super) fn failure(code: RDKafkaErrorCode) -> Failure {
    let reason = code.to_string();
    match code {
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::Fatal => Failure::unreached(reason),
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => Failure::unreached(format!(
            "the login may not write to the topic: grant WRITE ({reason})"
        )),
        // Quotas (Event Hubs says so by a policy), too few brokers.
        RDKafkaErrorCode::PolicyViolation
        | RDKafkaErrorCode::ThrottlingQuotaExceeded
        | RDKafkaErrorCode::NotEnoughReplicas
        | RDKafkaErrorCode::NotEnoughReplicasAfterAppend => Failure::busy(reason),
        RDKafkaErrorCode::InvalidRecord => Failure {
            kind: FailureKind::Rejected,
            ..Failure::retry(format!("the brokers do not take this record: {reason}"))
        },
        _ => Failure::retry(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_brokers_say_decides_what_follows() {
        for (code, kind) in [
            (RDKafkaErrorCode::UnknownTopic, FailureKind::Unreached),
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                FailureKind::Unreached,
            ),
            (
                RDKafkaErrorCode::PolicyViolation,
                FailureKind::Busy { after: None },
            ),
            (
                RDKafkaErrorCode::NotEnoughReplicas,
                FailureKind::Busy { after: None },
            ),
            (RDKafkaErrorCode::InvalidRecord, FailureKind::Rejected),
            (
                RDKafkaErrorCode::InvalidMessage,
                FailureKind::Retry { after: None },
            ),
        ] {
            assert_eq!(failure(code).kind, kind, "{code}");
        }
    }

    #[test]
    fn what_is_too_large_says_both_sizes() {
        let topic = Topic {
            message_max: Some(4096),
            ..Topic::default()
        };
        assert_eq!(too_large(4096, &topic), None);
        let failure = too_large(4097, &topic).expect("it is");
        assert_eq!(failure.kind, FailureKind::Impossible);
        assert!(failure.reason.contains("4097 bytes") && failure.reason.contains("is 4096"));
    }
}
