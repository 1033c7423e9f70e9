//! Reads what is peculiar to `type = "file"`.

use crate::config::reader::{Reading, Section};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A file, and when it is set aside for a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// The file; it is created when it is missing.
    pub path: PathBuf,
    /// Octets from which on it is rotated; `None` for any size.
    pub rotate_size: Option<u64>,
    /// How old it gets before it is rotated; `None` for any age.
    pub rotate_every: Option<Duration>,
    /// Rotated files that stay; `None` keeps all of them.
    pub keep: Option<NonZeroU32>,
}

pub(super) fn read(reading: &mut Reading<'_>, section: &mut Section<'_>) -> Option<FileSink> {
    let path = section
        .text(reading, "path")
        .filter(|path| !path.is_empty());
    if path.is_none() {
        let message = "a file sink needs path = \"FILE\"";
        reading.mistake(&section.place_of("path"), message);
    }
    let mut number = |key| {
        section
            .measured_of(reading, "sink.file", key)
            .filter(|value| *value > 0)
    };
    let (size, every, keep) = (
        number("rotate_size"),
        number("rotate_every"),
        number("keep"),
    );
    if keep.is_some() && size.is_none() && every.is_none() {
        let message = "keep is for rotated files; add rotate_size or rotate_every";
        reading.mistake(&section.place_of("keep"), message);
    }
    Some(FileSink {
        path: PathBuf::from(path?),
        rotate_size: size,
        rotate_every: every.map(Duration::from_millis),
        keep: keep.and_then(|keep| NonZeroU32::new(u32::try_from(keep).unwrap_or(u32::MAX))),
    })
}
