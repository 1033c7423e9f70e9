//! Configured endpoints to the table that the loops use: secrets become keys, paths get their numbers.

use super::ServerError;
use crate::config::{self, Config, Credential, Provider, Secret};
use crate::disk::Storage;
use crate::endpoint::credentials::Credentials;
use crate::endpoint::handshake::VerifyTokens;
use crate::endpoint::signature::Signature;
use crate::endpoint::{Counters, Endpoint, Proof, Table};
use crate::event::{Form, WhatsApp};
use crate::journal::{self, record};
use crate::worker::Forms;
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// The table for `config` and so many loops. Endpoints that `before` had already go on counting where they were.
pub(super) fn table(
    config: &Config,
    loops: usize,
    numbers: &journal::Endpoints,
    forms: &Forms,
    before: Option<&Table>,
) -> Result<Table, ServerError> {
    let endpoint = |configured: &config::Endpoint| {
        let known = before.and_then(|table| table.route(configured.path.as_bytes()));
        let counters = known.map_or_else(
            || {
                (0..loops)
                    .map(|_| CachePadded::new(Counters::default()))
                    .collect()
            },
            |endpoint| Arc::clone(&endpoint.counters),
        );
        Ok(Endpoint {
            name: configured.name.clone(),
            path: configured.path.clone(),
            number: numbers.number(&configured.path)?,
            foreign: form(configured).is_foreign(),
            form: form_number(forms, &form(configured)),
            ack: configured.ack,
            verify_tokens: verify_tokens(&configured.provider),
            proof: if configured.accept_unsigned {
                Proof::Unsigned
            } else {
                proof(&configured.provider)
            },
            keep_headers: configured.keep_headers.clone(),
            counters,
        })
    };
    Ok(Table::new(
        config
            .endpoints
            .iter()
            .map(endpoint)
            .collect::<Result<_, ServerError>>()?,
    ))
}

/// The forms of a journal whose highest sequence is `last`.
pub(super) fn forms(storage: &Arc<dyn Storage>, last: u64) -> Arc<Forms> {
    let (forms, is_whole) = Forms::open(Arc::clone(storage), last);
    if !is_whole {
        tracing::error!(
            path = storage.describe("forms"),
            "the file is damaged and is kept as forms.damaged: events of what is stored come without attributes of \
             headers, and those of other senders as webhook.received; copy it back from a backup and restart"
        );
    }
    Arc::new(forms)
}

/// How the bodies of an endpoint are read.
fn form(configured: &config::Endpoint) -> Form {
    let provider = &configured.provider;
    let form = Form {
        endpoint: configured.name.clone(),
        provider: provider.name().to_owned(),
        attributes: configured.attributes.clone(),
        ..Form::unknown()
    };
    match provider {
        Provider::Meta { .. } | Provider::Dialog360 { .. } => Form {
            whatsapp: WhatsApp::Always,
            ..form
        },
        Provider::GenericHmac { .. } => Form {
            whatsapp: WhatsApp::Named,
            ..form
        },
        Provider::StandardWebhooks { .. } => Form {
            id: Some("webhook-id".to_owned()),
            kind: Some("type".to_owned()),
            time: Some("timestamp".to_owned()),
            ..form
        },
    }
}

/// The number of a form. Posts are taken without one, too: that is better than none at all.
fn form_number(forms: &Forms, form: &Form) -> u16 {
    forms.number(form).unwrap_or_else(|error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(
            endpoint = form.endpoint,
            %error,
            reason,
            "how the bodies of the endpoint are read cannot be saved: their events have no attributes of headers, and those of other \
             senders are webhook.received without the ids of their deliveries; correct what the error names and send SIGHUP"
        );
        record::NO_FORM
    })
}

fn verify_tokens(provider: &Provider) -> VerifyTokens {
    match provider {
        Provider::Meta { verify_tokens, .. } => VerifyTokens::new(bytes(verify_tokens)),
        _ => VerifyTokens::default(),
    }
}

fn proof(provider: &Provider) -> Proof {
    match provider {
        Provider::Meta { app_secrets, .. } => {
            Proof::Signature(Signature::meta(&bytes(app_secrets)))
        }
        Provider::Dialog360 {
            credential,
            signature_secrets,
        } => {
            // Without secrets nothing would verify; the configuration demands one of the two.
            let signature = Signature::dialog360(&bytes(signature_secrets));
            match credential {
                None => Proof::Signature(signature),
                Some(credential) => {
                    let signature = (!signature_secrets.is_empty()).then_some(signature);
                    Proof::Credentials(credentials(credential), signature)
                }
            }
        }
        Provider::StandardWebhooks { secrets, tolerance } => Proof::Signature(
            Signature::standard_webhooks(&bytes(secrets), tolerance.as_secs()),
        ),
        Provider::GenericHmac {
            secrets,
            header,
            algorithm,
            encoding,
            prefix,
        } => {
            let (header, prefix) = (header.clone(), prefix.clone());
            Proof::Signature(Signature::body(
                header,
                prefix,
                *algorithm,
                *encoding,
                &bytes(secrets),
            ))
        }
    }
}

fn credentials(credential: &Credential) -> Credentials {
    match credential {
        Credential::Basic {
            username,
            passwords,
        } => {
            let passwords: Vec<&[u8]> = passwords.iter().map(Secret::expose).collect();
            Credentials::basic(username, &passwords)
        }
        Credential::Bearer(tokens) => Credentials::bearer(bytes(tokens)),
        Credential::Header { name, values } => Credentials::header(name.clone(), bytes(values)),
    }
}

fn bytes(secrets: &[Secret]) -> Vec<Vec<u8>> {
    secrets
        .iter()
        .map(|secret| secret.expose().to_vec())
        .collect()
}
