//! What each sink would do, in words and as JSON. No secret, no header value and no query of an address stands in it.

use super::super::report::units::{as_configured, counted, time};
use crate::config::{
    Config, Dispatch, ExecMode, FileSink, Filter, HttpSink, KafkaLogin, KafkaSink, Life, NatsLogin,
    NatsSink, Partitions, PostgresSink, PullSink, RedisIds, RedisSink, RequestForm, Sink, SinkKind,
    SslMode, Start, format_size,
};
use serde_json::{Value, json};

pub(super) fn describe(sink: &Sink, config: &Config) -> String {
    let what = match &sink.kind {
        SinkKind::Stdout => "NDJSON to stdout".to_owned(),
        SinkKind::File(file) => format!("NDJSON to file {}{}", file.path.display(), rotation(file)),
        SinkKind::Http(http) => requests(http),
        SinkKind::Exec(exec) => {
            let program = exec.command.first().map_or("", String::as_str);
            match exec.mode {
                ExecMode::Each => {
                    format!("runs {program} for each event, {}", pace(&exec.dispatch))
                }
                ExecMode::Stream => format!("runs {program} once, with NDJSON to its stdin"),
            }
        }
        SinkKind::Nats(nats) => messages(nats),
        SinkKind::Kafka(kafka) => records(kafka),
        SinkKind::Postgres(postgres) => rows(postgres),
        SinkKind::Redis(redis) => entries(redis),
        SinkKind::Pull(pull) => format!("read at http://{}, {}", config.pull.listen, proof(pull)),
    };
    let (filter, life) = (filtered(&sink.filter), life(&sink.life));
    format!("{}: {what}{filter}{life}", sink.name)
}

/// What is said about where it begins, where that is not the default.
fn life(life: &Life) -> String {
    let start = match life.start {
        Start::Now => None,
        start => Some(format!("; without a cursor, {}", beginning(start))),
    };
    let former = life.former_name.as_ref();
    let former = former.map(|name| format!("; takes over what {name} had"));
    [start, former].into_iter().flatten().collect()
}

fn beginning(start: Start) -> String {
    match start {
        Start::Now => "from now on".to_owned(),
        Start::Oldest => "from the oldest on".to_owned(),
        Start::At(at) => format!("what was received from {} on", time(Some(at))),
    }
}

pub(super) fn to_json(sink: &Sink) -> Value {
    let mut value = json!({ "name": sink.name, "type": sink.kind.name() });
    let mut set = |key: &str, member: Value| value[key] = member;
    match &sink.kind {
        SinkKind::Stdout => {}
        SinkKind::File(file) => set("path", json!(file.path)),
        SinkKind::Http(http) => {
            set("url", json!(http.address()));
            set("form", json!(form(http.form)));
            let names = http.headers.iter().map(|(name, _)| name);
            set("headers", json!(names.collect::<Vec<_>>()));
            set("signed", json!(!http.signing_secrets.is_empty()));
            set("dispatch", json!(pace(&http.dispatch)));
        }
        SinkKind::Exec(exec) => {
            set("program", json!(exec.command.first()));
            let stream = exec.mode == ExecMode::Stream;
            set("mode", json!(if stream { "stream" } else { "each" }));
            let names = exec.env.iter().map(|(name, _)| name);
            set("env", json!(names.collect::<Vec<_>>()));
            set("dispatch", json!(pace(&exec.dispatch)));
        }
        SinkKind::Nats(nats) => {
            set("servers", json!(nats.servers));
            set("stream", json!(nats.stream));
            set("subject", json!(nats.subject_text));
            set("identity", json!(nats.identity.name()));
            set("create", json!(nats.create.is_some()));
            set("login", json!(login(&nats.login)));
            set("dispatch", json!(pace(&nats.dispatch)));
        }
        SinkKind::Kafka(kafka) => set_records(kafka, &mut set),
        SinkKind::Postgres(postgres) => {
            set("address", json!(postgres.address()));
            set("table", json!(postgres.shape.table.literal()));
            set("sslmode", json!(ssl_mode(postgres)));
            set("data_type", json!(postgres.shape.data.name()));
            let by_day = postgres.shape.partitions == Partitions::Day;
            set("partitions", json!(if by_day { "day" } else { "none" }));
            set("unique_ids", json!(postgres.shape.unique_ids));
            set("create", json!(postgres.create));
        }
        SinkKind::Redis(redis) => redis_to_json(redis, &mut set),
        SinkKind::Pull(pull) => set("proof", json!(proof(pull))),
    }
    if let Some(name) = &sink.life.former_name {
        set("former_name", json!(name));
    }
    let start = match sink.life.start {
        Start::Now => json!("now"),
        Start::Oldest => json!("oldest"),
        Start::At(at) => json!(time(Some(at))),
    };
    set("start", start);
    let filter = &sink.filter;
    for (key, list) in [
        ("types", &filter.types),
        ("phone_number_ids", &filter.phone_number_ids),
        ("wabas", &filter.wabas),
        ("endpoints", &filter.endpoints),
    ] {
        if !list.is_empty() {
            set(key, json!(list));
        }
    }
    value
}

