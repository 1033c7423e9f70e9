//! The walk over a parsed body, in the order of its text: each update becomes an event.

use super::super::data_member::{Array, DataMember};
use super::super::json::document::Document;
use super::super::json::name::Name;
use super::context::Keep;
use super::conversation::Party;
use super::emit::Emitter;
use super::kind::Setting;
use super::scope::Scope;
use super::shape;
use super::shape::{Holds, Level, Shape};

/// One body's walk.
pub(in crate::event) struct Walk<'w, 'd> {
    pub(in crate::event) document: Document<'d>,
    pub(in crate::event) emitter: Emitter<'w, 'd>,
    /// What holds updates of the values that are walked just now, the outer ones first.
    pub(in crate::event) carried: &'w mut Vec<(usize, Holds)>,
}

impl<'d> Walk<'_, 'd> {
    /// Walks the body. False if it holds too many updates; what was kept of it so far is of no use then.
    pub(in crate::event) fn body(mut self) -> bool {
        let document = self.document;
        let has_change = |at| !matches!(Shape::of(&document, at), Shape::Other);
        if document.elements(0).any(has_change) {
            for element in document.elements(0) {
                self.notification(element);
            }
        } else {
            self.notification(0);
        }
        !self.emitter.overflow
    }

    fn notification(&mut self, at: usize) {
        let document = self.document;
        let mut scope = self.emitter.outermost();
        let partner = match Shape::of(&document, at) {
            Shape::Notification => return self.value(Level::Top, at, scope),
            Shape::Other => return self.emitter.empty(at),
            Shape::Partner(partner) => partner,
        };
        if !shape::has_updates(&document, Level::Value, partner.data) {
            return self.emitter.partner(at, partner);
        }
        scope.field = Some(partner.event);
        if partner.event == "history" {
            scope.setting = Setting::History;
        }
        scope.waba = document.text(partner.data, Name::Id);
        self.emitter.share_rest(r#","notification":"#, at, |_, at| {
            if at == partner.data {
                Keep::Nothing
            } else {
                Keep::All
            }
        });
        self.value(Level::Value, partner.data, scope);
        self.emitter.unshare_to(0);
    }

    fn entry(&mut self, at: usize, outer: Scope<'d>) {
        let document = self.document;
        let (mut id, mut time) = (None, None);
        for member in document.members(at) {
            match member.name {
                Name::Id => id = Some(member.at),
                Name::Time => time = Some(member.at),
                _ => {}
            }
        }
        let scope = Scope {
            waba: id.and_then(|id| document.scalar(id)),
            entry_time: time.and_then(|time| document.scalar(time)),
            number: None,
            business: None,
            ..outer
        };
        let depth = self.emitter.depth();
        let is_changes = |name, at| name == Name::Changes && document.is_filled_array(at);
        self.emitter.share_rest(r#","entry":"#, at, |name, at| {
            if is_changes(name, at) {
                Keep::Nothing
            } else {
                Keep::All
            }
        });
        for member in document
            .members(at)
            .filter(|member| is_changes(member.name, member.at))
        {
            for change in document.elements(member.at) {
                self.change(change, scope);
            }
        }
        self.emitter.unshare_to(depth);
    }

    fn change(&mut self, at: usize, outer: Scope<'d>) {
        let document = self.document;
        let Change {
            field,
            first,
            count,
            others,
        } = Change::read(&document, at);
        let mut scope = Scope {
            field: field.and_then(|field| document.scalar(field)),
            ..outer
        };
        if scope.field == Some("history") {
            scope.setting = Setting::History;
        }
        let depth = self.emitter.depth();
        let has_updates = |at| shape::has_updates(&document, Level::Value, at);
        let single = first.filter(|_| count == 1);
        let values = || {
            document
                .members(at)
                .filter(|member| member.name == Name::Value)
        };
        let whole = !values().any(|value| has_updates(value.at));
        // Of a single one it is known.
        let is_carried = |at| !whole && (single.is_some() || has_updates(at));
        if !whole || single.is_some() {
            if let Some(field) = field {
                self.emitter.share(r#","field":"#, field);
            }
            if single.is_none() || others {
                self.emitter.share_rest(r#","change":"#, at, |name, at| {
                    let carried =
                        field == Some(at) || name == Name::Value && (whole || is_carried(at));
                    if carried { Keep::Nothing } else { Keep::All }
                });
            }
        }
        if !whole {
            for value in values().filter(|value| is_carried(value.at)) {
                self.value(Level::Value, value.at, scope);
            }
        } else if let Some(value) = single {
            self.emitter
                .whole_change(DataMember::Value, value, scope.of_value(&document, value));
        } else {
            self.emitter.whole_change(DataMember::Change, at, scope);
        }
        self.emitter.unshare_to(depth);
    }

    /// The updates of an object whose members are arrays of them.
    fn value(&mut self, level: Level, at: usize, outer: Scope<'d>) {
        let document = self.document;
        let depth = self.emitter.depth();
        let begin = self.carried.len();
        let Members {
            mut lifted,
            number,
            others,
        } = self.members(level, at);
        let mut scope = outer;
        scope.find_number(&document, number);
        // Without a number the top of a body has the place that it began with.
        if level != Level::Top || scope.number.is_some() {
            self.emitter.place(&mut scope);
        }
        lifted.contacts = lifted
            .contacts
            .filter(|&at| document.is_filled_array(at) && !self.emitter.has_contacts());
        for (key, at) in [
            (r#","messaging_product":"#, lifted.product),
            (r#","metadata":"#, lifted.metadata),
        ] {
            if let Some(at) = at {
                self.emitter.share(key, at);
            }
        }
        let rest = match level {
            Level::Top => r#","notification":"#,
            Level::Value => r#","value":"#,
            Level::Standby => r#","standby":"#,
        };
        if others > lifted.count() {
            let mut carried = self.carried[begin..].iter().peekable();
            self.emitter
                .share_rest(rest, at, |_, at| match carried.next_if(|it| it.0 == at) {
                    Some((_, Holds::Entries { all: false })) => {
                        Keep::ElementsWithout(shape::entry_has_changes)
                    }
                    Some((_, Holds::History)) => Keep::ElementsWithout(shape::chunk_has_messages),
                    Some(_) => Keep::Nothing,
                    None if lifted.has(at) => Keep::Nothing,
                    None => Keep::All,
                });
        }
        let first = self.emitter.count();
        if let Some(contacts) = lifted.contacts {
            self.emitter.begin_contacts(contacts);
        }
        for next in begin..self.carried.len() {
            let (at, holds) = self.carried[next];
            match holds {
                Holds::Entries { all } => {
                    for entry in document.elements(at) {
                        if all || shape::entry_has_changes(&document, entry) {
                            self.entry(entry, scope);
                        }
                    }
                }
                Holds::Updates(array) => {
                    for element in document.elements(at) {
                        self.emitter.update(array, element, &scope);
                    }
                }
                Holds::History => self.history(at, scope),
                Holds::Standby => {
                    let scope = Scope {
                        setting: Setting::Standby,
                        ..scope
                    };
                    self.value(Level::Standby, at, scope);
                }
                Holds::None => {}
            }
        }
        self.carried.truncate(begin);
        if lifted.contacts.is_some() {
            self.emitter.end_contacts(first);
        }
        self.emitter.unshare_to(depth);
    }

    /// Looks at the members of such an object, and lists those that hold updates.
    fn members(&mut self, level: Level, at: usize) -> Members {
        let document = self.document;
        let mut lifted = Lifted::default();
        let (mut recipient, mut settings) = (None, None);
        let mut beside_entries = false;
        let mut others = 0;
        for member in document.members(at) {
            others += 1;
            match member.name {
                Name::MessagingProduct => lifted.product = Some(member.at),
                Name::Metadata => lifted.metadata = Some(member.at),
                Name::Contacts => lifted.contacts = Some(member.at),
                Name::Recipient => recipient = Some(member.at),
                Name::PhoneNumberSettings => settings = Some(member.at),
                name => {
                    let holds = shape::holds(&document, level, name, member.at);
                    beside_entries |= matches!(holds, Holds::Entries { .. });
                    others -= usize::from(holds.is_whole());
                    if holds != Holds::None {
                        self.carried.push((member.at, holds));
                    }
                }
            }
        }
        let number = [lifted.metadata, recipient, settings];
        // Entries bring their own.
        if beside_entries {
            lifted = Lifted::default();
        }
        // These are the value's already.
        if level == Level::Standby {
            (lifted.product, lifted.metadata) = (None, None);
        }
        Members {
            lifted,
            number,
            others,
        }
    }

    fn history(&mut self, at: usize, outer: Scope<'d>) {
        let document = self.document;
        let has_messages = |&at: &usize| shape::thread_has_messages(&document, at);
        let is_threads = |name, at| {
            name == Name::Threads && document.elements(at).any(|thread| has_messages(&thread))
        };
        let is_messages = |name, at| name == Name::Messages && document.is_filled_array(at);
        let mut chunks = document.elements(at);
        while let Some(chunk) = chunks.find(|&chunk| shape::chunk_has_messages(&document, chunk)) {
            let depth = self.emitter.depth();
            self.emitter
                .share_rest(r#","history":"#, chunk, |name, at| {
                    if is_threads(name, at) {
                        Keep::ElementsWithout(shape::thread_has_messages)
                    } else {
                        Keep::All
                    }
                });
            let members = document
                .members(chunk)
                .filter(|member| is_threads(member.name, member.at));
            let threads = members.flat_map(|member| document.elements(member.at));
            for thread in threads.filter(has_messages) {
                let depth = self.emitter.depth();
                self.emitter
                    .share_rest(r#","thread":"#, thread, |name, at| {
                        if is_messages(name, at) {
                            Keep::Nothing
                        } else {
                            Keep::All
                        }
                    });
                let scope = Scope {
                    setting: Setting::History,
                    thread: Some(Party::of_thread(&document, thread)),
                    ..outer
                };
                let members = document.members(thread);
                for member in members.filter(|member| is_messages(member.name, member.at)) {
                    for message in document.elements(member.at) {
                        self.emitter.update(Array::Messages, message, &scope);
                    }
                }
                self.emitter.unshare_to(depth);
            }
            self.emitter.unshare_to(depth);
        }
    }
}

