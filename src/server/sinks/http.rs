//! The configuration of an HTTP sink, cut into what its parts take.

use super::super::ServerError;
use crate::config::{Dispatch, Form, HttpSink};
use crate::sink::http::{self, Http};
use crate::sink::{Backoff, Limits, Outcomes, Paths, Transport, Unit};

/// How the sink delivers, and what makes its transport.
pub(super) fn transport(
    name: &str,
    sink: &HttpSink,
    paths: Paths,
) -> (
    Limits,
    impl FnOnce(Outcomes) -> Result<Box<dyn Transport>, ServerError>,
) {
    let (form, unit, batch) = match sink.form {
        Form::Notification => (http::Form::Notification, Unit::Notification, 1),
        Form::Binary => (http::Form::Binary, Unit::Event, 1),
        Form::Structured => (http::Form::Structured, Unit::Event, 1),
        Form::Batch(events) => (http::Form::Batch, Unit::Event, events),
    };
    let secret =
        |(name, value): &(String, crate::config::Secret)| (name.clone(), value.expose().to_vec());
    let keys = sink.signing_secrets.iter();
    let options = http::Options {
        name: name.to_owned(),
        url: sink.url.clone(),
        form,
        headers: sink.headers.iter().map(secret).collect(),
        signing_secrets: keys.map(|key| key.expose().to_vec()).collect(),
        ca_file: sink.ca_file.clone(),
        timeout: sink.dispatch.timeout,
        connect_timeout: sink.connect_timeout,
        connections: sink.dispatch.concurrency,
        paths,
    };
    let name = name.to_owned();
    let make = move |outcomes| -> Result<Box<dyn Transport>, ServerError> {
        let http = Http::new(&options, outcomes);
        let http = http.map_err(|error| {
            ServerError::io(format!("start the sink {name}"))(std::io::Error::other(error))
        })?;
        Ok(Box::new(http))
    };
    (limits(&sink.dispatch, unit, batch), make)
}

/// The pace of a sink that delivers one by one.
pub(super) fn limits(pace: &Dispatch, unit: Unit, batch: usize) -> Limits {
    Limits {
        unit,
        batch,
        concurrency: pace.concurrency,
        rate: pace.rate.map_or(0, |rate| u64::from(rate.get())),
        backoff: Backoff {
            min: pace.retry_min,
            max: pace.retry_max,
        },
        max_attempts: pace.max_attempts,
    }
}
