//! Conversations: the business's number and the party on the other side.
//!
//! A party is a group, or a person who has one or both of two names: a phone number and a business-scoped
//! user id. The conversation, an event's `subject`, is `<phone_number_id>:<party>`, where the party is the
//! group, else the phone number, else the user id. Both names of a person are kept beside it, taken from
//! the update and from the contact that belongs to it, so that a reader can learn the pair.
//!
//! | update | the other side |
//! |---|---|
//! | message | `from`; of the business's own messages in a history `to`, or the thread |
//! | system message without `from` | `previous_user_id`, else `wa_id` and `user_id` |
//! | echo | `to` |
//! | status | `recipient_id`, a group if `recipient_type` says so |
//! | call | `to` or `from`, by `direction` |
//! | user preference, group member | `wa_id`, `user_id` |
//! | contact sync | the contact's `phone_number` |
//! | handover, as a whole change | `sender` |
//! | what names nobody | the contact that came with it, if there is one only |

use super::super::data_member::Array;
use super::super::events::Text;
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::key::push_component;
use super::update::Update;

/// The other side of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::event) struct Party<'d> {
    pub(in crate::event) group: Option<&'d str>,
    pub(in crate::event) phone: Option<&'d str>,
    pub(in crate::event) user_id: Option<&'d str>,
}

impl<'d> Party<'d> {
    /// The party of an element of `array`. `business` is the number as displayed, `thread` the thread of a
    /// history sync.
    pub(in crate::event) fn of_update(
        array: Array,
        update: &Update<'d>,
        business: Option<&str>,
        thread: Option<Party<'d>>,
    ) -> Party<'d> {
        let from = (update.text(Name::From), update.text(Name::FromUserId));
        let to = (update.text(Name::To), update.text(Name::ToUserId));
        let (phone, user_id) = match array {
            Array::MessageEchoes => other_side(to, from, business),
            Array::Calls if update.text(Name::Direction) == Some("BUSINESS_INITIATED") => to,
            Array::Calls if update.text(Name::Direction) == Some("USER_INITIATED") => from,
            Array::Messages | Array::Calls => match other_side(from, to, business) {
                (None, None) => changed(update),
                side => side,
            },
            Array::Statuses => {
                let recipient = update
                    .text(Name::RecipientId)
                    .or_else(|| update.text_in(Name::Message, Name::RecipientId)); // On-Premises
                if update.text(Name::RecipientType) == Some("group") && recipient.is_some() {
                    return Party {
                        group: recipient,
                        ..Party::default()
                    };
                }
                (recipient, update.text(Name::RecipientUserId))
            }
            Array::StateSync => {
                let text = |name| update.text_in(Name::Contact, name);
                (text(Name::PhoneNumber), text(Name::UserId))
            }
            Array::UserActions
            | Array::UserPreferences
            | Array::Groups
            | Array::AutomaticEvents
            | Array::Errors => (update.text(Name::WaId), update.text(Name::UserId)),
        };
        let party = Party {
            group: update.text(Name::GroupId),
            phone,
            user_id,
        };
        match thread {
            Some(thread) if party.group.is_none() && !thread.is_unknown() => thread,
            _ => party,
        }
    }

    /// The party of a thread in a history sync.
    pub(in crate::event) fn of_thread(document: &Document<'d>, thread: usize) -> Party<'d> {
        let context = document.member(thread, Name::Context);
        let text = |name| context.and_then(|context| document.text(context, name));
        Party {
            group: None,
            phone: document.text(thread, Name::Id).or_else(|| text(Name::WaId)),
            user_id: text(Name::UserId),
        }
    }

    /// The party of a change as a whole: who handed over or took a conversation.
    pub(in crate::event) fn of_change(document: &Document<'d>, value: usize) -> Party<'d> {
        let sender = document.member(value, Name::Sender);
        let text = |name| sender.and_then(|sender| document.text(sender, name));
        Party {
            group: None,
            phone: text(Name::PhoneNumber),
            user_id: text(Name::UserId),
        }
    }

    /// Fills in what the contact knows. `matched` says that the two share a name; a contact that merely came
    /// with the update names somebody only where the update names nobody.
    pub(in crate::event) fn learn(
        &mut self,
        matched: bool,
        wa_id: Option<&'d str>,
        user_id: Option<&'d str>,
    ) {
        let same = matched
            && (self.phone.is_some() && self.phone == wa_id
                || self.user_id.is_some() && self.user_id == user_id);
        if same || self.is_unknown() {
            self.phone = self.phone.or(wa_id);
            self.user_id = self.user_id.or(user_id);
        }
    }

    /// Appends the conversation, with the number that stands in `out` as a component already. Gives the place of the
    /// party in it; nothing is appended when that is unknown.
    pub(in crate::event) fn write_conversation(&self, out: &mut String, number: Text) -> Text {
        let Some(party) = self.group.or(self.phone).or(self.user_id) else {
            return Text::default();
        };
        if number.len() > 0 {
            out.extend_from_within(number.range());
        } else {
            out.push('-');
        }
        out.push(':');
        let start = out.len();
        push_component(out, party);
        Text::since(start, out.len())
    }

    fn is_unknown(&self) -> bool {
        *self == Party::default()
    }
}

/// Who a system message without a sender is about, by the name that the person had before.
fn changed<'d>(update: &Update<'d>) -> Names<'d> {
    let text = |name| update.text_in(Name::System, name);
    match text(Name::PreviousUserId) {
        None => (text(Name::WaId), text(Name::UserId)),
        previous => (None, previous),
    }
}

/// A phone number and a user id.
type Names<'d> = (Option<&'d str>, Option<&'d str>);

/// `usual`, unless that side is the business itself or nobody; nobody if only the business is named.
fn other_side<'d>(usual: Names<'d>, reverse: Names<'d>, business: Option<&str>) -> Names<'d> {
    let is_business = |names: Names<'_>| {
        let both = names.0.zip(business);
        both.is_some_and(|(side, business)| same_number(side, business))
    };
    let nobody = (None, None);
    if usual != nobody && !is_business(usual) {
        usual
    } else if reverse != nobody && !is_business(reverse) {
        reverse
    } else {
        nobody
    }
}

/// Compares the digits: numbers are also displayed as `+1 555-010-0101`.
fn same_number(a: &str, b: &str) -> bool {
    let mut differing = a.bytes().zip(b.bytes()).skip_while(|(a, b)| a == b);
    // Most are written alike: then the first difference is one between digits.
    if let Some((a, b)) = differing.next()
        && a.is_ascii_digit()
        && b.is_ascii_digit()
    {
        return false;
    }
    a == b || digits(a).eq(digits(b)) && digits(a).next().is_some()
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(u8::is_ascii_digit)
}