/// The members of a change that matter.
#[derive(Default)]
struct Change {
    field: Option<usize>,
    /// The first `value`, and how many there are.
    first: Option<usize>,
    count: usize,
    /// There is something else, or a second `field`.
    others: bool,
}

impl Change {
    fn read(document: &Document<'_>, at: usize) -> Change {
        let mut change = Change::default();
        for member in document.members(at) {
            match member.name {
                Name::Field => {
                    change.others |= change.field.is_some();
                    change.field = Some(member.at);
                }
                Name::Value => {
                    change.first = change.first.or(Some(member.at));
                    change.count += 1;
                }
                _ => change.others = true,
            }
        }
        change
    }
}

/// The members of an object whose members are arrays of updates.
struct Members {
    lifted: Lifted,
    /// The places of the number.
    number: [Option<usize>; 3],
    /// How many there are without those that are carried as a whole.
    others: usize,
}

/// Members of a value that stand in `data` under their own names.
#[derive(Clone, Copy, Default)]
struct Lifted {
    product: Option<usize>,
    metadata: Option<usize>,
    contacts: Option<usize>,
}

impl Lifted {
    fn has(self, at: usize) -> bool {
        [self.product, self.metadata, self.contacts].contains(&Some(at))
    }

    fn count(self) -> usize {
        let all = [self.product, self.metadata, self.contacts];
        all.into_iter().flatten().count()
    }
}
