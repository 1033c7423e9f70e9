//! Commands that messages advise: as they stand they can be copied to a shell, and are about the same journal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// `hookline` with these words, for the data directory `dir`; without one if that is not known.
pub fn command(words: &str, dir: &Path) -> String {
    let mut text = format!("hookline {words}");
    if !dir.as_os_str().is_empty() {
        // Who copies it may be in another directory.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        // Writing to a string cannot fail.
        let _ = write!(text, " --data-dir {}", quoted(&dir.to_string_lossy()));
    }
    text
}

/// What repairs the journal that has this file.
pub(crate) fn repair(path: &str) -> String {
    let dir = Path::new(path).parent().unwrap_or(Path::new(""));
    command("journal repair --quarantine", dir)
}

/// One word for a shell.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-+:,@%=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::{command, quoted, repair};
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn a_shell_reads_what_was_meant() {
        for word in [
            "/var/lib/hookline",
            "my data",
            "it's",
            "$HOME",
            "a\"b",
            "",
            "*",
            "größe",
        ] {
            let script = format!("printf '%s' {}", quoted(word));
            let output = Command::new("/bin/sh")
                .arg("-c")
                .arg(script)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn the_directory_is_that_of_the_file() {
        for (path, expected) in [
            ("manifest", "hookline journal repair --quarantine"),
            (
                "/my data/1.segment",
                "hookline journal repair --quarantine --data-dir '/my data'",
            ),
        ] {
            assert_eq!(repair(path), expected);
        }
        let here = std::env::current_dir().unwrap();
        for relative in ["d", "./d", "-d"] {
            let dir = here
                .join(relative)
                .display()
                .to_string()
                .replace("/./", "/");
            let advised = command("tail", Path::new(relative));
            assert_eq!(
                advised,
                format!("hookline tail --data-dir {}", quoted(&dir))
            );
        }
    }
}
