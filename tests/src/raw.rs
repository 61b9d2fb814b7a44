//! Frames put on the wire exactly as they are: tagged, tunnelled, cut short, or plainly wrong.

use std::os::fd::AsRawFd as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType};

use crate::veth::End;

/// Frames sent in a row; a veth's ring holds 256.
const BURST: usize = 64;
const PAUSE: Duration = Duration::from_millis(2);
const ATTEMPTS: u32 = 100;

/// Sends frames out of an interface, in order.
///
/// The kernel sends any bytes from 14 up to the MTU plus an Ethernet header (plus 4 with a VLAN
/// tag in front).
///
/// # Errors
/// If a frame is shorter or longer than that, or was sent but did not get into the other end's
/// ring.
pub fn send_frames(from: &End, frames: &[Vec<u8>]) -> Result<()> {
    let lost_before = from.state()?.stats64.tx.dropped;
    from.namespace
        .enter(|| send_here(&from.name, frames, Some(PAUSE)))?;
    let lost = from.state()?.stats64.tx.dropped - lost_before;
    ensure!(
        lost == 0,
        "{lost} of {} frames were lost on the wire",
        frames.len()
    );
    Ok(())
}

/// Sends frames out of an interface as fast as the kernel takes them, and returns how many got into the other end's ring.
///
/// # Errors
/// If a frame is shorter or longer than the kernel takes.
pub fn send_fast<F: AsRef<[u8]> + Sync>(from: &End, frames: &[F]) -> Result<u64> {
    let lost_before = from.state()?.stats64.tx.dropped;
    from.namespace
        .enter(|| send_here(&from.name, frames, None))?;
    let lost = from.state()?.stats64.tx.dropped - lost_before;
    Ok(frames.len() as u64 - lost)
}

fn send_here<F: AsRef<[u8]>>(interface: &str, frames: &[F], pause: Option<Duration>) -> Result<()> {
    let address = link_address(interface)?;
    // No protocol: the socket sends, and receives nothing.
    let socket = socket::socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    for (index, frame) in frames.iter().enumerate() {
        if let Some(pause) = pause
            && index % BURST == BURST - 1
        {
            sleep(pause);
        }
        let frame = frame.as_ref();
        let mut attempts = 0;
        loop {
            match socket::sendto(socket.as_raw_fd(), frame, &address, MsgFlags::empty()) {
                Ok(_) => break,
                Err(Errno::ENOBUFS | Errno::EAGAIN) if attempts < ATTEMPTS => {
                    attempts += 1;
                    sleep(PAUSE);
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("frame {index} of {} bytes", frame.len()));
                }
            }
        }
    }
    Ok(())
}

/// The interface's address, in which a packet socket is told where to send.
fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()
        .context("cannot list interfaces")?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| {
            entry
                .address
                .as_ref()
                .and_then(|address| address.as_link_addr().copied())
        })
        .with_context(|| format!("there is no interface {interface}"))
}
