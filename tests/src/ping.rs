//! ICMP and ICMPv6 echo, which the kernel at the other end answers.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::frames::checksum;
use crate::netns::Endpoint;

const PATIENCE: Duration = Duration::from_secs(1);
const HEADER: usize = 8;

static IDENTIFIERS: AtomicU16 = AtomicU16::new(1);

/// Sends echo requests with `size` bytes of payload, one after the other, and returns how many were
/// answered. Each is given a second. An IPv4 packet is `size` + 28 bytes long, an IPv6 one + 48.
///
/// # Errors
/// If a raw socket cannot be opened, or the kernel refuses to send.
pub fn ping(from: &Endpoint, to: &Endpoint, requests: u16, size: usize) -> Result<usize> {
    let context = || format!("ping from {} to {}", from.address, to.address);
    from.namespace
        .enter(|| ping_here(from.address, to.address, requests, size))
        .with_context(context)
}

fn ping_here(from: IpAddr, to: IpAddr, requests: u16, size: usize) -> Result<usize> {
    let kind = Kind::of(to);
    let socket = open(kind, from, to)?;
    let identifier = IDENTIFIERS.fetch_add(1, Ordering::Relaxed);
    let mut answered = 0;
    for sequence in 0..requests {
        let request = kind.request(identifier, sequence, size);
        socket::send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let expected = kind.reply_to(&request);
        if wait_for(&socket, kind, &expected)? {
            answered += 1;
        }
    }
    Ok(answered)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    V4,
    V6,
}

impl Kind {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    fn request(self, identifier: u16, sequence: u16, size: usize) -> Vec<u8> {
        let kind = if self == Self::V4 { 8 } else { 128 };
        let mut packet = vec![kind, 0, 0, 0];
        packet.extend(identifier.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.resize(HEADER + size, 0x5a);
        if self == Self::V4 {
            let sum = checksum(&[&packet]);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // The kernel fills in ICMPv6's checksum, which covers addresses.
        packet
    }

    /// The reply, without its checksum.
    fn reply_to(self, request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        reply[0] = if self == Self::V4 { 0 } else { 129 };
        reply
    }
}

fn open(kind: Kind, from: IpAddr, to: IpAddr) -> Result<OwnedFd> {
    let (family, protocol) = match kind {
        Kind::V4 => (AddressFamily::Inet, SockProtocol::Icmp),
        Kind::V6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    let address = |ip| SockaddrStorage::from(SocketAddr::new(ip, 0));
    socket::bind(socket.as_raw_fd(), &address(from))?;
    // From then on it gets packets of that sender only.
    socket::connect(socket.as_raw_fd(), &address(to))?;
    socket::setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(100))?;
    Ok(socket)
}

fn wait_for(socket: &OwnedFd, kind: Kind, expected: &[u8]) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 65_536];
    while Instant::now() < deadline {
        let received = match socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => &buffer[..length],
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        // A raw IPv4 socket hands over the IP header too.
        let header = if kind == Kind::V4 {
            usize::from(received[0] & 0xf) * 4
        } else {
            0
        };
        let message = received.get(header..).unwrap_or_default();
        if message.len() == expected.len()
            && message[0] == expected[0]
            && message[4..] == expected[4..]
        {
            return Ok(true);
        }
    }
    Ok(false)
}
