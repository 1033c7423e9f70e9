//! What of another configuration needs a restart, and why.

use super::Config;

/// The settings that differ and that a running server cannot take over, each as `section.key` with the reason.
pub fn needing_restart(runs: &Config, now: &Config) -> Vec<(String, &'static str)> {
    let numbers = now.numbers.iter().filter(|(setting, value)| {
        let before = runs.numbers.iter().find(|(it, _)| it == setting);
        before.is_none_or(|(_, before)| before != value)
    });
    let numbers = numbers.map(|(setting, _)| (setting.section, setting.key));
    let others = [
        (runs.server.listen != now.server.listen, "server", "listen"),
        (runs.server.pin != now.server.pin, "server", "pin"),
        (runs.journal.dir != now.journal.dir, "journal", "dir"),
        (runs.dedupe.scope != now.dedupe.scope, "dedupe", "scope"),
        (runs.admin.listen != now.admin.listen, "admin", "listen"),
        (runs.admin.hosts != now.admin.hosts, "admin", "hosts"),
        (runs.pull.listen != now.pull.listen, "pull", "listen"),
        (runs.log.format != now.log.format, "log", "format"),
        (runs.log.level != now.log.level, "log", "level"),
    ];
    let others = others.into_iter().filter(|(differs, ..)| *differs);
    let others = others.map(|(_, section, key)| (section, key));
    let all = numbers.chain(others);
    all.map(|(section, key)| (format!("{section}.{key}"), reason(section, key)))
        .collect()
}

fn reason(section: &str, key: &str) -> &'static str {
    match (section, key) {
        (_, "listen") => "a listener is opened once, at the start",
        ("server", "loops" | "workers" | "pin") => "threads are started once, at the start",
        ("journal", "dir") => "what is stored in the old directory would stay behind",
        ("journal", _) => "the journal is opened with it, at the start",
        ("dedupe", _) => "what is remembered is laid out with it, at the start",
        ("log", _) => "the log is set up once, at the start",
        _ => "the event loops and pages have it from the start",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, Flags};
    use super::*;
    use std::fs;

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hookline.toml");
        let endpoint = "[[endpoint]]\npath = \"/a\"\nprovider = \"meta\"\naccept_unsigned = true\n";
        fs::write(&path, format!("{text}{endpoint}")).unwrap();
        let loaded = Config::load(Some(&path), &Environment::new(), &Flags::default());
        loaded.unwrap().0
    }

    #[test]
    fn what_needs_a_restart_is_named_and_nothing_else() {
        let named = |one: &str, other: &str| {
            let all = needing_restart(&config(one), &config(other));
            assert!(all.iter().all(|(_, why)| !why.is_empty()));
            all.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert!(named("", "").is_empty());
        let sinks = "[[sink]]\nname = \"a\"\ntype = \"stdout\"\n";
        assert!(named("", sinks).is_empty(), "sinks come and go");
        let server = "[server]\nloops = 3\nworkers = 1\ndrain_timeout = \"7s\"\npin = false\nlisten = \"127.0.0.1:1\"\n";
        assert_eq!(
            named("[server]\nloops = 2\nworkers = 1\n", server),
            [
                "server.loops",
                "server.drain_timeout",
                "server.listen",
                "server.pin"
            ]
        );
        let rest = "[limits]\nbody = \"2MiB\"\n[journal]\ndir = \"elsewhere\"\nretention = \"2d\"\n[dedupe]\nscope = \"all\"\n\
                    [admin]\nlisten = \"off\"\nhosts = [\"a.example\"]\n[pull]\nlisten = \"127.0.0.1:2\"\n\
                    [log]\nlevel = \"warn\"\nformat = \"json\"\n";
        assert_eq!(
            named("", rest),
            [
                "limits.body",
                "journal.retention",
                "journal.dir",
                "dedupe.scope",
                "admin.listen",
                "admin.hosts",
                "pull.listen",
                "log.format",
                "log.level",
            ]
        );
    }
}
