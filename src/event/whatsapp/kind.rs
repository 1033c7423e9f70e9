//! Event types: `whatsapp.message.text`, `whatsapp.status.delivered`, `whatsapp.account_update` …
//!
//! Everything that the platform documents is in the tables below. What is not in them passes under the same
//! scheme with what the body calls it, and counts as unknown.
//!
//! | type | of |
//! |---|---|
//! | `whatsapp.message.<type>` | messages |
//! | `whatsapp.echo.<type>` | messages that the business sent from its app |
//! | `whatsapp.history.message.<type>` | messages of a history sync |
//! | `whatsapp.status.<status>` | statuses of messages |
//! | `whatsapp.payment.<status>`, `whatsapp.call.<status>` | statuses of payments and calls |
//! | `whatsapp.call.<event>` | calls |
//! | `whatsapp.user_action.<action>` | user actions |
//! | `whatsapp.error` | errors of a value |
//! | `whatsapp.standby.message.<type>` … | copies for an app that does not own the thread |
//! | `whatsapp.<field>` | everything else that came as a change |
//! | `whatsapp.partner.<event>` | 360dialog's partner envelope |
//! | `whatsapp.empty`, `whatsapp.unparsed` | bodies without a change, and bodies that are not JSON |

use super::super::data_member::Array;
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::super::lane::Lane;
use super::update::Update;

/// The type of a body that has no change.
pub(in crate::event) const EMPTY: &str = "whatsapp.empty";

/// The type of a body that is not JSON, or beyond a limit.
pub(in crate::event) const UNPARSED: &str = "whatsapp.unparsed";

/// Longest name in bytes that is taken from a body into a type; the rest of a longer one is cut.
const NAME_MAX: usize = 64;

/// What an update stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event) enum Setting {
    /// A value that tells what happens now.
    #[default]
    Live,
    /// A history sync: its threads, and what the field `history` sends after them.
    History,
    /// A `standby` object.
    Standby,
}

/// Types that begin alike.
#[derive(Debug)]
pub(in crate::event) struct Family {
    /// What they begin with, without the dot at the end.
    prefix: &'static str,
    /// True if the prefix alone is a type of the platform.
    bare: bool,
    /// The documented ones: what the body says, and the type.
    known: &'static [(&'static str, &'static str)],
    pub(in crate::event) lane: Lane,
}

impl Family {
    /// True if `name` is documented, written as it is.
    fn contains(&self, name: &str) -> bool {
        self.known.iter().any(|known| known.0 == name)
    }
}

/// A family and what the body calls the update.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct Kind<'d> {
    pub(in crate::event) family: &'static Family,
    name: Option<&'d str>,
}

impl<'d> Kind<'d> {
    /// The kind of an element of `array`.
    pub(in crate::event) fn of_update(
        setting: Setting,
        array: Array,
        update: &Update<'d>,
        field: Option<&'d str>,
    ) -> Kind<'d> {
        let kind = update.kind();
        let status = |message, payment, call| match kind {
            Some("payment") => payment,
            Some("call") => call,
            _ => message,
        };
        let (family, name) = match (array, setting) {
            (Array::Messages, Setting::Live) => (&MESSAGE, kind),
            (Array::Messages, Setting::History) => (&HISTORY_MESSAGE, kind),
            (Array::Messages, Setting::Standby) => (&STANDBY_MESSAGE, kind),
            (Array::MessageEchoes, Setting::Standby) => (&STANDBY_ECHO, kind),
            (Array::MessageEchoes, _) => (&ECHO, kind),
            (Array::Statuses, Setting::Standby) => (
                status(&STANDBY_STATUS, &STANDBY_PAYMENT, &STANDBY_CALL),
                update.text(Name::Status),
            ),
            (Array::Statuses, _) => (status(&STATUS, &PAYMENT, &CALL), update.text(Name::Status)),
            (Array::Calls, Setting::Standby) => (&STANDBY_CALL, update.of_call()),
            (Array::Calls, _) => (&CALL, update.of_call()),
            (Array::UserActions, Setting::Standby) => {
                (&STANDBY_USER_ACTION, update.text(Name::ActionType))
            }
            (Array::UserActions, _) => (&USER_ACTION, update.text(Name::ActionType)),
            (Array::Errors, Setting::Standby) => (&STANDBY_ERROR, None),
            (Array::Errors, _) => (&ERROR, None),
            (
                Array::UserPreferences | Array::StateSync | Array::Groups | Array::AutomaticEvents,
                _,
            ) => (&FIELD, Some(field.unwrap_or(array.key()))),
        };
        Kind { family, name }
    }

    /// For a message that does not say what it is, as the platform's own example of a location: the one
    /// member that is called like a documented type.
    pub(in crate::event) fn or_by_member(self, document: &Document<'d>, at: usize) -> Kind<'d> {
        if self.name.is_some() || !self.family.contains("location") {
            return self;
        }
        let documented = |name: &&str| self.family.contains(name);
        let mut names = document
            .members(at)
            .filter_map(|member| document.name(member))
            .filter(documented);
        let name = names.next();
        let same = names.all(|other| Some(other) == name);
        Kind {
            name: name.filter(|_| same),
            ..self
        }
    }

    /// The kind of a change as a whole.
    pub(in crate::event) fn of_change(field: Option<&'d str>) -> Kind<'d> {
        Kind {
            family: &FIELD,
            name: Some(field.unwrap_or("change")),
        }
    }

    /// The kind of 360dialog's partner envelope.
    pub(in crate::event) fn of_partner(event: &'d str) -> Kind<'d> {
        Kind {
            family: &PARTNER,
            name: Some(event),
        }
    }

    /// The type if it is a documented one.
    pub(in crate::event) fn known(&self) -> Option<&'static str> {
        let Some(name) = self.name else {
            return self.family.bare.then_some(self.family.prefix);
        };
        let known = self.family.known;
        // Nearly always it is written as documented.
        let written = known.iter().find(|known| known.0 == name);
        let known = written.or_else(|| {
            let mut known = known.iter();
            known.find(|known| known.0.eq_ignore_ascii_case(name))
        });
        known.map(|known| known.1)
    }

    /// Appends the type, made printable: lower-case letters, digits, `_` and `-`.
    pub(in crate::event) fn write(&self, out: &mut String) {
        out.push_str(self.family.prefix);
        let Some(name) = self.name else { return };
        out.push('.');
        out.extend(name.bytes().take(NAME_MAX).map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte),
            b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
            _ => '_',
        }));
    }
}

