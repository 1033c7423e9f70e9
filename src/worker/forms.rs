//! The forms of a journal: how the bodies of each endpoint are read, by the number that stands in a record's flags.
//!
//! One small text file `forms` beside the segments, replaced as a whole, durable before the first record with a new
//! number. Whoever reads a record reads it by the form that it was stored with: a changed configuration, or a version
//! that takes more from a body, makes a new form, and the old records keep theirs.
//!
//! ```text
//! hookline-forms 1
//! form 1 meta webhook
//! rules 1
//! whatsapp always
//! form 2 standard-webhooks orders
//! rules 1
//! whatsapp never
//! id header webhook-id
//! type body type
//! time body timestamp
//! attribute x-shop-region
//! crc32c 1b2c3d4e
//! ```
//!
//! A form has a number, a provider and the name of the endpoint. `rules` are those by which ids and types are made;
//! `whatsapp` says in which bodies the shapes of the platform are looked for (`always`, `named` by their `object`,
//! `never`); the rest names headers and members of the body, each only where there is one. Numbers go from 1 to
//! [`NUMBER_MAX`] and are never given anew, so the file grows with each change of an endpoint by some 100 bytes.
//!
//! Nothing stops because of this file:
//!
//! - A record with the number 0 was stored by a version without forms, and is read as that did: by its flag.
//! - One whose form is not known, because the file is lost or damaged, is read by its flag as well: of the platform as
//!   ever, only without the attributes of its headers; of another sender as `webhook.received` from `/webhook`, without
//!   the id of its delivery.
//! - Both files, `forms` and `forms.old`, say the same, so one that is damaged is replaced by the other. Where both are
//!   gone, the damaged ones are kept as `forms.damaged`, and numbers go on at 1 + the last sequence modulo
//!   [`NUMBER_MAX`], so that what was stored by the lost ones does not meet the new ones but by a rare chance.
//! - Where no number is to be had, since all are used or the file cannot be written, records get [`record::NO_FORM`],
//!   which is never known, and it is logged with what follows.

use crate::disk::text::{self, CRC32C};
use crate::disk::{self, IoContext, Storage};
use crate::event::{Form, WhatsApp};
use crate::journal::record::{self, FLAG_FOREIGN};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// The forms of one journal.
#[derive(Debug, Default)]
pub struct Forms {
    storage: Option<Arc<dyn Storage>>,
    known: Mutex<Known>,
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    forms: BTreeMap<u16, Arc<Form>>,
    /// Where the search for a free number begins.
    next: u16,
    /// Numbers that the file was read for in vain.
    lost: BTreeSet<u16>,
}

/// Why an endpoint has no form.
#[derive(Debug, thiserror::Error)]
pub enum FormsError {
    /// All numbers are used.
    #[error("all {NUMBER_MAX} numbers are used; begin with a new data directory")]
    Full,
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] disk::Error),
}

