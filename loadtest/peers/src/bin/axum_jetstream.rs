//! axum in front of NATS JetStream: 200 is what its file store has acknowledged.
//!
//! `axum_jetstream PORT URL`. Whether that is on the disk by then is a setting of the server's: see
//! `loadtest/contenders.py`.

use std::error::Error;

use async_nats::jetstream::{self, Context, stream};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let context = jetstream::new(async_nats::connect(peers::argument(2)).await?);
    let config = stream::Config {
        name: "EVENTS".to_owned(),
        subjects: vec!["events".into()],
        storage: stream::StorageType::File,
        max_bytes: 1 << 30,
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await?;
    let app = Router::new()
        .route("/webhook", post(webhook))
        .with_state(context);
    Ok(axum::serve(TcpListener::bind(peers::address()).await?, app).await?)
}

async fn webhook(State(context): State<Context>, body: Bytes) -> StatusCode {
    match publish(&context, body).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Done when the acknowledgement is there.
async fn publish(context: &Context, body: Bytes) -> Result<(), Box<dyn Error + Send + Sync>> {
    context.publish("events", body).await?.await?;
    Ok(())
}
