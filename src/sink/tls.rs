//! TLS of a client: whom it trusts, and how it shows who it is. The same for every sink that connects.
//!
//! Trusted are the authorities of the system and those of `ca_file`. The provider is always aws-lc-rs, by name, so that
//! it does not matter what else is in the binary.

use std::path::PathBuf;

/// Files of a connection, all in PEM. It stands outside the features, for the configuration is read in every build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// The own certificate with its chain, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name, or the address, that the other side's certificate must have, where that is not the host's.
    pub server_name: Option<String>,
}

#[cfg(feature = "client-tls")]
pub use client::TlsError;

#[cfg(feature = "client-tls")]
mod client {
    use super::TlsFiles;
    #[cfg(feature = "kafka")]
    use base64::Engine as _;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::pem::{self, PemObject as _};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
    use std::path::Path;
    use std::sync::Arc;

    /// Why TLS cannot be set up.
    #[derive(Debug, thiserror::Error)]
    pub enum TlsError {
        /// A file of certificates, or of a key; the cause says how.
        #[error("{key} {path:?} {cause}")]
        File {
            key: &'static str,
            path: String,
            cause: String,
        },
        /// Certificate and key do not belong together, or are of a kind that is not known.
        #[error("cert_file and key_file cannot be used: {0}")]
        Identity(#[source] rustls::Error),
        /// It is no name and no address.
        #[error("server_name {0:?} is neither a name nor an address")]
        ServerName(String),
        /// The system trusts nobody.
        #[error("the system has no trusted certificates: install ca-certificates, or set ca_file")]
        NoAuthorities,
        /// What follows from none of these.
        #[error("cannot set up TLS: {0}")]
        Other(#[from] rustls::Error),
    }

    impl TlsFiles {
        /// What a connection is made with. Reads the files.
        pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
            self.config_for(self.named()?.map(Whom::Named))
        }

        /// The same for a connection that is encrypted, whoever is at its other end.
        pub(in crate::sink) fn client_config_for_anybody(&self) -> Result<ClientConfig, TlsError> {
            self.config_for(Some(Whom::Anybody))
        }

        fn config_for(&self, whom: Option<Whom>) -> Result<ClientConfig, TlsError> {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let roots = Arc::new(self.authorities()?);
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()?;
            let builder = match whom {
                None => builder.with_root_certificates(roots),
                Some(whom) => {
                    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider)
                        .build()
                        .map_err(|error| rustls::Error::General(error.to_string()))?;
                    let verifier = Arc::new(Verifier { inner, whom });
                    builder
                        .dangerous()
                        .with_custom_certificate_verifier(verifier)
                }
            };
            let Some((chain, key)) = self.own()? else {
                return Ok(builder.with_no_client_auth());
            };
            let made = builder.with_client_auth_cert(chain, key);
            made.map_err(TlsError::Identity)
        }

        /// What a connection is made with that is never encrypted, where a client wants it all the same.
        pub(in crate::sink) fn trusting_nobody() -> Result<ClientConfig, TlsError> {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?;
            let builder = builder.with_root_certificates(RootCertStore::empty());
            Ok(builder.with_no_client_auth())
        }

        /// What is wrong with the files, for a check that makes no connection. What the system trusts is not looked at.
        pub fn check(&self) -> Result<(), TlsError> {
            self.named()?;
            if let Some(path) = &self.ca_file {
                add_authorities(&mut RootCertStore::empty(), path)?;
            }
            if let Some((chain, key)) = self.own()? {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let builder = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(RootCertStore::empty());
                let made = builder.with_client_auth_cert(chain, key);
                made.map_err(TlsError::Identity)?;
            }
            Ok(())
        }

        /// The authorities as one text in PEM, for a library that reads them itself.
        #[cfg(feature = "kafka")]
        pub(in crate::sink) fn authorities_in_pem(&self) -> Result<String, TlsError> {
            let mut all = rustls_native_certs::load_native_certs().certs;
            if let Some(path) = &self.ca_file {
                all.extend(certificates("ca_file", path)?);
            }
            if all.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
            let mut text = String::new();
            for certificate in all {
                text.push_str("-----BEGIN CERTIFICATE-----\n");
                let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
                for line in encoded.as_bytes().chunks(64) {
                    text.push_str(&String::from_utf8_lossy(line));
                    text.push('\n');
                }
                text.push_str("-----END CERTIFICATE-----\n");
            }
            Ok(text)
        }

        fn authorities(&self) -> Result<RootCertStore, TlsError> {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(path) = &self.ca_file {
                add_authorities(&mut roots, path)?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
            Ok(roots)
        }

        fn named(&self) -> Result<Option<ServerName<'static>>, TlsError> {
            let name = self.server_name.clone();
            name.map(|name| {
                let parsed = ServerName::try_from(name.clone());
                parsed.map_err(|_| TlsError::ServerName(name))
            })
            .transpose()
        }

        fn own(&self) -> Result<Option<OwnIdentity>, TlsError> {
            let Some((chain, key)) = &self.identity else {
                return Ok(None);
            };
            let chain = certificates("cert_file", chain)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                refused("key_file", key, format!("holds no key in PEM: {error}"))
            })?;
            Ok(Some((chain, private)))
        }
    }

    /// A certificate with its chain, and its key.
    type OwnIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
        for certificate in certificates("ca_file", path)? {
            roots.add(certificate).map_err(|error| {
                let cause = format!("holds what is no authority's certificate: {error}");
                refused("ca_file", path, cause)
            })?;
        }
        Ok(())
    }

    fn certificates(
        key: &'static str,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| {
                let cause = match error {
                    pem::Error::Io(error) => format!("cannot be read: {error}"),
                    error => format!("is not in PEM: {error}"),
                };
                refused(key, path, cause)
            })?;
        if certificates.is_empty() {
            let cause = "holds no certificate in PEM".to_owned();
            return Err(refused(key, path, cause));
        }
        Ok(certificates)
    }

    fn refused(key: &'static str, path: &Path, cause: String) -> TlsError {
        TlsError::File {
            key,
            path: path.display().to_string(),
            cause,
        }
    }

    /// Verifies otherwise than by the name of the host. Signatures of the handshake are verified as ever.
    #[derive(Debug)]
    struct Verifier {
        inner: Arc<WebPkiServerVerifier>,
        whom: Whom,
    }

    #[derive(Debug)]
    enum Whom {
        /// Who has this name; nothing else is left out of what is verified.
        Named(ServerName<'static>),
        /// Anybody: who listens in reads nothing, who stands between reads all.
        Anybody,
    }

    impl ServerCertVerifier for Verifier {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            _host: &ServerName<'_>,
            ocsp_response: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            let inner = &self.inner;
            match &self.whom {
                Whom::Named(name) => {
                    inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
                }
                Whom::Anybody => Ok(ServerCertVerified::assertion()),
            }
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let inner = &self.inner;
            inner.verify_tls12_signature(message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let inner = &self.inner;
            inner.verify_tls13_signature(message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    }
}
