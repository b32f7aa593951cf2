use super::*;
use crate::auth::{
    CACHING_SHA2, CLEAR, ED25519, NATIVE, Proof, Secret, StoredPassword, ed25519, native, sha2,
    with_nul,
};
use crate::client_login::{Account, ClientAction, ClientLogin, ClientLoginSettings, Login, Nonce};
use crate::login::{AuthSwitch, LoginRequest};
use crate::packet::{PacketWriter, split_packet};
use crate::server_login::{Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish};
use crate::{Capabilities, StatusFlags};

const PASSWORD: &[u8] = b"pw";

fn stored(form: Stored) -> StoredPassword {
    let salt = [b'x'; 20];
    match form {
        Stored::Clear => StoredPassword::clear("pw"),
        Stored::Ed25519 => StoredPassword::Ed25519(ed25519::public_key(PASSWORD)),
        Stored::Native => StoredPassword::Native(native::double_hash(PASSWORD)),
        Stored::Sha2 => {
            StoredPassword::Sha2 { rounds: 5000, salt, hash: sha2::crypt(PASSWORD, &salt, 5000) }
        }
    }
}

fn machine(is_private: bool) -> ClientLogin {
    ClientLogin::new(ClientLoginSettings {
        version: "8.0.36".into(),
        connection_id: 1,
        client_host: "10.0.0.9".into(),
        nonce: Nonce::from_random([77; 32]),
        capabilities: Capabilities::from_halves(0x81bf_ffff, 0),
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin: NATIVE,
        is_private,
        requires_tls: false,
        rsa_public_key: Some(b"PEM".to_vec()),
    })
}

fn plugin(client: Client) -> &'static str {
    match client {
        Client::Clear => CLEAR,
        Client::Ed25519 => ED25519,
        Client::Native => NATIVE,
        Client::Sha2 => CACHING_SHA2,
    }
}

fn answer(plugin: &str, challenge: &[u8]) -> Vec<u8> {
    match plugin {
        NATIVE => native::answer(PASSWORD, challenge).to_vec(),
        CACHING_SHA2 => sha2::answer(PASSWORD, challenge).to_vec(),
        ED25519 => ed25519::answer(PASSWORD, challenge).to_vec(),
        _ => with_nul(PASSWORD).expose().to_vec(),
    }
}

/// Logs a client in that knows one plugin only; with an RSA that changes nothing.
fn log_in(form: Stored, client: Client, wants_password: bool) -> Option<Login> {
    let mut machine = machine(client == Client::Clear);
    let mut greeting = Vec::new();
    machine.greeting(&mut greeting);
    let knows = plugin(client);
    let nonce = Nonce::from_random([77; 32]).short();
    let request = LoginRequest {
        capabilities: Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC,
        max_packet: 0,
        collation: 45,
        user: "app".into(),
        answer: Secret::new(answer(knows, &nonce)),
        schema: None,
        plugin: knows.into(),
        attributes: Vec::new(),
        zstd_level: None,
    };
    let mut payload = Vec::new();
    request.encode(&mut payload);
    let mut action = machine.packet(1, &payload);
    loop {
        action = match action {
            ClientAction::LookUp { .. } => {
                let passwords = vec![stored(form)];
                machine.account(Some(Account { passwords, wants_password, ..Account::default() }))
            }
            ClientAction::Send(bytes) => {
                let (header, payload, _) = split_packet(&bytes).unwrap();
                let seq = header.seq + 1;
                match payload {
                    [0xfe, ..] => {
                        let switch = AuthSwitch::parse(payload).unwrap();
                        if switch.plugin != knows {
                            return None;
                        }
                        machine.packet(seq, &answer(knows, switch.challenge))
                    }
                    [1, 4] => {
                        let masked = sha2::xor_nonce(with_nul(PASSWORD).expose(), &nonce);
                        machine.packet(seq, masked.expose())
                    }
                    other => panic!("{other:?}"),
                }
            }
            ClientAction::RsaDecrypt { bytes } => machine.decrypted(Some(Secret::new(bytes))),
            ClientAction::Verify(check) => machine.checked(check.run()),
            ClientAction::Done(login) => return Some(*login),
            ClientAction::Refused { .. } => return None,
            ClientAction::StartTls => panic!("no TLS was asked for"),
        };
    }
}

