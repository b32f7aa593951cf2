//! A name without an account can't be told from one with a wrong password: not by what is said, and
//! not by how much is computed. Counted instead of timed, so that the test is true every time.

use super::*;
use crate::auth::{
    CACHING_SHA2, CLEAR, ED25519, NATIVE, native, sha2,
    work::{self, Work},
};
use crate::login::AuthSwitch;
use crate::packet::split_packet;

const PLUGINS: [&str; 4] = [NATIVE, CACHING_SHA2, ED25519, CLEAR];

fn settings(plugin: &'static str, is_private: bool) -> ClientLoginSettings {
    ClientLoginSettings {
        version: "8.0.36-highgate".into(),
        connection_id: 1,
        client_host: "10.0.0.9".into(),
        nonce: Nonce::from_random([200; 32]),
        capabilities: Capabilities::from_halves(0x81bf_ffff, 0),
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin,
        is_private,
        requires_tls: false,
        rsa_public_key: Some(b"PEM".to_vec()),
    }
}

/// Every kind of account, with a password that is not `wrong`.
fn accounts() -> Vec<Vec<StoredPassword>> {
    let clear = || StoredPassword::clear("a right password");
    let native = || StoredPassword::Native(native::double_hash(b"a right password"));
    let ed25519 = || StoredPassword::Ed25519(ed25519::public_key(b"a right password"));
    let salt = [b'x'; 20];
    let sha2 = |rounds| StoredPassword::Sha2 {
        rounds,
        salt,
        hash: sha2::crypt(b"a right password", &salt, rounds),
    };
    vec![
        vec![clear()],
        vec![native()],
        vec![ed25519()],
        vec![sha2(50)],
        vec![sha2(70)],
        vec![clear(), clear()],
        vec![native(), native()],
        vec![sha2(50), sha2(50)],
        vec![native(), sha2(50)],
        vec![ed25519(), clear()],
    ]
}

/// What a client that guesses says next: an answer of the plugin's length that is wrong.
fn guess(plugin: &str) -> Vec<u8> {
    match plugin {
        NATIVE => vec![7; 20],
        CACHING_SHA2 => vec![7; 32],
        ED25519 => vec![7; 64],
        _ => b"wrong\0".to_vec(),
    }
}

/// The whole dialogue of such a client: what it is sent, and what was computed for it.
fn dialogue(
    settings: ClientLoginSettings,
    plugin: &str,
    account: Option<Account>,
) -> (Vec<ClientAction>, Vec<Work>) {
    let mut machine = ClientLogin::new(settings.clone());
    machine.greeting(&mut Vec::new());
    let request = LoginRequest {
        capabilities: must_have() | Capabilities::PLUGIN_AUTH_LENENC,
        max_packet: 0,
        collation: 45,
        user: "app".into(),
        answer: Secret::new(guess(plugin)),
        schema: None,
        plugin: plugin.into(),
        attributes: Vec::new(),
        zstd_level: None,
    };
    let mut first = Vec::new();
    request.encode(&mut first);
    machine.packet(1, &first);
    let _ = work::taken();
    let mut said = Vec::new();
    let mut action = machine.account(account);
    loop {
        action = match action {
            ClientAction::Verify(check) => machine.checked(check.run()),
            ClientAction::RsaDecrypt { .. } => machine.decrypted(None),
            ClientAction::Send(ref packets) => {
                let (header, payload, _) = split_packet(packets).unwrap();
                let answer = match AuthSwitch::parse(payload) {
                    Ok(switch) => guess(switch.plugin),
                    Err(_) if payload.get(1) == Some(&sha2::FULL_NEEDED) => {
                        if settings.is_private {
                            b"wrong\0".to_vec()
                        } else {
                            vec![sha2::ASK_KEY]
                        }
                    }
                    Err(_) => vec![0; 256],
                };
                let seq = header.seq.wrapping_add(1);
                said.push(action);
                machine.packet(seq, &answer)
            }
            last => {
                said.push(last);
                return (said, work::taken());
            }
        };
    }
}

#[test]
fn an_unknown_user_is_told_and_costs_what_a_wrong_password_does() {
    let key = ed25519::public_key(b"nobody knows it");
    for passwords in accounts() {
        for wants_password in [false, true] {
            let shape = Shape::of(&passwords, wants_password);
            let decoys: Decoys = [shape].into_iter().collect();
            for (plugin, greeted, is_private) in PLUGINS.into_iter().flat_map(|plugin| {
                [(NATIVE, false), (NATIVE, true), (CACHING_SHA2, false), (CACHING_SHA2, true)]
                    .map(|(greeted, is_private)| (plugin, greeted, is_private))
            }) {
                let known =
                    Account { passwords: passwords.clone(), wants_password, ..Account::default() };
                let unknown = decoys.account("somebody", &[9; 32], &key);
                assert!(unknown.is_some());
                let told = |account| dialogue(settings(greeted, is_private), plugin, account);
                let (one, other) = (told(Some(known)), told(unknown));
                let case =
                    format!("{passwords:?} {wants_password} {plugin} {greeted} {is_private}");
                assert_eq!(one.0, other.0, "said: {case}");
                assert_eq!(one.1, other.1, "computed: {case}");
                assert!(matches!(one.0.last(), Some(ClientAction::Refused { .. })), "{case}");
            }
        }
    }
}

#[test]
fn the_count_sees_what_a_slow_check_costs() {
    let stored = StoredPassword::Sha2 { rounds: 6000, salt: [b'x'; 20], hash: [b'.'; 43] };
    let account = Account { passwords: vec![stored], ..Account::default() };
    let (_, work) = dialogue(settings(CACHING_SHA2, true), CACHING_SHA2, Some(account));
    assert_eq!(work, [Work::ShaCrypt(6000)]);
}
