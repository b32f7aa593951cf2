use super::*;
use crate::auth::{CACHING_SHA2, CLEAR, ED25519, NATIVE, StoredPassword, native, sha2};
use crate::client_login::{Account, ClientAction, ClientLogin, ClientLoginSettings, Nonce};
use crate::login::AuthSwitch;
use crate::packet::{PacketWriter, split_packet};

fn settings(credential: Credential) -> ServerLoginSettings {
    ServerLoginSettings {
        user: "app".into(),
        credential,
        schema: Some("shop".into()),
        capabilities: Capabilities::DEPRECATE_EOF
            | Capabilities::SESSION_TRACK
            | Capabilities::CONNECT_ATTRS,
        collation: 45,
        attributes: vec![("program_name".into(), "highgate".into())],
        tls: TlsWish::Disabled,
        is_private: false,
        allows_clear: false,
        zstd_level: None,
        own_rsa_key: Some(b"OURS".to_vec()),
    }
}

fn clear(password: &str) -> Credential {
    Credential::Own(Proof::Clear(Secret::new(password)))
}

fn peer(plugin: &'static str, is_private: bool) -> ClientLogin {
    ClientLogin::new(peer_settings(plugin, is_private))
}

fn peer_settings(plugin: &'static str, is_private: bool) -> ClientLoginSettings {
    ClientLoginSettings {
        version: "11.4.2-MariaDB".into(),
        connection_id: 9,
        client_host: "10.0.0.9".into(),
        nonce: Nonce::from_random([77; 32]),
        capabilities: Capabilities::from_halves(0x81bf_f7ff, 0x1d),
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin,
        is_private,
        requires_tls: false,
        rsa_public_key: Some(b"PEM".to_vec()),
    }
}

