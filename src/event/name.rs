//! The names of members that mean something here, told apart once while a body is scanned.
//!
//! The walk looks at the members of an object several times; so each name is looked up once, by its length and its
//! first eight octets, in a table without collisions that the compiler makes.

macro_rules! names {
    ($($name:ident = $text:literal)*) => {
        /// The name of a member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Name {
            /// One that is not in the list.
            Other,
            $($name),*
        }

        /// Each name with its text.
        const NAMES: &[(Name, &str)] = &[$((Name::$name, $text)),*];
    };
}

names! {
    ActionType = "action_type"
    AutomaticEvents = "automatic_events"
    Calls = "calls"
    Category = "category"
    Changes = "changes"
    ClickId = "click_id"
    Contact = "contact"
    Contacts = "contacts"
    Context = "context"
    Data = "data"
    Direction = "direction"
    DisplayPhoneNumber = "display_phone_number"
    Entry = "entry"
    Errors = "errors"
    Event = "event"
    Field = "field"
    From = "from"
    FromUserId = "from_user_id"
    GroupId = "group_id"
    Groups = "groups"
    History = "history"
    Id = "id"
    Message = "message"
    MessageEchoes = "message_echoes"
    Messages = "messages"
    MessagingProduct = "messaging_product"
    Metadata = "metadata"
    ParticipantRecipientId = "participant_recipient_id"
    Payment = "payment"
    PhoneNumber = "phone_number"
    PhoneNumberId = "phone_number_id"
    PhoneNumberSettings = "phone_number_settings"
    PreviousUserId = "previous_user_id"
    Recipient = "recipient"
    RecipientId = "recipient_id"
    RecipientParticipantId = "recipient_participant_id"
    RecipientParticipantUserId = "recipient_participant_user_id"
    RecipientType = "recipient_type"
    RecipientUserId = "recipient_user_id"
    Refunds = "refunds"
    Sender = "sender"
    Standby = "standby"
    StateSync = "state_sync"
    Status = "status"
    Statuses = "statuses"
    System = "system"
    Threads = "threads"
    Time = "time"
    Timestamp = "timestamp"
    To = "to"
    ToUserId = "to_user_id"
    Transaction = "transaction"
    Type = "type"
    UpdatedTimestamp = "updated_timestamp"
    UserActions = "user_actions"
    UserId = "user_id"
    UserPreferences = "user_preferences"
    Value = "value"
    WaId = "wa_id"
}

impl Name {
    /// Number of names, [`Name::Other`] included.
    pub(super) const COUNT: usize = NAMES.len() + 1;

    /// The name that `text` is.
    #[inline]
    pub(super) fn of(text: &[u8]) -> Name {
        let head = head(text);
        let slot = &TABLE[slot(head, text.len(), SEED)];
        let is_same = slot.head == head && slot.len == text.len();
        if is_same && (text.len() <= 8 || text[8..] == slot.text.as_bytes()[8..]) {
            slot.name
        } else {
            Name::Other
        }
    }
}

#[derive(Clone, Copy)]
struct Slot {
    name: Name,
    text: &'static str,
    head: u64,
    len: usize,
}

const SLOTS: usize = 256;

static TABLE: [Slot; SLOTS] = {
    let mut table = [Slot {
        name: Name::Other,
        text: "",
        head: 0,
        len: 0,
    }; SLOTS];
    let mut next = 0;
    while next < NAMES.len() {
        let (name, text) = NAMES[next];
        let (head, len) = (head(text.as_bytes()), text.len());
        table[slot(head, len, SEED)] = Slot {
            name,
            text,
            head,
            len,
        };
        next += 1;
    }
    table
};

/// The first odd number with which no two names meet.
const SEED: u64 = {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    while !is_free_of_collisions(seed) {
        seed += 2;
    }
    seed
};

const fn is_free_of_collisions(seed: u64) -> bool {
    let mut taken = [false; SLOTS];
    let mut next = 0;
    while next < NAMES.len() {
        let text = NAMES[next].1.as_bytes();
        let slot = slot(head(text), text.len(), seed);
        if taken[slot] {
            return false;
        }
        taken[slot] = true;
        next += 1;
    }
    true
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "eight bits are left")]
const fn slot(head: u64, len: usize, seed: u64) -> usize {
    ((head ^ len as u64).wrapping_mul(seed) >> (64 - SLOTS.trailing_zeros())) as usize
}

/// What is different for different names of the same length: the first eight octets, or all of a shorter one.
#[inline]
const fn head(text: &[u8]) -> u64 {
    // Loads that overlap, where a loop would be a call to copy some octets.
    let len = text.len();
    if let Some(head) = text.first_chunk::<8>() {
        u64::from_le_bytes(*head)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (u32::from_le_bytes(*first) as u64) | (u32::from_le_bytes(*last) as u64) << 32
    } else if len > 0 {
        (text[0] as u64) | (text[len / 2] as u64) << 8 | (text[len - 1] as u64) << 16
    } else {
        0
    }
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
