//! may_minihttp, of the quickest in public comparisons of plain HTTP: coroutines, and little of HTTP beyond what those
//! ask for.

use std::io::{self, Read};

use may_minihttp::{HttpServer, HttpService, Request, Response};
use peers::Queue;

#[derive(Clone)]
struct Webhook(Queue);

impl HttpService for Webhook {
    fn call(&mut self, request: Request, _: &mut Response) -> io::Result<()> {
        let mut body = Vec::new();
        request.body().read_to_end(&mut body)?;
        self.0.put(body.into());
        Ok(())
    }
}

fn main() -> io::Result<()> {
    may::config().set_workers(1);
    let server = HttpServer(Webhook(peers::worker())).start(peers::address())?;
    server.join().expect("it ends with the process");
    Ok(())
}
