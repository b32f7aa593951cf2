use super::*;
use crate::auth::{CACHING_SHA2, CLEAR, ED25519, NATIVE, native, sha2, with_nul};
use crate::login::AuthSwitch;
use crate::packet::split_packet;

fn settings(plugin: &'static str) -> ClientLoginSettings {
    ClientLoginSettings {
        version: "8.0.36-highgate".into(),
        connection_id: 1,
        client_host: "10.0.0.9".into(),
        nonce: Nonce::from_random([200; 32]),
        capabilities: Capabilities::from_halves(0x81bf_ffff, 0),
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin,
        is_private: false,
        requires_tls: false,
        rsa_public_key: Some(b"PEM".to_vec()),
    }
}

fn request(plugin: &str, answer: Vec<u8>) -> Vec<u8> {
    let request = LoginRequest {
        capabilities: must_have() | Capabilities::PLUGIN_AUTH_LENENC | Capabilities::DEPRECATE_EOF,
        max_packet: 0,
        collation: 45,
        user: "app".into(),
        answer: Secret::new(answer),
        schema: None,
        plugin: plugin.into(),
        attributes: Vec::new(),
        zstd_level: None,
    };
    let mut out = Vec::new();
    request.encode(&mut out);
    out
}

fn greeted(settings: ClientLoginSettings) -> (ClientLogin, [u8; 20]) {
    let mut machine = ClientLogin::new(settings);
    let mut out = Vec::new();
    machine.greeting(&mut out);
    let (_, payload, _) = split_packet(&out).unwrap();
    (machine, Greeting::parse(payload).unwrap().nonce)
}

fn account(stored: StoredPassword) -> Option<Account> {
    Some(Account { passwords: vec![stored], ..Account::default() })
}

fn sha2_form(password: &str) -> StoredPassword {
    let salt = [b'x'; 20];
    StoredPassword::Sha2 { rounds: 5000, salt, hash: sha2::crypt(password.as_bytes(), &salt, 5000) }
}

/// What one more packet, or the check that it asks for, leads to.
fn settle(machine: &mut ClientLogin, action: ClientAction) -> ClientAction {
    match action {
        ClientAction::Verify(check) => machine.checked(check.run()),
        other => other,
    }
}

fn is_denied(action: &ClientAction) -> bool {
    matches!(action, ClientAction::Refused { answer, .. } if answer.code == 1045)
}

#[test]
fn a_hashed_native_account_gives_a_proof_for_other_servers() {
    let (mut machine, nonce) = greeted(settings(NATIVE));
    let action = machine.packet(1, &request(NATIVE, native::answer(b"pw", &nonce)));
    assert!(matches!(action, ClientAction::LookUp { .. }));
    let stored = StoredPassword::Native(native::double_hash(b"pw"));
    let ClientAction::Done(login) = machine.account(account(stored)) else { panic!("done") };
    assert_eq!(login.proof, Proof::Sha1(Secret::new(native::stage1(b"pw").to_vec())));
    assert_eq!((login.seq, login.before_ok.len()), (2, 0));
    assert!(login.capabilities.contains(Capabilities::DEPRECATE_EOF));
}

#[test]
fn unknown_users_see_what_wrong_passwords_see() {
    for plugin in [NATIVE, CACHING_SHA2] {
        let known = if plugin == NATIVE {
            StoredPassword::Native(native::double_hash(b"pw"))
        } else {
            sha2_form("pw")
        };
        let mut seen = Vec::new();
        for found in [account(known), None] {
            let (mut machine, _) = greeted(settings(plugin));
            let answer = vec![7; if plugin == NATIVE { 20 } else { 32 }];
            machine.packet(1, &request(plugin, answer));
            let mut trail = vec![machine.account(found)];
            if plugin == CACHING_SHA2 {
                trail.push(machine.packet(3, &[sha2::ASK_KEY]));
                trail.push(machine.packet(5, &[0; 256]));
                let ClientAction::Verify(check) = machine.decrypted(None) else { panic!("check") };
                trail.push(machine.checked(check.run()));
            }
            seen.push(trail);
        }
        assert_eq!(seen[0], seen[1]);
        assert!(is_denied(seen[0].last().unwrap()));
    }
}

