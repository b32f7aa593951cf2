//! The client side of the owner's socket, for `highgate ctl`: blocking, and HTTP/1.0 is enough.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

pub use crate::render::render_table;

/// Longest wait for the running process.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of an answer that are taken.
const MOST: u64 = 256 << 20;

/// Why the running process gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// Nobody listens there.
    #[error("no running highgate answers at {path}; is it running?")]
    Connect {
        /// The socket.
        path: String,
        /// As the system says.
        #[source]
        cause: io::Error,
    },
    /// This account may not open the socket, or not look into its folder: whether there is one is not known.
    #[error(
        "this account may not open {path}: give the command as root, or as the account that Highgate runs as"
    )]
    Denied {
        /// The socket.
        path: String,
        /// As the system says.
        #[source]
        cause: io::Error,
    },
    /// The connection broke, or the answer is not one.
    #[error("highgate at {path} did not answer; whether it did what was asked is not known")]
    Exchange {
        /// The socket.
        path: String,
        /// As the system says.
        #[source]
        cause: io::Error,
    },
    /// There is no such socket.
    #[error(
        "there is no {path}: does Highgate run, and is this its --data-dir? By default that is `highgate-data` \
         beside its configuration"
    )]
    Missing {
        /// The socket.
        path: String,
        /// As the system says.
        #[source]
        cause: io::Error,
    },
    /// It answered with a refusal, which is the text.
    #[error("{0}")]
    Refused(String),
}

/// The body of `GET path`, for example `/api/v1/tables/servers?format=text&width=120`.
///
/// # Errors
/// `Connect`, `Denied`, `Exchange` and `Missing` where nobody answers, `Refused` with the process's own words.
pub fn get(socket: &Path, path: &str) -> Result<String, CtlError> {
    exchange(socket, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

/// Carries out an action of a table, and returns what was done.
///
/// # Errors
/// As [`get`].
pub fn act(
    socket: &Path,
    table: &str,
    action: &str,
    arguments: &[&str],
) -> Result<String, CtlError> {
    let body = serde_json::json!({ "arguments": arguments }).to_string();
    let request = format!(
        "POST /api/v1/tables/{}/{} HTTP/1.0\r\nHost: localhost\r\nContent-Type: \
         application/json\r\nX-Highgate: 1\r\nContent-Length: {}\r\n\r\n{body}",
        escape(table),
        escape(action),
        body.len()
    );
    let answer = exchange(socket, &request)?;
    let done = serde_json::from_str::<serde_json::Value>(&answer).unwrap_or_default();
    Ok(done.get("done").and_then(|done| done.as_str()).unwrap_or(&answer).to_owned())
}

/// Escapes a text for a place in a path or a query, as in `?filter=`.
#[must_use]
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn exchange(socket: &Path, request: &str) -> Result<String, CtlError> {
    let path = socket.display().to_string();
    let mut stream = UnixStream::connect(socket).map_err(|cause| unreached(path.clone(), cause))?;
    let answer = converse(&mut stream, request)
        .map_err(|cause| CtlError::Exchange { path: path.clone(), cause })?;
    let not_http = || CtlError::Exchange { path, cause: io::ErrorKind::InvalidData.into() };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(body.to_owned()) } else { Err(refusal(status, body)) }
}

fn unreached(path: String, cause: io::Error) -> CtlError {
    match cause.kind() {
        io::ErrorKind::NotFound => CtlError::Missing { path, cause },
        io::ErrorKind::PermissionDenied => CtlError::Denied { path, cause },
        _ => CtlError::Connect { path, cause },
    }
}

fn converse(stream: &mut UnixStream, request: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The refusal's own words, taken out of their JSON.
fn refusal(status: &str, body: &str) -> CtlError {
    let json = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
    match json.get("error").and_then(|error| error.as_str()) {
        Some(why) => CtlError::Refused(why.to_owned()),
        None => CtlError::Refused(format!("{status}: {}", body.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account without rights on the folder was asked whether Highgate runs, which it did.
    #[test]
    fn who_may_not_open_the_socket_is_told_so_and_not_that_there_is_none() {
        for (kind, says) in [
            (
                io::ErrorKind::PermissionDenied,
                "this account may not open /data/highgate.sock: give",
            ),
            (io::ErrorKind::NotFound, "there is no /data/highgate.sock: does Highgate run"),
            (
                io::ErrorKind::ConnectionRefused,
                "no running highgate answers at /data/highgate.sock",
            ),
        ] {
            let told = unreached("/data/highgate.sock".into(), kind.into()).to_string();
            assert!(told.starts_with(says), "{told}");
        }
        let socket = std::env::temp_dir().join("no-such-folder/highgate.sock");
        assert!(matches!(get(&socket, "/"), Err(CtlError::Missing { .. })));
    }
}
