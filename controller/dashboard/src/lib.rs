//! How a controller stands, over HTTP: for a load balancer or kubelet (`/healthz`, `/readyz`), for Prometheus
//! (`/metrics`), for programs (`/api/v1/apps`, `/api/v1/events`), and for people (`/`, `/apps/NAMESPACE/APP`).
//!
//! Everything comes from the engine's [`Board`]. Nothing can be changed here, so that whoever may look need not be asked
//! who they are; listen where only those who may look can connect.

mod metrics;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use page::{Only, Shown};
use portolan_engine::controller::{AppReport, Board, ToldEvent};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Where it listens, once it does.
pub struct Server {
    listener: TcpListener,
    board: Arc<Board>,
}

impl Server {
    /// # Errors
    /// The address cannot be listened at.
    pub async fn bind(address: SocketAddr, board: Arc<Board>) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            board,
        })
    }

    /// With the port that was chosen where none was given.
    ///
    /// # Errors
    /// The system does not tell it.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true.
    ///
    /// # Errors
    /// The system takes no more connections.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let stopped = async move {
            _ = stop.wait_for(|stop| *stop).await;
        };
        axum::serve(self.listener, router(self.board))
            .with_graceful_shutdown(stopped)
            .await
    }
}

fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/apps/{namespace}/{app}", get(page_of_one))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/apps", get(apps))
        .route("/api/v1/events", get(events))
        .with_state(board)
}

async fn page(State(board): State<Arc<Board>>) -> impl IntoResponse {
    shown(&board, None)
}

/// Of an app that is not kept there may still be events.
async fn page_of_one(
    State(board): State<Arc<Board>>,
    Path((namespace, app)): Path<(String, String)>,
) -> impl IntoResponse {
    let only = Only {
        namespace: &namespace,
        app: &app,
    };
    shown(&board, Some(only))
}

/// A browser is told that nothing on it may run or be loaded, whatever it says.
fn shown(board: &Board, only: Option<Only>) -> impl IntoResponse + use<> {
    let page = page::of(&Shown {
        apps: &board.apps(),
        events: &board.events(),
        only,
        now: SystemTime::now().into(),
    });
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page))
}

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

async fn alive(State(board): State<Arc<Board>>) -> (StatusCode, &'static str) {
    verdict(board.is_alive(), "ok\n", "the loop has stopped\n")
}

async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, &'static str) {
    verdict(board.is_ready(), "ok\n", "not every app has had its first turn\n")
}

fn verdict(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    match good {
        true => (StatusCode::OK, yes),
        false => (StatusCode::SERVICE_UNAVAILABLE, no),
    }
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let text = metrics::text(&board);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn apps(State(board): State<Arc<Board>>) -> Json<Vec<AppReport>> {
    Json(board.apps())
}

async fn events(State(board): State<Arc<Board>>) -> Json<Vec<ToldEvent>> {
    Json(board.events())
}