/// Whether a proof opens a server that stores the password for that plugin.
fn is_opened(proof: &Proof, server: Server) -> bool {
    let form = match server {
        Server::Ed25519 => Stored::Ed25519,
        Server::Native => Stored::Native,
        Server::Sha2 => Stored::Sha2,
    };
    let mut ours = ServerLogin::new(ServerLoginSettings {
        user: "app".into(),
        credential: Credential::Own(proof.clone()),
        schema: None,
        capabilities: Capabilities::empty(),
        collation: 45,
        attributes: Vec::new(),
        tls: TlsWish::Disabled,
        is_private: false,
        allows_clear: false,
        zstd_level: None,
        own_rsa_key: None,
    });
    let mut theirs = machine(false);
    let mut bytes = Vec::new();
    theirs.greeting(&mut bytes);
    loop {
        let (header, payload, _) = split_packet(&bytes).unwrap();
        let sent = match ours.packet(header.seq, payload) {
            ServerAction::Send(sent) => sent,
            ServerAction::RsaEncrypt { bytes, .. } => match ours.encrypted(bytes.expose()) {
                ServerAction::Send(sent) => sent,
                _ => return false,
            },
            ServerAction::Done(_) => return true,
            ServerAction::Failed(_) => return false,
            other => panic!("{other:?}"),
        };
        let (header, payload, _) = split_packet(&sent).unwrap();
        let mut action = theirs.packet(header.seq, payload);
        bytes = loop {
            action = match action {
                ClientAction::LookUp { .. } => theirs
                    .account(Some(Account { passwords: vec![stored(form)], ..Account::default() })),
                ClientAction::Verify(check) => theirs.checked(check.run()),
                ClientAction::RsaDecrypt { bytes } => theirs.decrypted(Some(Secret::new(bytes))),
                ClientAction::Send(bytes) => break bytes,
                ClientAction::Done(login) => {
                    let mut out = Vec::new();
                    PacketWriter::new(&mut out, login.seq).payload(&[0, 0, 0, 2, 0, 0, 0]);
                    break out;
                }
                ClientAction::Refused { answer, seq } => {
                    let mut out = Vec::new();
                    answer.encode(&mut out, seq);
                    break out;
                }
                ClientAction::StartTls => panic!("no TLS was asked for"),
            };
        };
    }
}

#[test]
fn the_login_machines_do_what_the_matrix_says() {
    for form in STORED {
        for client in CLIENTS {
            let expected = learned(form, client);
            // A key is verified by itself only where nothing else is needed of it.
            let wants_password = form == Stored::Ed25519 && expected != Some(Learned::Nothing);
            let login = log_in(form, client, wants_password);
            assert_eq!(login.is_some(), expected.is_some(), "{form:?} by {client:?}");
            let (Some(login), Some(expected)) = (login, expected) else { continue };
            let found = match &login.proof {
                Proof::Clear(password) if password.expose() == PASSWORD => Learned::Password,
                Proof::Sha1(_) => Learned::Sha1,
                Proof::None => Learned::Nothing,
                other => panic!("{form:?} by {client:?}: {other:?}"),
            };
            assert_eq!(found, expected, "{form:?} by {client:?}");
            for server in SERVERS {
                let is = is_opened(&login.proof, server);
                assert_eq!(is, opens(expected, server), "{form:?} by {client:?} to {server:?}");
            }
        }
    }
}

#[test]
fn a_key_alone_is_not_taken_where_servers_need_the_password() {
    assert!(log_in(Stored::Ed25519, Client::Ed25519, true).is_none());
}

#[test]
fn the_manual_shows_the_matrix() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/login.md");
    let manual = std::fs::read_to_string(path).unwrap();
    assert!(manual.contains(&page()), "docs/login.md is to contain:\n{}", page());
}
