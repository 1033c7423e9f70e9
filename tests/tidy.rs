//! Checks of the source itself: who may use whom, where files are written, how long things are.
//!
//! The arrows are those of the design: each module has its own small options and uses only what is named
//! beside it here, so that `http`, `journal` and `event` can be read, tested and replaced by themselves. An
//! exception stands in a list with its reason, and one that is no longer needed is a failure too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which module may use which. Everything may use [`LEAVES`], and they use nothing.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "manual",
            "audit",
            "rig",
            "server",
            "config",
            "journal",
            "disk",
            "worker",
            "event",
            "dedupe",
            "dead_letter",
            "feed",
        ],
    ),
    ("manual", &[]),
    (
        "audit",
        &["journal", "disk", "worker", "event", "dedupe", "feed"],
    ),
    ("rig", &["config", "journal", "disk"]),
    ("config", &[]),
    (
        "server",
        &[
            "config",
            "reactor",
            "http",
            "endpoint",
            "journal",
            "disk",
            "worker",
            "dedupe",
            "dead_letter",
            "feed",
            "sink",
        ],
    ),
    ("reactor", &["http", "endpoint", "journal", "disk"]),
    ("endpoint", &["http"]),
    ("http", &[]),
    ("journal", &["disk"]),
    ("disk", &[]),
    ("worker", &["event", "journal", "disk"]),
    ("event", &[]),
    ("dedupe", &["worker", "journal", "disk", "event"]),
    ("dead_letter", &["worker", "journal", "disk", "event"]),
    (
        "feed",
        &[
            "dead_letter",
            "dedupe",
            "worker",
            "journal",
            "disk",
            "event",
        ],
    ),
    ("sink", &["feed", "dead_letter", "dedupe", "worker"]),
    ("testing", &[]),
];

const LEAVES: &[&str] = &["metrics", "relay", "children", "hex", "random", "log"];

/// Arrows beside those, and why.
const ARROWS_BESIDE: &[(&str, &str, &str)] = &[
    (
        "sink",
        "event",
        "NDJSON is the envelope, which `event` renders",
    ),
    (
        "sink",
        "endpoint",
        "what verifies Standard Webhooks signs by them too",
    ),
    (
        "config",
        "endpoint",
        "plain enums that both name, such as `Ack`",
    ),
    (
        "config",
        "sink",
        "plain values that both name, such as `Rotation`",
    ),
    ("config", "dedupe", "a plain enum that both name, `Scope`"),
    ("server", "event", "consumers name lanes"),
    (
        "config",
        "event",
        "a pattern of types is checked in one place",
    ),
];

/// Files of more than [`LINES_MAX`] lines, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files that write, sync, rename or remove: the one door to the disk, the sink whose purpose it is, and the
/// trial of a disk, which makes a directory of its own and removes it.
const WRITERS: &[&str] = &[
    "src/disk/directory.rs",
    "src/disk/ownership.rs",
    "src/sink/file/output.rs",
    "src/sink/file/rotation.rs",
    "src/sink/file/tail.rs",
    "src/rig/site.rs",
];

const WRITING: &[&str] = &[
    "OpenOptions",
    "File::create",
    "fs::write",
    "fs::rename",
    "fs::remove",
    "fs::create_dir",
    "fs::copy",
    "fs::hard_link",
    "rustix::fs",
    "pwrite",
];

/// Of these, what only looks.
const READING: &[&str] = &[
    "rustix::fs::access(",
    "use rustix::fs::Access;",
    "rustix::fs::statfs(",
];

/// Files in which secrets, and what is to prove them, meet.
const PROOFS: &[&str] = &[
    "src/endpoint/credentials.rs",
    "src/endpoint/handshake.rs",
    "src/endpoint/mod.rs",
    "src/endpoint/signature.rs",
    "src/server/pull/access.rs",
];

/// What these are called there.
const PROVING: &[&str] = &[
    "secret", "token", "tag", "claimed", "known", "password", "digits",
];