/// Plays both machines against each other, with an RSA that changes nothing.
fn play(mut ours: ServerLogin, mut theirs: ClientLogin, stored: StoredPassword) -> ServerAction {
    let mut bytes = Vec::new();
    theirs.greeting(&mut bytes);
    loop {
        let mut action = ServerAction::Wait;
        let mut rest = bytes.as_slice();
        while let Some((header, payload, tail)) = split_packet(rest) {
            action = ours.packet(header.seq, payload);
            rest = tail;
        }
        let sent = match action {
            ServerAction::Send(sent) => sent,
            ServerAction::RsaEncrypt { bytes, .. } => match ours.encrypted(bytes.expose()) {
                ServerAction::Send(sent) => sent,
                other => return other,
            },
            other => return other,
        };
        let (header, payload, _) = split_packet(&sent).unwrap();
        let mut action = theirs.packet(header.seq, payload);
        bytes = loop {
            action = match action {
                ClientAction::LookUp { .. } => theirs.account(Some(Account {
                    passwords: vec![stored.clone()],
                    ..Account::default()
                })),
                ClientAction::Verify(check) => theirs.checked(check.run()),
                ClientAction::RsaDecrypt { bytes } => theirs.decrypted(Some(Secret::new(bytes))),
                ClientAction::Send(bytes) => break bytes,
                ClientAction::Done(login) => {
                    let mut out = login.before_ok.clone();
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

fn stored(plugin: &str, password: &str) -> StoredPassword {
    let bytes = password.as_bytes();
    match plugin {
        NATIVE => StoredPassword::Native(native::double_hash(bytes)),
        ED25519 => StoredPassword::Ed25519(crate::auth::ed25519::public_key(bytes)),
        _ => {
            let salt = [b'q'; 20];
            StoredPassword::Sha2 { rounds: 5000, salt, hash: sha2::crypt(bytes, &salt, 5000) }
        }
    }
}

#[test]
fn both_machines_agree_for_every_plugin_and_greeting() {
    for greeted in [NATIVE, CACHING_SHA2] {
        for account in [NATIVE, CACHING_SHA2, ED25519] {
            for is_private in [false, true] {
                let mut ours = settings(clear("pw"));
                ours.is_private = is_private;
                let action =
                    play(ServerLogin::new(ours), peer(greeted, is_private), stored(account, "pw"));
                let ServerAction::Done(opened) = action else { panic!("{greeted} {account}") };
                assert_eq!(opened.plugin, account);
                assert_eq!(opened.status, StatusFlags::AUTOCOMMIT);
                assert!(opened.capabilities.contains(Capabilities::DEPRECATE_EOF));
                let wrong = ServerLogin::new(settings(clear("no")));
                let action = play(wrong, peer(greeted, false), stored(account, "pw"));
                assert!(matches!(
                    action,
                    ServerAction::Failed(ServerLoginError::Refused { code: 1045, .. })
                ));
            }
        }
    }
}

#[test]
fn a_hashed_account_is_opened_by_its_first_hash() {
    let proof = Proof::Sha1(Secret::new(native::stage1(b"pw").to_vec()));
    let ours = ServerLogin::new(settings(Credential::Own(proof.clone())));
    let action = play(ours, peer(CACHING_SHA2, false), stored(NATIVE, "pw"));
    assert!(matches!(action, ServerAction::Done(_)));
    let ours = ServerLogin::new(settings(Credential::Own(proof)));
    let action = play(ours, peer(CACHING_SHA2, false), stored(ED25519, "pw"));
    assert!(matches!(action, ServerAction::Failed(ServerLoginError::ProofMissing { .. })));
}

/// MariaDB's `IDENTIFIED VIA ed25519 OR mysql_native_password`.
#[test]
fn an_account_of_two_plugins_is_opened_by_the_one_whose_proof_is_known() {
    let proof = Proof::Sha1(Secret::new(native::stage1(b"pw").to_vec()));
    let mut ours = ServerLogin::new(settings(Credential::Own(proof)));
    let mut bytes = Vec::new();
    peer(NATIVE, false).greeting(&mut bytes);
    let (header, greeting, _) = split_packet(&bytes).unwrap();
    assert!(matches!(ours.packet(header.seq, greeting), ServerAction::Send(_)));
    let mut switch = |seq: u8, plugin: &str| {
        let mut out = Vec::new();
        AuthSwitch { plugin, challenge: &[7; 32] }.encode(&mut out);
        match ours.packet(seq, &out) {
            ServerAction::Send(sent) => split_packet(&sent).unwrap().1.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(switch(2, ED25519), [0; 64]);
    assert_eq!(switch(4, NATIVE), native::answer(b"pw", &[7; 32]));
    // Where that one is refused as well, what is missing is said.
    let refused = b"\xff\x15\x04#28000Access denied";
    let ServerAction::Failed(error) = ours.packet(6, refused) else { panic!() };
    assert_eq!(error, ServerLoginError::ProofMissing { plugin: ED25519.to_owned() });
}

#[test]
fn a_server_does_not_get_the_password_where_others_can_listen() {
    let mut ours = ServerLogin::new(settings(clear("pw")));
    let mut bytes = Vec::new();
    peer(NATIVE, false).greeting(&mut bytes);
    ours.packet(0, &bytes[4..]);
    let mut switch = Vec::new();
    AuthSwitch { plugin: CLEAR, challenge: &[] }.encode(&mut switch);
    let action = ours.packet(2, &switch);
    assert!(matches!(action, ServerAction::Failed(ServerLoginError::ClearRefused { .. })));
}

#[test]
fn a_challenge_is_handed_to_the_client_and_its_answer_on() {
    let mut ours = ServerLogin::new(settings(Credential::Client { is_private: false }));
    let mut bytes = Vec::new();
    // A server of another kind may not care which plugin a client names.
    let settings = ClientLoginSettings { version: "5.1.0".into(), ..peer_settings(NATIVE, false) };
    ClientLogin::new(settings).greeting(&mut bytes);
    let ServerAction::AskClient { plugin, challenge } = ours.packet(0, &bytes[4..]) else {
        panic!("the client is asked")
    };
    assert_eq!((plugin.as_str(), challenge.len()), (NATIVE, 20));
    let ServerAction::Send(sent) = ours.client_answer(&[5; 20]) else { panic!("login") };
    let (_, payload, _) = split_packet(&sent).unwrap();
    let first = crate::login::LoginRequest::parse_first(payload).unwrap();
    let crate::login::FirstPacket::Login(login) = first else { panic!("login") };
    assert_eq!(login.answer, Secret::new([5; 20]));
    let action = ours.packet(2, &[0, 0, 0, 2, 0, 0, 0]);
    assert!(matches!(action, ServerAction::Done(_)));
}

#[test]
fn tls_that_is_required_and_not_offered_is_an_error() {
    let mut wish = settings(clear("pw"));
    wish.tls = TlsWish::Required;
    let mut bytes = Vec::new();
    let mut theirs = peer(NATIVE, false);
    theirs.greeting(&mut bytes);
    let mut greeting = Greeting::parse(&bytes[4..]).unwrap();
    greeting.capabilities.insert(Capabilities::SSL);
    let mut with_tls = Vec::new();
    greeting.encode(&mut with_tls);
    let mut ours = ServerLogin::new(wish.clone());
    assert!(matches!(ours.packet(0, &with_tls), ServerAction::StartTls(out) if out.len() == 36));
    assert!(matches!(ours.tls_started(), ServerAction::Send(_)));
    greeting.capabilities.remove(Capabilities::SSL);
    let mut without = Vec::new();
    greeting.encode(&mut without);
    let action = ServerLogin::new(wish).packet(0, &without);
    assert_eq!(action, ServerAction::Failed(ServerLoginError::TlsNotOffered));
}

#[test]
fn an_error_in_place_of_the_greeting_is_the_servers_refusal() {
    let action =
        ServerLogin::new(settings(clear("pw"))).packet(0, b"\xff\x10\x04Too many connections");
    assert!(matches!(
        action,
        ServerAction::Failed(ServerLoginError::Refused { code: 1040, sqlstate: None, .. })
    ));
}

/// A login that the client answers, up to the server's answer to its first packet.
fn passed_on(client_is_private: bool, server_is_private: bool) -> ServerLogin {
    let mut ours = settings(Credential::Client { is_private: client_is_private });
    ours.is_private = server_is_private;
    let mut machine = ServerLogin::new(ours);
    let mut bytes = Vec::new();
    peer(CACHING_SHA2, false).greeting(&mut bytes);
    // The server is to name the account's plugin: some clients follow one switch and no second.
    let ServerAction::Send(sent) = machine.packet(0, &bytes[4..]) else { panic!("login") };
    let (_, payload, _) = split_packet(&sent).unwrap();
    let first = crate::login::LoginRequest::parse_first(payload).unwrap();
    let crate::login::FirstPacket::Login(login) = first else { panic!("login") };
    assert_eq!((login.plugin.as_str(), login.answer), ("none", Secret::default()));
    machine
}

/// As [`passed_on`], up to the server's answer to what the client says by caching_sha2_password.
fn passed_sha2(client_is_private: bool, server_is_private: bool) -> ServerLogin {
    let mut machine = passed_on(client_is_private, server_is_private);
    let mut switch = Vec::new();
    AuthSwitch { plugin: CACHING_SHA2, challenge: &[7; 20] }.encode(&mut switch);
    assert!(matches!(machine.packet(2, &switch), ServerAction::AskClient { .. }));
    assert!(matches!(machine.client_answer(&[5; 32]), ServerAction::Send(_)));
    machine
}

#[test]
fn a_full_exchange_is_passed_on_between_equally_private_sides() {
    for is_private in [true, false] {
        let action = passed_sha2(is_private, is_private).packet(4, &[1, sha2::FULL_NEEDED]);
        assert_eq!(action, ServerAction::AskClientMore(vec![1, sha2::FULL_NEEDED]));
    }
    let action = passed_sha2(false, true).packet(4, &[1, sha2::FAST_OK]);
    assert_eq!(action, ServerAction::TellClientMore(vec![1, sha2::FAST_OK]));
}

#[test]
fn a_password_sealed_by_our_key_goes_on_to_a_server_that_nobody_overhears() {
    for knows_key in [false, true] {
        let mut machine = passed_sha2(false, true);
        let mut action = machine.packet(4, &[1, sha2::FULL_NEEDED]);
        assert_eq!(action, ServerAction::AskClientMore(vec![1, sha2::FULL_NEEDED]));
        if !knows_key {
            action = machine.client_answer(&[sha2::ASK_KEY]);
            assert_eq!(action, ServerAction::AskClientMore(b"\x01OURS".to_vec()));
        }
        action = machine.client_answer(&[9; 256]);
        assert_eq!(action, ServerAction::RsaDecrypt { bytes: vec![9; 256] });
        let masked = sha2::xor_nonce(b"pw\0", &[7; 20]);
        action = machine.decrypted(Some(&masked));
        assert_eq!(action, ServerAction::Send(b"\x03\0\0\x05pw\0".to_vec()));
    }
}

#[test]
fn a_password_that_is_not_sealed_by_our_key_goes_nowhere() {
    let error = ServerLoginError::UnequallyPrivate { plugin: CACHING_SHA2.into() };
    let refused = ServerAction::Failed(error);
    let mut machine = passed_sha2(false, true);
    machine.packet(4, &[1, sha2::FULL_NEEDED]);
    // In clear, as some clients tell it; or sealed by another's key.
    assert!(matches!(machine.client_answer(b"pw\0"), ServerAction::RsaDecrypt { .. }));
    assert_eq!(machine.decrypted(None), refused);
    for answer in [&[][..], &[0]] {
        let mut machine = passed_sha2(false, true);
        machine.packet(4, &[1, sha2::FULL_NEEDED]);
        assert_eq!(machine.client_answer(answer), refused);
    }
    // And nobody is asked where we have no key.
    let mut machine = passed_sha2(false, true);
    machine.settings.own_rsa_key = None;
    assert_eq!(machine.packet(4, &[1, sha2::FULL_NEEDED]), refused);
}

#[test]
fn a_password_told_in_private_goes_on_to_a_server_that_is_not_sealed_by_its_key() {
    let mut machine = passed_sha2(true, false);
    let action = machine.packet(4, &[1, sha2::FULL_NEEDED]);
    assert_eq!(action, ServerAction::AskClientMore(vec![1, sha2::FULL_NEEDED]));
    let action = machine.client_answer(b"pw\0");
    assert_eq!(action, ServerAction::Send(vec![1, 0, 0, 5, sha2::ASK_KEY]));
    let ServerAction::RsaEncrypt { public_key_pem, bytes } = machine.packet(6, b"\x01PEM") else {
        panic!("sealed")
    };
    assert_eq!(public_key_pem, b"PEM");
    assert_eq!(bytes, sha2::xor_nonce(b"pw\0", &[7; 20]));
    let ServerAction::Send(sent) = machine.encrypted(&[9; 256]) else { panic!("sent") };
    assert_eq!((sent[3], &sent[4..]), (7, &[9; 256][..]));
}

#[test]
fn a_client_is_not_made_to_tell_its_password_where_others_can_listen() {
    for plugin in [CLEAR, "dialog"] {
        for (client, server) in [(false, true), (true, false), (true, true)] {
            let mut switch = Vec::new();
            AuthSwitch { plugin, challenge: b"x" }.encode(&mut switch);
            let action = passed_on(client, server).packet(2, &switch);
            let is_asked = matches!(action, ServerAction::AskClient { .. });
            assert_eq!(is_asked, client && server, "{plugin}: {action:?}");
        }
    }
}

#[test]
fn what_an_unknown_plugin_says_is_passed_on_as_it_is() {
    let mut machine = passed_on(true, true);
    let action = machine.packet(2, b"\x04Password: ");
    assert_eq!(action, ServerAction::AskClientMore(b"\x04Password: ".to_vec()));
    assert!(matches!(machine.client_answer(b"pw\0"), ServerAction::Send(_)));
}
