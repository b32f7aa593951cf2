//! Handing open descriptors to another process over a Unix socket that checks who asks.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Descriptors in one message, below the kernel's own limit of 253.
pub const MAX_DESCRIPTORS: usize = 128;
/// Bytes of text beside them.
pub const MAX_TEXT: usize = 64 * 1024;

/// Whether the peer runs as the same user as we do, or as root. Of a listening peer: as what it listened.
///
/// # Errors
/// As the system says.
pub fn peer_is_trusted(stream: &impl AsFd) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd())?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::getuid())
}

/// Sends a text with descriptors, as one message.
///
/// # Errors
/// `InvalidInput` beyond the limits, else as the system says.
pub fn send(stream: &impl AsFd, text: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    if text.len() > MAX_TEXT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one message"));
    }
    let sent = send_part(stream, text, descriptors)?;
    if sent == text.len() { Ok(()) } else { Err(io::Error::other("message cut short")) }
}

/// Sends a text with descriptors, as far as the peer takes it now; gives how many bytes went. The
/// descriptors go with the first of them.
///
/// # Errors
/// `InvalidInput` beyond the limits, else as the system says.
pub fn send_part(
    stream: &impl AsFd,
    text: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS || text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too much for one message"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives one message: its text and the descriptors that came with it.
///
/// # Errors
/// `UnexpectedEof` when the peer closed, `InvalidData` when something was cut off.
pub fn receive(stream: &impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; MAX_TEXT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "descriptors were cut off"));
    }
    text.truncate(message.bytes);
    Ok((text, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    #[test]
    fn a_descriptor_arrives_open_with_its_text() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        assert!(peer_is_trusted(&ours).unwrap());
        send(&ours, b"listener shop", &[far.as_fd()]).unwrap();
        drop(far);
        let (text, mut descriptors) = receive(&theirs).unwrap();
        assert_eq!(text, b"listener shop");
        let mut far = UnixStream::from(descriptors.pop().unwrap());
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_closed_peer_is_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert_eq!(receive(&theirs).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