/// Comparisons whose time says how much was right.
const COMPARING: &[&str] = &[
    "==",
    "!=",
    "starts_with",
    "ends_with",
    "contains",
    ".eq(",
    ".ne(",
    ".cmp(",
];

/// Lines with both, and why.
const COMPARED: &[(&str, &str)] = &[
    (
        "Encoding::Either if digits.len() == 2 * len => Tag::from_hex(digits, len),",
        "a length",
    ),
    ("if digits.len() != 2 * len {", "a length"),
    (
        "mode == b\"subscribe\" && known && !token.is_empty() && challenge.len() <= CHALLENGE_MAX;",
        "the token was compared before",
    ),
];

/// Words for which there is a plainer one. Of two, the second follows the first in prose or in a name.
const RIDDLES: &[(&str, &str)] = &[
    ("octet", "byte"),
    ("octets", "bytes"),
    ("told", "logged, reported, said, known"),
    ("untold", "not logged, not reported"),
    ("verdict", "decision, outcome, conclusion"),
    ("verdicts", "decisions, outcomes, conclusions"),
    ("condemn", "poison, give up"),
    ("condemned", "poisoned, given up"),
    ("bury", "make a dead letter"),
    ("buried", "a dead letter now"),
    ("pile", "list, dead letters of a sink"),
    ("piles", "list, dead letters of the sinks"),
    ("whereabouts", "path"),
    ("holdings", "memory, memory budget"),
    ("who pays", "victim"),
    ("let go", "release, drop, remove, forget"),
    ("lets go", "releases, drops, removes, forgets"),
    ("letting go", "release, drop, remove, forget"),
];

/// Where such a word stands all the same, and why.
const RIDDLES_BESIDE: &[(&str, &str)] = &[
    ("octet-stream", "a media type"),
    (
        "`disk_octets`, `free_octets`, `octets`",
        "names of before, in the manual",
    ),
    ("`body_octets`", "a name of before, in the manual"),
    ("keys with `octets`", "names of before, in the manual"),
    ("| `verdict` |", "a name of before, in the manual"),
    ("poison/verdicts", "the name of a file"),
    ("\"verdicts\"", "the name of a file"),
    ("`verdicts`", "the name of a file"),
    ("\"condemned\"", "a word of that file"),
    ("`condemned`", "a word of that file"),
    ("\"condemned {sequence}\"", "a line of that file"),
    ("//! condemned 17\n", "a line of that file"),
    ("\\ncondemned ", "a line of that file"),
];

/// Words of ordinary English that say little as a name, and plainer ones. They are looked for in names of files,
/// modules, types, variants, functions and public fields; prose and local variables are free.
const RIDDLES_IN_NAMES: &[(&str, &str)] = &[
    ("judge", "decide, dedupe"),
    ("judged", "decided"),
    ("door", "acceptor"),
    ("ring", "mark_readable, wake"),
    ("moment", "time argument"),
    ("draw", "random"),
    ("shelf", "cache"),
    ("talk", "session"),
    ("undone", "in-flight"),
    ("floor", "retention hold"),
    ("letter", "dead letter"),
    ("letters", "dead letters"),
];

/// The same for a type, and for a file, whose whole name it is.
const RIDDLES_AS_NAMES: &[(&str, &str)] = &[
    ("again", "replay, or what is done once more"),
    ("caller", "what came"),
    ("fate", "what becomes of what"),
    ("found", "what was found"),
    ("given", "what was given"),
    ("kept", "what is kept"),
    ("look", "inspection"),
    ("maker", "what it makes"),
    ("part", "of what"),
    ("parts", "of what"),
    ("place", "location, position"),
];

/// Functions of more than [`FUNCTION_LINES_MAX`] lines, and why. At most eight.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[(
    "src/event/whatsapp/walk.rs",
    "value",
    "one pass over a value, on the hot path: its steps share what was met",
)];

