//! The facts of one update, found in one look at its members.

use super::super::json::document::Document;
use super::super::json::name::Name;

/// What an element of any of the arrays says: the positions of its members.
#[derive(Clone, Copy)]
pub(in crate::event) struct Update<'d> {
    document: Document<'d>,
    at: usize,
    /// By name; 0 if there is none, for there is the body itself.
    members: [u32; Name::COUNT],
}

impl<'d> Update<'d> {
    /// Reads the object at `at`; what is not an object has no facts. Of a repeated name the last counts.
    #[inline]
    pub(in crate::event) fn read(document: Document<'d>, at: usize) -> Update<'d> {
        let mut update = Update {
            document,
            at,
            members: [0; Name::COUNT],
        };
        for member in document.members(at) {
            #[expect(clippy::cast_possible_truncation, reason = "nodes have 32 bits")]
            let position = member.at as u32;
            update.members[member.name as usize] = position;
        }
        update
    }

    /// The member `name`, by position.
    pub(in crate::event) fn member(&self, name: Name) -> Option<usize> {
        let at = self.members[name as usize] as usize;
        (at > 0).then_some(at)
    }

    /// The text of the member `name`, never empty; a number counts as its digits.
    pub(in crate::event) fn text(&self, name: Name) -> Option<&'d str> {
        self.document.scalar(self.member(name)?)
    }

    /// The text of the member `inner` of the member `outer`.
    pub(in crate::event) fn text_in(&self, outer: Name, inner: Name) -> Option<&'d str> {
        self.document.text(self.member(outer)?, inner)
    }

    /// `type`.
    pub(in crate::event) fn kind(&self) -> Option<&'d str> {
        self.text(Name::Type)
    }

    /// What happens to a call: its event, or a status of it.
    pub(in crate::event) fn of_call(&self) -> Option<&'d str> {
        self.text(Name::Event).or_else(|| self.text(Name::Status))
    }

    /// The member of a group that a status is about; the platform spells it in both ways.
    pub(in crate::event) fn participant(&self) -> Option<&'d str> {
        let spelled = [Name::RecipientParticipantId, Name::ParticipantRecipientId];
        let last = spelled
            .into_iter()
            .filter_map(|name| self.member(name))
            .max();
        self.document.scalar(last?)
    }

    /// The `<action_type>_data` of a user action, by position.
    pub(in crate::event) fn action_data(&self) -> Option<usize> {
        let document = self.document;
        let is_data = |member| {
            let name = document.name(member);
            name.is_some_and(|name| name.ends_with("_data"))
        };
        document
            .members(self.at)
            .filter(|&member| is_data(member) && document.is_object(member.at))
            .last()
            .map(|member| member.at)
    }

    /// The names under which a contact may belong to this update, the most telling first.
    pub(in crate::event) fn parties(&self) -> impl Iterator<Item = &'d str> {
        let others = PARTIES.into_iter().filter_map(|name| self.text(name));
        self.participant().into_iter().chain(others)
    }
}

/// Those after [`Update::participant`].
const PARTIES: [Name; 9] = [
    Name::RecipientParticipantUserId,
    Name::From,
    Name::FromUserId,
    Name::RecipientId,
    Name::RecipientUserId,
    Name::To,
    Name::ToUserId,
    Name::WaId,
    Name::UserId,
];
