//! Whole configurations: what is said about their mistakes, and in [`accepted`] what the others become. Both for
//! `[[sink]]` in [`sinks`].

mod accepted;
mod builds;
#[cfg(feature = "nats")]
mod connections;
#[cfg(feature = "kafka")]
mod kafka;
mod programs;
mod sinks;

use super::*;
use proptest::prelude::*;
use std::io::Write as _;

fn load(text: &str) -> Result<(Config, Vec<Finding>), ConfigErrors> {
    load_with(
        text,
        &[
            ("APP", "app secret"),
            ("TOKEN", "token"),
            ("KEY", STANDARD_KEY),
        ],
    )
}

fn load_with(
    text: &str,
    variables: &[(&str, &str)],
) -> Result<(Config, Vec<Finding>), ConfigErrors> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Config::load(
        Some(file.path()),
        &environment(variables),
        &Flags::default(),
    )
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Line and message of every mistake.
fn mistakes(text: &str) -> Vec<(usize, String)> {
    let errors = load(text).expect_err("has mistakes").mistakes;
    errors
        .into_iter()
        .map(|m| (m.line.unwrap_or(0), m.message))
        .collect()
}

/// The one mistake of `text` with an endpoint before it, which takes seven lines.
fn mistake(text: &str) -> String {
    let found = mistakes(&format!("{ENDPOINT}{text}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].1.clone()
}

/// What else is wrong is shown all the same.
#[cfg(not(feature = "kafka"))]
#[test]
fn a_type_that_the_build_lacks_says_which_feature_has_it() {
    let text = "[[sink]]\ntype = \"kafka\"\nbrokers = [\"a\"]\n";
    let found = mistakes(&format!("{ENDPOINT}{text}topic = \"a b\"\n"));
    let [(9, lacks), (11, topic)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        lacks.contains("--features kafka, or take a package"),
        "{lacks}"
    );
    assert!(topic.contains("what no topic can"), "{topic}");
    let whole = mistake(&format!("{text}topic = \"a\"\n"));
    assert_eq!(whole, *lacks);
}

const STANDARD_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const ENDPOINT: &str = r#"
[[endpoint]]
path = "/webhook"
provider = "meta"
verify_token = { env = "TOKEN" }
app_secret = [{ env = "APP" }]

"#;

#[test]
fn every_mistake_is_reported_with_its_line() {
    let found = mistakes(
        r#"[server]
ack_dedline = "4s"
loops = 0
listen = "localhost:8080"
[limits]
body = "4MB"
head_timeout = 10
[[endpoint]]
path = "webhook"
provider = "mata"
[[endpoint]]
path = "/a"
provider = "meta"
ack = "replicated"
[[endpoint]]
path = "/b"
provider = "generic-hmac"
app_secret = { env = "APP" }
secret = { env = "MISSING" }
header = "X-Signature:"
[[sink]]
type = "kafca"
[jurnal]
"#,
    );
    let expected = [
        (
            2,
            "unknown key \"ack_dedline\" in [server]; did you mean \"ack_deadline\"?",
        ),
        (3, "loops must be between 1 and 256, found 0"),
        (4, "did you mean \"127.0.0.1:8080\"?"),
        (6, "\"4MB\" is not a size"),
        (7, "head_timeout needs a unit"),
        (9, "did you mean \"/webhook\"?"),
        (10, "unknown provider \"mata\"; did you mean \"meta\"?"),
        (
            11,
            "anyone could post here: add app_secret = { env = \"NAME\" }",
        ),
        (
            14,
            "ack = \"replicated\" waits for a sink that is a cluster",
        ),
        (18, "app_secret belongs to provider \"meta\""),
        (19, "secret: the environment variable MISSING is not set"),
        (20, "not the name of a header field"),
        (22, "unknown sink type \"kafca\"; did you mean \"kafka\"?"),
        (
            23,
            "unknown key \"jurnal\" in the file; did you mean \"journal\"?",
        ),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, message), (expected_line, part)) in found.iter().zip(expected) {
        assert!(
            *line == expected_line && message.contains(part),
            "{line}: {message}"
        );
    }
}

#[test]
fn malformed_toml_hides_no_other_mistake_and_invents_none() {
    let found = mistakes("[server]\nlisten = 127.0.0.1:80\nack_deadline = 4s\nlops = 1\n");
    let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 0], "{found:#?}");
    // What stands behind an open bracket may be anything.
    let found = mistakes("[[endpoint]]\napp_secret = [{ env = \"A\" }\nprovider = \"meta\"\n");
    assert!(
        found
            .iter()
            .all(|(line, message)| *line > 1 && !message.contains("unknown key")),
        "{found:?}"
    );
    assert!(
        mistakes("[server\n")
            .iter()
            .any(|(_, message)| message.contains("unclosed table"))
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_rule_has_its_message() {
    for (text, part) in [
        (
            "accept_unsigned = true",
            "accept_unsigned = true contradicts app_secret",
        ),
        ("keep_headers = [\"Cookie\"]", "cookie holds a credential"),
        (
            "keep_headers = [\"X-Hub-Signature-256\"]",
            "x-hub-signature-256 carries proof",
        ),
        (
            "keep_headers = [\"X-Hub-Signature\"]",
            "x-hub-signature carries proof",
        ),
        (
            "keep_headers = [\"Id\"]",
            "id would be the attribute id of events",
        ),
        (
            "keep_headers = [\"Received-Time\"]",
            "would be the attribute receivedtime of events, which means",
        ),
        (
            "keep_headers = [\"X-Team\", \"X.Team\"]",
            "x.team and x-team would both be the attribute xteam",
        ),
        ("keep_headers = [\"-_-\"]", "-_- has no letter or digit"),
        (
            "keep_headers = \"Host\"",
            "keep_headers must be a list of texts",
        ),
        (
            "tolerance = \"5m\"",
            "tolerance belongs to provider \"standard-webhooks\"",
        ),
        ("name = \"a b\"", "name \"a b\" must be"),
        (
            "[server]\npin = 1",
            "pin must be true or false, found a number",
        ),
        (
            "[server]\nack_deadline = \"2m\"",
            "ack_deadline must be between 100ms and 1m",
        ),
        (
            "[server]\nlisten = \":8080\"",
            "for all addresses write \"0.0.0.0:8080\"",
        ),
        ("[limits]\nbody = -1", "body must be between 1KiB and 64MiB"),
        (
            "[limits]\nbody = 99999999999999999999",
            "body must be between",
        ),
        (
            "[limits]\nbody = 1.5",
            "body must be a size, as in \"4MiB\", found a decimal number",
        ),
        (
            "[limits]\nunacknowledged = \"1MiB\"",
            "too small for limits.body = 4MiB",
        ),
        ("[journal]\nsegment_size = \"8MiB\"", "write at least 16MiB"),
        (
            "[journal]\nmax_size = \"512MiB\"",
            "must hold at least four segments of 256MiB",
        ),
        ("[journal]\ndir = \"\"", "dir is empty"),
        (
            "[admin]\nlisten = \"0.0.0.0:8080\"",
            "would both listen on port 8080",
        ),
        ("[log]\nlevel = \"inof\"", "did you mean \"info\"?"),
        (
            "[log]\nformat = \"yaml\"",
            "known are \"auto\", \"text\", \"json\"",
        ),
        (
            "[sink]\ntype = \"stdout\"",
            "write [[sink]], once for each sink",
        ),
        ("[[sink]]\ntype = \"file\"", "a file sink needs path"),
        (
            "[[sink]]\ntype = \"stdout\"\npath = \"x\"",
            "path belongs to a sink of type \"file\"",
        ),
        ("[[sink]]\nname = \"a\"", "[[sink]] needs type"),
        ("[[sink]]\ntype = \"stdot\"", "did you mean \"stdout\"?"),
        (
            "[[sink]]\ntype = \"stdout\"\n[[sink]]\ntype = \"stdout\"",
            "a second sink has the name",
        ),
    ] {
        let message = mistake(text);
        assert!(message.contains(part), "{text}\n{message}");
    }
    let twice = mistakes(&format!("{ENDPOINT}{ENDPOINT}"));
    assert_eq!(
        twice,
        [(10, "a second endpoint has the path \"/webhook\"".to_owned())]
    );
    assert!(
        mistakes("[server]\n")[0]
            .1
            .contains("there is no [[endpoint]]")
    );
}

#[test]
fn secrets_are_named_and_never_shown() {
    for secret in [
        "\"hunter2\"",
        "[\"hunter2\"]",
        "{ evn = \"hunter2\" }",
        "[[\"hunter2\"]]",
        "hunter2",
        "[\n\"hunter2\"]",
    ] {
        let text = format!(
            "[[endpoint]]\npath = \"/\"\nprovider = \"meta\"\napp_secret = {secret}\napp_secrt = \"hunter2\"\n"
        );
        let errors = load(&text).expect_err("has mistakes");
        assert!(!errors.to_string().contains("hunter2"), "{errors}");
    }
    for (variables, part) in [
        (&[("APP", "")][..], "APP is empty"),
        (&[], "APP is not set"),
    ] {
        let text =
            "[[endpoint]]\npath = \"/\"\nprovider = \"meta\"\napp_secret = { env = \"APP\" }\n";
        let errors = load_with(text, variables).expect_err("fails closed");
        assert!(errors.to_string().contains(part), "{errors}");
    }
    let message = mistake(
        "[[endpoint]]\npath = \"/s\"\nprovider = \"standard-webhooks\"\nsecret = { env = \"TOKEN\" }",
    );
    assert!(message.contains("whsec_"), "{message}");
    // A secret that is written out is a mistake with any provider, an unknown one included.
    let text = "[[endpoint]]\npath = \"/\"\nprovider = \"mata\"\napp_secret = \"hunter2\"\n";
    let lines: Vec<_> = mistakes(text).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [3, 4]);
    let (config, _) = load(ENDPOINT).expect("valid");
    assert!(!format!("{config:?}").contains("app secret"));
}

