//! From a place in the walk to an event in the list.

use super::super::data_member::{Array, DataMember};
use super::super::events::{Entry, Events, Origin, Text, Type, WithContacts};
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::super::json::span::Span;
use super::super::lane::Lane;
use super::super::time;
use super::contacts::{Chosen, Contacts};
use super::context::{Context, Keep};
use super::conversation::Party;
use super::key;
use super::key::{COMPONENT_MAX, Key};
use super::kind;
use super::kind::{Kind, Setting};
use super::scope::Scope;
use super::shape::Partner;
use super::update::Update;

/// Most updates that one body may hold; one with more passes whole as `whatsapp.unparsed`. The platform
/// sends up to 1000, and a history chunk of 3 MB some 15 000. The limit keeps a body of a million empty
/// messages from taking a hundred times its size in memory.
pub const UPDATES_MAX: u32 = 65_536;

/// Makes the events of one body.
pub(in crate::event) struct Emitter<'w, 'd> {
    document: Document<'d>,
    origin: Origin,
    events: &'w mut Events,
    context: &'w mut Context,
    contacts: &'w mut Contacts,
    /// The contacts that apply, and how many more events may have all of them.
    all_contacts: Option<(Span, usize)>,
    /// What the last key with an owner and a field began with, and the source of its scope.
    begun: Option<(Text, Text)>,
    /// Computed when first needed.
    body_hash: Option<[u8; 16]>,
    index: u32,
    /// There are too many updates; the events are of no use.
    pub(in crate::event) overflow: bool,
}

/// An event before it is kept.
struct Draft<'d> {
    kind: Type,
    lane: Lane,
    id: Text,
    weak_key: bool,
    part: DataMember,
    own: Span,
    contacts: WithContacts,
    party: Party<'d>,
    time: Option<u64>,
}

impl<'w, 'd> Emitter<'w, 'd> {
    pub(in crate::event) fn new(
        document: Document<'d>,
        origin: Origin,
        events: &'w mut Events,
        context: &'w mut Context,
        contacts: &'w mut Contacts,
    ) -> Self {
        context.begin(&document);
        Emitter {
            document,
            origin,
            events,
            context,
            contacts,
            all_contacts: None,
            begun: None,
            body_hash: None,
            index: 0,
            overflow: false,
        }
    }

    /// One element of an array of updates.
    pub(in crate::event) fn update(&mut self, array: Array, at: usize, scope: &Scope<'d>) {
        if self.is_full() {
            return;
        }
        let document = self.document;
        let update = Update::read(document, at);
        let mut party = Party::of_update(array, &update, scope.business, scope.thread);
        let contacts = match self.contacts_for(&update) {
            Chosen::None => WithContacts::None,
            Chosen::One {
                at,
                matched,
                wa_id,
                user_id,
            } => {
                party.learn(matched, wa_id, user_id);
                WithContacts::One(document.span(at))
            }
            Chosen::All => self.every_contact(),
        };
        let kind = Kind::of_update(scope.setting, array, &update, scope.field)
            .or_by_member(&self.document, at);
        let (id, identified) = self.update_key(array, at, &update, scope);
        let timestamp = update.text(Name::Timestamp).and_then(time::parse);
        let inner = || time::parse(update.text_in(Name::Metadata, Name::Timestamp)?);
        let time = timestamp.or_else(inner);
        let draft = Draft {
            kind: self.kind(kind),
            lane: kind.family.lane,
            id,
            weak_key: !identified && time.is_none() && scope.entry_time.is_none(),
            part: DataMember::Element(array),
            own: document.span(at),
            contacts,
            party,
            time,
        };
        self.keep(&draft, scope);
    }

    /// A change that is one update.
    pub(in crate::event) fn whole_change(
        &mut self,
        part: DataMember,
        at: usize,
        mut scope: Scope<'d>,
    ) {
        if self.is_full() {
            return;
        }
        self.place(&mut scope);
        let document = self.document;
        let kind = Kind::of_change(scope.field);
        let start = self.events.names.len();
        let mut key = scope.account_key(&mut self.events.names);
        key.hash(document.raw(at));
        scope.mark_test(&mut key, self.origin);
        // Before the type is written, which depends on what this version knows.
        let id = Text::since(start, self.events.names.len());
        let time = document.text(at, Name::Timestamp).and_then(time::parse);
        let draft = Draft {
            kind: self.kind(kind),
            lane: kind.family.lane,
            id,
            weak_key: time.is_none() && scope.entry_time.is_none(),
            part,
            own: document.span(at),
            contacts: WithContacts::None,
            party: Party::of_change(&document, at),
            time,
        };
        self.keep(&draft, &scope);
    }

