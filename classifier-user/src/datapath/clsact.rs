//! A program as a filter on the clsact qdisc of an interface: how tc was reached before tcx (Linux 6.6).
//!
//! Nothing holds a filter but the interface, so there is nothing to pin: a filter of ours is known by its name,
//! which says whose it is, and replaced in place, so that each packet meets the old program or the new one.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;

use nix::sys::socket::SockProtocol;

use crate::netlink::{self, ACK, CREATE, DUMP, EXCL, Netlink, attribute, number, put};

/// Before all that choose their priority themselves.
const PRIORITY: u32 = 1;
/// One that nobody is given who does not choose.
const HANDLE: u32 = 0x7a72;

// linux/rtnetlink.h
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
// linux/pkt_sched.h: the qdisc's parent and handle, and its two hooks.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
// linux/pkt_cls.h
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const ACT_DIRECT: u32 = 1;
const ETH_P_ALL: u16 = 3;
const TCMSG: usize = 20;

/// A side of an interface, at which the qdisc has a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where packets arrive.
    Ingress,
    /// Where they leave.
    Egress,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    const fn hook(self) -> u32 {
        match self {
            Self::Ingress => INGRESS,
            Self::Egress => EGRESS,
        }
    }
}

/// A filter of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Id of its program.
    pub program: u32,
    /// Whether the qdisc was made for it, or for ours at the other hook.
    made_qdisc: bool,
}

/// Whose a filter is, by the directory of its maps. A kernel takes names of up to 255 bytes.
fn name(directory: &Path, made_qdisc: bool) -> String {
    let mark = if made_qdisc { "+qdisc" } else { "" };
    let mut name = format!("zerorate{mark}:{}", directory.display());
    while name.len() > 255 {
        name.pop();
    }
    name
}

/// `struct tcmsg`, then the attributes.
fn request(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for field in [ifindex, handle, parent, info] {
        body.extend(field.to_ne_bytes());
    }
    body
}

/// Filters at a hook: handle and attributes.
fn filters(netlink: &Netlink, ifindex: u32, hook: u32) -> io::Result<Vec<(u32, Vec<u8>)>> {
    let answers = match netlink.ask(RTM_GETTFILTER, DUMP, &request(ifindex, 0, hook, 0)) {
        // There is no such qdisc, or no such interface any more.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EINVAL | libc::ENODEV | libc::ENOENT)
            ) =>
        {
            return Ok(Vec::new());
        }
        answers => answers?,
    };
    let filters = answers.iter().filter_map(|answer| {
        let handle = number(answer.get(8..)?)?;
        // A priority is listed once for itself, without a handle.
        (handle != 0).then_some((handle, answer.get(TCMSG..)?.to_vec()))
    });
    Ok(filters.collect())
}

fn find_with(
    netlink: &Netlink,
    ifindex: u32,
    side: Side,
    directory: &Path,
) -> io::Result<Option<Found>> {
    let ours = |(handle, attributes): &(u32, Vec<u8>)| {
        let options = attribute(attributes, TCA_OPTIONS)?;
        let found = netlink::text(attribute(options, TCA_BPF_NAME)?);
        let made_qdisc = found == name(directory, true);
        let is_ours = *handle == HANDLE && (made_qdisc || found == name(directory, false));
        let program = number(attribute(options, TCA_BPF_ID)?)?;
        is_ours.then_some(Found {
            program,
            made_qdisc,
        })
    };
    Ok(filters(netlink, ifindex, side.hook())?
        .iter()
        .find_map(ours))
}

/// The filter on a side of an interface that belongs to the maps in a directory.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn find(ifindex: u32, side: Side, directory: &Path) -> io::Result<Option<Found>> {
    find_with(
        &Netlink::open(SockProtocol::NetlinkRoute)?,
        ifindex,
        side,
        directory,
    )
}

