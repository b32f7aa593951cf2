//! What unknown users are verified against, so that nothing tells them from known ones.
//!
//! A name without an account gets the shape of some real account, the same one each time: the same
//! plugin is asked for, the same hash computed, the same words said. Which one follows from a
//! secret of the process, so that nobody can work out which names are drawn like that.

use std::collections::BTreeMap;

use super::Account;
use crate::auth::{StoredPassword, ed25519, sha2};

/// What of an account an attacker could tell from the dialogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    forms: Vec<Form>,
    wants_password: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Clear,
    Ed25519,
    Native,
    Sha2 { rounds: u32 },
}

impl Shape {
    /// The shape of an account.
    #[must_use]
    pub fn of(passwords: &[StoredPassword], wants_password: bool) -> Self {
        let form = |stored: &StoredPassword| match stored {
            StoredPassword::Clear(_) => Form::Clear,
            StoredPassword::Ed25519(_) => Form::Ed25519,
            StoredPassword::Native(_) => Form::Native,
            StoredPassword::Sha2 { rounds, .. } => Form::Sha2 { rounds: *rounds },
        };
        Self { forms: passwords.iter().map(form).collect(), wants_password }
    }
}

/// How many accounts have each shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoys {
    shapes: BTreeMap<Shape, u32>,
    total: u32,
}

impl FromIterator<Shape> for Decoys {
    fn from_iter<I: IntoIterator<Item = Shape>>(shapes: I) -> Self {
        let mut decoys = Self::default();
        for shape in shapes.into_iter().filter(|shape| !shape.forms.is_empty()) {
            *decoys.shapes.entry(shape).or_default() += 1;
            decoys.total = decoys.total.saturating_add(1);
        }
        decoys
    }
}

impl Decoys {
    /// The decoy for that name; nothing where there is no account to resemble.
    ///
    /// `secret` is 32 random bytes of the process, `key` the public key of a password that follows
    /// from them (made once: it costs as much as a verification).
    #[must_use]
    pub fn account(
        &self,
        user: &str,
        secret: &[u8; 32],
        key: &[u8; ed25519::KEY_LEN],
    ) -> Option<Account> {
        let drawn = sha2::stage1(&[&secret[..], user.as_bytes()].concat());
        let [a, b, c, d, ..] = *drawn;
        let mut at = u32::from_le_bytes([a, b, c, d]).checked_rem(self.total)?;
        let shape = self.shapes.iter().find_map(|(shape, count)| match at.checked_sub(*count) {
            Some(less) => {
                at = less;
                None
            }
            None => Some(shape),
        })?;
        let passwords = shape.forms.iter().map(|form| unfitting(*form, &drawn, key)).collect();
        let wants_password = shape.wants_password;
        Some(Account { passwords, wants_password, is_decoy: true, ..Account::default() })
    }
}

/// A stored form that nobody knows the password of.
fn unfitting(form: Form, drawn: &[u8; 32], key: &[u8; ed25519::KEY_LEN]) -> StoredPassword {
    let short: [u8; 20] = drawn.first_chunk().copied().unwrap_or_default();
    match form {
        Form::Clear => StoredPassword::Clear(crate::auth::Secret::new(drawn.to_vec())),
        Form::Ed25519 => StoredPassword::Ed25519(*key),
        Form::Native => StoredPassword::Native(short),
        Form::Sha2 { rounds } => {
            StoredPassword::Sha2 { rounds, salt: short, hash: [b'.'; sha2::HASH_LEN] }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn decoys_have_the_shapes_of_real_accounts_and_stay_the_same() {
        let native = [StoredPassword::Native([1; 20])];
        let keyed = [StoredPassword::Ed25519([1; 32])];
        let decoys: Decoys = (0..30)
            .map(|at| Shape::of(if at % 3 == 0 { &keyed } else { &native }, at % 3 == 0))
            .collect();
        let seen: Vec<Account> = (0..300)
            .map(|at| decoys.account(&format!("user{at}"), &[9; 32], &KEY).unwrap())
            .collect();
        let keyed = seen.iter().filter(|account| account.wants_password).count();
        assert!((60..140).contains(&keyed), "{keyed} of 300, a third expected");
        let again = decoys.account("user1", &[9; 32], &KEY).unwrap();
        assert_eq!(again.passwords, seen[1].passwords);
        assert!(seen.iter().all(|account| account.is_decoy));
    }

    #[test]
    fn without_an_account_there_is_nothing_to_resemble() {
        assert!(Decoys::default().account("app", &[9; 32], &KEY).is_none());
        let empty: Decoys = [Shape::of(&[], false)].into_iter().collect();
        assert!(empty.account("app", &[9; 32], &KEY).is_none());
    }
}