#[test]
fn paths_are_plain() {
    for path in [
        "", "hook", "/a b", "/a?b", "/a#b", "/%41", "/ä", "//", "/a/../b", "/.",
    ] {
        let text =
            format!("[[endpoint]]\npath = {path:?}\nprovider = \"meta\"\naccept_unsigned = true\n");
        assert!(mistakes(&text)[0].1.starts_with("path "), "{path}");
    }
}

#[test]
fn unknown_variables_are_mistakes() {
    for (name, value, part) in [
        (
            "HOOKLINE__SERVR__LISTEN",
            "",
            "did you mean HOOKLINE__SERVER__LISTEN?",
        ),
        ("HOOKLINE__SERVER__LSITEN", "", "did you mean \"listen\"?"),
        ("HOOKLINE__LISTEN", "", "write HOOKLINE__SECTION__KEY"),
        (
            "HOOKLINE__ENDPOINT__PATH",
            "",
            "each [[endpoint]] is set in the config file",
        ),
        (
            "HOOKLINE__SERVER__LOOPS",
            "many",
            "loops must be a whole number",
        ),
    ] {
        let errors = Config::load(None, &environment(&[(name, value)]), &Flags::default());
        let errors = errors.expect_err("has mistakes").to_string();
        assert!(
            errors.starts_with(name) && errors.contains(part),
            "{errors}"
        );
    }
}

#[test]
fn files_that_cannot_be_read_are_mistakes() {
    let missing = Config::load(
        Some(Path::new("/nonexistent.toml")),
        &Environment::new(),
        &Flags::default(),
    );
    let errors = missing.expect_err("missing").to_string();
    assert!(
        errors.starts_with("/nonexistent.toml: cannot read the configuration"),
        "{errors}"
    );
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[server]\nlisten = \"\xff\"\n")
        .expect("written");
    let errors = Config::load(Some(file.path()), &Environment::new(), &Flags::default());
    assert_eq!(errors.expect_err("not UTF-8").mistakes[0].line, Some(2));
}

proptest! {
    #[test]
    fn no_file_panics(text in "(\\[{1,2}(server|endpoint|sink|limits)\\]{1,2}\n|(path|provider|listen|loops|app_secret|header|body) = ([0-9]{1,20}|\"[a-zä/:0-9]{0,8}\"|\\{ env = \"A\" \\}|\\[1, \"a\"\\]|true|[a-z]{1,4}|\\{)\n){0,12}") {
        if let Err(errors) = load(&text) {
            prop_assert!(!errors.mistakes.is_empty());
            prop_assert!(!errors.to_string().is_empty());
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = load(&text);
    }
}