/// Puts a program on a side of an interface, in the place of `old` if that is given.
///
/// # Errors
/// When the kernel refuses; `EEXIST` when another's filter is in our place.
pub fn put_filter(
    ifindex: u32,
    side: Side,
    program: BorrowedFd<'_>,
    directory: &Path,
    old: Option<Found>,
) -> io::Result<()> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let made_qdisc = match old {
        Some(old) => old.made_qdisc,
        None => make_qdisc(&netlink, ifindex)? || made_one(&netlink, ifindex, directory)?,
    };
    let mut options = Vec::new();
    put(&mut options, TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    let mut name = name(directory, made_qdisc).into_bytes();
    name.push(0);
    put(&mut options, TCA_BPF_NAME, &name);
    put(&mut options, TCA_BPF_FLAGS, &ACT_DIRECT.to_ne_bytes());
    let mut body = request(ifindex, HANDLE, side.hook(), info());
    put(&mut body, TCA_KIND, b"bpf\0");
    put(&mut body, TCA_OPTIONS, &options);
    let new = if old.is_some() { 0 } else { EXCL };
    let put = netlink.ask(RTM_NEWTFILTER, ACK | CREATE | new, &body);
    if put.is_err() && old.is_none() && made_qdisc {
        // The error to report is the one that is at hand.
        let _ = remove_qdisc(&netlink, ifindex);
    }
    put.map(drop)
}

/// Takes the filter off that belongs to the maps in a directory, and the qdisc if it was made for ours and nobody uses
/// it any more. Nothing happens where there is none.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(ifindex: u32, side: Side, directory: &Path) -> io::Result<()> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let Some(found) = find_with(&netlink, ifindex, side, directory)? else {
        return Ok(());
    };
    let mut body = request(ifindex, HANDLE, side.hook(), info());
    put(&mut body, TCA_KIND, b"bpf\0");
    netlink.ask(RTM_DELTFILTER, ACK, &body)?;
    if found.made_qdisc {
        remove_qdisc(&netlink, ifindex)?;
    }
    Ok(())
}

/// Names of interfaces, and sides of them, whose filter belongs to the maps in a directory.
///
/// # Errors
/// When the kernel refuses to tell.
pub fn interfaces(directory: &Path) -> io::Result<Vec<(String, Side)>> {
    let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let mut names = Vec::new();
    for interface in &nix::net::if_::if_nameindex()? {
        for side in Side::ALL {
            if find_with(&netlink, interface.index(), side, directory)?.is_some() {
                names.push((interface.name().to_string_lossy().into_owned(), side));
            }
        }
    }
    Ok(names)
}

/// Priority, and the protocol in network order.
fn info() -> u32 {
    PRIORITY << 16 | u32::from(ETH_P_ALL.to_be())
}

/// Whether the qdisc was made for a filter of ours that is there.
fn made_one(netlink: &Netlink, ifindex: u32, directory: &Path) -> io::Result<bool> {
    for side in Side::ALL {
        let found = find_with(netlink, ifindex, side, directory)?;
        if found.is_some_and(|found| found.made_qdisc) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the qdisc had to be made.
fn make_qdisc(netlink: &Netlink, ifindex: u32) -> io::Result<bool> {
    let mut body = request(ifindex, CLSACT_HANDLE, CLSACT, 0);
    put(&mut body, TCA_KIND, b"clsact\0");
    match netlink.ask(RTM_NEWQDISC, ACK | CREATE | EXCL, &body) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_qdisc(netlink: &Netlink, ifindex: u32) -> io::Result<()> {
    for hook in [INGRESS, EGRESS] {
        if !filters(netlink, ifindex, hook)?.is_empty() {
            return Ok(());
        }
    }
    let mut body = request(ifindex, CLSACT_HANDLE, CLSACT, 0);
    put(&mut body, TCA_KIND, b"clsact\0");
    netlink.ask(RTM_DELQDISC, ACK, &body).map(drop)
}
