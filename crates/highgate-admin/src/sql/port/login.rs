//! The login of an admin user: drives the protocol's machine.

use std::{io, time::Instant};

use highgate_io::{clock, entropy, tasks};
use highgate_mysql::{
    Capabilities, StatusFlags,
    auth::NATIVE,
    client_login::{ClientAction, ClientLogin, ClientLoginSettings, Login, Nonce},
    packet::PacketWriter,
    reply::OkPacket,
};

use super::{Port, wire::Wire};

/// What a wrong password costs its sender in time.
const PENALTY: std::time::Duration = std::time::Duration::from_millis(300);

/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// Logs a client in; `None` when it was refused or hung up.
///
/// Cancel safe: no; a packet may be half written. The caller closes the connection.
pub(super) async fn login(
    wire: &mut Wire,
    port: &Port,
    connection: u32,
    deadline: Instant,
) -> io::Result<Option<Login>> {
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
            ClientAction::LookUp { user, .. } => machine.account(port.users.account(&user)),
            ClientAction::Verify(check) => {
                let is_right = tasks::blocking(move || check.run()).await;
                machine.checked(is_right.unwrap_or(false))
            }
            // Neither is offered here, so neither is asked for; the machine refuses what follows.
            ClientAction::RsaDecrypt { .. } => machine.decrypted(None),
            ClientAction::StartTls => return Ok(None),
            ClientAction::Refused { answer, seq } => {
                clock::pause(PENALTY).await;
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