#[test]
fn an_ed25519_account_is_switched_to_its_plugin() {
    let (mut machine, _) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, vec![1; 20]));
    let stored = StoredPassword::Ed25519(ed25519::public_key(b"pw"));
    let ClientAction::Send(bytes) = machine.account(account(stored)) else { panic!("switch") };
    let (header, payload, _) = split_packet(&bytes).unwrap();
    let switch = AuthSwitch::parse(payload).unwrap();
    assert_eq!((header.seq, switch.plugin, switch.challenge.len()), (2, ED25519, 32));
    let answer = ed25519::answer(b"pw", switch.challenge);
    let ClientAction::Done(login) = machine.packet(3, &answer) else { panic!("done") };
    assert_eq!((login.proof, login.seq), (Proof::None, 4));
}

#[test]
fn a_dollar_form_needs_one_full_exchange_and_then_none() {
    let (mut machine, nonce) = greeted(settings(CACHING_SHA2));
    machine.packet(1, &request(CACHING_SHA2, sha2::answer(b"pw", &nonce)));
    let action = machine.account(account(sha2_form("pw")));
    assert_eq!(action, ClientAction::Send(vec![2, 0, 0, 2, 1, 4]));
    let action = machine.packet(3, &[sha2::ASK_KEY]);
    assert_eq!(action, ClientAction::Send(b"\x04\0\0\x04\x01PEM".to_vec()));
    let masked = sha2::xor_nonce(with_nul(b"pw").expose(), &nonce);
    assert!(matches!(machine.packet(5, &[1; 256]), ClientAction::RsaDecrypt { .. }));
    let action = machine.decrypted(Some(masked));
    let ClientAction::Done(login) = settle(&mut machine, action) else { panic!("done") };
    assert_eq!(login.proof, Proof::Clear(Secret::new("pw")));
    assert_eq!((login.seq, login.before_ok.len()), (6, 0));

    let (mut machine, nonce) = greeted(settings(CACHING_SHA2));
    machine.packet(1, &request(CACHING_SHA2, sha2::answer(b"pw", &nonce)));
    let found = Account {
        passwords: vec![sha2_form("pw")],
        cached_sha2: login.learned_sha2,
        ..Account::default()
    };
    let ClientAction::Done(login) = machine.account(Some(found)) else { panic!("done") };
    assert_eq!((login.before_ok, login.seq), (vec![2, 0, 0, 2, 1, 3], 3));
}

#[test]
fn either_of_two_passwords_is_right_while_one_is_rotated() {
    for password in [b"new", b"old"] {
        let (mut machine, nonce) = greeted(settings(NATIVE));
        machine.packet(1, &request(NATIVE, native::answer(password, &nonce)));
        let passwords = vec![StoredPassword::clear("new"), StoredPassword::clear("old")];
        let action = machine.account(Some(Account { passwords, ..Account::default() }));
        assert!(matches!(action, ClientAction::Done(_)));
    }
}

#[test]
fn a_clear_password_is_not_taken_where_others_can_listen() {
    let (mut machine, _) = greeted(settings(NATIVE));
    machine.packet(1, &request(CLEAR, b"pw\0".to_vec()));
    let action = machine.account(account(StoredPassword::clear("pw")));
    assert!(matches!(action, ClientAction::Send(_)), "a switch to another plugin");

    let mut private = settings(NATIVE);
    private.is_private = true;
    let (mut machine, _) = greeted(private);
    machine.packet(1, &request(CLEAR, b"pw\0".to_vec()));
    let action = machine.account(account(StoredPassword::clear("pw")));
    assert!(matches!(settle(&mut machine, action), ClientAction::Done(_)));
}

#[test]
fn an_empty_answer_is_right_for_an_empty_password_only() {
    for (password, is_right) in [("", true), ("pw", false)] {
        let (mut machine, _) = greeted(settings(NATIVE));
        machine.packet(1, &request(NATIVE, Vec::new()));
        let action = machine.account(account(StoredPassword::clear(password)));
        assert_eq!(matches!(action, ClientAction::Done(_)), is_right);
    }
}

#[test]
fn packets_out_of_order_are_refused() {
    let (mut machine, _) = greeted(settings(NATIVE));
    let action = machine.packet(2, &request(NATIVE, Vec::new()));
    assert!(matches!(action, ClientAction::Refused { answer, .. } if answer.code == 1156));
}

fn ed25519_form(password: &[u8]) -> StoredPassword {
    StoredPassword::Ed25519(ed25519::public_key(password))
}

