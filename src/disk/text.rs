//! Small text files that end with a checksum, and are replaced as a whole.
//!
//! A title, lines of words and numbers, and a last line with a word and the CRC32C of everything before it, as
//! `crc32c 1b2c3d4e`. Behind that, line feeds fill the block. Who reads such a file while its owner replaces it may
//! meet the one before it half written over, see [`Storage::replace`]: so it is read again,
//! [`TRIES`] times, before it counts as damaged.

use super::storage::{Storage, read_file};
use std::io;

/// The word before the checksum in every such file but the manifest.
pub(crate) const CRC32C: &str = "crc32c";

/// How often a file that is not whole is read.
const TRIES: usize = 4;

/// Ends a text whose last line is whole with `word` and its checksum.
pub(crate) fn seal(text: String, word: &str) -> String {
    let crc = crc32c::crc32c(text.as_bytes());
    text + &format!("{word} {crc:08x}\n")
}

/// What [`seal`] was given; else what is wrong with the file.
pub(crate) fn unseal<'t>(bytes: &'t [u8], word: &str) -> Result<&'t str, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let (text, padding) = match text.find("\n\n") {
        Some(end) => text.split_at(end),
        None => (text.strip_suffix('\n').ok_or("it ends early")?, ""),
    };
    if padding.bytes().any(|byte| byte != b'\n') {
        return Err("something stands behind its checksum");
    }
    let start = text.rfind('\n').ok_or("it ends early")? + 1;
    let (body, checksum) = text.split_at(start);
    let checksum = checksum
        .strip_prefix(word)
        .and_then(|it| it.strip_prefix(' '))
        .ok_or("it ends without a checksum")?;
    if checksum != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return Err("its checksum does not match");
    }
    Ok(body)
}

/// Reads a file until `decode` takes it, or for the last time; `None` if there is no such file.
pub(crate) fn read_whole<T, E>(
    storage: &dyn Storage,
    name: &str,
    most: u64,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) -> io::Result<Option<Result<T, E>>> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let Some(bytes) = read_file(storage, name, most)? else {
            return Ok(None);
        };
        match decode(&bytes) {
            Err(_) if tries > 0 => {}
            decoded => return Ok(Some(decoded)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CRC32C, seal, unseal};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_is_unsealed_and_nothing_else(
            lines in proptest::collection::vec("[a-z0-9 ]{1,8}", 1..5),
            padding in 0_usize..9,
            at in any::<prop::sample::Index>(),
            odd in any::<u8>(),
            odd_text in ".{0,9}",
        ) {
            let text = lines.join("\n") + "\n";
            let sealed = seal(text.clone(), CRC32C);
            let filled = sealed.clone() + &"\n".repeat(padding);
            prop_assert_eq!(unseal(filled.as_bytes(), CRC32C), Ok(&*text));
            unseal(filled.as_bytes(), "checksum").unwrap_err();
            let cut = at.index(sealed.len());
            unseal(&sealed.as_bytes()[..cut], CRC32C).unwrap_err();
            let mut damaged = sealed.clone().into_bytes();
            damaged[cut] = odd;
            if damaged != sealed.as_bytes() {
                unseal(&damaged, CRC32C).unwrap_err();
            }
            for behind in ["x", "é", "\u{1f980}"] {
                unseal((filled.clone() + behind).as_bytes(), CRC32C).unwrap_err();
            }
            // Characters of several bytes, with and without anything behind them: somebody's own note.
            for note in [odd_text.clone() + "é", odd_text] {
                unseal(note.as_bytes(), CRC32C).unwrap_err();
            }
        }
    }

    #[test]
    fn a_note_of_somebody_is_refused() {
        for note in [
            "",
            "é",
            "\n",
            "\n\n",
            "Notiz: gelöscht am 3. März, Café",
            "Café\n",
        ] {
            unseal(note.as_bytes(), CRC32C).unwrap_err();
        }
    }
}
