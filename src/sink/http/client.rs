//! Connections that are kept, and whom they trust.

use super::{HttpError, Options};
use crate::log;
use crate::sink::tls::TlsFiles;
use crate::sink::transport::Failure;
use ::http::uri::PathAndQuery;
use ::http::{HeaderValue, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::Instant;
use tower_service::Service as _;

/// What goes out.
pub(super) type Request = ::http::Request<Full<Bytes>>;

/// Where requests go.
pub(super) struct Address {
    uri: Uri,
}

impl Address {
    /// Takes an address with `http` or `https`, and a host.
    pub(super) fn parse(text: &str) -> Option<Address> {
        let uri: Uri = text.parse().ok()?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        (is_known && has_host).then_some(Address { uri })
    }

    fn is_encrypted(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// What a request names: the path and what is asked for (RFC 9112, section 3.2.1).
    pub(super) fn target(&self) -> Uri {
        let path = self.uri.path_and_query().cloned();
        path.unwrap_or(PathAndQuery::from_static("/")).into()
    }

    /// The host, with the port unless it is the usual one of the scheme.
    pub(super) fn host(&self) -> Option<HeaderValue> {
        let host = self.uri.host()?;
        let usual = if self.is_encrypted() { 443 } else { 80 };
        match self.uri.port_u16().filter(|port| *port != usual) {
            Some(port) => format!("{host}:{port}").try_into().ok(),
            None => host.try_into().ok(),
        }
    }
}

/// Sends requests to one address, each over a connection that it has for itself until its answer is read.
pub(super) struct Client {
    address: Address,
    connector: HttpsConnector<HttpConnector>,
    /// Nothing is under way over them. In the order in which they were put back, so the oldest comes first.
    idle: Mutex<VecDeque<Idle>>,
    /// So many are kept, at most.
    connections: usize,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// The connection that an answer comes over.
pub(super) struct Connection<'c> {
    client: &'c Client,
    sender: SendRequest<Full<Bytes>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Refused, unreachable, no such name, TLS, no descriptors: the receiver has not seen the request.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn StdError + Send + Sync>),
    /// It ended while a request was under way.
    #[error("the connection failed")]
    Connection(#[from] hyper::Error),
}

impl Client {
    pub(super) fn new(options: &Options, address: Address) -> Result<Client, HttpError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        let files = TlsFiles {
            ca_file: options.ca_file.clone(),
            ..TlsFiles::default()
        };
        let tls = if address.is_encrypted() {
            files.client_config()?
        } else {
            TlsFiles::trusting_nobody()?
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Client {
            address,
            connector,
            idle: Mutex::default(),
            connections: options.connections,
        })
    }

    /// The head of the answer, and what it comes over. A request that did not go out because its connection was closed
    /// meanwhile is sent over another one.
    pub(super) async fn request(
        &self,
        mut request: Request,
    ) -> Result<(Response<Incoming>, Connection<'_>), Error> {
        while let Some(mut sender) = self.idle() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, self.connection(sender))),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await?;
        Ok((response, self.connection(sender)))
    }

    /// Closes the connections that nothing was sent over for long.
    pub(super) fn close_old(&self) {
        close_old(&mut self.idle.lock());
    }

    fn connection(&self, sender: SendRequest<Full<Bytes>>) -> Connection<'_> {
        Connection {
            client: self,
            sender,
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let mut connector = self.connector.clone();
        let ready = poll_fn(|context| connector.poll_ready(context)).await;
        ready.map_err(Error::Connect)?;
        let connected = connector.call(self.address.uri.clone()).await;
        let stream = connected.map_err(Error::Connect)?;
        let (sender, connection) = http1::handshake(stream).await?;
        // Whoever waits for an answer has its error.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// The connection that was used last, of those over which nothing is under way any more: whoever answers before he
    /// has read a request may never read the rest of it.
    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        close_old(&mut idle);
        idle.retain(|it| !it.sender.is_closed());
        let last = idle.iter().rposition(|it| it.sender.is_ready())?;
        idle.remove(last).map(|it| it.sender)
    }
}

impl Connection<'_> {
    /// Keeps it for another request. For one whose answer was read to its end.
    pub(super) fn keep(self) {
        let mut idle = self.client.idle.lock();
        if idle.len() < self.client.connections {
            idle.push_back(Idle {
                sender: self.sender,
                since: Instant::now(),
            });
        }
    }
}

fn close_old(idle: &mut VecDeque<Idle>) {
    let is_old = |it: &Idle| it.since.elapsed() >= IDLE_TIMEOUT;
    while idle.front().is_some_and(is_old) {
        idle.pop_front();
    }
}

/// What an attempt without an answer comes to.
pub(super) fn failure(error: &Error) -> Failure {
    // No part of the request stands in such an error.
    let reason = log::with_causes(error.to_string(), error.source());
    match error {
        Error::Connect(_) => Failure::unreached(reason),
        Error::Connection(_) => Failure::retry(reason),
    }
}

/// How long a connection is kept that nothing is sent over.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
