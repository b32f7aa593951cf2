//! Sockets of protocol 112: one set per interface and family, shared by all routers there.

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, BorrowedFd},
};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use super::{frames, sys_unsafe};
use crate::{
    advert::{self, Envelope},
    machine::Sending,
};

/// The longest advert: 255 IPv6 addresses behind the longest header of IPv4.
const LONGEST: usize = 60 + 8 + 255 * 16 + 8;
/// IPPROTO_RAW: the header is ours.
const RAW: i32 = 255;
/// Precedence "internetwork control".
const CONTROL_TOS: u32 = 0xc0;

/// What is heard and said on one interface, in one family.
#[derive(Debug)]
pub(crate) struct Wire {
    ears: Socket,
    index: u32,
    groups: Vec<IpAddr>,
}

impl Wire {
    /// Listens on an interface.
    ///
    /// # Errors
    /// Without the right to do so, or where there is no such interface.
    pub(crate) fn open(interface: &str, index: u32, is_v4: bool) -> io::Result<Self> {
        let domain = if is_v4 { Domain::IPV4 } else { Domain::IPV6 };
        let protocol = Protocol::from(i32::from(advert::PROTOCOL));
        let ears = Socket::new(domain, Type::RAW, Some(protocol))?;
        ears.set_nonblocking(true)?;
        ears.bind_device(Some(interface.as_bytes()))?;
        if !is_v4 {
            sys_unsafe::tell_envelopes(&ears)?;
        }
        // A burst from 255 routers must not be lost while a script is started.
        ears.set_recv_buffer_size(1 << 20)?;
        Ok(Self { ears, index, groups: Vec::new() })
    }

    /// Hears what is sent to that group as well.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn join(&mut self, group: IpAddr) -> io::Result<()> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        match group {
            IpAddr::V4(group) => {
                let on = InterfaceIndexOrAddress::Index(self.index);
                self.ears.join_multicast_v4_n(&group, &on)?;
            }
            IpAddr::V6(group) => self.ears.join_multicast_v6(&group, self.index)?,
        }
        self.groups.push(group);
        Ok(())
    }

    /// The same socket, for another thread.
    ///
    /// # Errors
    /// Without descriptors left.
    pub(crate) fn copy(&self) -> io::Result<Self> {
        let ears = self.ears.try_clone()?;
        Ok(Self { ears, index: self.index, groups: Vec::new() })
    }

    /// The number of the interface.
    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// The next packet that waits; `None` when there is none.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub(crate) fn hear(&self) -> io::Result<Option<(Envelope, Vec<u8>)>> {
        let mut buffer = [0; LONGEST];
        loop {
            let heard = if self.ears.domain()? == Domain::IPV4 {
                (&self.ears).read(&mut buffer).map(|count| {
                    frames::read_ipv4(buffer.get(..count).unwrap_or_default())
                        .map(|(envelope, payload)| (envelope, payload.to_vec()))
                })
            } else {
                sys_unsafe::receive_v6(&self.ears, &mut buffer).map(|(envelope, count)| {
                    Some((envelope, buffer.get(..count).unwrap_or_default().to_vec()))
                })
            };
            match heard {
                Ok(Some(heard)) => return Ok(Some(heard)),
                // What the kernel took for IPv4 and is none can't be told apart further.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ears.as_fd()
    }
}

/// Sends an advert by an interface. A socket of its own each time: they are few, their source may
/// change, and none is left to be in a wrong state when the last one must be said.
///
/// # Errors
/// As the system says.
pub(crate) fn say(interface: &str, index: u32, sending: &Sending) -> io::Result<()> {
    match (sending.source, sending.destination) {
        (IpAddr::V4(source), IpAddr::V4(to)) => say_v4(interface, source, to, sending),
        (IpAddr::V6(source), IpAddr::V6(to)) => say_v6(index, source, to, sending),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "two families in one packet")),
    }
}

/// The same from a MAC address that is not the interface's, where there is one.
///
/// # Errors
/// As the system says.
pub(crate) fn say_from(
    frames: &impl AsFd,
    mac: Option<[u8; 6]>,
    interface: &str,
    index: u32,
    sending: &Sending,
) -> io::Result<()> {
    match mac {
        Some(mac) => sys_unsafe::send_frame(frames, index, &frames::advert(mac, sending)),
        None => say(interface, index, sending),
    }
}

fn say_v4(interface: &str, source: Ipv4Addr, to: Ipv4Addr, sending: &Sending) -> io::Result<()> {
    let mouth = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
    mouth.set_header_included_v4(true)?;
    if to.is_multicast() {
        mouth.bind_device(Some(interface.as_bytes()))?;
        mouth.set_multicast_loop_v4(false)?;
    }
    let packet = frames::ipv4(source, to, sending.ttl, &sending.payload);
    mouth.send_to(&packet, &SockAddr::from(SocketAddr::from(SocketAddrV4::new(to, 0)))).map(drop)
}

fn say_v6(index: u32, source: Ipv6Addr, to: Ipv6Addr, sending: &Sending) -> io::Result<()> {
    let protocol = Protocol::from(i32::from(advert::PROTOCOL));
    let mouth = Socket::new(Domain::IPV6, Type::RAW, Some(protocol))?;
    let zone = |address: Ipv6Addr| {
        if address.is_unicast_link_local() || address.is_multicast() { index } else { 0 }
    };
    mouth.set_unicast_hops_v6(u32::from(sending.ttl))?;
    mouth.set_tclass_v6(CONTROL_TOS)?;
    if to.is_multicast() {
        mouth.set_multicast_hops_v6(u32::from(sending.ttl))?;
        mouth.set_multicast_if_v6(index)?;
        mouth.set_multicast_loop_v6(false)?;
    }
    mouth.bind(&SockAddr::from(SocketAddrV6::new(source, 0, 0, zone(source))))?;
    mouth
        .send_to(&sending.payload, &SockAddr::from(SocketAddrV6::new(to, 0, 0, zone(to))))
        .map(drop)
}
