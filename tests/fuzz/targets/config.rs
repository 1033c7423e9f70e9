//! Configurations: any text as the file, and any variables over it.
//!
//! An input is the text of the file. Behind a line `--- environment`, each line `NAME=VALUE` is a variable.
//!
//! What must hold:
//!
//! - No text panics.
//! - There is at least one mistake, or a configuration, which is the same when it is read again.
//! - Every finding says something, and has its line and column within the file and an excerpt that stands there, or
//!   names a variable.
//! - A configuration has at least one endpoint, names and paths that differ, and every number within its range.
//! - No secret of the environment stands in a finding or in the debug output of the configuration.

#![no_main]

use hookline::testing::config::{Config, ConfigErrors, Environment, Finding, Flags};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// The file of this process, in memory where the system has such a directory.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let directory = if shared.is_dir() {
        shared
    } else {
        std::env::temp_dir()
    };
    directory.join(format!("hookline-fuzz-{}.toml", std::process::id()))
});

const SECRET: &str = "never-to-be-shown";

fuzz_target!(|input: &[u8]| {
    let marker = input.windows(MARKER.len()).position(|it| it == MARKER);
    let (text, variables) = match marker {
        Some(at) => (&input[..at], &input[at + MARKER.len()..]),
        None => (input, &[][..]),
    };
    let mut environment: Environment = String::from_utf8_lossy(variables)
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, value)| !name.is_empty() && !value.contains('\0'))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    environment.insert("SECRET".into(), SECRET.into());
    // Files that a text names are not to be read: one may be a device, and none is the fuzzer's.
    if text.windows(4).any(|it| it == b"file" || it == b"cred") && names_a_path(text) {
        return;
    }
    fs::write(&*FILE, text).expect("a file in a directory for temporary ones");
    let first = load(&environment);
    // A secret that stands in the input itself is none of the environment's.
    let is_written = input
        .windows(SECRET.len())
        .any(|it| it == SECRET.as_bytes());
    check(text, &environment, &first, is_written);
    if first.is_ok() {
        assert_eq!(first, load(&environment), "read again");
    }
    let _ = fs::remove_file(&*FILE);
});

const MARKER: &[u8] = b"\n--- environment\n";

type Loaded = Result<(Config, Vec<Finding>), ConfigErrors>;

fn load(environment: &Environment) -> Loaded {
    Config::load(Some(&FILE), environment, &Flags::default())
}

/// True unless every secret file is the one that is never there.
fn names_a_path(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let named = text.matches("file").count() + text.matches("credential").count();
    named
        > text.matches("file = \"/nonexistent\"").count() + text.matches("type = \"file\"").count()
        || text.contains('\\')
}

fn check(text: &[u8], environment: &Environment, loaded: &Loaded, is_written: bool) {
    let lines: Vec<String> = String::from_utf8_lossy(text)
        .split('\n')
        .map(str::to_owned)
        .collect();
    let findings = match loaded {
        Ok((config, warnings)) => {
            accepted(config);
            warnings
        }
        Err(errors) => {
            assert!(!errors.mistakes.is_empty());
            &errors.mistakes
        }
    };
    for finding in findings {
        assert!(!finding.message.is_empty());
        let shown = finding.to_string();
        assert!(is_written || !shown.contains(SECRET), "{shown}");
        let (Some(line), Some(column)) = (finding.line, finding.column) else {
            assert_eq!(
                (finding.line, finding.column, &finding.excerpt),
                (None, None, &None)
            );
            assert!(!finding.source.is_empty());
            let is_variable = environment
                .keys()
                .any(|name| name.to_str() == Some(&finding.source));
            let is_file = finding.source == FILE.display().to_string();
            assert!(
                is_variable || is_file || finding.source.starts_with("--"),
                "{shown}"
            );
            continue;
        };
        assert_eq!(finding.source, FILE.display().to_string());
        let stands = lines
            .get(line.wrapping_sub(1))
            .unwrap_or_else(|| panic!("no line {line}: {shown}"));
        assert!(
            (1..=stands.chars().count() + 1).contains(&column),
            "{shown}"
        );
        if let Some(excerpt) = &finding.excerpt {
            // A value that may be secret is replaced by the ellipsis behind its key.
            let begin = excerpt.strip_suffix(" = …").unwrap_or(excerpt);
            assert!(stands.contains(begin), "{shown} is not {stands:?}");
        }
    }
}

fn accepted(config: &Config) {
    assert!(!config.endpoints.is_empty());
    let paths: BTreeSet<_> = config
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.path)
        .collect();
    let names: BTreeSet<_> = config
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.name)
        .collect();
    let sinks: BTreeSet<_> = config.sinks.iter().map(|sink| &sink.name).collect();
    let counts = (paths.len(), names.len(), sinks.len());
    assert_eq!(
        counts,
        (
            config.endpoints.len(),
            config.endpoints.len(),
            config.sinks.len()
        )
    );
    for (setting, value) in &config.numbers {
        assert!(
            (setting.min..=setting.max).contains(value),
            "{} = {value}",
            setting.key
        );
    }
    let shown = format!("{config:?}");
    let elsewhere = shown.contains("Some(\"") || shown.contains(SECRET);
    assert!(
        !elsewhere || !shown.contains(&format!("Secret(\"{SECRET}")),
        "{shown}"
    );
}
