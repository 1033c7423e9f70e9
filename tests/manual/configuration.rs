//! Keys, limits, defaults and bounds, and the configurations that stand in fences.

use super::{code, documents, fences, root, rows, text_of};
use hookline::testing::config::{Config, ConfigErrors, Environment, Finding, Flags, SETTINGS};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Bounds that nobody can set, and formats of files: how the code declares them, and what a chapter says.
const BOUNDS: &[(&str, &str, &str)] = &[
    (
        "ENDPOINTS_MAX: usize = 1024;",
        "limits",
        "| endpoints | 1024,",
    ),
    (
        "PATH_MAX: usize = 256;",
        "limits",
        "paths of up to 256 characters",
    ),
    ("KEPT_MAX: usize = 32;", "limits", "| 32 names;"),
    (
        "VALUE_MAX: usize = 1024;",
        "limits",
        "an attribute of up to 1 KiB",
    ),
    (
        "ADMIN_CONNECTIONS: usize = 32;",
        "limits",
        "admin pages | 32 |",
    ),
    ("PULL_CONNECTIONS: usize = 512;", "pull", "512 connections"),
    ("REQUESTS_MAX: usize = 256;", "pull", "at a time (256;"),
    ("LIMIT_DEFAULT: usize = 100;", "pull", "100 if not given"),
    ("LIMIT_MAX: usize = 10_000;", "pull", "up to 10000"),
    (
        "WAIT_MAX: Duration = Duration::from_mins(1);",
        "pull",
        "at most `60s`",
    ),
    ("PAGE_KIB_MAX: u32 = 8 << 10;", "pull", "at most 8 MiB"),
    (
        "DEAD_LETTERS_MAX: usize = 100_000;",
        "limits",
        "| 100,000, and 4 GiB",
    ),
    (
        "BODIES_MAX: u64 = 4 << 30;",
        "limits",
        "| 100,000, and 4 GiB",
    ),
    (
        "\"hookline-cursor 4\"",
        "upgrading",
        "| `cursors/NAME.cursor` | 4 | 3 and 4;",
    ),
    ("\"hookline-forms 1\\n\"", "upgrading", "| `forms` | 1 | 1;"),
    (
        "\"hookline-dedupe 2\"",
        "upgrading",
        "| `dedupe/checkpoint` and its keys | 2 | 1 and 2,",
    ),
    (
        "QUEUE_MAX: usize = 256 * 1024;",
        "limits",
        "stderr | 256 KiB;",
    ),
    (
        "PROBE_MAX: Duration = Duration::from_secs(15);",
        "consume",
        "at least every 15 seconds",
    ),
    (
        "RETRY_AFTER_MAX: Duration = Duration::from_hours(1);",
        "consume",
        "`Retry-After` (up to 1h)",
    ),
];

const ENDPOINT: &str = "[[endpoint]]\npath = \"/x\"\nprovider = \"meta\"\naccept_unsigned = true\n";

#[test]
fn limits_are_those_of_the_code() {
    let known = SETTINGS.iter().map(|it| {
        let default = it.default.map(|default| it.format(default));
        (
            format!("{}.{}", it.section, it.key),
            default.unwrap_or("from the cores".to_owned()),
            format!("{} to {}", it.format(it.min), it.format(it.max)),
        )
    });
    let known: Vec<_> = known.collect();
    let table = rows(text_of("limits"), "key");
    let table = table.iter().map(|cells| {
        assert!(!cells[3].is_empty());
        let key = cells[0].trim_matches('`').to_owned();
        (key, cells[1].to_owned(), cells[2].to_owned())
    });
    assert_eq!(table.collect::<Vec<_>>(), known);
}

/// The mistakes of a configuration, without a look at secrets and at this machine.
fn mistakes(text: &str) -> Vec<Finding> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    match Config::load_without_secrets(Some(file.path()), &Environment::new(), &Flags::default()) {
        Ok(_) => Vec::new(),
        Err(ConfigErrors { mistakes }) => mistakes,
    }
}

/// All source files below a directory.
fn sources(directory: &str) -> String {
    let mut waiting: Vec<PathBuf> = vec![root().join(directory)];
    let mut text = String::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            waiting.extend(entries.map(|entry| entry.expect("readable").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path).expect("UTF-8");
        }
    }
    text
}

