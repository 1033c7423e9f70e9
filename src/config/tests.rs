//! Whole configurations: what they become, and what is said about their mistakes.

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

const STANDARD_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const ENDPOINT: &str = r#"
[[endpoint]]
path = "/webhook"
provider = "meta"
verify_token = { env = "TOKEN" }
app_secret = [{ env = "APP" }]

"#;

#[test]
fn the_defaults_are_those_of_the_table() {
    let (config, warnings) = load(ENDPOINT).expect("valid");
    assert_eq!(warnings, []);
    assert_eq!(
        config.server.listen,
        "127.0.0.1:8080".parse().expect("an address")
    );
    assert_eq!(config.server.ack_deadline, Duration::from_secs(4));
    assert_eq!(config.limits.body, 4 << 20);
    assert_eq!(config.journal.dir, Path::new(DATA_DIR));
    assert_eq!(config.journal.retention, Duration::from_hours(7 * 24));
    assert_eq!(config.admin.listen, "127.0.0.1:8081".parse().ok());
    assert_eq!(config.sinks, []);
    let listed: Vec<_> = config.numbers.iter().map(|(setting, _)| *setting).collect();
    let sections: Vec<_> = SETTINGS
        .iter()
        .filter(|row| row.section != "endpoint")
        .collect();
    assert_eq!(listed, sections);
    for (setting, value) in &config.numbers {
        assert!(
            setting.default.is_none_or(|default| default == *value),
            "{setting:?}"
        );
    }
}

#[test]
fn a_full_file_is_taken() {
    let (config, warnings) = load(
        r#"
        [server]
        listen = "127.0.0.1:0"
        loops = 3
        workers = 2
        pin = false
        ack_deadline = "250ms"
        [limits]
        body = 65536
        [journal]
        dir = "/var/lib/hookline"
        segment_size = "1MiB"
        [admin]
        listen = "off"
        [log]
        format = "json"
        level = "warn,hookline=debug"
        [[endpoint]]
        path = "/meta"
        provider = "meta"
        ack = "received"
        verify_token = [{ env = "TOKEN" }, { env = "APP" }]
        app_secret = { env = "APP" }
        keep_headers = ["X-Hub-Signature-256", "User-Agent", "user-agent"]
        [[endpoint]]
        path = "/360"
        provider = "360dialog"
        basic = { username = "hook", password = { env = "APP" } }
        signature_secret = { env = "APP" }
        [[endpoint]]
        path = "/360/header"
        provider = "360dialog"
        header = { name = "X-Token", value = { env = "TOKEN" } }
        [[endpoint]]
        path = "/standard"
        provider = "standard-webhooks"
        secret = { env = "KEY" }
        tolerance = "1m"
        [[endpoint]]
        path = "/teams"
        name = "teams"
        provider = "generic-hmac"
        secret = { env = "APP" }
        header = "Authorization"
        encoding = "base64"
        prefix = "HMAC "
        [[endpoint]]
        path = "/"
        provider = "generic-hmac"
        accept_unsigned = true
        [[sink]]
        name = "screen"
        type = "stdout"
        [[sink]]
        type = "file"
        path = "events.ndjson"
        "#,
    )
    .expect("valid");
    assert_eq!(warnings, []);
    assert_eq!(
        (
            config.server.loops,
            config.server.workers,
            config.server.pin
        ),
        (3, 2, false)
    );
    assert_eq!(config.server.ack_deadline, Duration::from_millis(250));
    assert_eq!(
        (config.limits.body, config.journal.segment_size),
        (65536, 1 << 20)
    );
    assert_eq!(
        config.admin,
        Admin {
            listen: None,
            required: false
        }
    );
    let names: Vec<_> = config
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.name)
        .collect();
    assert_eq!(
        names,
        ["meta", "360", "360-header", "standard", "teams", "root"]
    );
    let [meta, basic, header, standard, teams, root] = config.endpoints.as_slice() else {
        panic!("six endpoints");
    };
    let app = || vec![Secret::new(*b"app secret")];
    assert_eq!((meta.ack, basic.ack), (Ack::Received, Ack::Stored));
    assert_eq!(meta.keep_headers, ["x-hub-signature-256", "user-agent"]);
    let username = "hook".to_owned();
    let credential = Some(Credential::Basic {
        username,
        passwords: app(),
    });
    assert_eq!(
        basic.provider,
        Provider::Dialog360 {
            credential,
            signature_secrets: app()
        }
    );
    let (name, values) = ("x-token".to_owned(), vec![Secret::new(*b"token")]);
    let credential = Some(Credential::Header { name, values });
    assert_eq!(
        header.provider,
        Provider::Dialog360 {
            credential,
            signature_secrets: vec![]
        }
    );
    assert!(
        matches!(&standard.provider, Provider::StandardWebhooks { secrets, tolerance }
        if secrets[0].expose().len() == 24 && *tolerance == Duration::from_mins(1))
    );
    assert_eq!(teams.keep_headers, ["authorization", "content-type"]);
    assert!(root.accept_unsigned && !meta.accept_unsigned);
    assert_eq!(config.sinks[1].name, "file");
}