/// All types that the platform documents, and those of updates that do not say what they are. Those that begin alike
/// come as one, with `.*` behind.
pub fn known_types() -> impl Iterator<Item = (&'static str, bool)> {
    let families = FAMILIES
        .iter()
        .filter(|family| family.prefix != FIELD.prefix);
    let families = families.map(|family| (family.prefix, !family.bare));
    let types = FAMILIES.iter().flat_map(|family| family.known);
    let types = types.map(|(_, kind)| (*kind, false));
    families
        .chain(types)
        .chain(WITHOUT_A_FIELD.map(|kind| (kind, false)))
}

/// Pairs of what the body says and the type.
macro_rules! types {
    ($prefix:literal: $($name:literal)*) => { &[$(($name, concat!($prefix, ".", $name))),*] };
}

macro_rules! message_types {
    ($prefix:literal) => {
        types!($prefix: "text" "image" "interactive" "button" "audio" "reaction" "document" "video"
            "sticker" "location" "contacts" "order" "system" "unsupported" "edit" "revoke"
            "request_welcome" "media_placeholder" "unknown" "ephemeral" "voice" "errors" "hsm")
    };
}

macro_rules! status_types {
    ($prefix:literal) => {
        types!($prefix: "delivered" "read" "sent" "failed" "played" "deleted" "warning")
    };
}

macro_rules! payment_types {
    ($prefix:literal) => { types!($prefix: "captured" "pending" "failed") };
}

macro_rules! call_types {
    ($prefix:literal) => {
        types!($prefix: "connect" "terminate" "ringing" "accepted" "rejected" "call_created"
            "recording_available" "transcription_available")
    };
}

macro_rules! user_action_types {
    ($prefix:literal) => { types!($prefix: "marketing_messages_link_click") };
}

macro_rules! family {
    ($prefix:literal, $lane:ident, $known:expr) => {
        Family {
            prefix: $prefix,
            bare: false,
            known: $known,
            lane: Lane::$lane,
        }
    };
}