/// One source file.
struct Source {
    /// From the root of the package.
    path: String,
    text: String,
}

impl Source {
    /// True for files that hold nothing but tests.
    fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| part == "tests" || part == "tests.rs" || part == "simulated")
    }

    /// `src/http/head.rs` belongs to `http`.
    fn module(&self) -> &str {
        let rest = self.path.strip_prefix("src/").expect("a source");
        let end = rest.find(['/', '.']).expect("an extension");
        &rest[..end]
    }

    /// The lines of code, without comments and without the tests at the end.
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        let lines = lines.take_while(|line| *line != "mod tests {");
        lines
            .map(|line| line.split("//").next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let mut sources = texts(directory);
    sources.retain(|source| Path::new(&source.path).extension() == Some("rs".as_ref()));
    assert!(!sources.is_empty());
    sources
}

/// All files that people write: what is measured, drawn or found by a program is left out.
fn texts(name: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = vec![root.join(name)];
    let mut sources = Vec::new();
    while let Some(path) = waiting.pop() {
        // A build of `tests/fuzz` by itself; figures of another day; inputs that a fuzzer has found; lock files.
        let made = ["target", "results", "seeds", "Cargo.lock"];
        if made.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable");
            waiting.extend(entries.map(|entry| entry.expect("readable").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root).expect("below the root");
            let path = name.to_str().expect("UTF-8").to_owned();
            sources.push(Source { path, text });
        }
    }
    sources
}

/// The top-level modules that a file uses: `crate::name`, and `crate::{name, name::Item}`.
fn used(source: &Source) -> BTreeSet<String> {
    let code: String = source.code().flat_map(|line| [line, " "]).collect();
    let mut used = BTreeSet::new();
    for prefix in ["crate::", "hookline::"] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                used.extend(group_members(group));
            } else {
                used.insert(name(rest));
            }
        }
    }
    used
}

