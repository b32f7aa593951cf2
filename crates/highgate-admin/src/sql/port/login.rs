//! The login of an admin user: drives the protocol's machine.

use std::{
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use highgate_io::{clock, entropy, tasks};
use highgate_mysql::{
    Capabilities, StatusFlags,
    auth::NATIVE,
    client_login::{ClientAction, ClientLogin, ClientLoginSettings, Login, Nonce},
    packet::PacketWriter,
    reply::OkPacket,
};

use super::{Open, Port, wire::Wire};

/// What a wrong password costs its sender in time, at least.
const PENALTY: Duration = Duration::from_millis(300);

/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// Logs a client in; `None` when it was refused or hung up.
///
/// Cancel safe: no; a packet may be half written. The caller closes the connection.
pub(super) async fn login(
    wire: &mut Wire,
    open: &Open,
    (connection, from): (u32, IpAddr),
    deadline: Instant,
) -> io::Result<Option<Login>> {
    let port = &open.port;
    let mut name = String::new();
    let mut machine = ClientLogin::new(settings(port, connection)?);
    let mut out = Vec::new();
    machine.greeting(&mut out);
    let mut action = ClientAction::Send(out);
    loop {
        action = match action {
            ClientAction::Send(packets) => {
                wire.write(&packets, deadline).await?;
                let Some((seq, payload)) = wire.read(deadline).await? else {
                    return Ok(None);
                };
                machine.packet(seq, &payload)
            }
            ClientAction::LookUp { user, .. } => {
                name = user;
                let known = port.users.account(&name);
                let decoy = || port.users.decoy(&name, &open.secret, &open.key);
                machine.account(known.or_else(decoy))
            }
            ClientAction::Verify(check) => {
                let is_right = tasks::blocking(move || check.run()).await;
                machine.checked(is_right.unwrap_or(false))
            }
            // Neither is offered here, so neither is asked for; the machine refuses what follows.
            ClientAction::RsaDecrypt { .. } => machine.decrypted(None),
            ClientAction::StartTls => return Ok(None),
            ClientAction::Refused { answer, seq } => {
                clock::pause(penalty(open, &name, from)).await;
                let mut out = Vec::new();
                answer.encode(&mut out, seq);
                wire.write(&out, clock::now() + port.limits.write).await?;
                return Ok(None);
            }
            ClientAction::Done(login) => {
                let mut out = login.before_ok.clone();
                PacketWriter::new(&mut out, login.seq).packet(|body| {
                    let status = StatusFlags::AUTOCOMMIT;
                    OkPacket { status, ..OkPacket::default() }.encode(body, login.capabilities);
                });
                wire.write(&out, deadline).await?;
                return Ok(Some(*login));
            }
        };
    }
}

/// How long the answer to a failed login is held back; tells operators of many.
fn penalty(open: &Open, user: &str, from: IpAddr) -> Duration {
    let failed = open.attempts.lock().failed(user, Some(from), clock::now());
    if let Some(count) = failed.account.or(failed.address) {
        let user: String = user.chars().take(64).filter(|c| !c.is_control()).collect();
        let text = format!(
            "{count} logins at the SQL port failed lately, the last as `{user}` from {from}"
        );
        open.port.alarm.tell(text);
    }
    failed.delay.max(PENALTY)
}

fn settings(port: &Port, connection_id: u32) -> io::Result<ClientLoginSettings> {
    let mut random = [0; 32];
    entropy::fill(&mut random)?;
    Ok(ClientLoginSettings {
        version: port.version.clone(),
        connection_id,
        client_host: "localhost".to_owned(),
        nonce: Nonce::from_random(random),
        capabilities: offered(),
        collation: COLLATION,
        status: StatusFlags::AUTOCOMMIT,
        plugin: NATIVE,
        is_private: false,
        requires_tls: false,
        rsa_public_key: None,
    })
}

fn offered() -> Capabilities {
    Capabilities::LONG_PASSWORD
        | Capabilities::FOUND_ROWS
        | Capabilities::LONG_FLAG
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::IGNORE_SPACE
        | Capabilities::PROTOCOL_41
        | Capabilities::INTERACTIVE
        | Capabilities::TRANSACTIONS
        | Capabilities::SECURE_CONNECTION
        | Capabilities::MULTI_RESULTS
        | Capabilities::PLUGIN_AUTH
        | Capabilities::CONNECT_ATTRS
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::DEPRECATE_EOF
}
