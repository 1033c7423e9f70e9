//! axum with one route.

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use peers::Queue;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let app = Router::new()
        .route("/webhook", post(webhook))
        .with_state(peers::worker());
    axum::serve(TcpListener::bind(peers::address()).await?, app).await
}

async fn webhook(State(queue): State<Queue>, body: Bytes) -> StatusCode {
    queue.put(body);
    StatusCode::OK
}