impl Forms {
    /// The forms in `storage`, to read by; they are read when somebody asks for one.
    pub fn look(storage: Arc<dyn Storage>) -> Forms {
        Forms {
            storage: Some(storage),
            known: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The forms of a journal whose highest sequence is `last`, to be added to. False if there was a file that says
    /// nothing any more, which is set aside.
    pub fn open(storage: Arc<dyn Storage>, last: u64) -> (Forms, bool) {
        let read = read(&*storage);
        let is_whole = !matches!(read, Read::Damaged);
        if !is_whole {
            // It is kept for who wants to look at it; nothing depends on that.
            let _ = storage.rename(NAME, "forms.damaged");
        }
        let forms = read.forms();
        if is_whole && !forms.is_empty() && !is_readable(&*storage, NAME) {
            // What is written next is written over the other one, which alone says what it says.
            let _ = storage
                .exchange(OLD, NAME)
                .or_else(|_| storage.rename(OLD, NAME));
        }
        let last_given = forms.keys().next_back().copied();
        let beyond = last % u64::from(NUMBER_MAX);
        let beyond = u16::try_from(beyond).unwrap_or_default();
        let known = Known {
            forms,
            next: last_given.unwrap_or(beyond) % NUMBER_MAX + 1,
            lost: BTreeSet::new(),
        };
        let forms = Forms {
            storage: Some(storage),
            known: Mutex::new(known),
            writing: Mutex::default(),
        };
        (forms, is_whole)
    }

    /// The number of a form; a new one gets the next number, durably.
    pub fn number(&self, form: &Form) -> Result<u16, FormsError> {
        // One after the other; who reads does not wait for the disk.
        let _writing = self.writing.lock();
        let (mut forms, next) = {
            let known = self.known.lock();
            (known.forms.clone(), known.next.max(1))
        };
        if let Some((number, _)) = forms.iter().find(|(_, it)| ***it == *form) {
            return Ok(*number);
        }
        let mut free = (next..=NUMBER_MAX).chain(1..next);
        let number = free.find(|number| !forms.contains_key(number));
        let number = number.ok_or(FormsError::Full)?;
        let form = Arc::new(form.clone());
        forms.insert(number, Arc::clone(&form));
        if let Some(storage) = &self.storage {
            let text = render(&forms);
            // The second time, so that the one before says the same.
            let stored = (0..2).try_for_each(|_| storage.replace(NAME, text.as_bytes()));
            stored.on(&**storage, "write", NAME)?;
        }
        let mut known = self.known.lock();
        known.forms.insert(number, form);
        known.lost.remove(&number);
        known.next = number % NUMBER_MAX + 1;
        Ok(number)
    }

    /// The form of a record with these flags; `None` if nobody knows it.
    pub fn by_flags(&self, flags: u16) -> Option<Arc<Form>> {
        let number = record::form(flags);
        (number != 0).then(|| self.get(number)).flatten()
    }

    /// The form with this number. The file is read for one that is not known yet, once: a form is there before the
    /// first record that has its number.
    fn get(&self, number: u16) -> Option<Arc<Form>> {
        let mut known = self.known.lock();
        if let Some(form) = known.forms.get(&number) {
            return Some(Arc::clone(form));
        }
        if let Some(storage) = &self.storage
            && known.lost.insert(number)
        {
            let mut read = read(&**storage).forms();
            read.append(&mut known.forms);
            known.forms = read;
            if number != record::NO_FORM && !known.forms.contains_key(&number) {
                tracing::warn!(
                    form = number,
                    path = storage.describe(NAME),
                    "the file does not say how the bodies with this form are read: their events come without \
                     attributes of headers, and those of other senders as webhook.received; copy the file back from a \
                     backup and restart"
                );
            }
        }
        known.forms.get(&number).cloned()
    }
}

/// Finds the forms of records, with those at hand that it has found before.
pub(super) struct Reading {
    pub(super) forms: Arc<Forms>,
    known: BTreeMap<u16, Option<Arc<Form>>>,
    /// By which a body is read whose form is not known.
    unknown: Form,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading::new(&Arc::default())
    }
}

impl Reading {
    pub(super) fn new(forms: &Arc<Forms>) -> Reading {
        Reading {
            forms: Arc::clone(forms),
            known: BTreeMap::new(),
            unknown: Form::unknown(),
        }
    }

