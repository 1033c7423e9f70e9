//! may_minihttp, of the quickest in public comparisons of plain HTTP: coroutines, and little of HTTP beyond what those
//! ask for.

use std::io::{self, Read};

use bytes::Bytes;
use crossbeam_channel::Sender;
use may_minihttp::{HttpServer, HttpService, Request, Response};

#[derive(Clone)]
struct Webhook(Sender<Bytes>);

impl HttpService for Webhook {
    fn call(&mut self, request: Request, response: &mut Response) -> io::Result<()> {
        let mut body = Vec::new();
        request.body().read_to_end(&mut body)?;
        if self.0.try_send(body.into()).is_err() {
            response.status_code(503, "Service Unavailable");
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(1);
    let server = HttpServer(Webhook(peers::worker())).start(peers::address())?;
    server.join().expect("it ends with the process");
    Ok(())
}
