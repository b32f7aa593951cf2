//! A bare TCP relay on one epoll thread: the least that any proxy has to do.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::poll::{self, Got, Poll};

struct Half {
    stream: TcpStream,
    /// What the kernel did not take yet; nothing is read from the other half meanwhile.
    pending: Vec<u8>,
}

/// Relays until the process is killed. Connection `n` has the keys `2n` (client) and `2n + 1` (server).
pub(crate) fn serve(listener: TcpListener, to: SocketAddr) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, 0)?;
    let mut halves: BTreeMap<u64, Half> = BTreeMap::new();
    let mut scratch = vec![0; 65_536];
    let (mut next, mut keys) = (2, Vec::new());
    loop {
        poll.wait(&mut keys, Duration::from_secs(60))?;
        for &key in &keys {
            if key == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let Ok(server) = poll::connect(to) else {
                        continue;
                    };
                    poll.add(&stream, next)?;
                    poll.add(&server, next + 1)?;
                    halves.insert(next, Half { stream, pending: Vec::new() });
                    halves.insert(next + 1, Half { stream: server, pending: Vec::new() });
                    next += 2;
                }
            } else if turn(&poll, &mut halves, key, &mut scratch).is_none() {
                halves.remove(&key);
                halves.remove(&(key ^ 1));
            }
        }
    }
}

fn turn(poll: &Poll, halves: &mut BTreeMap<u64, Half>, key: u64, scratch: &mut [u8]) -> Option<()> {
    let Some(half) = halves.get_mut(&key) else {
        return Some(());
    };
    if !half.pending.is_empty() {
        let sent = poll::write(&mut half.stream, &half.pending)?;
        half.pending.drain(..sent);
        if half.pending.is_empty() {
            poll.watch(&half.stream, key, false).ok()?;
            poll.watch(&halves.get(&(key ^ 1))?.stream, key ^ 1, false).ok()?;
        }
        return Some(());
    }
    let count = match poll::read(&mut halves.get_mut(&key)?.stream, scratch) {
        Got::Bytes(count) => count,
        Got::Nothing => return Some(()),
        Got::End => return None,
    };
    let bytes = scratch.get(..count)?;
    let other = halves.get_mut(&(key ^ 1))?;
    let sent = poll::write(&mut other.stream, bytes)?;
    if sent < count {
        other.pending.extend_from_slice(bytes.get(sent..)?);
        poll.watch(&other.stream, key ^ 1, true).ok()?;
        poll.mute(&halves.get(&key)?.stream, key).ok()?;
    }
    Some(())
}