    /// A partner envelope that is one update.
    pub(in crate::event) fn partner(&mut self, at: usize, partner: Partner<'d>) {
        if self.is_full() {
            return;
        }
        let kind = Kind::of_partner(partner.event);
        let start = self.events.names.len();
        Key::begin(&mut self.events.names, Some("360dialog"), Some(partner.id));
        let id = Text::since(start, self.events.names.len());
        let draft = Draft {
            kind: self.kind(kind),
            lane: kind.family.lane,
            id,
            weak_key: false,
            part: DataMember::Body,
            own: self.document.span(at),
            contacts: WithContacts::None,
            party: Party::default(),
            time: None,
        };
        let scope = self.outermost();
        self.keep(&draft, &scope);
    }

    /// A body without a change, or such an element of a body that is an array.
    pub(in crate::event) fn empty(&mut self, at: usize) {
        if self.is_full() {
            return;
        }
        let draft = Draft {
            kind: Type::Known(kind::EMPTY),
            lane: Lane::Rest,
            id: self.position_key("empty"),
            weak_key: !self.origin.foreign,
            part: DataMember::Body,
            own: self.document.span(at),
            contacts: WithContacts::None,
            party: Party::default(),
            time: None,
        };
        let scope = self.outermost();
        self.keep(&draft, &scope);
    }