static MESSAGE: Family = family!(
    "whatsapp.message",
    Messages,
    message_types!("whatsapp.message")
);
static ECHO: Family = family!("whatsapp.echo", Messages, message_types!("whatsapp.echo"));
static HISTORY_MESSAGE: Family = family!(
    "whatsapp.history.message",
    Rest,
    message_types!("whatsapp.history.message")
);
static STATUS: Family = family!(
    "whatsapp.status",
    Statuses,
    status_types!("whatsapp.status")
);
static PAYMENT: Family = family!(
    "whatsapp.payment",
    Statuses,
    payment_types!("whatsapp.payment")
);
// The statuses of a call stand in one order with its events.
static CALL: Family = family!("whatsapp.call", Messages, call_types!("whatsapp.call"));
static STANDBY_MESSAGE: Family = family!(
    "whatsapp.standby.message",
    Messages,
    message_types!("whatsapp.standby.message")
);
static STANDBY_ECHO: Family = family!(
    "whatsapp.standby.echo",
    Messages,
    message_types!("whatsapp.standby.echo")
);
static STANDBY_STATUS: Family = family!(
    "whatsapp.standby.status",
    Statuses,
    status_types!("whatsapp.standby.status")
);
static STANDBY_PAYMENT: Family = family!(
    "whatsapp.standby.payment",
    Statuses,
    payment_types!("whatsapp.standby.payment")
);
static STANDBY_CALL: Family = family!(
    "whatsapp.standby.call",
    Messages,
    call_types!("whatsapp.standby.call")
);
static STANDBY_ERROR: Family = Family {
    prefix: "whatsapp.standby.error",
    bare: true,
    known: &[],
    lane: Lane::Rest,
};
static ERROR: Family = Family {
    prefix: "whatsapp.error",
    bare: true,
    known: &[],
    lane: Lane::Rest,
};
static USER_ACTION: Family = family!(
    "whatsapp.user_action",
    Rest,
    user_action_types!("whatsapp.user_action")
);
static STANDBY_USER_ACTION: Family = family!(
    "whatsapp.standby.user_action",
    Rest,
    user_action_types!("whatsapp.standby.user_action")
);
static PARTNER: Family = family!(
    "whatsapp.partner",
    Rest,
    types!("whatsapp.partner": "client_created" "channel_created" "channel_ready"
        "channel_running" "account_violation" "account_restriction")
);
static FIELD: Family = family!(
    "whatsapp",
    Rest,
    types!("whatsapp": "messages" "account_alerts" "account_review_update"
        "account_settings_update" "account_update" "automatic_events"
        "business_capability_update" "business_status_update" "business_username_update"
        "business_username_updates" "calls" "flows" "group_lifecycle_update"
        "group_participants_update" "group_settings_update" "group_status_update" "history"
        "message_echoes" "message_template_components_update"
        "message_template_quality_update" "message_template_status_update"
        "messaging_handovers" "partner_solutions" "payment_configuration_update"
        "phone_number_name_update" "phone_number_quality_update" "security"
        "smb_app_state_sync" "smb_message_echoes" "standby" "template_category_update"
        "template_correct_category_detection" "template_performance_metrics"
        "tracking_events" "user_id_update" "user_preferences")
);

static FAMILIES: [&Family; 17] = [
    &MESSAGE,
    &ECHO,
    &HISTORY_MESSAGE,
    &STANDBY_MESSAGE,
    &STANDBY_ECHO,
    &STATUS,
    &PAYMENT,
    &CALL,
    &STANDBY_STATUS,
    &STANDBY_PAYMENT,
    &STANDBY_CALL,
    &STANDBY_ERROR,
    &ERROR,
    &USER_ACTION,
    &STANDBY_USER_ACTION,
    &PARTNER,
    &FIELD,
];

/// Types of bodies and of changes that lack what others are called by.
const WITHOUT_A_FIELD: [&str; 5] = [
    EMPTY,
    UNPARSED,
    "whatsapp.change",
    "whatsapp.state_sync",
    "whatsapp.groups",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::json::scan::Scan;

    fn typed(kind: Kind<'_>) -> (String, bool) {
        let mut written = String::new();
        kind.write(&mut written);
        if let Some(known) = kind.known() {
            assert_eq!(known, written, "the table and the scheme agree");
        }
        (written, kind.known().is_some())
    }

    #[test]
    fn an_unknown_name_passes_printable_and_bounded() {
        let (written, known) = typed(Kind::of_change(Some("New.Field \u{e9}\n")));
        assert_eq!((written.as_str(), known), ("whatsapp.new_field____", false));
        let (written, _) = typed(Kind::of_change(Some(&"x".repeat(1000))));
        assert_eq!(written.len(), "whatsapp.".len() + NAME_MAX);
    }

    #[test]
    fn a_missing_name_leaves_the_family() {
        let scan = Scan::default();
        let update = Update::read(Document::new("", &scan), 0);
        let typed = |array| typed(Kind::of_update(Setting::Live, array, &update, None));
        assert_eq!(
            typed(Array::Messages),
            ("whatsapp.message".to_owned(), false)
        );
        assert_eq!(typed(Array::Errors), ("whatsapp.error".to_owned(), true));
        assert_eq!(
            typed(Array::StateSync),
            ("whatsapp.state_sync".to_owned(), false)
        );
    }

    #[test]
    fn the_tables_say_what_the_scheme_says() {
        for family in FAMILIES {
            for (name, _) in family.known {
                assert!(
                    typed(Kind {
                        family,
                        name: Some(name)
                    })
                    .1
                );
            }
        }
    }
}
