//! A network device whose other end is this process.
//!
//! Named for its `unsafe`: the device is asked for by an `ioctl` that reads a structure of the
//! kernel's. The structure is 40 bytes on every 64-bit Linux, is owned by the call, and the kernel
//! keeps no reference to it.
#![expect(unsafe_code, reason = "TUNSETIFF is an ioctl")]

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::Context as _;
use rustix::fs::OFlags;
use rustix::ioctl::{Setter, ioctl, opcode};

/// `TUNSETIFF`: its number is written with the size of an `int`, although it takes a structure.
const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
/// Ethernet frames, with nothing before them.
const IFF_TAP_NO_PI: u16 = 0x0002 | 0x1000;

/// `struct ifreq`, as far as this call looks at it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes a device in the namespace of the calling thread; it goes when the file is closed. Reading gives
/// one frame that it sent, writing makes it receive one; neither waits.
pub(super) fn open(name: &str) -> anyhow::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits())?;
    let mut options = File::options();
    let file = options.read(true).write(true).custom_flags(flags).open("/dev/net/tun");
    let file = file.context("opening /dev/net/tun")?;
    let mut request = Request { name: [0; 16], flags: IFF_TAP_NO_PI, rest: [0; 22] };
    let text = name.as_bytes();
    // The last byte stays zero.
    let room = request.name.get_mut(..text.len()).filter(|room| room.len() < 16);
    room.with_context(|| format!("{name} is too long for a device"))?.copy_from_slice(text);
    // SAFETY: TUNSETIFF takes a pointer to a `struct ifreq`, which `Request` is laid out as, and
    // `file` is open on the device that knows this number.
    unsafe { ioctl(&file, Setter::<TUNSETIFF, Request>::new(request)) }
        .with_context(|| format!("making the device {name}"))?;
    Ok(file)
}
