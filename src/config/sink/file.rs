//! Reads what is peculiar to `type = "file"`.

use crate::config::reader::{Reading, Section};
use crate::config::surroundings;
use crate::sink::Rotation;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// A file, and when it is set aside for a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// The file; it is created when it is missing.
    pub path: PathBuf,
    /// When that is.
    pub rotation: Rotation,
    /// Permissions of a file that is made, as in `chmod`.
    pub mode: u32,
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
    let mode = section
        .text(reading, "mode")
        .map(|text| (text, parse_mode(text)));
    if let Some((text, None)) = mode {
        let message = format!(
            "mode must be permissions that let the owner read and write, as in \"0640\", found {text:?}"
        );
        reading.mistake(&section.place_of("mode"), message);
    }
    let path = PathBuf::from(path?);
    if reading.secrets {
        let place = section.place_of("path");
        surroundings::sink_file(reading, &place, &path);
        reading.own_files.writes(place, &path);
    }
    Some(FileSink {
        mode: mode.and_then(|(_, mode)| mode).unwrap_or(MODE),
        path,
        rotation: Rotation {
            size,
            every: every.map(Duration::from_millis),
            keep: keep.and_then(|keep| NonZeroU32::new(u32::try_from(keep).unwrap_or(u32::MAX))),
        },
    })
}

fn parse_mode(text: &str) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8).ok()?;
    (mode <= 0o777 && mode & 0o600 == 0o600).then_some(mode)
}

/// The owner writes, the group reads, nobody else does.
const MODE: u32 = 0o640;
