//! ntex with one route and one worker, on tokio.

use std::io;

use ntex::util::Bytes;
use ntex::web::types::State;
use ntex::web::{self, App, HttpResponse};
use peers::Queue;

#[ntex::main]
async fn main() -> io::Result<()> {
    let queue = peers::worker();
    let app = async move || {
        App::new()
            .state(queue.clone())
            .route("/webhook", web::post().to(webhook))
    };
    web::server(app)
        .workers(1)
        .bind(peers::address())?
        .run()
        .await
}

async fn webhook(queue: State<Queue>, body: Bytes) -> HttpResponse {
    // Its bytes are a type of its own.
    queue.put(bytes::Bytes::copy_from_slice(&body));
    HttpResponse::Ok().finish()
}
