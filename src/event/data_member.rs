//! What an event's own part of `data` is, and which arrays hold such parts.

use super::json::name::Name;

/// The arrays whose elements are updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Array {
    Messages,
    Statuses,
    Calls,
    MessageEchoes,
    UserActions,
    UserPreferences,
    StateSync,
    Groups,
    AutomaticEvents,
    Errors,
}

/// What an event's own part of `data` is called there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataMember {
    Element(Array),
    Value,
    /// A change that has no single value.
    Change,
    /// The body, which is `data` itself.
    Body,
}

impl Array {
    /// The array that is called so.
    pub(super) fn named(name: Name) -> Option<Array> {
        match name {
            Name::Messages => Some(Array::Messages),
            Name::Statuses => Some(Array::Statuses),
            Name::Calls => Some(Array::Calls),
            Name::MessageEchoes => Some(Array::MessageEchoes),
            Name::UserActions => Some(Array::UserActions),
            Name::UserPreferences => Some(Array::UserPreferences),
            Name::StateSync => Some(Array::StateSync),
            Name::Groups => Some(Array::Groups),
            Name::AutomaticEvents => Some(Array::AutomaticEvents),
            Name::Errors => Some(Array::Errors),
            _ => None,
        }
    }

    /// The key of the array.
    pub(super) fn key(self) -> &'static str {
        match self {
            Array::Messages => "messages",
            Array::Statuses => "statuses",
            Array::Calls => "calls",
            Array::MessageEchoes => "message_echoes",
            Array::UserActions => "user_actions",
            Array::UserPreferences => "user_preferences",
            Array::StateSync => "state_sync",
            Array::Groups => "groups",
            Array::AutomaticEvents => "automatic_events",
            Array::Errors => "errors",
        }
    }

    /// True for the arrays that the On-Premises shape has at the top.
    pub(super) fn at_top(self) -> bool {
        matches!(self, Array::Messages | Array::Statuses | Array::Errors)
    }
}

impl DataMember {
    /// How `data` begins; for [`DataMember::Body`] that is the body.
    pub(super) fn opening(self) -> &'static str {
        match self {
            DataMember::Element(Array::Messages) => r#"{"message":"#,
            DataMember::Element(Array::Statuses) => r#"{"status":"#,
            DataMember::Element(Array::Calls) => r#"{"call":"#,
            DataMember::Element(Array::MessageEchoes) => r#"{"message_echo":"#,
            DataMember::Element(Array::UserActions) => r#"{"user_action":"#,
            DataMember::Element(Array::UserPreferences) => r#"{"user_preference":"#,
            DataMember::Element(Array::StateSync) => r#"{"state_sync":"#,
            DataMember::Element(Array::Groups) => r#"{"group":"#,
            DataMember::Element(Array::AutomaticEvents) => r#"{"automatic_event":"#,
            DataMember::Element(Array::Errors) => r#"{"error":"#,
            DataMember::Value => r#"{"value":"#,
            DataMember::Change => r#"{"change":"#,
            DataMember::Body => "",
        }
    }
}
