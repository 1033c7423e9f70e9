//! actix-web with one route and one worker.

use std::io;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use peers::Queue;

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

async fn webhook(queue: Data<Queue>, body: Bytes) -> HttpResponse {
    queue.put(body);
    HttpResponse::Ok().finish()
}
