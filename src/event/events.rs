//! Where events are kept: compact entries, and one text that they point into.

use super::data_member::DataMember;
use super::form::{self, Sender};
use super::json::span::Span;
use super::lane::Lane;
use super::pages::{OWN_PAGES, own_pages};
use super::position::Position;
use std::ops::Range;

/// A reusable list of events. Clearing it keeps its memory, so that in the steady state no event allocates.
#[derive(Debug, Default)]
pub struct Events {
    pub(super) list: Vec<Entry>,
    /// Types, keys, sources, subjects and names.
    pub(super) names: String,
    /// Parts of `data` that several events share.
    pub(super) shared: Vec<u8>,
}

/// One event, borrowed from its list.
#[derive(Clone, Copy, Debug)]
pub struct Event<'e> {
    pub(super) events: &'e Events,
    pub(super) event: &'e Entry,
}

/// Where a body comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub sequence: u64,
    /// Position of the record in its batch, from 0.
    pub record: u32,
    /// Number that the journal gives to the endpoint; 0 is none's.
    pub endpoint: u16,
    /// Time of arrival in microseconds since 1970.
    pub received_at: u64,
    /// It came from other senders than the platform, who may mean the same body anew.
    pub foreign: bool,
}

/// Why a body passes as `whatsapp.unparsed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// It is not JSON by RFC 8259, or not UTF-8.
    NotJson,
    /// It nests deeper than [`NESTING_MAX`](super::NESTING_MAX).
    TooDeep,
    /// It holds more than [`UPDATES_MAX`](super::UPDATES_MAX) updates.
    TooMany,
    /// A version before this one has passed it so, since the process ended while it was taken apart.
    Crashed,
    /// Nobody can take it apart. This is no event: it stands for one in the books, see [`Event::is_dead`].
    Poisoned,
}

/// An entry of the list. Offsets of 32 bits do: the texts of a batch of bodies stay far below 4 GiB.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they say nothing of each other"
)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) received_at: u64,
    pub(super) time: u64,
    pub(super) fingerprint: u64,
    pub(super) record: u32,
    pub(super) index: u32,
    pub(super) endpoint: u16,
    pub(super) foreign: bool,
    /// The update's own part of `data`, in the body.
    pub(super) own: Span,
    /// There may be line ends in the parts that lie in the body.
    pub(super) has_lines: bool,
    pub(super) part: DataMember,
    pub(super) contacts: WithContacts,
    /// The other members of `data`, in the shared text.
    pub(super) context: Text,
    pub(super) kind: Type,
    pub(super) id: Text,
    pub(super) source: Text,
    pub(super) subject: Text,
    pub(super) phone: Text,
    pub(super) user_id: Text,
    pub(super) number: Text,
    /// See [`Sender::write_extensions`](super::form::Sender::write_extensions).
    pub(super) extensions: Text,
    pub(super) lane: Lane,
    pub(super) weak_key: bool,
    pub(super) duplicate: bool,
    pub(super) unparsed: Option<Unparsed>,
}

/// The contacts that go with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum WithContacts {
    #[default]
    None,
    /// The place of one contact.
    One(Span),
    /// The place of the array.
    All(Span),
}

/// A type from the tables, or one made up from what the body says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    Known(&'static str),
    Unknown(Text),
    /// One that another sender has given it.
    Foreign(Text),
}

impl Events {
    /// Bytes that a list keeps for any events: more than a batch of ordinary bodies needs.
    pub const RETAINED_MAX: usize = 512 << 10;

    /// Bytes that it keeps at all, for more large bodies: what those of a thousand updates need.
    pub const LARGE_MAX: usize = 1 << 20;

    /// An empty list.
    pub fn new() -> Events {
        Events::default()
    }

    /// Takes all events out. Keeps the memory that they took, up to [`LARGE_MAX`](Events::LARGE_MAX), so that one large
    /// body does not pin it for ever.
    pub fn clear(&mut self) {
        if self.bytes() > Events::RETAINED_MAX {
            self.fit();
            if self.bytes() > Events::LARGE_MAX {
                *self = Events::new();
            }
        }
        self.list.clear();
        self.names.clear();
        self.shared.clear();
    }

    /// Bytes of memory that it has, those for more events included.
    pub fn bytes(&self) -> usize {
        self.list.capacity() * size_of::<Entry>() + self.names.capacity() + self.shared.capacity()
    }

