//! The names of members that mean something here, distinguished once while a body is scanned.
//!
//! The walk looks at the members of an object several times; so each name is looked up once, by its length and its
//! ends, in a table without collisions that the compiler makes.

macro_rules! names {
    ($($name:ident = $text:literal)*) => {
        /// The name of a member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(in crate::event) enum Name {
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
    Object = "object"
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
    pub(in crate::event) const COUNT: usize = NAMES.len() + 1;

    /// The name that `text` is.
    #[inline]
    pub(in crate::event) fn of(text: &[u8]) -> Name {
        let ends = Ends::of(text);
        let entry = &ENTRIES[usize::from(TABLE[slot(&ends, SEED)])];
        let is_same = entry.ends == ends
            && (ends.len <= 16 || text[8..ends.len - 8] == entry.text.as_bytes()[8..ends.len - 8]);
        if is_same { entry.name } else { Name::Other }
    }
}

/// What there is to know of a name.
#[derive(Clone, Copy)]
struct Entry {
    name: Name,
    text: &'static str,
    ends: Ends,
}

/// Behind the first one, which is nothing's, in the order of [`NAMES`].
static ENTRIES: [Entry; Name::COUNT] = {
    let mut entries = [Entry {
        name: Name::Other,
        text: "",
        ends: Ends::of(b""),
    }; Name::COUNT];
    let mut next = 0;
    while next < NAMES.len() {
        let (name, text) = NAMES[next];
        let ends = Ends::of(text.as_bytes());
        next += 1;
        entries[next] = Entry { name, text, ends };
    }
    entries
};

/// All of a text of up to sixteen bytes; of a longer one its ends, which overlap or meet in a shorter one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    len: usize,
    head: u64,
    tail: u64,
}

impl Ends {
    #[inline]
    const fn of(text: &[u8]) -> Ends {
        // Loads that overlap, where a loop would be a call to copy some bytes.
        let len = text.len();
        let (head, tail) = if let Some((head, tail)) = ends::<8>(text) {
            (u64::from_le_bytes(head), u64::from_le_bytes(tail))
        } else if let Some((head, tail)) = ends::<4>(text) {
            (
                u32::from_le_bytes(head) as u64,
                u32::from_le_bytes(tail) as u64,
            )
        } else if let Some((head, tail)) = ends::<2>(text) {
            (
                u16::from_le_bytes(head) as u64,
                u16::from_le_bytes(tail) as u64,
            )
        } else if let Some(&only) = text.first() {
            (only as u64, 0)
        } else {
            (0, 0)
        };
        Ends { len, head, tail }
    }
}

#[inline]
const fn ends<const N: usize>(text: &[u8]) -> Option<([u8; N], [u8; N])> {
    match (text.first_chunk(), text.last_chunk()) {
        (Some(head), Some(tail)) => Some((*head, *tail)),
        _ => None,
    }
}

const SLOTS: usize = 512;

/// The position among the entries for each slot.
static TABLE: [u8; SLOTS] = table(SEED).expect("it is searched for");

/// The first odd number with which no two names meet.
const SEED: u64 = {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    while table(seed).is_none() {
        seed += 2;
    }
    seed
};

#[expect(
    clippy::cast_possible_truncation,
    reason = "there are fewer than 256 names"
)]
const fn table(seed: u64) -> Option<[u8; SLOTS]> {
    let mut table = [0; SLOTS];
    let mut next = 0;
    while next < NAMES.len() {
        let slot = slot(&Ends::of(NAMES[next].1.as_bytes()), seed);
        next += 1;
        if table[slot] > 0 {
            return None;
        }
        table[slot] = next as u8;
    }
    Some(table)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "nine bits are left")]
const fn slot(ends: &Ends, seed: u64) -> usize {
    let mixed = (ends.head ^ ends.tail.rotate_left(32) ^ ends.len as u64).wrapping_mul(seed);
    (mixed >> (64 - SLOTS.trailing_zeros())) as usize
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
