//! How the bodies of an endpoint are read: a *form*. It is fixed for a body when that is stored, and kept beside the
//! journal, so that every reader, whenever it reads and whatever it knows, makes the same ids and types of it.
//!
//! The kept headers that a form names become extension attributes of the events. The attribute is called as the header,
//! in lower case and without what is not a letter or digit: `X-GitHub-Event` is `xgithubevent`. Its value is the
//! header's, at most [`VALUE_MAX`] bytes; of a header that is repeated all of them, joined by `, `. What is not UTF-8
//! in it, or no character that a `CloudEvents` string may have, is written as U+FFFD, and a tab as a space; the header
//! as it came is in the journal.

/// The rules of this version, by which ids and types are made. A version that makes them in another way has other
/// rules, and reads by these what has a form with this number.
pub const RULES: u32 = 1;

/// Longest value of an extension attribute, in bytes; the rest of a longer header is cut.
pub const VALUE_MAX: usize = 1024;

/// How the bodies of an endpoint are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// See [`RULES`].
    pub rules: u32,
    /// Name of the endpoint; empty if that is not known.
    pub endpoint: String,
    /// Whose posts these are, as the configuration calls it.
    pub provider: String,
    /// Where the shapes of the platform are looked for.
    pub whatsapp: WhatsApp,
    /// The header with the id of the delivery, in lower case.
    pub id: Option<String>,
    /// The member at the top of the body that names the type.
    pub kind: Option<String>,
    /// The member at the top of the body with the time, as RFC 3339.
    pub time: Option<String>,
    /// The kept headers that become attributes, in lower case.
    pub attributes: Vec<String>,
}

/// In which bodies the shapes of the platform are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatsApp {
    /// In all: the platform posts here.
    Always,
    /// In those whose `object` is `whatsapp_business_account`.
    Named,
    /// In none.
    Never,
}

/// The kept headers of a body.
pub trait Headers {
    /// Calls `take` with each name and value, in the order of the request.
    fn each<'h>(&'h self, take: &mut dyn FnMut(&'h [u8], &'h [u8]));
}

/// Who sent a body: how it is read, and what came with it.
#[derive(Clone, Copy)]
pub struct Sender<'r> {
    pub form: &'r Form,
    /// The headers that were kept.
    pub headers: &'r dyn Headers,
}

impl Form {
    /// For a body of another sender than the platform, when nobody knows any more of whom.
    pub fn unknown() -> Form {
        Form {
            rules: RULES,
            endpoint: String::new(),
            provider: String::new(),
            whatsapp: WhatsApp::Never,
            id: None,
            kind: None,
            time: None,
            attributes: Vec::new(),
        }
    }

    /// True if other senders than the platform post here.
    pub fn is_foreign(&self) -> bool {
        self.whatsapp != WhatsApp::Always
    }
}

impl<'r> Sender<'r> {
    /// The first header of this name, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&'r [u8]> {
        let mut found = None;
        self.headers.each(&mut |other, value| {
            if found.is_none() && other.eq_ignore_ascii_case(name.as_bytes()) {
                found = Some(value);
            }
        });
        found
    }

    /// Appends a line with name and value for each attribute that the body's events have beside their own.
    pub(super) fn write_extensions(&self, is_json: bool, out: &mut String) {
        let form = self.form;
        if form.is_foreign() {
            if !form.endpoint.is_empty() {
                push(out, "endpoint", form.endpoint.as_bytes());
            }
            self.write_content_type(is_json, out);
        }
        for name in &form.attributes {
            let start = out.len();
            self.headers.each(&mut |other, value| {
                if other.eq_ignore_ascii_case(name.as_bytes()) {
                    if out.len() == start {
                        out.push_str(&attribute(name));
                        out.push('\n');
                    } else {
                        out.push_str(", ");
                    }
                    push_value(out, value);
                }
            });
            if out.len() > start {
                let value = start + attribute(name).len() + 1;
                let end = out.floor_char_boundary(value + VALUE_MAX);
                out.truncate(end);
                out.push('\n');
            }
        }
    }

    /// What the sender says that the body is counts, unless it is JSON and he says that it is something else: then
    /// `data` is JSON, and what he says stands beside it. So does what is no media type.
    fn write_content_type(&self, is_json: bool, out: &mut String) {
        let Some(value) = self.header("content-type").filter(|it| !it.is_empty()) else {
            return;
        };
        let fits = is_media_type(value) && (!is_json || names_json(value));
        let name = if fits { CONTENT_TYPE } else { "xcontenttype" };
        push(out, name, value);
    }
}

/// The pairs that [`Sender::write_extensions`] has written.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || Some((lines.next()?, lines.next()?)))
}

/// What the attribute of a header is called; empty if nothing of its name is left.
pub fn attribute(header: &str) -> String {
    let plain = header.chars().filter(char::is_ascii_alphanumeric);
    plain.map(|c| c.to_ascii_lowercase()).collect()
}

/// True if `CloudEvents` or Hookline means something else by an attribute of this name.
pub fn is_reserved(attribute: &str) -> bool {
    RESERVED.contains(&attribute)
}

/// `TYPE/SUBTYPE`, with parameters or without, all of which an attribute has room for.
fn is_media_type(content_type: &[u8]) -> bool {
    let is_token = |text: &[u8]| {
        let plain = |c: &u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(c);
        !text.is_empty() && text.iter().all(plain)
    };
    let mut halves = essence(content_type).splitn(2, |&c| c == b'/');
    let named = halves.next().is_some_and(is_token) && halves.next().is_some_and(is_token);
    let printable = |c: &u8| matches!(c, b' '..=b'~');
    named && content_type.len() <= VALUE_MAX && content_type.iter().all(printable)
}

/// The media type without its parameters.
fn essence(content_type: &[u8]) -> &[u8] {
    let essence = content_type.split(|&c| c == b';').next();
    essence.unwrap_or_default().trim_ascii()
}

/// `application/json`, `application/cloudevents+json; charset=utf-8` …
fn names_json(content_type: &[u8]) -> bool {
    let essence = essence(content_type);
    let ends = |with: &[u8]| {
        let at = essence.len().checked_sub(with.len());
        at.is_some_and(|at| essence[at..].eq_ignore_ascii_case(with))
    };
    ends(b"/json") || ends(b"+json")
}

fn push(out: &mut String, name: &str, value: &[u8]) {
    out.push_str(name);
    out.push('\n');
    let start = out.len();
    push_value(out, value);
    out.truncate(out.floor_char_boundary(start + VALUE_MAX));
    out.push('\n');
}

/// Appends what a `CloudEvents` string may have, on one line.
fn push_value(out: &mut String, value: &[u8]) {
    out.extend(String::from_utf8_lossy(value).chars().map(|c| match c {
        '\t' => ' ',
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => '\u{fffd}',
        c if u32::from(c) & 0xfffe == 0xfffe => '\u{fffd}',
        c => c,
    }));
}

/// The attribute that says what `data` is.
pub(super) const CONTENT_TYPE: &str = "datacontenttype";

/// The attributes of the specification and those of its extensions that receivers act on, then ours.
const RESERVED: [&str; 32] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
    "data",
    "database64",
    "dataref",
    "partitionkey",
    "sampledrate",
    "sequencetype",
    "expirytime",
    "recordedtime",
    "authtype",
    "authid",
    "authclaims",
    "severitytext",
    "severitynumber",
    "deprecated",
    "sequence",
    "position",
    "receivedtime",
    "lane",
    "replay",
    "endpoint",
    "provider",
    "route",
    "released",
    "xcontenttype",
];
