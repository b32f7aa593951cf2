//! Our answers to the challenges of each plugin.

use super::{ServerLogin, ServerLoginError};
use crate::auth::{
    CACHING_SHA2, CLEAR, ED25519, NATIVE, Proof, Secret, ed25519, native, sha2, with_nul,
};

impl ServerLogin {
    /// The answer of `plugin` to `challenge` by `proof`.
    pub(super) fn own_answer(
        &self,
        proof: &Proof,
        plugin: &str,
        challenge: &[u8],
    ) -> Result<Secret, ServerLoginError> {
        match (plugin, proof) {
            (CLEAR, Proof::Clear(password)) => {
                if self.settings.allows_clear && self.is_private() {
                    Ok(with_nul(password.expose()))
                } else {
                    Err(ServerLoginError::ClearRefused { plugin: plugin.to_owned() })
                }
            }
            (_, Proof::Clear(password)) if password.expose().is_empty() => Ok(Secret::default()),
            (NATIVE, Proof::Clear(password)) => {
                Ok(Secret::new(native::answer(password.expose(), challenge)))
            }
            (NATIVE, Proof::Sha1(stage1)) => answer_stage1(stage1, plugin, |stage1| {
                native::answer_stage1(stage1, challenge).to_vec()
            }),
            (CACHING_SHA2, Proof::Clear(password)) => {
                Ok(Secret::new(sha2::answer(password.expose(), challenge)))
            }
            (CACHING_SHA2, Proof::Sha256(stage1)) => answer_stage1(stage1, plugin, |stage1| {
                sha2::answer_stage1(stage1, challenge).to_vec()
            }),
            (ED25519, Proof::Clear(password)) => {
                Ok(Secret::new(ed25519::answer(password.expose(), challenge)))
            }
            (NATIVE | CACHING_SHA2 | ED25519 | CLEAR, _) => {
                Err(ServerLoginError::ProofMissing { plugin: plugin.to_owned() })
            }
            _ => Err(ServerLoginError::UnknownPlugin { plugin: plugin.to_owned() }),
        }
    }

    /// The password, for a full exchange of caching_sha2.
    pub(super) fn own_password(&self, proof: &Proof) -> Result<Secret, ServerLoginError> {
        match proof {
            Proof::Clear(password) => Ok(with_nul(password.expose())),
            Proof::None | Proof::Sha1(_) | Proof::Sha256(_) => {
                Err(ServerLoginError::ProofMissing { plugin: CACHING_SHA2.to_owned() })
            }
        }
    }
}

fn answer_stage1<const N: usize>(
    stage1: &Secret,
    plugin: &str,
    answer: impl FnOnce(&[u8; N]) -> Vec<u8>,
) -> Result<Secret, ServerLoginError> {
    let stage1 = stage1
        .expose()
        .try_into()
        .map_err(|_| ServerLoginError::ProofMissing { plugin: plugin.to_owned() })?;
    Ok(Secret::new(answer(stage1)))
}
