//! Listening sockets that hear no new clients, which try again by themselves, after a second at first.
//!
//! A filter on the socket (cBPF) drops what asks for a new connection and nothing else: clients that
//! were answered already, and only have to be accepted, still are. It sees the packet from its TCP
//! header on; the IP header lies at offsets of its own.
//!
//! Quirk: although the manual asks for no right to attach one, Linux 6.18 as configured by some refuses
//! it to a process without capabilities, so whoever has them must do it for it.

use std::{io, net::IpAddr, os::fd::AsFd};

use socket2::{SockFilter, SockRef};

/// BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_ABS.
const BYTE: u16 = 0x30;
const WORD: u16 = 0x20;
/// BPF_ALU | BPF_AND | BPF_K.
const AND: u16 = 0x54;
/// BPF_JMP | BPF_JA, BPF_JMP | BPF_JEQ | BPF_K.
const GO: u16 = 0x05;
const IS: u16 = 0x15;
/// BPF_RET | BPF_K: the packet is cut to so many bytes.
const RETURN: u16 = 0x06;
/// SKF_NET_OFF: from here on offsets count from the IP header.
const IP: u32 = 0xfff0_0000;
/// The flags of TCP's header, of which SYN without ACK asks for a connection.
const FLAGS: u32 = 13;
const SYN: u32 = 0x02;
const SYN_OR_ACK: u32 = 0x12;

/// Makes a TCP listener drop what asks for a new connection to one of these addresses; without any,
/// to all. It replaces what was said before.
///
/// # Errors
/// As the system says, as for a Unix socket.
pub fn turn_deaf(socket: &impl AsFd, to: &[IpAddr]) -> io::Result<()> {
    SockRef::from(socket).attach_filter(&filter(to))
}

/// Lets it hear all clients again.
///
/// # Errors
/// As the system says, as where it was not deaf.
pub fn hear_again(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).detach_filter()
}

fn filter(to: &[IpAddr]) -> Vec<SockFilter> {
    let step = |code, k| SockFilter::new(code, 0, 0, k);
    let (take, drop) = (|| step(RETURN, u32::MAX), || step(RETURN, 0));
    let mut program =
        vec![step(BYTE, FLAGS), step(AND, SYN_OR_ACK), SockFilter::new(IS, 1, 0, SYN), take()];
    if to.is_empty() {
        program.push(drop());
        return program;
    }
    let mut four = vec![step(WORD, IP + 16)];
    let mut six = Vec::new();
    for address in to {
        match address {
            IpAddr::V4(address) => {
                four.extend([SockFilter::new(IS, 0, 1, address.to_bits()), drop()]);
            }
            IpAddr::V6(address) => {
                for (number, part) in (0_u8..).zip(address.octets().chunks_exact(4)) {
                    let part = part.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
                    // Past what is left of this address: two steps a part, and the last word.
                    let past = 2 * (3 - number) + 1;
                    six.push(step(WORD, IP + 24 + u32::from(number) * 4));
                    six.push(SockFilter::new(IS, 0, past, part));
                }
                six.push(drop());
            }
        }
    }
    four.push(take());
    six.push(take());
    let past_four = u32::try_from(four.len()).unwrap_or(0);
    program.extend([
        step(BYTE, IP),
        step(AND, 0xf0),
        SockFilter::new(IS, 1, 0, 0x40),
        step(GO, past_four),
    ]);
    program.extend(four);
    program.extend(six);
    program
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    fn connects(to: SocketAddr) -> bool {
        TcpStream::connect_timeout(&to, SHORT).is_ok()
    }

    #[test]
    fn only_who_asks_for_one_of_the_addresses_is_not_heard() {
        let socket = TcpListener::bind("[::]:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let at = |text: &str| SocketAddr::from((text.parse::<IpAddr>().unwrap(), port));
        let [one, other, six] = [at("127.0.0.1"), at("127.0.0.2"), at("::1")];
        let mut open = TcpStream::connect(one).unwrap();
        match turn_deaf(&socket, &[one.ip(), "10.0.0.1".parse().unwrap()]) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return eprintln!("skipped: this account may attach no filter");
            }
            done => done.unwrap(),
        }
        assert!(!connects(one) && connects(other) && connects(six));
        turn_deaf(&socket, &["fe80::1".parse().unwrap(), six.ip(), other.ip()]).unwrap();
        assert!(connects(one) && !connects(other) && !connects(six));
        turn_deaf(&socket, &[]).unwrap();
        assert!(!connects(one) && !connects(other) && !connects(six));
        // Who was answered before is served.
        let (mut accepted, _) = socket.accept().unwrap();
        open.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        hear_again(&socket).unwrap();
        assert!(connects(one) && connects(six));
    }
}
