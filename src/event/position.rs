//! Where an event stands in the journal: `SEQ.INDEX`, as the envelope's `position` says it.

use std::fmt;
use std::str::FromStr;

/// The place of an event: that of its notification, and its own in the body. Ordered as the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Sequence of the notification in the journal.
    pub sequence: u64,
    /// Place among the events of the notification, from 0.
    pub index: u32,
}

/// A notification as a whole, or one event of it. Ordered as the journal is, a whole one before its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    pub sequence: u64,
    /// Place of the event in it, from 0; `None` for all of it.
    pub index: Option<u32>,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the `position` of an event, as in 4711.3, or 4711 for all of a notification")]
pub struct NoPosition;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.index)
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Position, NoPosition> {
        let (sequence, index) = text.split_once('.').ok_or(NoPosition)?;
        Ok(Position {
            sequence: digits(sequence)?,
            index: digits(index)?,
        })
    }
}

impl From<Position> for Item {
    fn from(position: Position) -> Item {
        Item {
            sequence: position.sequence,
            index: Some(position.index),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}.{index}", self.sequence),
            None => write!(f, "{}", self.sequence),
        }
    }
}

/// `SEQ` or `SEQ.INDEX`.
impl FromStr for Item {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Item, Self::Err> {
        if text.contains('.') {
            return Ok(text.parse::<Position>()?.into());
        }
        Ok(Item {
            sequence: digits(text)?,
            index: None,
        })
    }
}

/// Digits alone: `parse` would take a sign as well.
pub(crate) fn digits<N: FromStr>(text: &str) -> Result<N, NoPosition> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten();
    number.ok_or(NoPosition)
}

#[cfg(test)]
mod tests {
    use super::{Item, NoPosition, Position};

    #[test]
    fn what_is_written_is_read() {
        let position = Position {
            sequence: u64::MAX,
            index: 7,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "1", "1.", ".1", "+1.0", "1.0.0", "1.-1", "1.4294967296"] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
    }

    #[test]
    fn items_are_read_as_they_are_written_and_ordered_as_they_stand() {
        let mut items: Vec<Item> = ["7.1", "7", "8", "7.0", "6.9"]
            .map(|text| {
                let item: Item = text.parse().unwrap();
                assert_eq!(item.to_string(), text);
                item
            })
            .to_vec();
        items.sort();
        let sorted: Vec<String> = items.iter().map(Item::to_string).collect();
        assert_eq!(sorted, ["6.9", "7", "7.0", "7.1", "8"]);
    }
}
