//! What is taken, and what it becomes.

use super::*;

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
        .filter(|row| row.section != "endpoint" && !row.section.starts_with("sink."))
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
    let (config, mut warnings) = load(FULL).expect("valid");
    // On a smaller machine.
    warnings.retain(|it| !it.message.contains("cores"));
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
            required: false,
            hosts: Vec::new(),
            connections: 32,
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
    let kept = ["x-hub-signature-256", "content-type", "user-agent"];
    assert_eq!(
        meta.keep_headers, kept,
        "what is named, beside what proves the body"
    );
    assert_eq!(meta.attributes, ["user-agent"]);
    let kept = [
        "webhook-signature",
        "content-type",
        "webhook-id",
        "webhook-timestamp",
    ];
    assert_eq!(
        (&standard.keep_headers[..], standard.attributes.len()),
        (&kept.map(str::to_owned)[..], 0)
    );
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
    // Where nothing is configured, the admin pages give way to what was asked for.
    let flags = Flags {
        listen: "127.0.0.1:8081".parse().ok(),
        data_dir: None,
    };
    let (config, warnings) = Config::load(None, &environment(&[]), &flags).expect("valid");
    assert_eq!((config.admin.listen, warnings.len()), (None, 1));
    let found = load(&format!(
        "[server]\nlisten = \"127.0.0.1:8081\"\n{ENDPOINT}"
    ));
    let found = found.expect_err("they would be missed").to_string();
    assert!(found.contains("set listen in [admin]"), "{found}");
}

const FULL: &str = r#"
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
keep_headers = ["Content-Type", "User-Agent", "user-agent"]
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
"#;

/// Senders have many names for what shows that a post is theirs.
#[test]
fn what_looks_like_proof_is_kept_and_no_attribute() {
    let proofs = [
        "X-Gitlab-Token",
        "Verif-Hash",
        "Plaid-Verification",
        "X-Trello-Webhook",
        "X-Auth",
        "X-Forwarded-Authorization",
        "Apikey",
        "Cf-Access-Jwt-Assertion",
    ];
    let others = ["X-Author", "X-Hashtag", "X-GitHub-Event"];
    let text = format!(
        "{ENDPOINT}keep_headers = {:?}",
        [&proofs[..], &others].concat()
    );
    let (config, warnings) = load(&text).expect("valid");
    let endpoint = &config.endpoints[0];
    assert_eq!(endpoint.attributes, others.map(str::to_lowercase));
    assert_eq!(warnings.len(), proofs.len(), "{warnings:?}");
    for name in proofs {
        assert!(
            endpoint.keep_headers.contains(&name.to_lowercase()),
            "{name}"
        );
    }
}