    /// The scope of a body, with nothing known.
    pub(in crate::event) fn outermost(&mut self) -> Scope<'d> {
        Scope {
            source: self.events.name("/whatsapp"),
            ..Scope::default()
        }
    }

    /// Writes down the source that a scope has found.
    pub(in crate::event) fn place(&mut self, scope: &mut Scope<'d>) {
        scope.write_source(&mut self.events.names);
        scope.number_text = self.name(scope.number, scope.number_part);
    }

    /// Shares a member with the events that follow.
    pub(in crate::event) fn share(&mut self, key: &str, at: usize) {
        self.context
            .push(&mut self.events.shared, &self.document, key, at);
    }

    /// Shares what `keep` leaves of an object.
    pub(in crate::event) fn share_rest(
        &mut self,
        key: &str,
        object: usize,
        keep: impl FnMut(Name, usize) -> Keep,
    ) {
        self.context
            .push_rest(&mut self.events.shared, &self.document, key, object, keep);
    }

    /// How many members are shared.
    pub(in crate::event) fn depth(&self) -> usize {
        self.context.depth()
    }

    /// Shares only the first `depth` members from here on.
    pub(in crate::event) fn unshare_to(&mut self, depth: usize) {
        self.context.pop_to(depth);
    }

    /// Number of events in the list, those of other bodies included.
    pub(in crate::event) fn count(&self) -> usize {
        self.events.len()
    }

    /// True while the contacts of some object apply.
    pub(in crate::event) fn has_contacts(&self) -> bool {
        self.all_contacts.is_some()
    }

    /// Applies the contacts in the array at `at` to the updates that follow.
    pub(in crate::event) fn begin_contacts(&mut self, at: usize) {
        self.contacts.begin(&self.document, at);
        let span = self.document.span(at);
        self.all_contacts = Some((span, Context::copies(span.len())));
    }

    /// No longer applies them. Contacts that belong to no update go with the last one since `first`.
    pub(in crate::event) fn end_contacts(&mut self, first: usize) {
        let contacts = self.all_contacts.take();
        if !self.contacts.any_left() {
            return;
        }
        let last = self
            .events
            .list
            .get_mut(first..)
            .and_then(<[Entry]>::last_mut);
        if let (Some(last), Some((span, _))) = (last, contacts) {
            last.contacts = WithContacts::All(span);
        }
    }

    /// Writes the key of an update; says whether an id of its own is in it.
    fn update_key(
        &mut self,
        array: Array,
        at: usize,
        update: &Update<'d>,
        scope: &Scope<'d>,
    ) -> (Text, bool) {
        let document = self.document;
        let names = &mut self.events.names;
        let start = names.len();
        let mut identified = false;
        let mut key = match array {
            Array::StateSync | Array::Groups | Array::AutomaticEvents => {
                let mut key = scope.account_key(names);
                key.hash(document.raw(at));
                key
            }
            _ => {
                let owner = scope.number.or(scope.waba);
                let mut key = match self.begun {
                    Some((source, begun)) if source == scope.source => Key::again(names, begun),
                    _ => Key::begin(names, owner, scope.field),
                };
                self.begun = Some((scope.source, key.so_far()));
                let history = scope.setting == Setting::History;
                identified = key.identify(&document, array, update, history);
                if !identified {
                    let hash = self
                        .body_hash
                        .get_or_insert_with(|| key::hash(document.body()));
                    key.position(*hash, self.index);
                }
                key
            }
        };
        scope.mark_test(&mut key, self.origin);
        (Text::since(start, self.events.names.len()), identified)
    }

    fn position_key(&mut self, field: &str) -> Text {
        let start = self.events.names.len();
        let mut key = Key::begin(&mut self.events.names, None, Some(field));
        let hash = self
            .body_hash
            .get_or_insert_with(|| key::hash(self.document.body()));
        key.position(*hash, self.index);
        if self.origin.foreign {
            key.number(self.origin.sequence);
        }
        Text::since(start, self.events.names.len())
    }

    fn kind(&mut self, kind: Kind<'d>) -> Type {
        if let Some(known) = kind.known() {
            return Type::Known(known);
        }
        let start = self.events.names.len();
        kind.write(&mut self.events.names);
        Type::Unknown(Text::since(start, self.events.names.len()))
    }

    fn contacts_for(&mut self, update: &Update<'d>) -> Chosen<'d> {
        if self.all_contacts.is_none() {
            return Chosen::None;
        }
        self.contacts.choose(&self.document, update)
    }

    /// All contacts, unless their copies add up to too much.
    fn every_contact(&mut self) -> WithContacts {
        match &mut self.all_contacts {
            Some((span, left @ 1..)) => {
                *left -= 1;
                WithContacts::All(*span)
            }
            _ => WithContacts::None,
        }
    }

    /// Notes when no more updates are taken.
    fn is_full(&mut self) -> bool {
        self.overflow |= self.index >= UPDATES_MAX;
        self.overflow
    }

    /// The place of a name that has just been written as a component, where that is the name as it is.
    fn name(&mut self, name: Option<&str>, component: Text) -> Text {
        match name {
            Some(name) if name.len() == component.len() => component,
            _ => self.events.name(bounded(name)),
        }
    }

    fn keep(&mut self, draft: &Draft<'d>, scope: &Scope<'d>) {
        let start = self.events.names.len();
        let names = &mut self.events.names;
        let party = draft.party.write_conversation(names, scope.number_part);
        let subject = Text::since(start, self.events.names.len());
        let phone = match draft.party.group {
            None => self.name(draft.party.phone, party),
            Some(_) => self.events.name(bounded(draft.party.phone)),
        };
        let user_id = self.events.name(bounded(draft.party.user_id));
        let id = self.events.names.get(draft.id.range()).unwrap_or_default();
        let event = Entry {
            fingerprint: key::fingerprint(id.as_bytes()),
            sequence: self.origin.sequence,
            received_at: self.origin.received_at,
            time: draft
                .time
                .or_else(|| time::parse(scope.entry_time?))
                .unwrap_or(self.origin.received_at),
            record: self.origin.record,
            index: self.index,
            endpoint: self.origin.endpoint,
            foreign: self.origin.foreign,
            own: draft.own,
            has_lines: self.document.has_lines(),
            part: draft.part,
            contacts: draft.contacts,
            context: match draft.part {
                DataMember::Body => Text::default(),
                _ => self.context.text(&mut self.events.shared),
            },
            kind: draft.kind,
            id: draft.id,
            source: scope.source,
            subject,
            phone,
            user_id,
            number: scope.number_text,
            extensions: Text::default(),
            lane: draft.lane,
            weak_key: draft.weak_key,
            duplicate: false,
            unparsed: None,
        };
        self.events.list.push(event);
        self.index += 1;
    }
}

/// A name as it is, or nothing if no name is as long as that.
fn bounded(name: Option<&str>) -> &str {
    name.filter(|name| name.len() <= COMPONENT_MAX)
        .unwrap_or_default()
}