#[test]
fn where_servers_need_the_password_a_keyed_account_gives_it_once() {
    let (mut machine, nonce) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, vec![1; 20]));
    let found = Account {
        passwords: vec![ed25519_form(b"pw")],
        wants_password: true,
        ..Account::default()
    };
    let ClientAction::Send(bytes) = machine.account(Some(found.clone())) else { panic!("switch") };
    let (_, payload, _) = split_packet(&bytes).unwrap();
    assert_eq!(AuthSwitch::parse(payload).unwrap().plugin, CACHING_SHA2);
    let action = machine.packet(3, &sha2::answer(b"pw", &nonce));
    assert_eq!(action, ClientAction::Send(vec![2, 0, 0, 4, 1, 4]));
    assert!(matches!(machine.packet(5, &[1; 256]), ClientAction::RsaDecrypt { .. }));
    let masked = sha2::xor_nonce(with_nul(b"pw").expose(), &nonce);
    let action = machine.decrypted(Some(masked));
    let ClientAction::Done(login) = settle(&mut machine, action) else { panic!("done") };
    assert_eq!(login.proof, Proof::Clear(Secret::new("pw")));

    // From then on the fast path verifies.
    let (mut machine, nonce) = greeted(settings(NATIVE));
    machine.packet(1, &request(CACHING_SHA2, sha2::answer(b"pw", &nonce)));
    let cached = Account { cached_sha2: login.learned_sha2, ..found };
    assert!(matches!(machine.account(Some(cached)), ClientAction::Done(_)));
}

#[test]
fn a_wrong_answer_is_followed_by_the_accounts_next_method() {
    let two = vec![StoredPassword::Native(native::double_hash(b"old")), ed25519_form(b"new")];
    let (mut machine, nonce) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, native::answer(b"new", &nonce)));
    let found = Account { passwords: two, ..Account::default() };
    let ClientAction::Send(bytes) = machine.account(Some(found)) else { panic!("switch") };
    let (_, payload, _) = split_packet(&bytes).unwrap();
    let switch = AuthSwitch::parse(payload).unwrap();
    assert_eq!(switch.plugin, ED25519);
    let answer = ed25519::answer(b"new", switch.challenge);
    assert!(matches!(machine.packet(3, &answer), ClientAction::Done(_)));
}

#[test]
fn what_bars_an_account_is_told_to_who_has_its_password_alone() {
    for (barred, code) in [
        (Barred::Locked(ServerFlavor::MariaDb), 4151),
        (Barred::Locked(ServerFlavor::MySql), 3118),
        (Barred::PasswordExpired, 1862),
        (Barred::Denied, 1045),
    ] {
        for (password, expected) in [(&b"pw"[..], code), (b"no", 1045)] {
            let (mut machine, nonce) = greeted(settings(NATIVE));
            machine.packet(1, &request(NATIVE, native::answer(password, &nonce)));
            let passwords = vec![StoredPassword::clear("pw")];
            let barred = Some(barred.clone());
            let found = Account { passwords, barred, ..Account::default() };
            let ClientAction::Refused { answer, .. } = machine.account(Some(found)) else {
                panic!("refused")
            };
            assert_eq!(answer.code, expected);
        }
    }
}

#[test]
fn a_client_that_knows_not_the_plugin_of_the_greeting_is_asked_by_its_own() {
    let nothing = |stored: StoredPassword| {
        let (mut machine, nonce) = greeted(settings(NATIVE));
        machine.packet(1, &request(CACHING_SHA2, Vec::new()));
        let ClientAction::Send(bytes) = machine.account(account(stored)) else { panic!("switch") };
        let (_, payload, _) = split_packet(&bytes).unwrap();
        (machine, nonce, AuthSwitch::parse(payload).unwrap().plugin.to_owned())
    };
    for stored in [StoredPassword::clear("pw"), sha2_form("pw"), StoredPassword::clear("")] {
        assert_eq!(nothing(stored).2, CACHING_SHA2);
    }
    let (mut machine, nonce, _) = nothing(StoredPassword::clear("pw"));
    let action = machine.packet(3, &sha2::answer(b"pw", &nonce));
    assert!(matches!(action, ClientAction::Done(_)));
    let (mut machine, _, _) = nothing(StoredPassword::clear(""));
    assert!(matches!(machine.packet(3, &[0]), ClientAction::Done(_)));
    let (mut machine, _, _) = nothing(StoredPassword::clear("pw"));
    assert!(is_denied(&machine.packet(3, &[0])));
    // Nobody but its own plugin can verify it.
    let native = StoredPassword::Native(native::double_hash(b"pw"));
    assert_eq!(nothing(native).2, NATIVE);
}

