//! The only place that draws from the system's entropy.

use rand::{Rng, SeedableRng, TryRng, rngs::SysRng};

/// Fills `bytes` from the system's generator.
///
/// # Errors
/// When the system has no generator; nothing secret may be made then.
pub fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    SysRng.try_fill_bytes(bytes).map_err(std::io::Error::other)
}

/// A challenge for a login: 20 bytes, none of them NUL or `$`, as old clients demand.
///
/// # Errors
/// As [`fill`].
pub fn challenge() -> std::io::Result<[u8; 20]> {
    let mut bytes = [0; 20];
    fill(&mut bytes)?;
    for byte in &mut bytes {
        *byte &= 0x7f;
        if *byte == 0 || *byte == b'$' {
            *byte += 1;
        }
    }
    Ok(bytes)
}

/// A fast generator for balancing; seeded from the system, not for secrets.
#[derive(Debug)]
pub struct FastRng(rand::rngs::StdRng);

impl FastRng {
    /// Seeds a generator.
    #[must_use]
    pub fn seeded() -> Self {
        let mut seed = [0; 32];
        if fill(&mut seed).is_err() {
            // Balancing needs variety, not secrecy: the stack's address will do.
            let address = std::ptr::from_ref(&seed).addr().to_le_bytes();
            for (slot, byte) in seed.iter_mut().zip(address) {
                *slot = byte;
            }
        }
        Self(rand::rngs::StdRng::from_seed(seed))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_no_byte_that_old_clients_misread() {
        for _ in 0..1_000 {
            let bytes = challenge().unwrap();
            assert!(bytes.iter().all(|b| *b != 0 && *b != b'$' && *b < 0x80));
        }
    }
}
