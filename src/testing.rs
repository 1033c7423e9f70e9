//! What benches, integration tests and fuzz targets use of the modules: nothing that anybody may depend on.

pub mod cli {
    pub use crate::cli::{Cli, CliError};
}

pub mod config {
    pub use crate::config::{
        Config, ConfigErrors, Environment, Finding, Flags, SETTINGS, format_size, format_time,
        parse_size, parse_time,
    };
}

pub mod server {
    pub use crate::server::Server;
}

pub mod http {
    pub use crate::http::{Limits, Status};

    pub mod assembler {
        pub use crate::http::assembler::{Assembler, Next};
    }

    pub mod chunked {
        pub use crate::http::chunked::Decoder;
    }

    pub mod head {
        pub use crate::http::head::{Framing, HEADERS_MAX, Head, Method, Persistence, Slots};
    }
}

pub mod endpoint {
    pub use crate::endpoint::{Ack, Counters, Endpoint, Proof};

    pub mod handshake {
        pub use crate::endpoint::handshake::VerifyTokens;
    }

    pub mod signature {
        pub use crate::endpoint::signature::{Algorithm, Encoding, Signature};
    }
}

pub mod journal {
    pub use crate::journal::{
        Depth, Journal, JournalError, JournalId, Options, Reader, Recovery, inspect, repair,
    };

    pub mod batch {
        pub use crate::journal::batch::{Batch, Pool, Seal};
    }

    pub mod frame {
        pub use crate::journal::frame::{
            FrameError, FrameHeader, HEADER_LEN, LENGTH_MAX, NUMBER_END,
        };
    }

    pub mod record {
        pub use crate::journal::record::{FIXED_LEN, Record, encode};
    }
}

pub mod disk {
    pub use crate::disk::{Access, Disk, Guard, Identity, LockError, Storage, StorageFile};

    pub mod block {
        pub use crate::disk::block::{ALIGNMENT, padded};
    }
}

pub mod worker {
    pub use crate::worker::{EventBatch, Extraction};
}

pub mod event {
    pub use crate::event::{
        COMPONENT_MAX, Event, Events, Extractor, Lane, NESTING_MAX, Origin, UPDATES_MAX, Unparsed,
        fingerprint, render,
    };
}

pub mod dedupe {
    pub use crate::dedupe::{Dedupe, Duplicates, Options, Scope};
}

pub mod dead_letter {
    pub use crate::dead_letter::{DeadLetter, DeadLetters, Failures};
}

pub mod feed {
    pub use crate::feed::{ReplayState, Replays};
}

pub mod relay {
    pub use crate::relay::{Closed, Receiver, Sender, channel};
}

pub mod log {
    pub use crate::log::{Repeats, log_panics};
}
