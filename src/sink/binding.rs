//! What the bindings of `CloudEvents` with header fields have in common (HTTP section 3.1.3.2, NATS section 3.1.3.2).

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// The value of an attribute as a field holds it: spaces, quotes, percent signs and what is no printable ASCII are
/// percent-encoded.
pub fn percent_encoded(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, &ENCODED).into()
}

/// What is encoded, beside all that is not ASCII.
const ENCODED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');
