//! Connections that are kept, and whom they trust.

use super::{HttpError, Options};
use crate::log;
use crate::sink::transport::Failure;
use ::http::Response;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What goes out.
pub(super) type Request = ::http::Request<Full<Bytes>>;

pub(super) struct Client {
    pool: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    pub(super) fn new(options: &Options, is_encrypted: bool) -> Result<Client, HttpError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.connect_timeout));
        let roots = if is_encrypted {
            authorities(options.ca_file.as_deref())?
        } else {
            RootCertStore::empty()
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(options.connections)
            .build(connector);
        Ok(Client { pool })
    }

    /// The head of the answer. A request that did not go out because its connection was closed meanwhile is sent over
    /// another one.
    pub(super) async fn request(&self, request: Request) -> Result<Response<Incoming>, Error> {
        self.pool.request(request).await
    }
}

/// Why there is no answer. Without a connection (refused, unreachable, no such name, TLS, no descriptors) the receiver
/// has not seen the request, so it is not about that.
pub(super) fn failure(error: &Error) -> Failure {
    let reason = reason(error);
    if error.is_connect() {
        Failure::unreached(reason)
    } else {
        Failure::retry(reason)
    }
}

/// No part of the request stands in such an error.
fn reason(error: &Error) -> String {
    let text = if error.is_connect() {
        "cannot connect"
    } else {
        "the connection failed"
    };
    log::with_causes(text.to_owned(), std::error::Error::source(error))
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let refuse = |cause: String| HttpError::Certificates {
            path: path.display().to_string(),
            cause,
        };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| refuse(error.to_string()))?;
        if certificates.is_empty() {
            return Err(refuse("it holds no certificate in PEM".to_owned()));
        }
        for certificate in certificates {
            roots
                .add(certificate)
                .map_err(|error| refuse(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(HttpError::NoAuthorities);
    }
    Ok(roots)
}

/// How long a connection is kept that nothing is sent over.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
