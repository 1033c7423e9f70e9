//! Where updates stand: the arrays that hold them, and which containers have any.

use super::super::data_member::Array;
use super::super::json::document::Document;
use super::super::json::name::Name;

/// The kinds of object that have updates as members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Level {
    /// The notification itself (On-Premises).
    Top,
    /// The value of a change, or the `data` of a partner envelope.
    Value,
    /// The `standby` of a value.
    Standby,
}

/// What a member of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event) enum Holds {
    /// Entries, with changes in at least one, or in all of them.
    Entries { all: bool },
    /// Updates, all of its elements.
    Updates(Array),
    /// Threads of a history sync, with messages in at least one.
    History,
    /// A standby object with updates.
    Standby,
    /// No updates.
    None,
}

impl Holds {
    /// True for what is carried as a whole, not some of its elements.
    pub(in crate::event) fn is_whole(self) -> bool {
        matches!(self, Holds::Updates(_) | Holds::Standby)
    }
}

/// What updates the member `name` with the value `at` of an object at `level` holds.
pub(in crate::event) fn holds(
    document: &Document<'_>,
    level: Level,
    name: Name,
    at: usize,
) -> Holds {
    if let Some(array) = Array::named(name) {
        let counts = level != Level::Top || array.at_top();
        if counts && document.is_filled_array(at) {
            return Holds::Updates(array);
        }
    } else if level == Level::Top {
        if name == Name::Entry {
            return entries(document, at);
        }
    } else if level == Level::Value {
        if name == Name::History
            && document
                .elements(at)
                .any(|chunk| chunk_has_messages(document, chunk))
        {
            return Holds::History;
        }
        if name == Name::Standby && has_updates(document, Level::Standby, at) {
            return Holds::Standby;
        }
    }
    Holds::None
}

/// True if an object at `level` has updates.
pub(in crate::event) fn has_updates(document: &Document<'_>, level: Level, at: usize) -> bool {
    document
        .members(at)
        .any(|member| holds(document, level, member.name, member.at) != Holds::None)
}

/// True if an element of `history` has a thread with messages.
pub(in crate::event) fn chunk_has_messages(document: &Document<'_>, at: usize) -> bool {
    document.members(at).any(|member| {
        member.name == Name::Threads
            && document
                .elements(member.at)
                .any(|thread| thread_has_messages(document, thread))
    })
}

/// True if a thread of a history sync has messages.
pub(in crate::event) fn thread_has_messages(document: &Document<'_>, at: usize) -> bool {
    document
        .members(at)
        .any(|member| member.name == Name::Messages && document.is_filled_array(member.at))
}

/// True if an element of `entry` has changes.
pub(in crate::event) fn entry_has_changes(document: &Document<'_>, at: usize) -> bool {
    document
        .members(at)
        .any(|member| member.name == Name::Changes && document.is_filled_array(member.at))
}

/// What the array at `at`, the value of `entry`, holds.
fn entries(document: &Document<'_>, at: usize) -> Holds {
    let (mut any, mut all) = (false, true);
    for entry in document.elements(at) {
        let has_changes = entry_has_changes(document, entry);
        any |= has_changes;
        all &= has_changes;
    }
    if any {
        Holds::Entries { all }
    } else {
        Holds::None
    }
}

/// What a body is, or an element of a body that is an array.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) enum Shape<'d> {
    /// It has changes, or updates at the top.
    Notification,
    /// 360dialog's partner envelope.
    Partner(Partner<'d>),
    /// It has no change.
    Other,
}

/// 360dialog's partner envelope `{id,event,data}`.
#[derive(Clone, Copy, Debug)]
pub(in crate::event) struct Partner<'d> {
    pub(in crate::event) id: &'d str,
    pub(in crate::event) event: &'d str,
    pub(in crate::event) data: usize,
}

impl<'d> Shape<'d> {
    pub(in crate::event) fn of(document: &Document<'d>, at: usize) -> Shape<'d> {
        let (mut id, mut event, mut data) = (None, None, None);
        for member in document.members(at) {
            match member.name {
                Name::Id => id = document.scalar(member.at),
                Name::Event => event = document.scalar(member.at),
                Name::Data => data = Some(member.at).filter(|&data| document.is_object(data)),
                name if holds(document, Level::Top, name, member.at) != Holds::None => {
                    return Shape::Notification;
                }
                _ => {}
            }
        }
        match (id, event, data) {
            (Some(id), Some(event), Some(data)) => Shape::Partner(Partner { id, event, data }),
            _ => Shape::Other,
        }
    }
}