    /// Makes room for the events of a large body.
    pub(super) fn expect_many(&mut self) {
        own_pages(&mut self.list);
        let more = OWN_PAGES.saturating_sub(self.names.len());
        self.names.reserve_exact(more);
    }

    /// Gives back the room for more events, where that is much.
    pub fn fit(&mut self) {
        if self.bytes() > Events::RETAINED_MAX {
            self.list.shrink_to_fit();
            self.names.shrink_to_fit();
            self.shared.shrink_to_fit();
        }
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The event at a position, counted from 0.
    pub fn get(&self, position: usize) -> Option<Event<'_>> {
        let event = self.list.get(position)?;
        Some(Event {
            events: self,
            event,
        })
    }

    /// The events in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> + DoubleEndedIterator {
        self.list.iter().map(|event| Event {
            events: self,
            event,
        })
    }

    /// Notes that the event at a position, counted from 0, says what an earlier one has said.
    pub fn mark_duplicate(&mut self, position: usize) {
        if let Some(event) = self.list.get_mut(position) {
            event.duplicate = true;
        }
    }

    /// Gives the events from a position on what came with their body.
    pub(super) fn extend_from(&mut self, first: usize, sender: &Sender<'_>, is_json: bool) {
        let start = self.names.len();
        sender.write_extensions(is_json, &mut self.names);
        let extensions = Text::since(start, self.names.len());
        if extensions.len() > 0 {
            let events = self.list.get_mut(first..).unwrap_or_default();
            for event in events {
                event.extensions = extensions;
            }
        }
    }

    /// Takes out the first ones, so many.
    pub fn remove_first(&mut self, count: usize) {
        self.list.drain(..count.min(self.list.len()));
    }

    /// Takes the last event out, as only a bug would.
    #[cfg(test)]
    pub(crate) fn lose_the_last(&mut self) {
        self.list.pop();
    }

    /// The present end of the list, for [`Events::truncate`].
    pub(crate) fn mark(&self) -> (usize, usize, usize) {
        (self.list.len(), self.names.len(), self.shared.len())
    }

    /// Takes out what was added since the mark.
    pub(crate) fn truncate(&mut self, mark: (usize, usize, usize)) {
        self.list.truncate(mark.0);
        self.names.truncate(mark.1);
        self.shared.truncate(mark.2);
        self.fit();
    }

    /// Appends text to the names and gives its place.
    pub(super) fn name(&mut self, text: &str) -> Text {
        let start = self.names.len();
        self.names.push_str(text);
        Text::since(start, self.names.len())
    }
}

impl<'e> Event<'e> {
    /// Sequence in the journal of the notification.
    pub fn sequence(&self) -> u64 {
        self.event.sequence
    }

    /// Position among the events of the notification, from 0.
    pub fn index(&self) -> u32 {
        self.event.index
    }

    /// Where it stands in the journal.
    pub fn position(&self) -> Position {
        Position {
            sequence: self.sequence(),
            index: self.index(),
        }
    }

    /// Position of the notification in its batch, from 0.
    pub fn record(&self) -> u32 {
        self.event.record
    }

    /// Number that the journal gives to the endpoint it came to.
    pub fn endpoint(&self) -> u16 {
        self.event.endpoint
    }

    /// True if it came from other senders than the platform.
    pub fn is_foreign(&self) -> bool {
        self.event.foreign
    }

