//! The facts of one update, found in one look at its members.

use super::document::Document;

/// What an element of any of the arrays may say that the envelope needs. Texts are never empty; a
/// number counts as its digits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Update<'d> {
    pub(super) id: Option<&'d str>,
    /// `type`.
    pub(super) kind: Option<&'d str>,
    pub(super) status: Option<&'d str>,
    pub(super) event: Option<&'d str>,
    pub(super) timestamp: Option<&'d str>,
    pub(super) from: Option<&'d str>,
    pub(super) from_user_id: Option<&'d str>,
    pub(super) to: Option<&'d str>,
    pub(super) to_user_id: Option<&'d str>,
    pub(super) recipient: Option<&'d str>,
    pub(super) recipient_user_id: Option<&'d str>,
    pub(super) recipient_type: Option<&'d str>,
    /// `recipient_participant_id`, also spelled `participant_recipient_id`.
    pub(super) participant: Option<&'d str>,
    pub(super) participant_user_id: Option<&'d str>,
    pub(super) group_id: Option<&'d str>,
    pub(super) wa_id: Option<&'d str>,
    pub(super) user_id: Option<&'d str>,
    pub(super) direction: Option<&'d str>,
    pub(super) category: Option<&'d str>,
    pub(super) value: Option<&'d str>,
    pub(super) action_type: Option<&'d str>,
    /// Tape index of `payment`.
    pub(super) payment: Option<usize>,
    /// Tape index of `message` (On-Premises statuses).
    pub(super) message: Option<usize>,
    /// Tape index of `contact` (contact sync).
    pub(super) contact: Option<usize>,
    /// Tape index of `system` (system messages).
    pub(super) system: Option<usize>,
    /// Tape index of `metadata` (contact sync).
    pub(super) metadata: Option<usize>,
    /// Tape index of `<action_type>_data`.
    pub(super) action_data: Option<usize>,
}

impl<'d> Update<'d> {
    /// Reads the object at `at`; what is not an object has no facts. Of a repeated key the last counts.
    pub(super) fn read(document: &Document<'d>, at: usize) -> Update<'d> {
        let mut update = Update::default();
        for member in document.members(at) {
            let at = member.at;
            let text = || document.scalar(at);
            match member.key.len() {
                2 => match member.key {
                    "id" => update.id = text(),
                    "to" => update.to = text(),
                    _ => {}
                },
                4 => match member.key {
                    "from" => update.from = text(),
                    "type" => update.kind = text(),
                    _ => {}
                },
                5 => match member.key {
                    "wa_id" => update.wa_id = text(),
                    "event" => update.event = text(),
                    "value" => update.value = text(),
                    _ => {}
                },
                6 => match member.key {
                    "status" => update.status = text(),
                    "system" => update.system = Some(at),
                    _ => {}
                },
                7 => match member.key {
                    "user_id" => update.user_id = text(),
                    "payment" => update.payment = Some(at),
                    "message" => update.message = Some(at),
                    "contact" => update.contact = Some(at),
                    _ => {}
                },
                8 => match member.key {
                    "group_id" => update.group_id = text(),
                    "category" => update.category = text(),
                    "metadata" => update.metadata = Some(at),
                    _ => {}
                },
                9 => match member.key {
                    "timestamp" => update.timestamp = text(),
                    "direction" => update.direction = text(),
                    _ => {}
                },
                10 if member.key == "to_user_id" => update.to_user_id = text(),
                11 if member.key == "action_type" => update.action_type = text(),
                12 => match member.key {
                    "recipient_id" => update.recipient = text(),
                    "from_user_id" => update.from_user_id = text(),
                    _ => {}
                },
                14 if member.key == "recipient_type" => update.recipient_type = text(),
                17 if member.key == "recipient_user_id" => update.recipient_user_id = text(),
                24 => match member.key {
                    "recipient_participant_id" | "participant_recipient_id" => {
                        update.participant = text();
                    }
                    _ => {}
                },
                29 if member.key == "recipient_participant_user_id" => {
                    update.participant_user_id = text();
                }
                _ => {
                    if member.key.ends_with("_data") && document.is_object(at) {
                        update.action_data = Some(at);
                    }
                }
            }
        }
        update
    }

    /// The names under which a contact may belong to this update, the most telling first.
    pub(super) fn names(&self) -> [Option<&'d str>; 10] {
        [
            self.participant,
            self.participant_user_id,
            self.from,
            self.from_user_id,
            self.recipient,
            self.recipient_user_id,
            self.to,
            self.to_user_id,
            self.wa_id,
            self.user_id,
        ]
    }
}
