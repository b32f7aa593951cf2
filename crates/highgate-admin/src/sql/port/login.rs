//! The login of an admin user: drives the protocol's machine.

use std::{io, net::IpAddr, time::Instant};

use highgate_io::{clock, entropy};
use highgate_mysql::{
    Capabilities, StatusFlags,
    auth::NATIVE,
    charset::{Collation, is_unsafe_for_lexing},
    client_login::{ClientAction, ClientLogin, ClientLoginSettings, Login, Nonce},
    packet::PacketWriter,
    reply::OkPacket,
};

use super::{Port, code, wire::Wire};
use crate::{sql::SqlError, stream::Offer};

/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// Logs a client in; `None` when it was refused or hung up.
///
/// Cancel safe: no; a packet may be half written. The caller closes the connection.
pub(super) async fn login(
    mut wire: Wire,
    port: &Port,
    (connection, from): (u32, IpAddr),
    deadline: Instant,
) -> io::Result<Option<(Wire, Login)>> {
    let (logins, offer) = (&port.logins, port.tls.current());
    let mut name = String::new();
    let mut machine = ClientLogin::new(settings(port, &offer, (connection, from))?);
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
                machine.account(logins.account(&name))
            }
            ClientAction::Verify(check) => machine.checked(logins.check(check).await),
            ClientAction::RsaDecrypt { bytes } => machine.decrypted(logins.decrypt(bytes).await),
            ClientAction::StartTls => {
                let Some(config) = offer.config.clone() else { return Ok(None) };
                wire = wire.encrypted(config, deadline).await?;
                machine.tls_started();
                let Some((seq, payload)) = wire.read(deadline).await? else {
                    return Ok(None);
                };
                machine.packet(seq, &payload)
            }
            ClientAction::Refused { answer, seq } => {
                let now = clock::now();
                clock::pause(logins.failed("the SQL port", &name, Some(from), now)).await;
                let mut out = Vec::new();
                answer.encode(&mut out, seq);
                wire.write(&out, clock::now() + port.limits.write).await?;
                return Ok(None);
            }
            ClientAction::Done(login) => {
                let mut out = login.before_ok.clone();
                if let Some(refusal) = unread(login.collation) {
                    code(refusal.code, refusal.state)
                        .answer(refusal.text.as_ref())
                        .encode(&mut out, login.seq);
                    wire.write(&out, deadline).await?;
                    return Ok(None);
                }
                PacketWriter::new(&mut out, login.seq).packet(|body| {
                    let status = StatusFlags::AUTOCOMMIT;
                    OkPacket { status, ..OkPacket::default() }.encode(body, login.capabilities);
                });
                wire.write(&out, deadline).await?;
                return Ok(Some((wire, *login)));
            }
        };
    }
}

/// What is said to a client whose texts can't be read: drivers quote characters, and in these sets a part of
/// one may be a backslash.
fn unread(collation: u16) -> Option<SqlError> {
    let charset = Collation::by_id(collation)?.charset;
    is_unsafe_for_lexing(charset).then(|| SqlError::unknown_charset(charset))
}

fn settings(
    port: &Port,
    offer: &Offer,
    (connection_id, from): (u32, IpAddr),
) -> io::Result<ClientLoginSettings> {
    let mut random = [0; 32];
    entropy::fill(&mut random)?;
    let mut capabilities = offered();
    capabilities.set(Capabilities::SSL, offer.config.is_some());
    Ok(ClientLoginSettings {
        version: port.version.clone(),
        connection_id,
        client_host: from.to_canonical().to_string(),
        nonce: Nonce::from_random(random),
        capabilities,
        collation: COLLATION,
        status: StatusFlags::AUTOCOMMIT,
        plugin: NATIVE,
        is_private: false,
        requires_tls: offer.is_required,
        rsa_public_key: port.logins.rsa_public_key(),
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
