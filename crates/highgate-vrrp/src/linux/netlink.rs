//! Links and addresses by netlink: what there is, what changes, and setting our own.

mod datagram;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo},
    link::{
        InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
        MacVlanMode,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use socket2::SockRef;

use self::datagram::Answers;
use super::{lifetimes::LIFETIME, virtual_link};
use crate::settings::{Scope, VirtualAddress};

/// Groups of notices: links (1), IPv4 addresses (5), IPv6 addresses (9), as bits.
const GROUPS: u32 = 1 | 1 << 4 | 1 << 8;
/// For the next part of an answer, which the kernel has at once where it has one.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a list is asked for that changes while it is read.
const TRIES: u32 = 3;

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LinkNow {
    pub(crate) index: u32,
    pub(crate) is_up: bool,
    pub(crate) mac: Option<[u8; 6]>,
    /// It has the alias of interfaces that this program makes.
    pub(crate) is_ours: bool,
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AddressNow {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// It is there to stay, or for longer than this program sets any.
    pub(crate) lasts: bool,
    /// Packets may be sent from it: no other host is known, nor still asked, to have it.
    pub(crate) is_usable: bool,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A link, or more than could be told.
    Links,
    /// An address came.
    Added(AddressNow),
    /// An address went.
    Removed(AddressNow),
}

/// The addresses of an interface, with the lengths of their prefixes, but for those of its link alone.
///
/// # Errors
/// As the system says.
pub fn networks(interface: &str) -> io::Result<Vec<(IpAddr, u8)>> {
    let mut netlink = Netlink::open()?;
    let Some(link) = netlink.links()?.remove(interface) else { return Ok(Vec::new()) };
    let all = netlink.addresses()?.into_iter().filter(|known| known.index == link.index);
    let is_of_link =
        |address: IpAddr| matches!(address, IpAddr::V6(it) if it.is_unicast_link_local());
    Ok(all.map(|own| (own.address, own.prefix)).filter(|(own, _)| !is_of_link(*own)).collect())
}

/// Asks and orders, one at a time.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    count: Arc<AtomicU64>,
}

impl Netlink {
    /// A connection to the kernel.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: connect()?, sequence: 0, count: Arc::default() })
    }

    /// How often the kernel has answered, for another thread.
    pub(crate) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    /// All interfaces, by name.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn links(&mut self) -> io::Result<BTreeMap<String, LinkNow>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut links = BTreeMap::new();
        for message in self.ask(request, NLM_F_DUMP)? {
            if let RouteNetlinkMessage::NewLink(link) = message
                && let Some((name, link)) = read_link(&link)
            {
                links.insert(name, link);
            }
        }
        Ok(links)
    }

    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<AddressNow>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.ask(request, NLM_F_DUMP)?;
        Ok(answers
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(address) => read_address(&address),
                _ => None,
            })
            .collect())
    }

    /// Sets an address for so many seconds; one that is there gets that lifetime.
    ///
    /// # Errors
    /// As the system says, as where there is no such interface.
    pub(crate) fn set(
        &mut self,
        index: u32,
        address: &VirtualAddress,
        seconds: u32,
    ) -> io::Result<()> {
        let mut message = address_message(index, address);
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = seconds;
        lifetime.ifa_preferred = seconds;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.ask(RouteNetlinkMessage::NewAddress(message), flags).map(drop)
    }

    /// Removes an address; that it is not there is no error.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn remove(&mut self, index: u32, address: &VirtualAddress) -> io::Result<()> {
        let message = address_message(index, address);
        match self.ask(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK) {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENOENT)
                ) =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Makes an interface with a MAC address of its own above another; it is down.
    ///
    /// # Errors
    /// As the system says, as where the other can't carry one.
    pub(crate) fn add_macvlan(&mut self, base: u32, name: &str, mac: [u8; 6]) -> io::Result<()> {
        let mode = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(base),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(mode)]),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewLink(message), flags).map(drop)
    }

    /// Gives an interface an alias.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn name_link(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![LinkAttribute::IfAlias(alias.to_owned())];
        self.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Sets an interface up or down.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn set_up(&mut self, index: u32, is_up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if is_up { LinkFlags::Up } else { LinkFlags::empty() };
        self.ask(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Removes an interface; that it is not there is no error.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.ask(RouteNetlinkMessage::DelLink(message), NLM_F_ACK) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        for _ in 0..TRIES {
            self.sequence = self.sequence.wrapping_add(1);
            message.header.sequence_number = self.sequence;
            message.finalize();
            let mut bytes = vec![0; message.buffer_len()];
            message.serialize(&mut bytes);
            self.socket.send(&bytes, 0)?;
            let answers = self.answers();
            self.count.fetch_add(1, Ordering::Relaxed);
            let answers = answers?;
            if !answers.is_torn() {
                return Ok(answers.all());
            }
        }
        Err(io::Error::other("the list changed each time while the kernel told it"))
    }

    fn answers(&mut self) -> io::Result<Answers> {
        let mut answers = Answers::to(self.sequence);
        loop {
            let packet = match self.socket.recv_from_full() {
                Ok((packet, _)) => packet,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // What is still to come of this answer belongs to nobody.
                    if let Ok(socket) = connect() {
                        self.socket = socket;
                    }
                    if error.kind() == io::ErrorKind::WouldBlock {
                        let text = "the kernel does not answer";
                        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                    }
                    return Err(error);
                }
            };
            if let Some(done) = answers.take(&packet) {
                return done.map(|()| answers);
            }
        }
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // Nobody may wait for ever for an answer that was not understood, or is none.
    SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Tells what changes.
#[derive(Debug)]
pub(crate) struct Notices(Socket);

impl Notices {
    /// From now on.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// What changed since the last call.
    pub(crate) fn read(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((packet, _)) => changes.extend(changes_in(&packet)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changes,
                // More happened than the socket could hold: all is looked at anew.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.push(Change::Links);
                }
                Err(_) => return changes,
            }
        }
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a datagram of notices tells. What is not understood may be any change of a link.
fn changes_in(packet: &[u8]) -> Vec<Change> {
    let all = datagram::split(packet).into_iter();
    all.filter_map(|message| match message.and_then(datagram::read) {
        Some(NetlinkPayload::InnerMessage(message)) => change(&message),
        Some(_) => None,
        None => Some(Change::Links),
    })
    .collect()
}

fn change(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => Some(Change::Links),
        RouteNetlinkMessage::NewAddress(address) => read_address(address).map(Change::Added),
        RouteNetlinkMessage::DelAddress(address) => read_address(address).map(Change::Removed),
        _ => None,
    }
}

