//! Who may ask for what: host names, logins, forged requests, time.
//!
//! A browser on an operator's machine runs other people's scripts. They can send requests to a
//! loopback port, and after a change of a DNS name even read the answers, so a `Host` that isn't ours
//! is refused, and an action needs a header that no foreign page can send.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use highgate_config::Secret;
use highgate_io::clock;

use super::{Door, Peer, Site, api::refuse};

/// Header that an action must carry; a foreign page can't send it without asking us first.
pub(super) const CSRF_HEADER: &str = "x-highgate";

/// Longest that a request may take.
const PATIENCE: Duration = Duration::from_secs(15);

const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const LATE: &str = "the answer took too long";
/// Nobody can take back what began.
const UNDER_WAY: &str =
    "not done within 15 s, and still under way: `highgate ctl events` tells what comes of it";

/// State of the middleware.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) site: Arc<Site>,
    pub(super) door: Door,
}

/// Lets a request through to its route, or answers it.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let demand = guard.demand(&request);
    let from = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let mut response = match guard.settle(demand, from).await {
        Ok(()) => {
            let late = if request.method() == Method::POST { UNDER_WAY } else { LATE };
            let answered = clock::before(clock::now() + PATIENCE, next.run(request)).await;
            answered.unwrap_or_else(|| refuse(StatusCode::GATEWAY_TIMEOUT, late))
        }
        Err(answer) => *answer,
    };
    add_headers(response.headers_mut());
    response
}

/// What a request has to show before it passes.
#[derive(Debug, PartialEq, Eq)]
enum Demand {
    /// A login; this is what came with the request.
    Login(Option<(String, Secret)>),
    /// Nothing.
    Nothing,
    /// It can't pass, and why.
    Refuse(&'static str),
}

impl Guard {
    async fn settle(&self, demand: Demand, from: Option<IpAddr>) -> Result<(), Box<Response>> {
        match demand {
            Demand::Nothing => Ok(()),
            Demand::Refuse(why) => Err(Box::new(refuse(StatusCode::FORBIDDEN, why))),
            Demand::Login(None) => Err(Box::new(ask_for_login())),
            Demand::Login(Some((name, password))) => {
                if self.site.logins.verify(&name, password, from).await {
                    return Ok(());
                }
                Err(Box::new(ask_for_login()))
            }
        }
    }

    fn demand(&self, request: &Request) -> Demand {
        let headers = request.headers();
        if self.door == Door::Owner {
            return Demand::Nothing;
        }
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        // Load balancers name no host, or their own, and HAProxy asks by OPTIONS; it says one word.
        let asks = reads || request.method() == Method::OPTIONS;
        if asks && request.uri().path() == "/health" {
            return Demand::Nothing;
        }
        if self.door == Door::Loopback && !has_loopback_host(request) {
            return Demand::Refuse(
                "this name is not ours: the page is served on loopback; ask for localhost",
            );
        }
        if reads {
            let is_open = self.door == Door::Loopback;
            return if is_open { Demand::Nothing } else { self.login(headers) };
        }
        if !is_same_origin(headers) {
            return Demand::Refuse(
                "an action needs the header X-Highgate and must come from our own page, not from \
                 another site",
            );
        }
        if self.door == Door::Loopback && self.site.logins.has_no_users() {
            return Demand::Nothing;
        }
        self.login(headers)
    }

    fn login(&self, headers: &HeaderMap) -> Demand {
        if self.site.logins.has_no_users() {
            return Demand::Refuse(
                "this address is open to the network and there are no admin users; configure them, \
                 or bind to 127.0.0.1",
            );
        }
        Demand::Login(basic_credentials(headers))
    }
}

fn has_loopback_host(request: &Request) -> bool {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    named.is_some_and(|host| is_loopback_name(without_port(host)))
}

fn without_port(host: &str) -> &str {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// The custom header, and where the browser says whence it comes, our own host.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text("host").unwrap_or_default();
    let is_ours = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    };
    headers.contains_key(CSRF_HEADER)
        && text("origin").is_none_or(is_ours)
        && text("sec-fetch-site").is_none_or(|site| site == "same-origin")
}

fn basic_credentials(headers: &HeaderMap) -> Option<(String, Secret)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(decode_base64(encoded.trim())?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), Secret::new(password)))
}

/// RFC 4648, standard alphabet; padding may be missing.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for sign in text.trim_end_matches('=').bytes() {
        let value = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

fn ask_for_login() -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"Highgate admin\", charset=\"UTF-8\"")];
    (ask, refuse(StatusCode::UNAUTHORIZED, "log in as an admin user")).into_response()
}

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_undone() {
        for (encoded, plain) in
            [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWRtaW46eDp5", "admin:x:y")]
        {
            assert_eq!(decode_base64(encoded).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(decode_base64("a b"), None);
    }

    #[test]
    fn only_names_of_this_machine_are_ours() {
        for (host, ours) in [
            ("localhost:6080", true),
            ("127.0.0.1:6080", true),
            ("127.1.2.3", true),
            ("[::1]:6080", true),
            ("evil.example:6080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:6080", false),
            ("[::2]:6080", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_name(without_port(host)), ours, "{host}");
        }
    }
}