    /// How a record with these flags is read; `None` for the way of before there were forms.
    #[inline]
    pub(super) fn of(&mut self, flags: u16) -> Option<&Form> {
        let number = record::form(flags);
        if number == 0 {
            return None;
        }
        let found = self.known.entry(number);
        let found = found.or_insert_with(|| self.forms.get(number));
        match found {
            Some(form) => Some(form),
            None => (flags & FLAG_FOREIGN != 0).then_some(&self.unknown),
        }
    }
}

/// What a look at the files has given.
enum Read {
    Missing,
    Damaged,
    Whole(BTreeMap<u16, Arc<Form>>),
}

impl Read {
    fn forms(self) -> BTreeMap<u16, Arc<Form>> {
        match self {
            Read::Whole(forms) => forms,
            Read::Missing | Read::Damaged => BTreeMap::new(),
        }
    }
}

fn read(storage: &dyn Storage) -> Read {
    let mut any = false;
    // In use, it may have been written over as the one before, see `Storage::replace`.
    for _ in 0..READ_TRIES {
        for name in [NAME, OLD] {
            let found = disk::read_file(storage, name, LENGTH_MAX);
            any |= !matches!(found, Ok(None));
            if let Ok(Some(bytes)) = found
                && let Some(forms) = parse(&bytes)
            {
                return Read::Whole(forms);
            }
        }
        if !any {
            return Read::Missing;
        }
    }
    Read::Damaged
}

fn is_readable(storage: &dyn Storage, name: &str) -> bool {
    let bytes = disk::read_file(storage, name, LENGTH_MAX).ok().flatten();
    bytes.is_some_and(|bytes| parse(&bytes).is_some())
}

/// Takes from a text what [`render`] would write again.
fn parse(bytes: &[u8]) -> Option<BTreeMap<u16, Arc<Form>>> {
    let text = text::unseal(bytes, CRC32C).ok()?;
    let mut forms = BTreeMap::new();
    let mut open: Option<(u16, Form)> = None;
    let mut keep = |done: Option<(u16, Form)>| {
        if let Some((number, form)) = done {
            forms.insert(number, Arc::new(form));
        }
    };
    for line in text.lines().skip(1) {
        let (word, rest) = line.split_once(' ')?;
        let form = open.as_mut().map(|(_, form)| form);
        match (word, form) {
            ("form", _) => {
                let mut words = rest.splitn(3, ' ');
                let number = words.next()?.parse().ok()?;
                let form = Form {
                    provider: words.next()?.to_owned(),
                    endpoint: words.next()?.to_owned(),
                    ..Form::unknown()
                };
                if !(1..=NUMBER_MAX).contains(&number) {
                    return None;
                }
                keep(open.replace((number, form)));
            }
            ("rules", Some(form)) => form.rules = rest.parse().ok()?,
            ("whatsapp", Some(form)) => form.whatsapp = SHAPES.iter().find(|it| it.0 == rest)?.1,
            ("id", Some(form)) => form.id = Some(rest.strip_prefix("header ")?.to_owned()),
            ("type", Some(form)) => form.kind = Some(rest.strip_prefix("body ")?.to_owned()),
            ("time", Some(form)) => form.time = Some(rest.strip_prefix("body ")?.to_owned()),
            ("attribute", Some(form)) => form.attributes.push(rest.to_owned()),
            _ => return None,
        }
    }
    keep(open);
    (render_lines(&forms) == text).then_some(forms)
}

fn render(forms: &BTreeMap<u16, Arc<Form>>) -> String {
    text::seal(render_lines(forms), CRC32C)
}

fn render_lines(forms: &BTreeMap<u16, Arc<Form>>) -> String {
    let mut text = "hookline-forms 1\n".to_owned();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{arguments}"); // a String takes everything
    };
    for (number, form) in forms {
        let (provider, endpoint) = (&form.provider, &form.endpoint);
        line(format_args!("form {number} {provider} {endpoint}"));
        line(format_args!("rules {}", form.rules));
        for (shapes, _) in SHAPES.iter().filter(|it| it.1 == form.whatsapp) {
            line(format_args!("whatsapp {shapes}"));
        }
        for (what, place) in [
            ("id header", &form.id),
            ("type body", &form.kind),
            ("time body", &form.time),
        ] {
            if let Some(place) = place {
                line(format_args!("{what} {place}"));
            }
        }
        for attribute in &form.attributes {
            line(format_args!("attribute {attribute}"));
        }
    }
    text
}

const NAME: &str = "forms";
const OLD: &str = "forms.old";

const SHAPES: [(&str, WhatsApp); 3] = [
    ("always", WhatsApp::Always),
    ("named", WhatsApp::Named),
    ("never", WhatsApp::Never),
];

/// The highest number of a form.
pub(super) const NUMBER_MAX: u16 = record::NO_FORM - 1;

/// Longer than a file with all numbers: each form has at most 32 attributes of 128 bytes.
const LENGTH_MAX: u64 = 32 << 20;

/// How often a file that is not whole is read.
const READ_TRIES: usize = 4;

#[cfg(test)]
mod tests;