fn set_records(kafka: &KafkaSink, mut set: impl FnMut(&str, Value)) {
    set("brokers", json!(kafka.brokers));
    set("topic", json!(kafka.topic_text));
    set("mode", json!(mode(kafka)));
    set("compression", json!(kafka.compression));
    set("create", json!(kafka.create));
    set("tls", json!(kafka.tls.is_on(false)));
    set("sasl_mechanism", json!(kafka.login.as_ref().map(sasl)));
    let names = kafka.options.iter().map(|(name, _)| name);
    set("options", json!(names.collect::<Vec<_>>()));
    set("dispatch", json!(pace(&kafka.dispatch)));
}

fn redis_to_json(redis: &RedisSink, set: &mut impl FnMut(&str, Value)) {
    set("address", json!(redis.target.to_string()));
    set("tls", json!(redis.target.is_encrypted));
    set("stream", json!(redis.stream_text));
    set("ids", json!(redis.ids_name()));
    set("create", json!(redis.create));
    set("max_length", json!(redis.max_length));
    set("wait_local", json!(redis.wait.local));
    set("wait_replicas", json!(redis.wait.replicas));
    if let RedisIds::Auto(pace_of) = &redis.ids {
        set("dispatch", json!(pace(pace_of)));
    }
}

fn rows(postgres: &PostgresSink) -> String {
    let shape = &postgres.shape;
    let divided = match shape.partitions {
        Partitions::None => "",
        Partitions::Day => ", a partition a day",
    };
    let unique = if shape.unique_ids {
        ", one row an event, whoever stores it"
    } else {
        ""
    };
    let create = if postgres.create {
        ", made if it is missing"
    } else {
        ""
    };
    format!(
        "rows of table {} at {} with sslmode {}, data as {}{divided}{unique}{create}, {} for a statement",
        shape.table.literal(),
        postgres.address(),
        ssl_mode(postgres),
        shape.data.name(),
        as_configured(postgres.timeout),
    )
}

fn entries(redis: &RedisSink) -> String {
    let how = match &redis.ids {
        RedisIds::Position => format!(
            "ids made of the position, {} for an answer",
            as_configured(redis.timeout)
        ),
        RedisIds::Auto(pace_of) => format!("ids of the server, {}", pace(pace_of)),
    };
    let create = if redis.create {
        ", made if it is missing"
    } else {
        ""
    };
    let trimmed = match redis.max_length {
        0 => String::new(),
        entries => format!(", trimmed to some {entries} entries, unread ones too"),
    };
    let tls = if redis.target.is_encrypted {
        " with TLS"
    } else {
        ""
    };
    format!(
        "each event as an entry of the stream {}{create}{trimmed} at {}{tls}, {how}",
        redis.stream_text, redis.target
    )
}

fn ssl_mode(postgres: &PostgresSink) -> &'static str {
    match postgres.target.ssl_mode {
        SslMode::Disable => "disable",
        SslMode::Require => "require",
        SslMode::VerifyFull => "verify-full",
    }
}

