//! HTTP/1.1 and 1.0 requests, strict: whatever two parsers could read differently is refused.
//!
//! Bytes come in as slices and requests go out as borrowed views; there are no sockets, no clocks and no
//! files in here. The rules are those of RFC 9112 (message syntax, framing) and RFC 9110 (Host, Expect,
//! Connection), with every "MAY accept" turned into a refusal: both Content-Length and Transfer-Encoding,
//! either of them repeated, bare CR or LF, obs-fold, odd chunk lines, a missing or repeated Host.
//!
//! - [`head`]: request line and fields to a checked [`head::Head`]
//! - `host`: the authority grammar that Host and absolute-form share
//! - [`chunked`]: the chunked transfer coding, decoded in place
//! - [`assembler`]: cuts what a connection receives into whole requests
//! - [`response`]: the answers, rendered once and repeated

#![warn(clippy::indexing_slicing)]

pub mod assembler;
mod bytes;
pub mod chunked;
pub mod head;
mod host;
pub mod response;
mod status;

pub use status::{Challenge, Refusal, Status};

/// Bounds on one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest head in bytes, request line and empty line included; 431 beyond.
    pub head: usize,
    /// Most field lines in a head, at most [`head::HEADERS_MAX`]; 431 beyond.
    pub headers: usize,
    /// Longest body in bytes, transfer coding removed; 413 beyond.
    pub body: usize,
}