#[test]
fn bounds_are_those_of_the_code() {
    let code = sources("src");
    for (declared, name, said) in BOUNDS {
        assert!(code.contains(declared), "there is no {declared}");
        // Lines are broken anywhere.
        let text = text_of(name).replace('\n', " ");
        assert!(
            text.contains(said),
            "{name} does not say {said:?} of {declared}"
        );
    }
}

/// Every word that could be a key: all that stand by themselves in a string of the code, and all of the manual.
fn words() -> BTreeSet<String> {
    let text = sources("src/config");
    let literals = text.split('"').map(str::to_owned);
    let named = documents();
    let named = named.iter().flat_map(|(_, text)| code(text));
    let words = literals.chain(named.map(str::to_owned));
    let is_key = |word: &String| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    words.filter(is_key).collect()
}

/// The keys that a table takes, which begins with these lines: what is not called unknown there, nor another's.
fn taken(start: &str, end: &str) -> BTreeSet<String> {
    let set = |word: &String| start.contains(&format!("\n{word} = "));
    let (given, tried): (Vec<_>, Vec<_>) = words().into_iter().partition(set);
    let first = start.lines().count() + 1;
    // A date is of no use to any key.
    let lines = tried.iter().map(|word| format!("{word} = 1979-05-27\n"));
    let text = format!("{start}{}{end}", lines.collect::<String>());
    let mut refused = BTreeSet::new();
    for mistake in mistakes(&text) {
        let unknown = mistake.message.starts_with("unknown key ");
        if unknown || mistake.message.contains(" belongs to ") {
            refused.insert(mistake.line.expect("in the file"));
        }
    }
    assert!(!refused.is_empty());
    let tried = tried.into_iter().zip(first..);
    let taken = tried.filter(|(_, line)| !refused.contains(line));
    taken.map(|(word, _)| word).chain(given).collect()
}

#[test]
fn keys_are_those_of_the_code() {
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for cells in rows(text_of("configure"), "in") {
        let place = cells[0].replace('`', "");
        let key = cells[1].trim_matches('`').to_owned();
        if key == "provider" || key == "type" {
            let quoted = cells[2].split('"').skip(1).step_by(2);
            kinds.insert(cells[1], quoted.map(str::to_owned).collect());
        }
        assert!(table.entry(place).or_default().insert(key), "{cells:?}");
    }
    for setting in SETTINGS {
        let place = match setting.section.split_once('.') {
            Some((_, kind)) => format!("[[sink]] {kind}"),
            None if setting.section == "endpoint" => "[[endpoint]] standard-webhooks".to_owned(),
            None => format!("[{}]", setting.section),
        };
        let keys = table.entry(place).or_default();
        assert!(keys.insert(setting.key.to_owned()), "{}", setting.key);
    }
    let mut of = |place: &str| table.remove(place).unwrap_or_default();

    for section in [
        "server", "limits", "journal", "dedupe", "admin", "pull", "log",
    ] {
        let place = format!("[{section}]");
        assert_eq!(
            taken(&format!("{place}\n"), ENDPOINT),
            of(&place),
            "{place}"
        );
    }
    for (place, kind, start) in [
        ("[[endpoint]]", "provider", "path = \"/x\"\n"),
        ("[[sink]]", "type", ""),
    ] {
        let all = of(place);
        for word in &kinds[format!("`{kind}`").as_str()] {
            let start = format!("{place}\n{kind} = \"{word}\"\n{start}");
            let own = of(&format!("{place} {word}"));
            let end = if kind == "type" { ENDPOINT } else { "" };
            let keys: BTreeSet<String> = all.union(&own).cloned().collect();
            assert_eq!(taken(&start, end), keys, "{word}");
        }
    }
    assert!(table.is_empty(), "there is no such place: {table:?}");

    // And there is no other provider and no other type.
    for (text, kind) in [
        ("[[endpoint]]\npath = \"/x\"\n".to_owned(), "`provider`"),
        (format!("{ENDPOINT}[[sink]]\n"), "`type`"),
    ] {
        let mistakes = mistakes(&text);
        let listed = mistakes[0].message.split('"').skip(1).step_by(2);
        assert_eq!(
            listed.map(str::to_owned).collect::<BTreeSet<_>>(),
            kinds[kind]
        );
    }
}

