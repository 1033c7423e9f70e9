//! The status codes that Hookline answers with, and why.

/// A final status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Stored, or a handshake that matched.
    Ok,
    /// The request breaks the syntax, or could be read in two ways.
    BadRequest,
    /// Signature, header or credentials are missing, malformed or wrong.
    Unauthorized,
    /// A handshake with a wrong token, or without one configured.
    Forbidden,
    /// No endpoint has this path.
    NotFound,
    /// The endpoint does not take this method.
    MethodNotAllowed,
    /// The head or the body took too long.
    RequestTimeout,
    /// A POST without Content-Length and without chunks.
    LengthRequired,
    /// The body is longer than the limit.
    ContentTooLarge,
    /// A Content-Encoding other than identity.
    UnsupportedMediaType,
    /// An expectation other than 100-continue.
    ExpectationFailed,
    /// The head is longer than the limit, or has too many fields.
    HeadTooLarge,
    /// Not stored: disk full, journal failed, draining or overloaded. The platform sends it again.
    ServiceUnavailable,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported,
}

impl Status {
    /// All of them, in the order of [`Status::index`].
    pub const ALL: [Status; 14] = [
        Status::Ok,
        Status::BadRequest,
        Status::Unauthorized,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::LengthRequired,
        Status::ContentTooLarge,
        Status::UnsupportedMediaType,
        Status::ExpectationFailed,
        Status::HeadTooLarge,
        Status::ServiceUnavailable,
        Status::VersionNotSupported,
    ];

    /// A dense number for tables of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The number on the wire (RFC 9110, 15; RFC 6585).
    pub fn code(self) -> u16 {
        match self {
            Status::Ok => 200,
            Status::BadRequest => 400,
            Status::Unauthorized => 401,
            Status::Forbidden => 403,
            Status::NotFound => 404,
            Status::MethodNotAllowed => 405,
            Status::RequestTimeout => 408,
            Status::LengthRequired => 411,
            Status::ContentTooLarge => 413,
            Status::UnsupportedMediaType => 415,
            Status::ExpectationFailed => 417,
            Status::HeadTooLarge => 431,
            Status::ServiceUnavailable => 503,
            Status::VersionNotSupported => 505,
        }
    }

    /// The reason phrase, for people who read it off the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::BadRequest => "Bad Request",
            Status::Unauthorized => "Unauthorized",
            Status::Forbidden => "Forbidden",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::RequestTimeout => "Request Timeout",
            Status::LengthRequired => "Length Required",
            Status::ContentTooLarge => "Content Too Large",
            Status::UnsupportedMediaType => "Unsupported Media Type",
            Status::ExpectationFailed => "Expectation Failed",
            Status::HeadTooLarge => "Request Header Fields Too Large",
            Status::ServiceUnavailable => "Service Unavailable",
            Status::VersionNotSupported => "HTTP Version Not Supported",
        }
    }

    /// The field that the RFCs ask for beside this code, as a whole line, or nothing. That of a 401 depends on the
    /// endpoint: see [`Refusal`].
    fn companion_field(self) -> &'static str {
        match self {
            Status::MethodNotAllowed => "allow: GET, POST\r\n", // 9110, 15.5.6
            Status::UnsupportedMediaType => "accept-encoding: identity\r\n", // 9110, 12.5.3
            Status::ServiceUnavailable => "retry-after: 1\r\n", // 9110, 10.2.3
            _ => "",
        }
    }
}

/// What a 401 asks for (RFC 9110, 11.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Challenge {
    /// An HMAC over the body. Like [`Challenge::Header`] no scheme of RFC 9110, which has none for this.
    #[default]
    Signature,
    Basic,
    Bearer,
    /// A secret in a header of its own.
    Header,
}

impl Challenge {
    fn field(self) -> &'static str {
        match self {
            Challenge::Signature => "www-authenticate: Signature realm=\"webhook\"\r\n",
            Challenge::Basic => "www-authenticate: Basic realm=\"webhook\"\r\n",
            Challenge::Bearer => "www-authenticate: Bearer realm=\"webhook\"\r\n",
            Challenge::Header => "www-authenticate: Header realm=\"webhook\"\r\n",
        }
    }
}

/// An answer that refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: Status,
    /// What it asks for, if it is a 401.
    pub challenge: Challenge,
}

impl Refusal {
    /// The field that the RFCs ask for, as a whole line, or nothing.
    pub fn companion_field(self) -> &'static str {
        match self.status {
            Status::Unauthorized => self.challenge.field(),
            status => status.companion_field(),
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        let challenge = Challenge::default();
        Refusal { status, challenge }
    }
}
