//! Connections of the web surface: counted, timed, ended when asked.

use std::{net::IpAddr, time::Duration};

use axum::{Extension, Router, serve::Listener};
use highgate_io::{clock, tasks::Stop};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::JoinSet;

use super::Peer;
use crate::{Room, crowd::Crowd};

/// Connections at once, where descriptors leave room for them; further ones wait in the kernel.
const MOST_CONNECTIONS: usize = 256;
/// Of them those of one address; further ones are closed.
const SHARE: usize = 64;
/// Longest for a request's head, and for a connection without a request.
const HEAD: Duration = Duration::from_secs(15);
/// Longest life of a connection; whoever doesn't read its answer is gone after it.
const LIFE: Duration = Duration::from_mins(5);
/// What a connection may still take once it was told to end.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Serves `router`, within `room`, until `stop`; then answers what was asked and ends.
///
/// Cancel safe: yes; dropping it closes the connections.
pub async fn serve<L: Listener<Addr = Option<IpAddr>>>(
    mut listener: L,
    router: Router,
    room: Room,
    stop: Stop,
) where
    L::Io: 'static,
{
    let mut connections = JoinSet::new();
    let mut crowd = Crowd::of("web port", MOST_CONNECTIONS, SHARE);
    loop {
        let most = || MOST_CONNECTIONS.min(room.of_web());
        while connections.len() >= most() || connections.try_join_next().is_some() {
            if connections.len() >= most() {
                connections.join_next().await;
            }
        }
        let (io, from) = tokio::select! {
            biased;
            () = stop.stopped() => break,
            accepted = listener.accept() => accepted,
        };
        crowd.bound(most());
        let Some(place) = crowd.admit(from, clock::now()) else { continue };
        let router = router.clone().layer(Extension(Peer(from)));
        let connection = connection(TokioIo::new(io), router, stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection<T>(io: TokioIo<T>, router: Router, stop: Stop)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 * 1024);
    let mut served = std::pin::pin!(http.serve_connection(io, TowerToHyperService::new(router)));
    let end_of_life = clock::now() + LIFE;
    let ended = tokio::select! {
        biased;
        () = stop.stopped() => None,
        ended = clock::before(end_of_life, served.as_mut()) => ended,
    };
    if ended.is_none() {
        served.as_mut().graceful_shutdown();
        clock::before(clock::now() + LAST_ANSWER, served).await;
    }
}
