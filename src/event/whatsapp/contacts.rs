//! Which of a value's contacts belongs to which of its updates.
//!
//! A contact belongs to the update that has one of its names. A single contact belongs to every update of
//! its value; of several, all go with an update that names none of them.

use super::super::json::document::Document;
use super::super::json::name::Name;
use super::key::fingerprint;
use super::update::Update;

/// The contacts of one value; reused from value to value.
#[derive(Debug, Default)]
pub(in crate::event) struct Contacts {
    list: Vec<Contact>,
    /// Position in `list` by fingerprint of a name, sorted. Built when a body's order does not help.
    index: Vec<(u64, usize)>,
    /// `index` was built; it stays empty where no contact has a name.
    is_indexed: bool,
    /// All of them went with some update.
    all_taken: bool,
    /// Contacts mostly stand in the order of the updates, so the search begins here.
    next: usize,
}

/// One element of `contacts`, by position.
#[derive(Clone, Copy, Debug)]
struct Contact {
    at: usize,
    wa_id: Option<usize>,
    user_id: Option<usize>,
    taken: bool,
}

/// What goes with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Chosen<'d> {
    /// There are no contacts.
    None,
    /// One contact, its names, and whether the update has one of them.
    One {
        at: usize,
        matched: bool,
        wa_id: Option<&'d str>,
        user_id: Option<&'d str>,
    },
    /// None of several is named.
    All,
}

impl Contacts {
    /// Bytes of memory that they take.
    pub(in crate::event) fn bytes(&self) -> usize {
        let index = self.index.capacity() * size_of::<(u64, usize)>();
        self.list.capacity() * size_of::<Contact>() + index
    }

    /// Begins with the contacts of another value: the elements of the array at `list`.
    pub(in crate::event) fn begin(&mut self, document: &Document<'_>, list: usize) {
        self.list.clear();
        self.index.clear();
        (self.is_indexed, self.all_taken, self.next) = (false, false, 0);
        self.list.extend(document.elements(list).map(|at| {
            let mut contact = Contact {
                at,
                wa_id: None,
                user_id: None,
                taken: false,
            };
            for member in document.members(at) {
                match member.name {
                    Name::WaId => contact.wa_id = Some(member.at),
                    Name::UserId => contact.user_id = Some(member.at),
                    _ => {}
                }
            }
            contact
        }));
    }

    /// Chooses what goes with `update`.
    pub(in crate::event) fn choose<'d>(
        &mut self,
        document: &Document<'d>,
        update: &Update<'d>,
    ) -> Chosen<'d> {
        let (position, matched, (wa_id, user_id)) = match self.list.as_slice() {
            [] => return Chosen::None,
            [single] => {
                let names = single.names(document);
                (0, is_named(names, update), names)
            }
            _ => {
                let Some((position, names)) = self.find(document, update) else {
                    self.all_taken = true;
                    return Chosen::All;
                };
                (position, true, names)
            }
        };
        let contact = &mut self.list[position];
        contact.taken = true;
        self.next = position;
        Chosen::One {
            at: contact.at,
            matched,
            wa_id,
            user_id,
        }
    }

    /// True if some contact went with no update.
    pub(in crate::event) fn any_left(&self) -> bool {
        !self.all_taken && self.list.iter().any(|contact| !contact.taken)
    }

    /// The position of the contact that has a name of the update, and its names.
    fn find<'d>(
        &mut self,
        document: &Document<'d>,
        update: &Update<'d>,
    ) -> Option<(usize, Names<'d>)> {
        let named = |list: &[Contact], position: usize| {
            let names = list.get(position)?.names(document);
            is_named(names, update).then_some((position, names))
        };
        for position in [self.next, self.next + 1] {
            if let Some(found) = named(&self.list, position) {
                return Some(found);
            }
        }
        if !self.is_indexed {
            self.is_indexed = true;
            for (position, contact) in self.list.iter().enumerate() {
                for name in [contact.wa_id, contact.user_id].into_iter().flatten() {
                    let name = document.scalar(name);
                    self.index
                        .extend(name.map(|name| (fingerprint(name.as_bytes()), position)));
                }
            }
            self.index.sort_unstable();
        }
        update.parties().find_map(|name| {
            let wanted = fingerprint(name.as_bytes());
            let first = self.index.partition_point(|entry| entry.0 < wanted);
            let hit = self.index.get(first).filter(|entry| entry.0 == wanted)?;
            // A contact that merely collides has another name.
            named(&self.list, hit.1)
        })
    }
}

impl Contact {
    fn names<'d>(&self, document: &Document<'d>) -> Names<'d> {
        let text = |at: Option<usize>| document.scalar(at?);
        (text(self.wa_id), text(self.user_id))
    }
}

/// `wa_id` and `user_id`.
type Names<'d> = (Option<&'d str>, Option<&'d str>);

/// True if the update has one of these names.
fn is_named((wa_id, user_id): Names<'_>, update: &Update<'_>) -> bool {
    // Numbers that follow each other differ at their end.
    let same = |name: &str, other: Option<&str>| {
        other.is_some_and(|other| name.bytes().last() == other.bytes().last() && name == other)
    };
    let mut parties = update.parties();
    parties.any(|name| same(name, wa_id) || same(name, user_id))
}