/// The value in a cell that says `VALUE` (default), or default `VALUE`.
fn default_in(cell: &str) -> Option<&str> {
    let (before, behind) = cell.split_once("default")?;
    if let Some(value) = behind.strip_prefix(" `") {
        return value.split('`').next();
    }
    before.strip_suffix("` (")?.rsplit('`').next()
}

/// A key that is set to its default changes nothing.
#[test]
fn defaults_are_those_of_the_code() {
    let config = |text: &str| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        Config::load_without_secrets(Some(file.path()), &Environment::new(), &Flags::default())
            .expect(text)
    };
    let mut count = 0;
    for cells in rows(text_of("configure"), "in") {
        let Some(value) = default_in(cells[2]) else {
            continue;
        };
        let key = cells[1].trim_matches('`');
        let place = cells[0].replace('`', "");
        let base = match place.as_str() {
            "[[endpoint]]" if key == "accept_unsigned" => {
                "[[endpoint]]\npath = \"/y\"\nprovider = \"meta\"\napp_secret = { env = \"A\" }\n"
            }
            "[[endpoint]]" => {
                "[[endpoint]]\npath = \"/y\"\nprovider = \"meta\"\naccept_unsigned = true\n"
            }
            // A build without it takes none.
            "[[sink]] kafka" if !cfg!(feature = "kafka") => continue,
            "[[sink]] kafka" => "[[sink]]\ntype = \"kafka\"\nbrokers = [\"a\"]\ntopic = \"a\"\n",
            "[[sink]] nats" => {
                "[[sink]]\ntype = \"nats\"\nservers = [\"nats://a\"]\nstream = \"a\"\nsubject = \"a\"\n"
            }
            "[[endpoint]] generic-hmac" => {
                "[[endpoint]]\npath = \"/y\"\nprovider = \"generic-hmac\"\naccept_unsigned = true\n"
            }
            "[[sink]]" => "[[sink]]\ntype = \"stdout\"\n",
            "[[sink]] file" => "[[sink]]\ntype = \"file\"\npath = \"f\"\n",
            "[[sink]] http" if key == "mode" => {
                "[[sink]]\ntype = \"http\"\nurl = \"https://h/\"\nunit = \"event\"\n"
            }
            "[[sink]] http" => "[[sink]]\ntype = \"http\"\nurl = \"https://h/\"\n",
            "[[sink]] exec" => "[[sink]]\ntype = \"exec\"\ncommand = [\"c\"]\n",
            "[[sink]] postgres" => "[[sink]]\ntype = \"postgres\"\nurl = \"postgres://a@b/c\"\n",
            "[[sink]] redis" => "[[sink]]\ntype = \"redis\"\nurl = \"redis://a\"\nstream = \"a\"\n",
            "[[sink]] pull" => "[[sink]]\ntype = \"pull\"\ntoken = { env = \"T\" }\n",
            section => &format!("{section}\n"),
        };
        let set = format!("{ENDPOINT}{base}{key} = {value}\n");
        assert_eq!(
            config(&set),
            config(&format!("{ENDPOINT}{base}")),
            "{cells:?}"
        );
        count += 1;
    }
    assert!(count > 15, "{count}");
}

#[test]
fn configurations_are_taken_and_json_is_json() {
    let mut count = 0;
    for (name, text) in documents() {
        for (language, body) in fences(&text) {
            if language == "toml" {
                let endpoint = if body.contains("[[endpoint]]") {
                    ""
                } else {
                    ENDPOINT
                };
                let mut found = mistakes(&format!("{body}{endpoint}"));
                let lacks = "sink type \"kafka\" is not in this build, ";
                found.retain(|it| cfg!(feature = "kafka") || !it.message.starts_with(lacks));
                assert!(found.is_empty(), "{name}: {found:?}\n{body}");
                count += 1;
            } else if language == "json" {
                let read = serde_json::from_str::<serde_json::Value>(&body);
                assert!(read.is_ok_and(|it| it.is_object()), "{name}: {body}");
                count += 1;
            }
        }
    }
    assert!(count > 10);
}
