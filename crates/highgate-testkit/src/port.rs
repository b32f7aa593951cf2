//! Ports that stay a fixture's own while its server is down.
//!
//! A port that the kernel picks is free only at that moment: once the server behind it is killed, any
//! outgoing connection may take it, and the restart fails. So ports come from below the range
//! that the kernel gives to outgoing connections, and are held by a file lock for as long as the
//! fixture lives.

use std::fs::{self, File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context as _;

use crate::scratch;

const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of 127.0.0.1 that no other fixture on this machine uses until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    _held: File,
}

impl PortLease {
    /// Takes a free port.
    ///
    /// # Errors
    /// No port is free, or the folder of locks can't be used.
    pub fn take() -> anyhow::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let folder = scratch::shared()?.join("ports");
        fs::create_dir_all(&folder).context("making the folder of port locks")?;
        // Processes start at different places so that they rarely try the same ports.
        let offset = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST + (offset.wrapping_mul(37).wrapping_add(step)) % COUNT;
            let file = File::create(folder.join(port.to_string()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(Self { port, _held: file });
            }
        }
        anyhow::bail!("no port between {FIRST} and {} is free", FIRST + COUNT)
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address on loopback.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}
