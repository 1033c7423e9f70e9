//! One connection to one server.

use super::Options;
use crate::log;
use crate::sink::tls::TlsError;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError};
use rustls::ClientConfig;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};

/// Who a client says it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    /// Name and password.
    Password(String, String),
    Token(String),
    /// A seed, as `nsc` shows it.
    Nkey(String),
    /// A file with a JWT and a seed, which is read on every connect.
    File(PathBuf),
}

/// Why a transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The files of TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// Where to connect to, one after the other.
pub(super) struct Servers {
    addresses: Vec<String>,
    next: usize,
    /// For those that encrypt; the library makes its own for want of one, and panics where two providers are built in.
    tls: ClientConfig,
}

/// What a session works with.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) server: String,
    pub(super) news: Receiver<News>,
}

/// What the client says by itself.
pub(super) enum News {
    /// The connection has ended.
    Lost,
    /// The server reports an error that belongs to no request.
    Error(String),
}

impl Servers {
    pub(super) fn new(options: &Options) -> Result<Servers, NatsError> {
        let is_encrypted = options.tls || options.servers.iter().any(|it| it.starts_with("tls:"));
        let tls = if is_encrypted {
            options.files.client_config()?
        } else {
            // A server may want TLS that nobody asked for here; without authorities it gets none.
            options
                .files
                .client_config()
                .or_else(|_| crate::sink::TlsFiles::trusting_nobody())?
        };
        Ok(Servers {
            addresses: options.servers.clone(),
            next: 0,
            tls,
        })
    }

    /// The next one; its address holds no secret.
    pub(super) fn next(&mut self) -> String {
        let at = self.next % self.addresses.len().max(1);
        self.next = at + 1;
        self.addresses.get(at).cloned().unwrap_or_default()
    }
}

/// Connects and logs in; the error says what is wrong.
pub(super) async fn connect(
    options: &Options,
    servers: &Servers,
    server: &str,
) -> Result<Connection, String> {
    let (send, news) = channel(NEWS_MAX);
    let connect = logged_in(&options.credentials)
        .await?
        .name(format!("hookline {}", options.name))
        .require_tls(options.tls)
        .tls_client_config(servers.tls.clone())
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        .client_capacity(COMMANDS_MAX)
        // Subjects are made of what is checked.
        .skip_subject_validation(true)
        .ignore_discovered_servers()
        .max_reconnects(1)
        .event_callback(move |event| {
            let news = match event {
                Event::Disconnected | Event::Closed => Some(News::Lost),
                Event::ServerError(ServerError::Other(text)) => Some(News::Error(text)),
                Event::ServerError(error) => Some(News::Error(error.to_string())),
                _ => None,
            };
            if let Some(news) = news {
                // What finds no room comes behind others of its kind.
                let _ = send.try_send(news);
            }
            std::future::ready(())
        });
    let connected = tokio::time::timeout(CONNECT_TIMEOUT * 2, connect.connect(server)).await;
    let Ok(connected) = connected else {
        return Err("no answer to the attempt to connect".to_owned());
    };
    let client = connected.map_err(|error| match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            "the server refuses the login; correct user and password, token, nkey_seed or credentials_file".to_owned()
        }
        ConnectErrorKind::TimedOut => "the server does not answer".to_owned(),
        // No login stands in such an error.
        _ => log::with_causes(error.to_string(), error.source()),
    })?;
    Ok(Connection {
        client,
        server: server.to_owned(),
        news,
    })
}

async fn logged_in(credentials: &Credentials) -> Result<ConnectOptions, String> {
    Ok(match credentials {
        Credentials::None => ConnectOptions::new(),
        Credentials::Password(user, password) => {
            ConnectOptions::with_user_and_password(user.clone(), password.clone())
        }
        Credentials::Token(token) => ConnectOptions::with_token(token.clone()),
        Credentials::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
        Credentials::File(path) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|error| format!("cannot read credentials_file {}: {error}", path.display()))?,
    })
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::None => "None",
            Credentials::Password(..) => "Password(hidden)",
            Credentials::Token(_) => "Token(hidden)",
            Credentials::Nkey(_) => "Nkey(hidden)",
            Credentials::File(_) => "File(hidden)",
        })
    }
}

/// Until a connection is there and logged in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Until the server has said what stream there is.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent server is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What waits in the client to be written: more than is ever under way.
const COMMANDS_MAX: usize = 8192;

/// What the client says and nobody has read yet.
const NEWS_MAX: usize = 64;
