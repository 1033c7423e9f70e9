//! README and manual against the code, both ways: no key, limit, metric, verb, answer or exit code stands in one and
//! not in the other, and what a reader is asked to type is what the program takes.
//!
//! - `configuration`: keys, limits and defaults; configurations that stand in a fence
//! - `commands`: verbs, exit codes and commands
//! - `served`: answers and metrics
//! - `help`: what `hookline help` prints

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod configuration;
mod help;
mod served;

use hookline::manual::{CHAPTERS, chapter};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Languages of fences, and why what stands in them is not run here.
const LANGUAGES: &[(&str, &str)] = &[
    ("sh", "tests/manual/commands.rs parses them"),
    ("toml", "tests/manual/configuration.rs reads it"),
    ("json", "tests/manual/configuration.rs parses it"),
    ("python", "tests/consumers.rs and tests/recipes.rs run it"),
    ("js", "tests/consumers.rs runs it"),
    ("text", "it is what was printed once, or a drawing"),
    ("nginx", "it needs nginx and a certificate"),
    ("haproxy", "it needs HAProxy and a certificate"),
    ("caddy", "it needs Caddy and a name of one's own"),
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is one")
}

/// The README and all chapters.
pub(crate) fn documents() -> Vec<(&'static str, String)> {
    let chapters = CHAPTERS.iter().map(|it| (it.name, it.text.to_owned()));
    [("README", readme())].into_iter().chain(chapters).collect()
}

pub(crate) fn text_of(name: &str) -> &'static str {
    chapter(name).expect("there is such a chapter").text
}

/// The rows of all tables whose first heading is this, each as its cells.
pub(crate) fn rows<'t>(text: &'t str, heading: &str) -> Vec<Vec<&'t str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            inside &= line.starts_with("|-");
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches('|').split(" | ").collect();
        let cells: Vec<&str> = cells.into_iter().map(str::trim).collect();
        if inside {
            rows.push(cells);
        } else {
            inside = cells[0] == heading;
        }
    }
    assert!(!rows.is_empty(), "there is no table of {heading:?}");
    rows
}

/// What stands between backticks.
pub(crate) fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A fence: its language and what it holds.
pub(crate) fn fences(text: &str) -> Vec<(&str, String)> {
    let mut fences = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language, String::new())),
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some((_, body))) => body.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    fences
}

pub(crate) fn numbers(cell: &str) -> Vec<u16> {
    let numbers = cell.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let readme = readme();
    assert!(readme.lines().count() <= 200);
    let links = readme.split("](").skip(1);
    let links = links.map(|rest| rest.split(')').next().expect("closed"));
    let links: Vec<&str> = links.filter(|link| !link.starts_with("http")).collect();
    for link in &links {
        assert!(root().join(link).exists(), "{link}");
    }
    for chapter in CHAPTERS {
        let link = format!("src/manual/{}.md", chapter.name);
        assert!(links.contains(&link.as_str()), "{link} is not linked");
    }
    assert_eq!(readme.matches(".svg)").count(), 3, "charts");
}

#[test]
fn every_file_of_the_manual_is_a_chapter() {
    let files = fs::read_dir(root().join("src/manual")).expect("readable");
    let names = files.map(|file| file.expect("readable").file_name());
    let names: BTreeSet<String> = names
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".md")?.to_owned()))
        .collect();
    let known: BTreeSet<String> = CHAPTERS.iter().map(|it| it.name.to_owned()).collect();
    assert_eq!(names, known);
    // The README says what each is about in the same words.
    let rows = rows_of_readme();
    for chapter in CHAPTERS {
        let about = rows.get(chapter.name).map(|about| about.replace('`', ""));
        assert_eq!(about.as_deref(), Some(chapter.about), "{}", chapter.name);
    }
}

fn rows_of_readme() -> BTreeMap<String, String> {
    let readme = readme();
    let rows = rows(&readme, "chapter");
    let name = |cell: &str| {
        cell.trim_matches(['[', ' '])
            .split(']')
            .next()
            .map(str::to_owned)
    };
    rows.iter()
        .map(|cells| (name(cells[0]).expect("a link"), cells[1].to_owned()))
        .collect()
}

#[test]
fn lines_fit_on_a_terminal() {
    for (name, text) in documents() {
        let mut fenced = false;
        for line in text.lines() {
            fenced ^= line.starts_with("```");
            let fits = line.chars().count() <= 120 || fenced || line.starts_with('|');
            assert!(fits, "{name}: {line}");
        }
    }
}

#[test]
fn files_that_are_named_are_there() {
    let mut count = 0;
    for (name, text) in documents() {
        for path in text.split("```").step_by(2).flat_map(code) {
            let path = path.split(' ').next().expect("a word");
            let folders = ["src/", "tests/", "benches/", "loadtest/", ".ci/"];
            if folders.iter().any(|folder| path.starts_with(folder)) {
                assert!(root().join(path).exists(), "{name}: {path}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn languages_of_fences_are_known() {
    for (name, text) in documents() {
        for (language, _) in fences(&text) {
            let known = LANGUAGES.iter().any(|(known, _)| *known == language);
            assert!(known, "{name}: a fence in {language:?}");
        }
    }
}
