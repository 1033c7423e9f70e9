//! The names of members that mean something here, distinguished once while a body is scanned.
//!
//! The walk looks at the members of an object several times; so each name is looked up once: by its length, and then
//! among the few of that length, which the compiler compares in words.

macro_rules! names {
    ($($len:literal: $($name:ident = $text:literal)*)*) => {
        /// The name of a member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::event) enum Name {
            /// One that is not in the list.
            Other,
            $($($name),*),*
        }

        /// Each name with its text.
        const NAMES: &[(Name, &str)] = &[$($((Name::$name, $text)),*),*];

        impl Name {
            /// The name that `text` is.
            #[inline]
            pub(in crate::event) fn of(text: &[u8]) -> Name {
                match text.len() {
                    $($($len if text == $text.as_bytes() => Name::$name,)*)*
                    _ => Name::Other,
                }
            }
        }
    };
}

// By their length.
names! {
    2:
    Id = "id"
    To = "to"
    4:
    Data = "data"
    From = "from"
    Time = "time"
    Type = "type"
    5:
    Calls = "calls"
    Entry = "entry"
    Event = "event"
    Field = "field"
    Value = "value"
    WaId = "wa_id"
    6:
    Errors = "errors"
    Groups = "groups"
    Object = "object"
    Sender = "sender"
    Status = "status"
    System = "system"
    7:
    Changes = "changes"
    Contact = "contact"
    Context = "context"
    History = "history"
    Message = "message"
    Payment = "payment"
    Refunds = "refunds"
    Standby = "standby"
    Threads = "threads"
    UserId = "user_id"
    8:
    Category = "category"
    ClickId = "click_id"
    Contacts = "contacts"
    GroupId = "group_id"
    Messages = "messages"
    Metadata = "metadata"
    Statuses = "statuses"
    9:
    Direction = "direction"
    Recipient = "recipient"
    Timestamp = "timestamp"
    10:
    StateSync = "state_sync"
    ToUserId = "to_user_id"
    11:
    ActionType = "action_type"
    Transaction = "transaction"
    12:
    FromUserId = "from_user_id"
    PhoneNumber = "phone_number"
    RecipientId = "recipient_id"
    UserActions = "user_actions"
    14:
    MessageEchoes = "message_echoes"
    RecipientType = "recipient_type"
    15:
    PhoneNumberId = "phone_number_id"
    16:
    AutomaticEvents = "automatic_events"
    PreviousUserId = "previous_user_id"
    UserPreferences = "user_preferences"
    17:
    MessagingProduct = "messaging_product"
    RecipientUserId = "recipient_user_id"
    UpdatedTimestamp = "updated_timestamp"
    20:
    DisplayPhoneNumber = "display_phone_number"
    21:
    PhoneNumberSettings = "phone_number_settings"
    24:
    ParticipantRecipientId = "participant_recipient_id"
    RecipientParticipantId = "recipient_participant_id"
    29:
    RecipientParticipantUserId = "recipient_participant_user_id"
}

impl Name {
    /// Number of names, [`Name::Other`] included.
    pub(in crate::event) const COUNT: usize = NAMES.len() + 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_and_nothing_like_it() {
        for (name, text) in NAMES {
            assert_eq!(Name::of(text.as_bytes()), *name);
            assert_ne!(Name::of(format!("{text}s").as_bytes()), *name);
            assert_eq!(Name::of(text.to_uppercase().as_bytes()), Name::Other);
        }
        assert_eq!(Name::of(b""), Name::Other);
    }
}
