//! The web surface: a live page, REST over the tables, `/metrics` and `/health`.
//!
//! One router for three [`Door`]s, which differ in who is trusted. [`serve`](serve()) bounds connections, time
//! and sizes. The page itself is static files that ask the same REST as everybody else.

mod api;
mod guard;
mod owner;
mod page;
mod serve;
mod socket;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use tokio::sync::watch;

use crate::{Logins, Tables, render::metrics};

pub use owner::{OwnerSocket, OwnerStream};
pub use serve::serve;
pub use socket::{WebPort, WebStream};

/// Bytes of a request's body.
const MOST_BODY: usize = 64 * 1024;

/// What the surface shows, and to whom.
#[derive(Debug, Clone)]
pub struct Site {
    /// The tables.
    pub tables: Tables,
    /// Who may log in.
    pub logins: Logins,
    /// Whether this node serves its clients, for `/health`.
    pub serving: watch::Receiver<bool>,
    /// What keeps it from serving them although it is to, for `/health`; nothing while all is well.
    pub fault: watch::Receiver<Option<String>>,
    /// Held while an action is carried out, to its end, whoever still waits for that: they wait for each
    /// other, so that they never take all threads for blocking work that they themselves need.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

/// Where a request came from; nothing for a Unix socket.
#[derive(Debug, Clone, Copy)]
struct Peer(Option<IpAddr>);

/// How a request came in, which decides whom it is trusted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A TCP listener on a loopback address: anybody on this machine may look. Actions need a login
    /// as soon as there are users. Only loopback names are accepted as `Host`.
    Loopback,
    /// A TCP listener that others reach: all but `/health` needs a login.
    Network,
    /// The Unix socket that only this process's account (and root) can open: everything is allowed.
    Owner,
}

impl Door {
    /// The door of a TCP listener on this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Loopback } else { Self::Network }
    }
}

/// All routes, behind the door's checks.
pub fn router(site: &Site, door: Door) -> Router {
    let site = Arc::new(site.clone());
    let guard = guard::Guard { site: Arc::clone(&site), door };
    Router::new()
        .route("/", get(page::page))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/topology.js", get(page::topology))
        .route("/values.js", get(page::values))
        .route("/health", get(health).options(health))
        .route("/metrics", get(render_metrics))
        .route("/api/v1/tables", get(api::tables))
        .route("/api/v1/tables/{table}", get(api::table))
        .route("/api/v1/tables/{table}/{action}", post(api::act))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(site)
}

async fn health(State(site): State<Arc<Site>>) -> impl IntoResponse {
    if *site.serving.borrow() && site.fault.borrow().is_none() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}

async fn render_metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    let text = metrics::render_metrics(&site.tables);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

async fn nothing_here() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, "nothing here; try /, /api/v1/tables, /metrics or /health\n")
}

#[cfg(test)]
mod tests;
