//! axum in front of a Redis stream: 200 is what Redis has in its append-only file.
//!
//! `axum_redis PORT URL`. One multiplexed connection, so that commands of many requests are on their way together and
//! share a sync; the stream keeps some 100,000 entries, as one does that is read.

use std::error::Error;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use redis::aio::MultiplexedConnection;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = redis::Client::open(peers::argument(2))?;
    let connection = client.get_multiplexed_async_connection().await?;
    let app = Router::new()
        .route("/webhook", post(webhook))
        .with_state(connection);
    Ok(axum::serve(TcpListener::bind(peers::address()).await?, app).await?)
}

async fn webhook(State(mut connection): State<MultiplexedConnection>, body: Bytes) -> StatusCode {
    let mut add = redis::cmd("XADD");
    add.arg("events").arg("MAXLEN").arg("~").arg(100_000);
    add.arg("*").arg("body").arg(&body[..]);
    match add.query_async::<String>(&mut connection).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