fn rotation(file: &FileSink) -> String {
    let size = file
        .rotation
        .size
        .map(|size| format!(", rotated at {}", format_size(size)));
    let every = file
        .rotation
        .every
        .map(|every| format!(", rotated every {}", as_configured(every)));
    let keep = file.rotation.keep.map(|keep| format!(", {keep} kept"));
    [size, every, keep].into_iter().flatten().collect()
}

fn requests(http: &HttpSink) -> String {
    let names: Vec<&str> = http.headers.iter().map(|(name, _)| name.as_str()).collect();
    let fields = (!names.is_empty()).then(|| format!(" with {}", names.join(", ")));
    let secrets = http.signing_secrets.len();
    let signed =
        (secrets > 0).then(|| format!(", signed with {}", counted(secrets as u64, "secret")));
    format!(
        "{} to {}{}{}, {}",
        form(http.form),
        http.address(),
        fields.unwrap_or_default(),
        signed.unwrap_or_default(),
        pace(&http.dispatch)
    )
}

fn messages(nats: &NatsSink) -> String {
    let made = if nats.create.is_some() {
        ", made if it is not there"
    } else {
        ""
    };
    format!(
        "each event as a message to {} in the stream {}{made} at {}, {}, {}",
        nats.subject_text,
        nats.stream,
        nats.servers.join(" "),
        login(&nats.login),
        pace(&nats.dispatch)
    )
}

fn records(kafka: &KafkaSink) -> String {
    let made = if kafka.create {
        let (partitions, replicas) = (kafka.partitions, kafka.replicas);
        format!(
            ", made with {partitions} partitions and up to {replicas} replicas if it is not there"
        )
    } else {
        String::new()
    };
    let login = kafka.login.as_ref().map_or("none", sasl);
    let tls = if kafka.tls.is_on(false) {
        ", with TLS"
    } else {
        ""
    };
    format!(
        "each event as a {} CloudEvent to the topic {}{made} at {}, login: {login}{tls}, compressed with {}, {}",
        mode(kafka),
        kafka.topic_text,
        kafka.brokers.join(" "),
        kafka.compression,
        pace(&kafka.dispatch)
    )
}

fn sasl(login: &KafkaLogin) -> &'static str {
    login.mechanism
}

fn mode(kafka: &KafkaSink) -> &'static str {
    if kafka.structured {
        "structured"
    } else {
        "binary"
    }
}

fn login(login: &NatsLogin) -> &'static str {
    match login {
        NatsLogin::None => "without a login",
        NatsLogin::Password(..) => "with user and password",
        NatsLogin::Token(_) => "with a token",
        NatsLogin::NkeySeed(_) => "with a key",
        NatsLogin::CredentialsFile(_) => "with a file of credentials",
    }
}

fn form(form: RequestForm) -> String {
    match form {
        RequestForm::Notification => "POST each notification".to_owned(),
        RequestForm::Binary => "POST each event as a binary CloudEvent".to_owned(),
        RequestForm::Structured => "POST each event as a structured CloudEvent".to_owned(),
        RequestForm::Batch(events) => format!("POST CloudEvents in batches of up to {events}"),
    }
}

fn pace(dispatch: &Dispatch) -> String {
    let rate = match dispatch.rate {
        Some(rate) => format!(", {rate} a second"),
        None => String::new(),
    };
    format!(
        "up to {} at a time{rate}, {} for each of up to {}, pauses from {} to {}",
        dispatch.concurrency,
        as_configured(dispatch.timeout),
        counted(dispatch.max_attempts.into(), "attempt"),
        as_configured(dispatch.retry_min),
        as_configured(dispatch.retry_max),
    )
}

fn proof(pull: &PullSink) -> String {
    if pull.tokens.is_empty() {
        "by anyone who reaches it".to_owned()
    } else {
        format!("with {}", counted(pull.tokens.len() as u64, "token"))
    }
}

fn filtered(filter: &Filter) -> String {
    let lists = [
        ("types", &filter.types),
        ("numbers", &filter.phone_number_ids),
        ("accounts", &filter.wabas),
        ("endpoints", &filter.endpoints),
    ];
    let given = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let texts = given.map(|(what, list)| format!("; {what} {}", list.join(", ")));
    texts.collect()
}
