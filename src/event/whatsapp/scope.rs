//! What the surroundings of an update say about it.

use super::super::events::{Origin, Text};
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::conversation::Party;
use super::key::{Key, push_component};
use super::kind::Setting;

/// Gathered on the way from the top of a body to an update; of an outer and an inner one the inner counts.
#[derive(Clone, Copy, Default)]
pub(in crate::event) struct Scope<'d> {
    pub(in crate::event) setting: Setting,
    pub(in crate::event) waba: Option<&'d str>,
    /// `phone_number_id`.
    pub(in crate::event) number: Option<&'d str>,
    /// The number as displayed.
    pub(in crate::event) business: Option<&'d str>,
    pub(in crate::event) field: Option<&'d str>,
    pub(in crate::event) entry_time: Option<&'d str>,
    pub(in crate::event) thread: Option<Party<'d>>,
    /// `source` and the number, once they are written down.
    pub(in crate::event) source: Text,
    pub(in crate::event) number_text: Text,
    /// The number as a component: it stands in the source.
    pub(in crate::event) number_part: Text,
}

impl<'d> Scope<'d> {
    /// Adds what the object at `value` says about the business's number.
    pub(in crate::event) fn of_value(mut self, document: &Document<'d>, value: usize) -> Scope<'d> {
        // Messages and statuses have `metadata`, handovers `recipient`, settings the last.
        let mut places = [None; 3];
        for member in document.members(value) {
            match member.name {
                Name::Metadata => places[0] = Some(member.at),
                Name::Recipient => places[1] = Some(member.at),
                Name::PhoneNumberSettings => places[2] = Some(member.at),
                _ => {}
            }
        }
        self.find_number(document, places);
        self
    }

    /// Adds what the first of these places says about the number that names it.
    pub(in crate::event) fn find_number(
        &mut self,
        document: &Document<'d>,
        places: [Option<usize>; 3],
    ) {
        for at in places.into_iter().flatten() {
            let (mut id, mut displayed) = (None, None);
            for member in document.members(at) {
                match member.name {
                    Name::PhoneNumberId => id = Some(member.at),
                    Name::DisplayPhoneNumber => displayed = Some(member.at),
                    _ => {}
                }
            }
            if let Some(number) = id.and_then(|id| document.scalar(id)) {
                self.number = Some(number);
                self.business = displayed.and_then(|at| document.scalar(at));
                break;
            }
        }
    }

    /// Appends `/whatsapp/<waba>/<phone_number_id>`, as far as they are known.
    pub(in crate::event) fn write_source(&mut self, out: &mut String) {
        let start = out.len();
        out.push_str("/whatsapp");
        if self.waba.is_some() || self.number.is_some() {
            out.push('/');
            push_component(out, self.waba.unwrap_or("-"));
        }
        self.number_part = Text::default();
        if let Some(number) = self.number {
            out.push('/');
            let start = out.len();
            push_component(out, number);
            self.number_part = Text::since(start, out.len());
        }
        self.source = Text::since(start, out.len());
    }

    /// Begins the key of an update that the account has rather than the number.
    pub(in crate::event) fn account_key<'o>(&self, out: &'o mut String) -> Key<'o> {
        let mut key = Key::begin(out, self.waba.or(self.number), self.field);
        key.part(self.entry_time.unwrap_or("-"));
        key
    }

    /// Makes the key of an update from the dashboard's test button one of its own: all of them have the same
    /// ids, and the second press must not vanish.
    pub(in crate::event) fn mark_test(&self, key: &mut Key<'_>, origin: Origin) {
        let is_test =
            self.waba == Some("0") && self.number.is_none_or(|number| number == "123456123");
        if is_test {
            key.test(origin.sequence);
        }
    }
}