#[test]
fn an_account_that_requires_tls_is_no_different_for_who_does_not_know_it() {
    let stored = StoredPassword::Native(native::double_hash(b"pw"));
    let mut seen = Vec::new();
    for requires_tls in [true, false] {
        let (mut machine, _) = greeted(settings(NATIVE));
        machine.packet(1, &request(CACHING_SHA2, vec![7; 32]));
        let found = Account { passwords: vec![stored.clone()], requires_tls, ..Account::default() };
        seen.push((machine.account(Some(found)), machine.packet(3, &[7; 20])));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn no_answer_satisfies_a_decoy() {
    let (mut machine, nonce) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, native::answer(b"pw", &nonce)));
    let passwords = vec![StoredPassword::clear("pw")];
    let found = Account { passwords, is_decoy: true, ..Account::default() };
    assert!(is_denied(&machine.account(Some(found))));
}

#[test]
fn a_login_that_is_passed_on_keeps_its_sequence() {
    let (mut machine, _) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, vec![1; 20]));
    let Ok((login, mut relay)) = machine.pass_through() else { panic!("passed on") };
    assert_eq!((login.user.as_str(), login.proof.clone()), ("app", Proof::None));
    assert!(!relay.has_asked());
    let asked = relay.switch(NATIVE, &[9; 20]);
    assert_eq!(asked[3], 2);
    assert_eq!(relay.answered(3), Ok(()));
    assert_eq!(relay.answered(3), Err(NotPassed));
    assert_eq!((relay.step(&[1, 3])[3], relay.seq()), (4, 5));
}

#[test]
fn a_collation_is_one_that_statements_can_be_read_in() {
    let login = |collation: u8| {
        let (mut machine, _) = greeted(ClientLoginSettings { collation: 8, ..settings(NATIVE) });
        let mut payload = request(NATIVE, vec![1; 20]);
        payload[8] = collation;
        let action = machine.packet(1, &payload);
        (machine.collation, action)
    };
    assert!(matches!(login(33), (33, ClientAction::LookUp { .. })));
    // None, or one that nobody knows: what the servers' default is.
    for id in [0, 17] {
        assert!(matches!(login(id), (8, ClientAction::LookUp { .. })), "{id}");
    }
    for (id, name) in [(35, "ucs2"), (54, "utf16"), (56, "utf16le"), (60, "utf32")] {
        let (_, ClientAction::Refused { answer, .. }) = login(id) else { panic!("refused: {id}") };
        assert_eq!(answer.code, 1231);
        assert!(answer.text.contains(name), "{}", answer.text);
    }
}

/// It was refused at once, where servers ask for the password.
#[test]
fn a_change_of_user_without_an_answer_is_asked_for_one() {
    let (mut machine, nonce) = greeted(settings(NATIVE));
    machine.packet(1, &request(NATIVE, native::answer(b"pw", &nonce)));
    let native = || StoredPassword::Native(native::double_hash(b"pw"));
    let ClientAction::Done(before) = machine.account(account(native())) else { panic!("done") };
    let body = [&b"app\0\0\0"[..], &[45, 0], NATIVE.as_bytes(), b"\0"].concat();
    for (password, is_right) in [(&b"pw"[..], true), (b"other", false)] {
        let (mut machine, action) = ClientLogin::change_user(settings(NATIVE), &before, &body);
        assert!(matches!(action, ClientAction::LookUp { .. }), "{action:?}");
        let asked = machine.account(account(native()));
        let ClientAction::Send(packet) = asked else { panic!("{asked:?}") };
        let (_, payload, _) = split_packet(&packet).unwrap();
        let switch = AuthSwitch::parse(payload).unwrap();
        assert_eq!(switch.plugin, NATIVE);
        let answer = native::answer(password, &nonce);
        let done = machine.packet(2, &answer);
        assert_eq!(matches!(done, ClientAction::Done(_)), is_right, "{done:?}");
        assert_eq!(is_denied(&done), !is_right);
    }
}
