//! The few system calls that no library wraps safely. Each is one call with its argument beside it.
#![expect(unsafe_code, reason = "system calls that neither rustix nor socket2 has")]

use std::{
    io, mem,
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use crate::advert::Envelope;

/// The place of a thread among real-time processes: all run before everything that is none, and before
/// real-time processes of the usual low numbers, which may use a processor for long. The kernel's own
/// threads for interrupts have 50.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rank {
    /// What sends adverts and decides: before our other threads.
    Decides = 49,
    /// What changes addresses as it decides.
    Acts = 48,
    /// What starts scripts and looks at files and processes.
    Runs = 47,
}

/// Makes this thread run before all that are not real-time; processes and threads that it starts
/// don't.
///
/// # Errors
/// Without the right to do so.
pub(crate) fn run_first(rank: Rank) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: rank as libc::c_int };
    // SAFETY: the parameter outlives the call, which only reads it.
    let done = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
            &raw const parameter,
        )
    };
    check(done)
}

/// Has all memory of this process read in, and keeps it from being paged out; also what comes later.
///
/// # Errors
/// Without the right to do so.
pub(crate) fn stay_in_memory() -> io::Result<()> {
    // What is there now is read in, the program's code included: the way to take an address over is
    // not to wait for a disk. What comes later, as the heap's reserves, is locked where it is used.
    for flags in [libc::MCL_CURRENT, libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT] {
        // SAFETY: the call takes flags alone.
        check(unsafe { libc::mlockall(flags) })?;
    }
    Ok(())
}

/// Outlives the signals by which terminals and service managers end processes. They are caught, neither
/// blocked nor ignored: both of these are passed on to children, which nobody could end then but by force.
///
/// # Errors
/// Never, with these arguments.
pub(crate) fn outlive_signals() -> io::Result<()> {
    extern "C" fn outlived(_: libc::c_int) {}
    // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = outlived;
    action.sa_sigaction = handler as libc::sighandler_t;
    // What was interrupted goes on, where the system lets it.
    action.sa_flags = libc::SA_RESTART;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: the action outlives the call, which only reads it; its handler does nothing, so it may
        // run at any moment, and needs neither flags nor arguments beside the number.
        check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })?;
    }
    Ok(())
}

/// Has a command killed should this process die without having ended it.
pub(crate) fn end_with_this(command: &mut std::process::Command) {
    let ask = || {
        // SAFETY: the call takes numbers alone.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })
    };
    // SAFETY: the closure makes one system call and allocates nothing, so it may run after fork.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, ask) };
}

/// Has a command begin without the rights that this process has beyond its account: those that a
/// service manager gave it pass on to all that it starts. With `leaves_groups` also without our groups.
pub(crate) fn shed_rights(command: &mut std::process::Command, leaves_groups: bool) {
    let shed = move || {
        if leaves_groups {
            // SAFETY: an empty list is read from nowhere.
            check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        }
        match rustix::thread::clear_ambient_capability_set() {
            // A kernel that knows of no such set gives none of it on.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        let mut sets = rustix::thread::capabilities(None)?;
        sets.inheritable = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, sets)?;
        Ok(())
    };
    // SAFETY: the closure makes system calls alone and allocates nothing, so it may run after fork.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, shed) };
}

/// A socket that sends whole frames, and receives none.
///
/// # Errors
/// Without the right to do so.
pub(crate) fn frame_socket() -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers alone.
    let fd = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    };
    check(fd)?;
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a frame by the interface of that number.
///
/// # Errors
/// As the system says, as where the interface is down.
pub(crate) fn send_frame(socket: &impl AsFd, interface: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: all zeros is a valid sockaddr_ll.
    let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
    to.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    to.sll_ifindex = i32::try_from(interface).unwrap_or(0);
    let length = libc::socklen_t::try_from(size_of_val(&to)).unwrap_or(0);
    // SAFETY: frame and address live during the call, and the lengths are theirs.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const to).cast(),
            length,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes an IPv6 socket tell destination and hop limit of what it receives.
///
/// # Errors
/// Never, on an IPv6 socket.
pub(crate) fn tell_envelopes(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    for option in [libc::IPV6_RECVPKTINFO, libc::IPV6_RECVHOPLIMIT] {
        // SAFETY: the value lives during the call, and the length is its own.
        check(unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_IPV6,
                option,
                (&raw const on).cast(),
                libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(0),
            )
        })?;
    }
    Ok(())
}

/// Receives a packet of an IPv6 socket with what its header said.
///
/// # Errors
/// `WouldBlock` when nothing is there; else as the system says.
pub(crate) fn receive_v6(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<(Envelope, usize)> {
    // Room for both messages that `tell_envelopes` asks for; aligned as their headers must be.
    let mut control = [0_u64; 16];
    // SAFETY: all zeros is a valid sockaddr_in6 and a valid msghdr.
    let (mut from, mut message): (libc::sockaddr_in6, libc::msghdr) = unsafe { mem::zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of_val(&from)).unwrap_or(0);
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: everything that the message points to lives during the call, with its own lengths.
    let count =
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    let mut envelope = Envelope {
        source: IpAddr::V6(Ipv6Addr::from(from.sin6_addr.s6_addr)),
        destination: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ttl: 0,
    };
    // SAFETY: the kernel filled the control buffer up to msg_controllen, which the macros keep to;
    // each message is read as what its type says, without assuming its alignment.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(&raw const message);
        while !at.is_null() {
            let data = libc::CMSG_DATA(at);
            match ((*at).cmsg_level, (*at).cmsg_type) {
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    envelope.destination = IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    let hops = data.cast::<libc::c_int>().read_unaligned();
                    envelope.ttl = u8::try_from(hops).unwrap_or(0);
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    Ok((envelope, count))
}

fn check(done: libc::c_int) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
