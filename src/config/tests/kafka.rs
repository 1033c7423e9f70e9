//! `type = "kafka"`: what it becomes, and what is said about its mistakes.

use super::*;

fn kafka(text: &str) -> KafkaSink {
    let (config, warnings) = load(&format!("{ENDPOINT}{LEAST}{text}")).expect("valid");
    assert_eq!(warnings, []);
    let kind = config.sinks.into_iter().next().expect("a sink").kind;
    let SinkKind::Kafka(kafka) = kind else {
        panic!("a kafka sink");
    };
    *kafka
}

#[test]
fn the_least_has_its_defaults() {
    let least = kafka("");
    assert_eq!(least.brokers, ["127.0.0.1:9092"]);
    assert_eq!(least.login, None);
    assert!(!least.tls.is_on(false) && !least.structured && !least.create);
    assert_eq!(least.topic_text, "whatsapp");
    assert_eq!((least.partitions, least.replicas), (12, 3));
    assert_eq!((least.compression, least.options.len()), ("lz4", 0));
    let pace = Dispatch {
        concurrency: 1024,
        rate: None,
        timeout: Duration::from_secs(10),
        retry_min: Duration::from_millis(500),
        retry_max: Duration::from_secs(5),
        max_attempts: 50,
    };
    assert_eq!(least.dispatch, pace);
}

#[test]
fn every_key_is_taken() {
    let full = kafka(
        "mode = \"structured\"\ncreate = true\npartitions = 6\nreplicas = 1\ncompression = \"zstd\"\n\
         sasl_mechanism = \"SCRAM-SHA-512\"\nuser = \"hookline\"\npassword = { env = \"TOKEN\" }\ntls = true\n\
         options = { \"linger.ms\" = \"5\", \"client.id\" = \"a\" }",
    );
    let login = KafkaLogin {
        mechanism: "SCRAM-SHA-512",
        user: Secret::new(*b"hookline"),
        password: Secret::new(*b"token"),
    };
    assert_eq!(full.login, Some(login));
    assert!(full.tls.is_on(false) && full.structured && full.create);
    assert_eq!((full.partitions, full.replicas), (6, 1));
    let text = |text: &str| text.to_owned();
    let mut options = full.options.clone();
    options.sort();
    assert_eq!(
        options,
        [
            (text("client.id"), text("a")),
            (text("linger.ms"), text("5"))
        ]
    );
    assert!(!format!("{full:?}").contains("token"), "it is a secret");
    // To this machine the password may go as it is, and a scheme that does not show it may go anywhere.
    kafka("sasl_mechanism = \"PLAIN\"\nuser = \"a\"\npassword = { env = \"TOKEN\" }");
    let scram = "sasl_mechanism = \"SCRAM-SHA-256\"\nuser = \"a\"\npassword = { env = \"TOKEN\" }";
    let far = LEAST.replace("127.0.0.1", "10.1.0.1");
    assert!(load(&format!("{ENDPOINT}{far}{scram}")).is_ok());
}

#[test]
fn each_mistake_has_its_message_and_shows_no_password() {
    for (text, part) in [
        ("brokers = []", "a kafka sink needs brokers"),
        (
            "brokers = [\"hookline:hunter2@a:9092\"]",
            "brokers holds a password",
        ),
        ("brokers = [\"kafka://a:9092\"]", "brokers takes addresses"),
        ("brokers = [\"a:99999\"]", "brokers takes addresses"),
        ("brokers = [\"a,b\"]", "brokers takes addresses"),
        ("topic = \"a b\"", "what no topic can"),
        ("topic = \"a.{nolane}\"", "no placeholder {nolane}"),
        ("mode = \"batch\"", "unknown mode"),
        ("compression = \"lz5\"", "did you mean \"lz4\"?"),
        (
            "user = \"a\"\npassword = { env = \"TOKEN\" }",
            "user needs sasl_mechanism beside it: one of \"PLAIN\"",
        ),
        (
            "sasl_mechanism = \"PLAIN\"\nuser = \"a\"",
            "sasl_mechanism needs password",
        ),
        (
            "sasl_mechanism = \"GSSAPI\"\nuser = \"a\"\npassword = { env = \"TOKEN\" }",
            "unknown sasl_mechanism",
        ),
        (
            "server_name = \"a\"\ntls = true",
            "server_name belongs to targets with one name",
        ),
        ("options = [\"linger.ms\"]", "options must be written as"),
        (
            "options = { \"linger.ms\" = 5 }",
            "the value of linger.ms must be text",
        ),
        (
            "options = { \"linger.mss\" = \"5\" }",
            "librdkafka does not take linger.mss",
        ),
        (
            "options = { \"linger.ms\" = \"soon\" }",
            "librdkafka does not take linger.ms",
        ),
        (
            "options = { \"acks\" = \"1\" }",
            "cannot hold acks: that each event is stored",
        ),
        (
            "options = { \"max.in.flight\" = \"9\" }",
            "cannot hold max.in.flight",
        ),
        (
            "options = { \"message.timeout.ms\" = \"9\" }",
            "no event expires unsent",
        ),
        (
            "options = { \"partitioner\" = \"random\" }",
            "the order within a conversation",
        ),
        (
            "options = { \"message.max.bytes\" = \"9\" }",
            "what the topic takes is asked",
        ),
        (
            "options = { \"allow.auto.create.topics\" = \"true\" }",
            "no topic is made unasked",
        ),
        (
            "options = { \"sasl.password\" = \"hunter2\" }",
            "it has a key of its own",
        ),
        (
            "options = { \"test.mock.num.brokers\" = \"1\" }",
            "it is about librdkafka itself",
        ),
        ("url = \"a\"", "url belongs to a sink of type"),
        ("retry_min = \"1m\"", "retry_max is below retry_min"),
    ] {
        let key = text.split(' ').next().expect("a key");
        let least = LEAST.lines().filter(|line| !line.starts_with(key));
        let least: String = least.flat_map(|line| [line, "\n"]).collect();
        let errors = load(&format!("{ENDPOINT}{least}{text}\n")).expect_err("has a mistake");
        let shown = errors.to_string();
        assert!(
            shown.contains(part) && errors.mistakes[0].line.is_some(),
            "{text}\n{shown}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let far = LEAST.replace("127.0.0.1", "10.1.0.1");
    let plain = "sasl_mechanism = \"PLAIN\"\nuser = \"a\"\npassword = { env = \"TOKEN\" }\n";
    let message = mistake(&format!("{far}{plain}"));
    assert!(
        message.contains("PLAIN sends the password in the clear"),
        "{message}"
    );
    assert!(load(&format!("{ENDPOINT}{far}{plain}tls = true")).is_ok());
}

#[test]
fn the_port_may_be_left_out() {
    let text = LEAST.replace("\"127.0.0.1:9092\"", "\"127.0.0.1\", \"[::1]\", \"b:1\"");
    let (config, _) = load(&format!("{ENDPOINT}{text}")).expect("valid");
    let SinkKind::Kafka(kafka) = &config.sinks[0].kind else {
        panic!("a kafka sink");
    };
    assert_eq!(kafka.brokers, ["127.0.0.1:9092", "[::1]:9092", "b:1"]);
}

const LEAST: &str = "[[sink]]
type = \"kafka\"
brokers = [\"127.0.0.1:9092\"]
topic = \"whatsapp\"
";
