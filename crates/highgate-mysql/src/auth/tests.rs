use super::*;

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";

#[test]
fn sha256_crypt_follows_its_published_vector() {
    // openssl passwd -5 -salt saltstring "Hello world!"
    let hash = sha2::crypt(b"Hello world!", b"saltstring", 5000);
    assert_eq!(&hash, b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
}

#[test]
fn a_native_answer_reveals_what_opens_every_server() {
    let answer = native::answer(b"secret", NONCE);
    let stage1 = native::verify(&answer, NONCE, &native::double_hash(b"secret")).unwrap();
    assert_eq!(*stage1, *native::stage1(b"secret"));
    let other = b"another challenge 20";
    assert_eq!(native::answer_stage1(&stage1, other).to_vec(), native::answer(b"secret", other));
    assert!(native::verify(&answer, other, &native::double_hash(b"secret")).is_none());
    assert!(native::verify(&answer[..19], NONCE, &native::double_hash(b"secret")).is_none());
}

#[test]
fn the_stored_native_form_is_that_of_the_server() {
    // SELECT PASSWORD('secret')
    let stored = StoredPassword::parse("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").unwrap();
    assert_eq!(stored, StoredPassword::Native(native::double_hash(b"secret")));
    assert_eq!(stored.to_hash_text().unwrap(), "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7");
}

#[test]
fn the_stored_ed25519_form_is_that_of_the_server() {
    // MariaDB documentation: ed25519_password('secret')
    let key = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";
    let stored = StoredPassword::parse(key).unwrap();
    assert_eq!(stored, StoredPassword::Ed25519(ed25519::public_key(b"secret")));
    assert_eq!(StoredPassword::parse(&format!("ed25519:{key}")).unwrap(), stored);
    let answer = ed25519::answer(b"secret", &[7; 32]);
    assert_eq!(stored.verify_answer(ED25519, &answer, &[7; 32]), Some(Proof::None));
    assert_eq!(stored.verify_answer(ED25519, &answer, &[8; 32]), None);
    assert!(stored.verify_password(b"secret") && !stored.verify_password(b"Secret"));
}

#[test]
fn a_fast_answer_is_verified_by_the_double_hash() {
    let answer = sha2::answer(b"secret", NONCE);
    let stage1 = sha2::verify(&answer, NONCE, &sha2::double_hash(b"secret")).unwrap();
    assert_eq!(sha2::answer_stage1(&stage1, b"x").to_vec(), sha2::answer(b"secret", b"x"));
    assert!(sha2::verify(&answer, b"other", &sha2::double_hash(b"secret")).is_none());
}

#[test]
fn the_dollar_form_verifies_a_password_and_no_fast_answer() {
    let salt = [b's'; sha2::SALT_LEN];
    let mut text = b"$A$005$".to_vec();
    text.extend_from_slice(&salt);
    text.extend_from_slice(&sha2::crypt(b"secret", &salt, 5000));
    let text = String::from_utf8(text).unwrap();
    let stored = StoredPassword::parse(&text).unwrap();
    assert!(stored.verify_password(b"secret") && !stored.verify_password(b""));
    assert_eq!(stored.verify_answer(CACHING_SHA2, &sha2::answer(b"secret", NONCE), NONCE), None);
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(StoredPassword::parse(&format!("0x{hex}")).unwrap(), stored);
    assert_eq!(StoredPassword::parse("$A$005$short"), Err(ParsePasswordError::Sha2));
}

#[test]
fn thousands_of_rounds_in_the_dollar_form_are_hexadecimal() {
    let rounds = |digits: &str| {
        let text = format!("$A${digits}${}{}", "s".repeat(sha2::SALT_LEN), "h".repeat(43));
        match StoredPassword::parse(&text) {
            Ok(StoredPassword::Sha2 { rounds, .. }) => Some(rounds),
            _ => None,
        }
    };
    assert_eq!(rounds("005"), Some(5_000));
    assert_eq!(rounds("00A"), Some(10_000));
    assert_eq!(rounds("010"), Some(16_000));
    assert_eq!(rounds("FFF"), Some(4_095_000));
    assert_eq!([rounds("004"), rounds("00G"), rounds("+05")], [None; 3]);
}

#[test]
fn the_mask_before_rsa_comes_off() {
    let masked = sha2::xor_nonce(with_nul(b"a password longer than twenty bytes").expose(), NONCE);
    let back = sha2::xor_nonce(masked.expose(), NONCE);
    assert_eq!(without_nul(back.expose()), b"a password longer than twenty bytes");
}

#[test]
fn other_texts_are_clear_passwords_and_never_shown() {
    for text in ["", "secret", "*notahash", "0xabc"] {
        let stored = StoredPassword::parse(text).unwrap();
        assert_eq!(stored, StoredPassword::clear(text));
        assert_eq!(format!("{stored:?}"), "StoredPassword::Clear(..)");
    }
    assert_eq!(format!("{:?}", Secret::new("secret")), "Secret(..)");
}

/// The work grows with the square of the length, and anybody may ask for it.
#[test]
fn a_password_longer_than_servers_take_is_wrong_and_costs_as_the_longest_that_they_take() {
    let longest = vec![b'x'; sha2::LONGEST_PASSWORD];
    let salt = *b"01234567890123456789";
    let hash = sha2::crypt(&longest, &salt, 1000);
    let stored = StoredPassword::Sha2 { rounds: 1000, salt, hash };
    assert!(stored.verify_password(&longest));
    assert!(!stored.verify_password(&[b'x'; sha2::LONGEST_PASSWORD + 1]));
    // By the square of its length this one would take minutes.
    assert!(!stored.verify_password(&vec![b'x'; 1 << 20]));
}
