//! Netlink, as far as it is needed: requests with attributes, and their answers (netlink(7)).
//!
//! [`clsact`](crate::datapath::clsact) puts tc filters in place with it, [`nat`](crate::agent::nat) looks for
//! address translation.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

/// `NLM_F_ACK`: an answer also when there is nothing to say.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: all there are.
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: not if it is there.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make it if it is not there.
pub const CREATE: u16 = 0x400;

const REQUEST: u16 = 0x1;
const ERROR: u16 = 0x2;
const DONE: u16 = 0x3;
const HEADER: usize = 16;
/// The kernel never makes a longer part of a dump than this.
const LONGEST: usize = 64 << 10;

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one for a protocol.
    ///
    /// # Errors
    /// When the kernel has no such protocol.
    pub fn open(protocol: SockProtocol) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Asks, with [`ACK`] or [`DUMP`] among the flags, and returns what is answered, without netlink's own headers.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut request = Vec::with_capacity(HEADER + body.len());
        request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((flags | REQUEST).to_ne_bytes());
        // Sequence and port: one request at a time, and the kernel knows whose it is.
        request.extend([0; 8]);
        request.extend(body);
        send(self.0.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; LONGEST];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..length];
            while let Some((kind, answer, behind)) = message(rest) {
                rest = behind;
                match kind {
                    DONE => return Ok(answers),
                    ERROR => match number(answer) {
                        Some(0) => return Ok(answers),
                        code => {
                            let code =
                                code.map_or(libc::EPROTO, |code| (code as i32).wrapping_neg());
                            return Err(io::Error::from_raw_os_error(code));
                        }
                    },
                    _ => answers.push(answer.to_vec()),
                }
            }
        }
    }
}

/// Kind and body of the first message, and what is behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = number(bytes)? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, behind))
}

/// The 32-bit number, in this machine's order, that bytes begin with.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// The text, up to its end mark, that bytes are.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Adds an attribute.
pub fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend(((4 + value.len()) as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Attributes, by kind and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` share the field with the kind.
    const KIND: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let head = number(bytes)?.to_ne_bytes();
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a kind.
#[must_use]
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_were_put() {
        let mut body = Vec::new();
        put(&mut body, 1, b"bpf\0");
        put(&mut body, 2 | 0x8000, &[7]);
        put(&mut body, 3, &[]);
        let read: Vec<_> = attributes(&body).collect();
        assert_eq!(read, [(1, &b"bpf\0"[..]), (2, &[7]), (3, &[])]);
        assert_eq!(attribute(&body, 1).map(text).as_deref(), Some("bpf"));
        assert_eq!(attribute(&body, 4), None);
    }

    #[test]
    fn what_is_cut_off_ends_it() {
        let mut body = Vec::new();
        put(&mut body, 1, b"longer than that");
        assert_eq!(attributes(&body[..9]).count(), 0);
        assert_eq!(attributes(&body[..2]).count(), 0);
        assert!(message(&[20, 0, 0, 0, 1, 0]).is_none());
    }

    #[test]
    fn what_the_kernel_refuses_is_its_error() {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute).unwrap();
        // RTM_GETLINK of an interface that cannot be.
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let error = netlink.ask(18, ACK, &body).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        // And all there are, the loopback at least.
        assert!(!netlink.ask(18, DUMP, &[0; 16]).unwrap().is_empty());
    }
}
