//! From an event to an entry: names and values of its fields, in a buffer of their own until they are sent.
//!
//! In the buffer each of them stands behind its length, as four bytes.

use crate::event::{self, Event};
use ::redis::Cmd;

/// Appends the fields; gives how many texts that are. Data of more than `value_max` bytes, which the server takes for
/// an attack, are left out, and their length stands there.
pub(super) fn write(
    event: Event<'_>,
    raw_body: &[u8],
    value_max: Option<usize>,
    out: &mut Vec<u8>,
) -> Written {
    let mut texts = 0;
    event::attributes(event, |name, value| {
        text(out, name.as_bytes());
        text(out, value.as_bytes());
        texts += 2;
    });
    text(out, b"datacontenttype");
    text(out, event::content_type(event).as_bytes());
    let name_at = out.len();
    text(out, b"data");
    let at = out.len();
    out.extend_from_slice(&[0; LEN]);
    event::render_data(event, raw_body, out);
    let len = out.len() - at - LEN;
    let is_too_large = value_max.is_some_and(|max| len > max);
    if is_too_large {
        out.truncate(name_at);
        text(out, b"data_bytes");
        text(out, len.to_string().as_bytes());
    } else if let (Some(place), Ok(len)) = (out.get_mut(at..at + LEN), u32::try_from(len)) {
        place.copy_from_slice(&len.to_le_bytes());
    }
    Written {
        texts: texts + 4,
        left_out: is_too_large.then_some(len),
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Names and values.
    pub(super) texts: usize,
    /// Bytes of data that were left out.
    pub(super) left_out: Option<usize>,
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    // Shorter than any body.
    let len = u32::try_from(text.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.get(..len as usize).unwrap_or_default());
}

/// Gives the texts of an entry to a command.
pub(super) fn add(command: &mut Cmd, mut from: &[u8], texts: usize) {
    for _ in 0..texts {
        let Some((len, rest)) = from.split_first_chunk::<LEN>() else {
            return;
        };
        let len = u32::from_le_bytes(*len) as usize;
        let Some((text, rest)) = rest.split_at_checked(len) else {
            return;
        };
        command.arg(text);
        from = rest;
    }
}

const LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Events, Extractor, Origin};
    use ::redis::Arg;

    fn fields(body: &str, value_max: Option<usize>) -> (Vec<String>, Written) {
        let mut events = Events::new();
        let origin = Origin {
            sequence: 7,
            ..Origin::default()
        };
        Extractor::new().extract(body.as_bytes(), origin, &mut events);
        let mut texts = b"before".to_vec();
        let event = events.get(0).expect("an event");
        let written = write(event, body.as_bytes(), value_max, &mut texts);
        let mut command = Cmd::new();
        add(&mut command, &texts[6..], written.texts);
        let text = |arg: Arg<&[u8]>| match arg {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => panic!("an argument"),
        };
        (command.args_iter().map(text).collect(), written)
    }

    #[test]
    fn an_entry_has_the_attributes_and_the_data() {
        let (texts, written) = fields("not JSON", None);
        let value = |name: &str| {
            let at = texts.iter().step_by(2).position(|it| it == name);
            at.map(|at| texts[2 * at + 1].as_str())
        };
        assert_eq!(texts.len(), written.texts);
        assert_eq!(value("specversion"), Some("1.0"));
        assert_eq!(value("position"), Some("7.0"));
        assert_eq!(value("type"), Some("whatsapp.unparsed"));
        assert_eq!(value("datacontenttype"), Some("application/octet-stream"));
        assert_eq!(value("data"), Some("not JSON"));
        assert_eq!(written.left_out, None);
    }

    #[test]
    fn data_that_the_server_does_not_take_are_left_out() {
        let (texts, written) = fields("not JSON", Some(7));
        assert_eq!(written.left_out, Some(8));
        assert_eq!(texts.len(), written.texts);
        assert_eq!(texts[texts.len() - 2..], ["data_bytes", "8"]);
        assert_eq!(fields("not JSON", Some(8)).1.left_out, None);
    }
}
