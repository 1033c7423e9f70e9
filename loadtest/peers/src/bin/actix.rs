//! actix-web with one route and one worker.

use std::io;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use crossbeam_channel::Sender;

#[actix_web::main]
async fn main() -> io::Result<()> {
    let queue = Data::new(peers::worker());
    let app = move || {
        App::new()
            .app_data(queue.clone())
            .route("/webhook", web::post().to(webhook))
    };
    HttpServer::new(app)
        .workers(1)
        .bind(peers::address())?
        .run()
        .await
}

async fn webhook(queue: Data<Sender<Bytes>>, body: Bytes) -> HttpResponse {
    if queue.try_send(body).is_ok() {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::ServiceUnavailable().finish()
    }
}