    /// The type: printable ASCII, at most 100 bytes.
    pub fn kind(&self) -> &'e str {
        match self.event.kind {
            Type::Known(kind) => kind,
            Type::Unknown(text) | Type::Foreign(text) => self.name(text),
        }
    }

    /// True if the type is one that the platform documents, or not one of the platform.
    pub fn is_known(&self) -> bool {
        !matches!(self.event.kind, Type::Unknown(_))
    }

    /// The key: equal for two deliveries of one update, and for nothing else. Printable ASCII.
    pub fn id(&self) -> &'e str {
        self.name(self.event.id)
    }

    /// The same as bytes, for what only compares it.
    pub fn id_bytes(&self) -> &'e [u8] {
        self.bytes(self.event.id)
    }

    /// [`fingerprint`](super::fingerprint) of the key.
    pub fn fingerprint(&self) -> u64 {
        self.event.fingerprint
    }

    /// True if the body holds neither an id nor a time that tells this update from another one that says the
    /// same, such as an error. The next one has the same key then, so such keys are to be remembered shortly.
    pub fn has_weak_key(&self) -> bool {
        self.event.weak_key
    }

    /// True if it was found to say what an earlier one has said, see [`Events::mark_duplicate`].
    pub fn is_duplicate(&self) -> bool {
        self.event.duplicate
    }

    /// `/whatsapp/<waba>/<phone_number_id>`, as far as the body says; of another sender `/<provider>/<endpoint>`.
    pub fn source(&self) -> &'e str {
        self.name(self.event.source)
    }

    /// The business account (WABA), as the source names it.
    pub fn waba(&self) -> Option<&'e str> {
        let account = self.source().strip_prefix("/whatsapp/")?.split('/').next();
        account.filter(|account| *account != "-")
    }

    /// The conversation `<phone_number_id>:<party>`; order holds within it. `None` if the update has no
    /// other side.
    pub fn subject(&self) -> Option<&'e str> {
        self.optional(self.event.subject)
    }

    /// The business's number, as the platform identifies it.
    pub fn phone_number_id(&self) -> Option<&'e str> {
        self.optional(self.event.number)
    }

    /// Phone number of the other party, as it stands in the body and unescaped.
    pub fn party_phone(&self) -> Option<&'e str> {
        self.optional(self.event.phone)
    }

    /// Business-scoped user id of the other party, as it stands in the body and unescaped.
    pub fn party_user_id(&self) -> Option<&'e str> {
        self.optional(self.event.user_id)
    }

    /// User id and phone number of the other party as bytes, if it has both.
    pub fn party_names(&self) -> Option<[&'e [u8]; 2]> {
        let [user_id, phone] = [self.event.user_id, self.event.phone];
        let has_both = user_id.len() > 0 && phone.len() > 0;
        has_both.then(|| [self.bytes(user_id), self.bytes(phone)])
    }

    /// The business's number as bytes; empty if there is none.
    pub fn number_bytes(&self) -> &'e [u8] {
        self.bytes(self.event.number)
    }

    pub fn lane(&self) -> Lane {
        self.event.lane
    }

    /// Time of the update in microseconds since 1970: its own timestamp, else the entry's, else that of arrival.
    pub fn time(&self) -> u64 {
        self.event.time
    }

    /// Time of arrival in microseconds since 1970.
    pub fn received_at(&self) -> u64 {
        self.event.received_at
    }

    /// Why this is `whatsapp.unparsed`, if it is.
    pub fn unparsed(&self) -> Option<Unparsed> {
        self.event.unparsed
    }

    /// The attributes that it has from its sender: names, and values that need an escape in JSON.
    pub(super) fn extensions(&self) -> impl Iterator<Item = (&'e str, &'e str)> + use<'e> {
        form::pairs(self.name(self.event.extensions))
    }

    /// True if it has any.
    pub(super) fn has_extensions(&self) -> bool {
        self.event.extensions.len() > 0
    }

    /// True if this is no event that anybody is to have: it stands in the books, as dead, for a body that nobody can
    /// take apart.
    pub fn is_dead(&self) -> bool {
        self.unparsed() == Some(Unparsed::Poisoned)
    }

    /// The members of `data` that the event shares with others.
    pub(super) fn context(&self) -> &'e [u8] {
        self.events
            .shared
            .get(self.event.context.range())
            .unwrap_or_default()
    }

    fn name(&self, text: Text) -> &'e str {
        self.events.names.get(text.range()).unwrap_or_default()
    }

    /// Without a look at where characters begin.
    fn bytes(&self, text: Text) -> &'e [u8] {
        let names = self.events.names.as_bytes();
        names.get(text.range()).unwrap_or_default()
    }

    fn optional(&self, text: Text) -> Option<&'e str> {
        (text.len() > 0).then(|| self.name(text))
    }
}

/// A place in one of the texts of an [`Events`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    start: u32,
    end: u32,
}

impl Text {
    /// What was appended since the text was `start` bytes long.
    pub(super) fn since(start: usize, end: usize) -> Text {
        let offset = |at| u32::try_from(at).expect("limits keep the texts of a batch below 4 GiB");
        Text {
            start: offset(start),
            end: offset(end),
        }
    }

    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