#[test]
fn every_mistake_is_told_with_its_line() {
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
type = "kafka"
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
        (22, "sink type \"kafka\" is not in this build yet"),
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
fn each_rule_has_its_message() {
    for (text, part) in [
        (
            "accept_unsigned = true",
            "accept_unsigned = true contradicts app_secret",
        ),
        ("keep_headers = [\"Cookie\"]", "cookie holds a credential"),
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
fn variables_go_over_the_file_and_flags_over_both() {
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\nloops = 5\n{ENDPOINT}");
    let variables = [
        ("APP", "s"),
        ("TOKEN", "t"),
        ("HOOKLINE__SERVER__LISTEN", "127.0.0.1:2"),
        ("HOOKLINE__SERVER__WORKERS", "7"),
        ("HOOKLINE__SERVER__PIN", "false"),
        ("HOOKLINE__JOURNAL__DIR", "/data"),
        ("HOOKLINE__LIMITS__BODY", "1MiB"),
        ("HOOKLINE_APP_SECRET", "not a setting"),
    ];
    let (config, _) = load_with(&text, &variables).expect("valid");
    assert_eq!(
        (
            config.server.listen.port(),
            config.server.loops,
            config.server.workers
        ),
        (2, 5, 7)
    );
    assert_eq!((config.server.pin, config.limits.body), (false, 1 << 20));
    let flags = Flags {
        listen: "127.0.0.1:3".parse().ok(),
        data_dir: Some("here".into()),
    };
    let (config, _) = Config::load(None, &environment(&variables), &flags).expect("valid");
    assert_eq!(
        (config.server.listen.port(), config.journal.dir),
        (3, PathBuf::from("here"))
    );
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
fn without_a_file_only_this_machine_may_post_unsigned() {
    let anyone = Flags {
        listen: "0.0.0.0:8080".parse().ok(),
        data_dir: None,
    };
    let (config, _) = Config::load(None, &Environment::new(), &Flags::default()).expect("valid");
    assert!(config.endpoints[0].accept_unsigned);
    assert_eq!(config.sinks[0].kind, SinkKind::Stdout);
    let errors = Config::load(None, &Environment::new(), &anyone).expect_err("open to anyone");
    assert!(
        errors
            .to_string()
            .starts_with("--listen: without a config file"),
        "{errors}"
    );
    let signed = environment(&[("HOOKLINE_APP_SECRET", "s"), ("HOOKLINE_VERIFY_TOKEN", "t")]);
    let (config, _) =
        Config::load(None, &signed, &anyone).expect("signed posts may come from anywhere");
    assert!(!config.endpoints[0].accept_unsigned);
    let empty = environment(&[("HOOKLINE_APP_SECRET", "")]);
    assert!(Config::load(None, &empty, &Flags::default()).is_err());
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let warnings = |text: &str| {
        load(text)
            .expect("valid")
            .1
            .into_iter()
            .map(|w| w.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let open = "[server]\nlisten = \"0.0.0.0:80\"\nack_deadline = \"6s\"\n[admin]\nlisten = \"0.0.0.0:81\"\n[[endpoint]]\npath = \"/\"\nprovider = \"meta\"\naccept_unsigned = true\n";
    let found = warnings(open);
    for part in [
        ":2:1: / accepts unsigned posts",
        ":3:1: ack_deadline = 6s",
        "admin pages ask for no password",
        "without verify_token",
    ] {
        assert!(found.contains(part), "{found}");
    }
    // The admin pages have a default that gives way to what was asked for.
    let (config, warnings) = load(&format!(
        "[server]\nlisten = \"127.0.0.1:8081\"\n{ENDPOINT}"
    ))
    .expect("valid");
    assert_eq!((config.admin.listen, warnings.len()), (None, 1));
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
