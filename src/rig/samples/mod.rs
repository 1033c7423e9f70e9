//! Built-in notifications, one file each, in the platform's wire form: one line, `\/` for a slash, lower-case
//! `\u` escapes for all that is not ASCII. Names, numbers and ids are invented.
//!
//! A sample is valid as it stands. When it is sent, three marks in it are replaced, so that it is no duplicate of
//! the one before: the time [`TIME`], the [`TAG`] inside ids, and the [`NUMBER`] that stands for numeric ids.

use crate::disk;
use std::hash::{BuildHasher as _, RandomState};

/// One built-in notification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    text: &'static str,
}

impl Sample {
    /// The body with the time and the ids of now.
    pub(crate) fn fresh(&self) -> String {
        let time = disk::now() / 1_000_000;
        let random = random();
        self.text
            .trim_end()
            .replace(TIME, &format!("{time:010}"))
            .replace(TAG, &format!("{random:016X}"))
            .replace(
                NUMBER,
                &format!("{}", 1_000_000_000_000_000 + random % 9_000_000_000_000_000),
            )
    }
}

/// Sixty-four bits that no other run has.
pub(crate) fn random() -> u64 {
    // The library's generator would gather entropy for 30 ms first, which no sample's id is worth.
    RandomState::new().hash_one(0)
}

/// The sample of that name.
pub(crate) fn named(name: &str) -> Option<&'static Sample> {
    SAMPLES.iter().find(|sample| sample.name == name)
}

/// Stands for the time in seconds, as text or as a number.
const TIME: &str = "1700000000";

/// Stands for sixteen characters of an id, in base64 or hex.
const TAG: &str = "5A4D504C45000000";

/// Stands for a numeric id of sixteen digits.
const NUMBER: &str = "7000000000000000";

macro_rules! samples {
    ($($name:literal: $about:literal,)*) => {
        &[$(Sample { name: $name, about: $about, text: include_str!(concat!($name, ".json")) },)*]
    };
}

/// All of them, in the order in which they are listed and sent.
pub(crate) static SAMPLES: &[Sample] = samples! {
    "text": "text message",
    "text-unicode": "text with accents, emoji and characters that the platform escapes",
    "reply": "text that quotes a message of the business",
    "referral": "text after a click on an advertisement",
    "image": "image with a caption",
    "video": "video",
    "audio": "audio file",
    "voice": "voice note",
    "document": "PDF document with an accented file name",
    "sticker": "animated sticker",
    "location": "location",
    "contacts": "shared contact card",
    "reaction": "reaction to a message",
    "reaction-removed": "reaction taken back",
    "button": "quick reply of a template",
    "button-reply": "reply button",
    "list-reply": "choice from a list",
    "flow-reply": "completed form (Flow)",
    "order": "cart",
    "edit": "message edited by its sender",
    "revoke": "message deleted by its sender",
    "unsupported": "message of a kind that the platform does not pass on",
    "system": "customer changed the number",
    "username": "customer without a phone number, known by user id only",
    "group-text": "text in a group",
    "status-sent": "message sent",
    "status-delivered": "message delivered",
    "status-read": "message read",
    "status-played": "voice note played",
    "status-failed": "message failed",
    "status-group": "statuses of several members of a group for one message",
    "status-payment": "payment captured",
    "call-connect": "incoming call",
    "call-terminate": "call ended",
    "echo": "message sent from the WhatsApp Business app",
    "history": "chunk of old chats after onboarding",
    "state-sync": "contact added in the WhatsApp Business app",
    "standby": "copy of a message for a partner that does not own the chat",
    "handover": "chat passed to another partner",
    "link-click": "click on the link of a marketing message",
    "marketing-stop": "customer stops marketing messages",
    "lead": "automatic event",
    "group-created": "group created",
    "errors": "error that concerns no message",
    "template-status": "template approved",
    "template-quality": "template quality fell",
    "template-category": "template category changed",
    "account-update": "account violation",
    "account-alert": "account alert",
    "phone-quality": "messaging limit of a number changed",
    "phone-name": "display name decided",
    "security": "PIN changed",
    "flow-status": "form (Flow) published",
    "unknown-field": "field that does not exist yet",
    "batch": "message, statuses, another number and a template in one post",
    "album": "three images sent at once, in three changes",
    "empty": "notification without a change",
    "test-button": "what the dashboard's test button sends",
    "on-premises": "text in the old form without an envelope",
    "360dialog-partner": "360dialog partner event: channel created",
    "standard": "order event in the form that Standard Webhooks recommends",
    "not-json": "body that is not JSON",
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_sample_is_json_in_wire_form() {
        for sample in SAMPLES {
            let text = sample.text.trim_end();
            let name = sample.name;
            if name != "not-json" {
                serde_json::from_str::<serde_json::Value>(text).expect(name);
                let slashes = text
                    .match_indices('/')
                    .all(|(at, _)| text[..at].ends_with('\\'));
                assert!(slashes, "{name} has a bare slash");
            }
            assert!(
                text.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "{name} is one ASCII line"
            );
            let escapes = text
                .match_indices("\\u")
                .map(|(at, _)| &text[at + 2..at + 6]);
            assert!(
                escapes.into_iter().all(|hex| hex == hex.to_lowercase()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_sample_is_new_each_time() {
        for sample in SAMPLES {
            let (one, other) = (sample.fresh(), sample.fresh());
            // The dashboard's button sends the same ids each time, and is no duplicate all the same.
            assert_eq!(
                one == other,
                sample.name == "test-button",
                "{}",
                sample.name
            );
            assert!(!one.contains(TIME) && !one.contains(TAG) && !one.contains(NUMBER));
            assert_eq!(one.len(), sample.text.trim_end().len(), "{}", sample.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = SAMPLES.iter().map(|sample| sample.name).collect();
        assert_eq!(names.len(), SAMPLES.len());
    }
}
