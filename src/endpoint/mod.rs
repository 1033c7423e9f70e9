//! Which path takes what from whom: the table of endpoints and the proof that each asks for.
//!
//! Everything fails closed: an endpoint has a [`Proof`] or says in so many words that it takes unsigned posts.
//! Secrets are compared in constant time, turned into keys once, and shown by no `Debug`.
//!
//! - [`handshake`]: the platform's verification GET
//! - [`signature`]: HMACs over the raw body, as Meta, 360dialog, Standard Webhooks and others send them
//! - [`credentials`]: Basic, bearer and fixed headers

pub mod credentials;
pub mod handshake;
pub mod signature;

use crate::http::head::{Head, Header, Method};
use crate::http::{Challenge, Status};
use crate::metrics::Counter;
use credentials::Credentials;
use crossbeam_utils::CachePadded;
use handshake::VerifyTokens;
use signature::Signature;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// When the platform gets its 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// After `fdatasync` returned.
    Stored,
    /// Once the batch holds the body; a crash may lose what was not synced yet.
    Received,
}

/// How a post proves where it comes from.
#[derive(Debug)]
pub enum Proof {
    /// An HMAC over the body.
    Signature(Signature),
    /// A secret in a header, and an HMAC as well where one is configured.
    Credentials(Credentials, Option<Signature>),
    /// Not at all: `accept_unsigned = true`.
    Unsigned,
}

impl Proof {
    /// What a 401 asks for first.
    pub fn challenge(&self) -> Challenge {
        match self {
            Proof::Credentials(credentials, _) => credentials.challenge(),
            Proof::Signature(_) | Proof::Unsigned => Challenge::Signature,
        }
    }
}

/// What a post has to bring, for people.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Signature(signature) => signature.fmt(f),
            Proof::Credentials(credentials, None) => credentials.fmt(f),
            Proof::Credentials(credentials, Some(signature)) => {
                write!(f, "{credentials}, and {signature}")
            }
            Proof::Unsigned => f.write_str("nothing"),
        }
    }
}

/// The rules of one path.
#[derive(Debug)]
pub struct Endpoint {
    /// Name in metrics.
    pub name: String,
    /// Path, compared byte by byte.
    pub path: String,
    /// Number of the path in the journal's records.
    pub number: u16,
    pub ack: Ack,
    /// Other senders than the platform post here, who may mean the same body anew.
    pub foreign: bool,
    /// Number of the form by which its bodies are read, in the journal's records.
    pub form: u16,
    /// Tokens of the handshake; without one every handshake gets 403.
    pub verify_tokens: VerifyTokens,
    /// What a post has to bring.
    pub proof: Proof,
    /// Lower-case names of the headers that are stored beside the body.
    pub keep_headers: Vec<String>,
    /// What happened here, one set for each event loop.
    pub counters: Arc<[CachePadded<Counters>]>,
}

/// What one event loop counts for one endpoint.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers by [`Status::index`].
    pub answers: [Counter; Status::ALL.len()],
    /// Accepted posts by the position of the secret that proved them, in the configuration; the last holds all beyond.
    /// Where a signature is asked for beside credentials, its secret.
    pub verified: [Counter; SECRETS_COUNTED],
    /// Bytes of accepted bodies.
    pub body_bytes: Counter,
}

impl Counters {
    /// A post was proved with the secret at this position.
    pub fn note_verified(&self, secret: usize) {
        self.verified[secret.min(SECRETS_COUNTED - 1)].add(1);
    }
}

/// Secrets of one endpoint that have a counter of their own.
pub const SECRETS_COUNTED: usize = 8;

/// What an endpoint makes of a whole request.
#[derive(Debug)]
pub enum Decision {
    Store,
    /// Answer the handshake with this challenge.
    Challenge(Vec<u8>),
}

impl Endpoint {
    /// What the head alone decides, so that a body which cannot be accepted is never read. With the position of the
    /// secret that proves the post, if no signature is to do that.
    pub fn admit(&self, head: &Head<'_, '_>) -> Result<Option<usize>, Status> {
        match head.method {
            Method::Other => Err(Status::MethodNotAllowed),
            Method::Get => Ok(None),
            Method::Post => {
                let proved = match &self.proof {
                    Proof::Unsigned => None,
                    Proof::Signature(signature) => signature.is_present(head).map(|()| None)?,
                    Proof::Credentials(credentials, None) => Some(credentials.verify(head)?),
                    Proof::Credentials(credentials, Some(signature)) => {
                        credentials.verify(head)?;
                        signature.is_present(head).map(|()| None)?
                    }
                };
                if head.is_encoded {
                    return Err(Status::UnsupportedMediaType);
                }
                if head.framing == crate::http::head::Framing::None {
                    return Err(Status::LengthRequired);
                }
                Ok(proved)
            }
        }
    }

    /// Decides on a whole request that was admitted. `now` is in seconds since 1970; `counters` are those of the
    /// calling loop.
    pub fn decide(
        &self,
        head: &Head<'_, '_>,
        body: &[u8],
        now: u64,
        counters: &Counters,
    ) -> Result<Decision, Status> {
        if head.method == Method::Get {
            return self
                .verify_tokens
                .challenge(head.query)
                .map(Decision::Challenge);
        }
        if let Proof::Signature(signature) | Proof::Credentials(_, Some(signature)) = &self.proof {
            counters.note_verified(signature.verify(head, body, now)?);
        }
        Ok(Decision::Store)
    }

    /// The headers that are stored beside the body, names and values as they came.
    pub fn kept<'h>(
        &'h self,
        headers: &'h [Header<'_>],
    ) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
        let keeps = |name: &str| {
            self.keep_headers
                .iter()
                .any(|kept| kept.len() == name.len() && kept.eq_ignore_ascii_case(name))
        };
        let kept = headers.iter().filter(move |header| keeps(header.name));
        kept.map(|header| (header.name.as_bytes(), header.value))
    }
}

/// All endpoints of a listener, by path.
#[derive(Debug, Default)]
pub struct Table {
    endpoints: Vec<Endpoint>,
    by_path: HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>,
}

impl Table {
    /// A table of endpoints with different paths; of two with the same path the later wins.
    pub fn new(endpoints: Vec<Endpoint>) -> Table {
        let by_path = endpoints.iter().enumerate();
        let by_path = by_path
            .map(|(at, endpoint)| (endpoint.path.as_bytes().into(), at))
            .collect();
        Table { endpoints, by_path }
    }

    /// The endpoint of a request's path.
    pub fn route(&self, path: &[u8]) -> Option<&Endpoint> {
        self.by_path.get(path).map(|&at| &self.endpoints[at])
    }

    /// All endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

#[cfg(test)]
mod tests;