fn read_link(link: &LinkMessage) -> Option<(String, LinkNow)> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    let is_up = link.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
    let is_ours = link.attributes.iter().any(
        |attribute| matches!(attribute, LinkAttribute::IfAlias(alias) if alias == virtual_link::ALIAS),
    );
    Some((name, LinkNow { index: link.header.index, is_up, mac, is_ours }))
}

fn read_address(message: &AddressMessage) -> Option<AddressNow> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    // Where the two differ, `Address` is the peer's.
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    let lifetime = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::CacheInfo(lifetime) => Some(lifetime.ifa_valid),
        _ => None,
    });
    let is_permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
    let lasts = lifetime.map_or(is_permanent, |seconds| seconds > LIFETIME);
    let waits_or_failed = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    Some(AddressNow {
        index: message.header.index,
        address,
        prefix: message.header.prefix_len,
        lasts,
        is_usable: !message.header.flags.intersects(waits_or_failed),
    })
}

fn address_message(index: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix;
    message.header.scope = match address.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Host => AddressScope::Host,
        Scope::Link => AddressScope::Link,
        Scope::Site => AddressScope::Site,
        Scope::Other(number) => AddressScope::from(number),
    };
    message.header.family = if address.address.is_ipv4() {
        AddressFamily::Inet
    } else {
        // Asking the link whether somebody has it would make a second of waiting: it is ours.
        message.header.flags = AddressHeaderFlags::Nodad;
        AddressFamily::Inet6
    };
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(address.address));
    if let Some(label) = &address.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(IpAddr::V4(broadcast)) = address.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    message
}

#[cfg(test)]
mod tests;