/// The first names in `a, b::{c, d}, e}`.
fn group_members(group: &str) -> Vec<String> {
    let mut members = vec![name(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => members.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn modules_use_only_what_they_may() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut needed = BTreeSet::new();
    for source in sources("src") {
        let module = source.module().to_owned();
        // What tests use is of all rooms.
        if ["lib", "testing"].contains(&module.as_str()) || source.is_test() {
            continue;
        }
        for used in used(&source) {
            let known = arrows.contains_key(used.as_str()) || LEAVES.contains(&used.as_str());
            assert!(known, "{}: {used} is not in the table", source.path);
            let own = used == module;
            let allowed: &[&str] = arrows.get(module.as_str()).copied().unwrap_or_default();
            let leaf = LEAVES.contains(&used.as_str()) && !LEAVES.contains(&module.as_str());
            let beside = ARROWS_BESIDE
                .iter()
                .find(|(from, to, _)| *from == module && *to == used);
            if let Some((from, to, _)) = beside {
                needed.insert((*from, *to));
            } else if !own && !leaf && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (from, to, reason) in ARROWS_BESIDE {
        assert!(
            needed.contains(&(*from, *to)),
            "no longer needed: {from} → {to}, {reason}"
        );
    }
}

/// The paths of a tree of imports: `a::{b, c::{d, self}}` is `a::b`, `a::c::d` and `a::c`.
fn paths(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().split("::");
        let path = path.map(|part| part.trim().to_owned());
        return vec![path.filter(|part| part != "self" && part != "*").collect()];
    };
    let head = paths(tree[..open].trim_end_matches("::")).remove(0);
    let inner = &tree[open + 1..tree.rfind('}').expect("closed")];
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.retain(|member| !member.trim().is_empty());
    let members = members.into_iter().flat_map(paths);
    members
        .map(|member| [head.clone(), member].concat())
        .collect()
}

/// `src/feed/cursor.rs` is `crate::feed::cursor`, and `src/feed/mod.rs` is `crate::feed`.
fn module_path(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").expect("a source");
    let path = path.strip_suffix(".rs").expect("a source").split('/');
    let parts = ["crate"].into_iter().chain(path);
    parts
        .filter(|part| !["mod", "lib", "main"].contains(part))
        .map(str::to_owned)
        .collect()
}

/// Something that a file imports, or gives on.
struct Import {
    /// The module that it is taken from, as a whole path.
    module: Vec<String>,
    /// What of it; `None` if that is the module.
    name: Option<String>,
    given_on: bool,
}

/// What a file imports from the modules of the crate.
fn imports(source: &Source, modules: &BTreeSet<Vec<String>>) -> Vec<Import> {
    let own = module_path(&source.path);
    let code: String = source.code().flat_map(|line| [line, "\n"]).collect();
    let mut found = Vec::new();
    for statement in code.split(';') {
        let statement = statement.trim_start();
        let line = statement.find("use ").filter(|at| {
            let before = &statement[..*at];
            before.is_empty() || before.starts_with("pub") && !before.contains('\n')
        });
        let Some(at) = line else { continue };
        for path in paths(&statement[at + 4..]) {
            let up = path.iter().take_while(|part| *part == "super").count();
            let path = match path.first().map(String::as_str) {
                Some("crate") => path,
                Some("super") => [&own[..own.len() - up], &path[up..]].concat(),
                _ => [&own[..], &path[..]].concat(),
            };
            let mut lengths = (1..=path.len()).rev();
            let length = lengths.find(|length| modules.contains(&path[..*length]));
            found.extend(length.map(|length| Import {
                module: path[..length].to_vec(),
                name: path.get(length).cloned(),
                given_on: at > 0,
            }));
        }
    }
    found
}

/// A folder's re-exports are for those outside: through them, a file could need one that needs it unseen.
#[test]
fn siblings_import_from_the_file_that_defines() {
    let sources = sources("src");
    let sources: Vec<_> = sources.iter().filter(|source| !source.is_test()).collect();
    let modules: BTreeSet<_> = sources.iter().map(|it| module_path(&it.path)).collect();
    let imports: Vec<_> = sources
        .iter()
        .flat_map(|source| {
            let own = module_path(&source.path);
            let imports = imports(source, &modules).into_iter();
            imports.filter_map(move |it| Some((own.clone(), it.module, it.name?, it.given_on)))
        })
        .collect();
    let mut given_on = BTreeSet::new();
    for (own, module, name, is_given_on) in &imports {
        if *is_given_on && module != own && module.starts_with(own) {
            given_on.insert((own, name));
        }
    }
    assert!(given_on.len() > 100, "the re-exports are found");
    let mut wrong = Vec::new();
    for (own, module, name, _) in &imports {
        if own != module && own.starts_with(module) && given_on.contains(&(module, name)) {
            wrong.push(format!("{}: {}::{name}", own.join("::"), module.join("::")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Within a folder, a file and the folder of its children are one.
#[test]
fn no_file_needs_one_that_needs_it() {
    let sources = sources("src");
    let sources: Vec<_> = sources.iter().filter(|source| !source.is_test()).collect();
    let modules: BTreeSet<_> = sources.iter().map(|it| module_path(&it.path)).collect();
    let mut arrows: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in &sources {
        let from = module_path(&source.path);
        for Import { module: to, .. } in imports(source, &modules) {
            let shared = from.iter().zip(&to).take_while(|(one, two)| one == two);
            let shared = shared.count();
            if shared < from.len().min(to.len()) {
                let folder = arrows.entry(from[..shared].to_vec()).or_default();
                let beside = folder.entry(from[shared].clone()).or_default();
                beside.insert(to[shared].clone());
            }
        }
    }
    assert!(arrows.len() > 10, "the imports are found");
    for (folder, arrows) in arrows {
        let mut left: BTreeSet<_> = arrows.keys().chain(arrows.values().flatten()).collect();
        // Who needs none of those that are left stands below them.
        let is_needing = |one, left: &BTreeSet<&String>| {
            let needed = arrows.get(one).into_iter().flatten();
            needed.into_iter().any(|it| left.contains(it))
        };
        while let Some(lowest) = left.iter().copied().find(|one| !is_needing(*one, &left)) {
            left.remove(lowest);
        }
        assert!(
            left.is_empty(),
            "a circle in {}: {left:?}",
            folder.join("::")
        );
    }
}

#[test]
fn the_map_names_every_module() {
    let library = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let library = library.expect("readable");
    let modules = library.lines().filter_map(|line| {
        let name = line.strip_prefix("pub ").unwrap_or(line);
        name.strip_prefix("mod ")?.strip_suffix(';')
    });
    let mut count = 0;
    for module in modules {
        count += 1;
        assert!(
            library.contains(&format!("//! - [`{module}`]: ")),
            "{module} is not on the map"
        );
        let known = ARROWS.iter().any(|(name, _)| *name == module) || LEAVES.contains(&module);
        assert!(known, "{module} is not in the table of arrows");
    }
    assert_eq!(
        count + 1,
        ARROWS.len() + LEAVES.len(),
        "main is no module of the library"
    );
}

#[test]
fn files_are_short() {
    let mut needed = BTreeSet::new();
    for source in sources("src") {
        let lines = source.text.lines().count();
        let reason = LONG_FILES.iter().find(|(path, _)| *path == source.path);
        if lines > LINES_MAX {
            assert!(reason.is_some(), "{} has {lines} lines", source.path);
            needed.insert(source.path);
        }
    }
    for (path, reason) in LONG_FILES {
        assert!(needed.contains(*path), "no longer needed: {path}, {reason}");
    }
}

#[test]
fn every_module_says_what_it_is() {
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        assert!(
            source.text.starts_with("//! "),
            "{} begins without a word",
            source.path
        );
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    let banned = ["todo!", "unimplemented!", "dbg!", "FIXME", "TODO"];
    for source in sources("src").iter().chain(&sources("tests")) {
        for word in banned {
            let found = source.text.contains(word) && source.path != "tests/tidy.rs";
            assert!(!found, "{} has {word}", source.path);
        }
    }
}

#[test]
fn names_say_what_things_are() {
    for source in sources("src") {
        for vague in ["util", "helper", "manager", "misc"] {
            assert!(!source.path.contains(vague), "{}", source.path);
        }
    }
}

/// The words of a text in lower case, between spaces; names are split at `_` and where a capital begins a word. What
/// separates two words of a sentence, a line's end and the sign of a comment too, is one space, anything else a dot.
fn words(text: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for c in text.chars() {
        let is_space = c.is_whitespace() || "_/!#".contains(c);
        if !c.is_alphanumeric() || before.is_lowercase() && c.is_uppercase() {
            if !words.ends_with(' ') {
                words.push(' ');
            }
            if !c.is_alphanumeric() && !is_space {
                words.push_str(". ");
            }
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
        before = c;
    }
    words + " "
}

#[test]
fn words_are_found_in_prose_and_names() {
    let found = |text: &str, word: &str| words(text).contains(&format!(" {word} "));
    for text in [
        "told",
        "Told.",
        "is_told(",
        "TOLD_AT",
        "ErrorTold",
        "\"told\"",
    ] {
        assert!(found(text, "told"), "{text}");
    }
    for text in [
        "let go",
        "let_go",
        "LetGo",
        "LET_GO",
        "they let\n    /// go",
    ] {
        assert!(found(text, "let go"), "{text}");
    }
    for text in ["tolden", "stold", "let, go", "let (go", "let goes"] {
        assert!(!found(text, "told") && !found(text, "let go"), "{text}");
    }
}

/// Whoever reads this may have learned English late.
#[test]
fn words_are_plain() {
    let (mut wrong, mut needed) = (Vec::new(), BTreeSet::new());
    for place in ["src", "tests", "benches", "loadtest", "README.md"] {
        let texts = texts(place);
        assert!(!texts.is_empty(), "{place}");
        for Source { path, mut text } in texts {
            if path == "tests/tidy.rs" {
                continue;
            }
            for (literal, _) in RIDDLES_BESIDE {
                if text.contains(literal) {
                    needed.insert(*literal);
                    text = text.replace(literal, " . ");
                }
            }
            let words = words(&format!("{path}\n{text}"));
            for (word, plain) in RIDDLES {
                if words.contains(&format!(" {word} ")) {
                    wrong.push(format!("{path}: {word}; plainer: {plain}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (literal, reason) in RIDDLES_BESIDE {
        assert!(
            needed.contains(literal),
            "no longer needed: {literal:?}, {reason}"
        );
    }
}

/// The names that a file gives to what is not private to a function: kind and name, its own first.
fn names_in(source: &Source) -> Vec<(&'static str, String)> {
    let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
    let own = path.rsplit('/').next().unwrap_or_default();
    let mut names = vec![("file", own.to_owned())];
    let kinds = ["mod", "struct", "enum", "trait", "type", "union", "fn"];
    // How deep in the body of an enum a line is.
    let mut depth = 0;
    for line in source.code() {
        let is_variant = depth == 1 && line.starts_with(char::is_uppercase);
        if is_variant {
            names.push(("variant", name(line)));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            if let Some(kind) = kinds.iter().find(|kind| **kind == pair[0]) {
                names.push((kind, name(pair[1])));
            }
        }
        let field = words.iter().find(|word| !word.starts_with("pub"));
        if let Some(field) = field.filter(|it| line.starts_with("pub") && it.ends_with(':')) {
            names.push(("field", name(field)));
        }
        if depth > 0 || words.contains(&"enum") && line.ends_with('{') {
            depth += line.matches(['{', '(']).count();
            depth -= line.matches(['}', ')']).count().min(depth);
        }
    }
    names.retain(|(_, name)| !name.is_empty());
    names
}

#[test]
fn names_are_plain() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (kind, name) in names_in(source) {
            count += 1;
            let words = words(&name).replace(" dead letter", " ");
            let within = RIDDLES_IN_NAMES.iter();
            let mut riddles =
                within
                    .filter(|(word, _)| words.contains(&format!(" {word} ")))
                    .chain(RIDDLES_AS_NAMES.iter().filter(|(word, _)| {
                        !["fn", "field"].contains(&kind) && words.trim() == *word
                    }));
            let Some((_, plain)) = riddles.next() else {
                continue;
            };
            wrong.push(format!("{}: {kind} {name}; plainer: {plain}", source.path));
        }
    }
    assert!(count > 3000, "the names are found: {count}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The functions of a file without its tests, and how many lines each has. A test tells a story or has a table, and is
/// read from top to bottom.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let lines = source.text.lines();
    let lines: Vec<&str> = lines.take_while(|line| *line != "mod tests {").collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let Some((before, rest)) = code.split_once("fn ") else {
            continue;
        };
        let mut before = before.split_whitespace();
        let is_function = before.all(|word| {
            word.starts_with("pub") || word.ends_with(')') || ["const", "async"].contains(&word)
        });
        if !is_function {
            continue;
        }
        let end = lines[at..].iter().position(|line| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| rest == "}" || rest.starts_with(')') && rest.ends_with(';'))
        });
        // One of a trait, or one on a line of its own, ends there.
        let is_whole = code.ends_with(';') || code.ends_with('}');
        let len = if is_whole {
            1
        } else {
            end.map_or(0, |end| end + 1)
        };
        found.push((name(rest), len));
    }
    found
}

#[test]
fn functions_are_short() {
    assert!(LONG_FUNCTIONS.len() <= 8);
    let (mut wrong, mut needed, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (function, lines) in functions(source) {
            count += 1;
            if lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let known =
                |(path, name, _): &&(&str, &str, &str)| *path == source.path && *name == function;
            match LONG_FUNCTIONS.iter().find(known) {
                Some((path, name, _)) => drop(needed.insert((*path, *name))),
                None => wrong.push(format!("{}: {function} has {lines} lines", source.path)),
            }
        }
    }
    assert!(count > 2000, "the functions are found: {count}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (path, name, reason) in LONG_FUNCTIONS {
        assert!(
            needed.contains(&(*path, *name)),
            "no longer needed: {name} in {path}, {reason}"
        );
    }
}

/// rustfmt leaves alone what it cannot break: string literals, and comments, which have to be broken by hand.
#[test]
fn lines_fit_on_a_screen() {
    for source in sources("src").iter().chain(&sources("tests")) {
        for (line, number) in source.text.lines().zip(1..) {
            let is_table = line.trim_start().starts_with("//! |");
            let is_literal = line.contains('"') && !line.trim_start().starts_with("//");
            let columns = line.chars().count();
            let fits = columns <= COLUMNS_MAX || is_table || is_literal;
            assert!(fits, "{}:{number} has {columns} columns", source.path);
        }
    }
}

#[test]
fn only_those_write_files_who_have_to() {
    let mut writers = BTreeSet::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for line in source.code() {
            if READING.iter().any(|call| line.contains(call)) {
                continue;
            }
            if let Some(call) = WRITING.iter().find(|call| line.contains(**call)) {
                assert!(
                    WRITERS.contains(&source.path.as_str()),
                    "{}: {call}: {line}",
                    source.path
                );
                writers.insert(source.path.clone());
            }
        }
    }
    assert_eq!(writers.len(), WRITERS.len(), "{writers:?}");
}

#[test]
fn secrets_are_compared_in_constant_time_only() {
    let mut needed = BTreeSet::new();
    let sources = sources("src");
    for path in PROOFS {
        let source = sources.iter().find(|source| source.path == *path);
        for line in source.expect("it is there").code() {
            let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
            if has(PROVING) && has(COMPARING) {
                let known = COMPARED.iter().any(|(known, _)| *known == line);
                assert!(
                    known,
                    "{path}: compare with verify_slices_are_equal: {line}"
                );
                needed.insert(line.to_owned());
            }
        }
    }
    for (line, reason) in COMPARED {
        assert!(needed.contains(*line), "no longer needed: {line}, {reason}");
    }
}

/// Whoever reads the log at night has to know which sink a line is about.
#[test]
fn lines_of_sinks_name_the_sink() {
    let mut count = 0;
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let of_sinks = ["src/sink/", "src/server/pull/"];
        let is_dispatch = source.path.starts_with("src/sink/dispatch/");
        if is_dispatch || !of_sinks.iter().any(|part| source.path.starts_with(part)) {
            continue;
        }
        let code: String = source.code().flat_map(|line| [line, "\n"]).collect();
        for level in ["info", "warn", "error"] {
            for (at, call) in code.match_indices(&format!("tracing::{level}!(")) {
                let rest = &code[at + call.len()..];
                let fields = &rest[..rest.find('"').expect("a message")];
                let named = fields.contains("sink,") || fields.contains("sink =");
                assert!(named, "{}: {level}!({rest:.200}", source.path);
                count += 1;
            }
        }
    }
    assert!(count > 0);
}

#[test]
fn library_and_program_forbid_unsafe_code() {
    for root in ["src/lib.rs", "src/main.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(root));
        assert!(
            text.expect("readable")
                .contains("\n#![forbid(unsafe_code)]\n"),
            "{root}"
        );
    }
}

/// Longest file in `src`, in lines, with its tests.
const LINES_MAX: usize = 500;

/// Longest function in `src`, in lines, from its name to its end.
const FUNCTION_LINES_MAX: usize = 70;

/// Longest line, in characters.
const COLUMNS_MAX: usize = 120;
