//! The kernel calls aya has no safe wrapper for, each behind a safe function: maps whose size is chosen at
//! run time, arrays of maps, and memory shared with a map. The only unsafe code of user space.

#![expect(unsafe_code, reason = "system calls and memory shared with the kernel")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info, bpf_map_type,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `BPF_F_MMAPABLE` (Linux 5.5).
const MMAPABLE: u32 = 1024;
/// Bytes of an array's index.
const INDEX_BYTES: u32 = 4;

/// Shape of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape<'a> {
    /// Name, at most 15 bytes of it are kept by the kernel.
    pub name: &'a CStr,
    /// Kind of map.
    pub kind: Kind,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// Number of elements.
    pub entries: u32,
}

/// Kinds of map this program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An array that can be mapped into memory.
    Shared,
    /// An array.
    Plain,
    /// An array with a value for each CPU.
    PerCpu,
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attr` is a whole, zero-extended attribute union of the size that is given; pointers in it
    // outlive the call at every caller below.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            ptr::from_mut(attr),
            mem::size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn new_map(attr: &mut bpf_attr, name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the union was zeroed, and this is the member that BPF_MAP_CREATE reads.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    let kept = name.to_bytes().len().min(create.map_name.len() - 1);
    for (to, from) in create.map_name.iter_mut().zip(&name.to_bytes()[..kept]) {
        *to = *from as _;
    }
    let fd = bpf(bpf_cmd::BPF_MAP_CREATE, attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain numbers, for which all zeroes is a value.
    unsafe { mem::zeroed() }
}

/// Makes an array map.
pub fn create_array(shape: Shape<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_CREATE reads.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = match shape.kind {
        Kind::Shared | Kind::Plain => bpf_map_type::BPF_MAP_TYPE_ARRAY,
        Kind::PerCpu => bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY,
    } as u32;
    create.map_flags = if shape.kind == Kind::Shared {
        MMAPABLE
    } else {
        0
    };
    create.key_size = INDEX_BYTES;
    create.value_size = shape.value_bytes;
    create.max_entries = shape.entries;
    new_map(&mut attr, shape.name)
}

/// Makes a hash table of so many entries at most, which takes memory for those it has.
pub fn create_hash(
    name: &CStr,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
) -> io::Result<OwnedFd> {
    const BPF_F_NO_PREALLOC: u32 = 1;
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_CREATE reads.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = bpf_map_type::BPF_MAP_TYPE_HASH as u32;
    create.map_flags = BPF_F_NO_PREALLOC;
    create.key_size = key_bytes;
    create.value_size = value_bytes;
    create.max_entries = entries;
    new_map(&mut attr, name)
}

/// Makes a ring buffer (Linux 5.8) of so many bytes.
pub fn create_ring(name: &CStr, bytes: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_CREATE reads.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32;
    create.max_entries = bytes;
    new_map(&mut attr, name)
}

/// Waits for a descriptor of ours to be readable.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor, which nobody closes or exchanges before it is taken out of the set that is waited
    // for, when this value is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    Ok(registered?)
}

/// Makes an array of maps like `inner`.
pub fn create_array_of_maps(name: &CStr, entries: u32, inner: impl AsFd) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_CREATE reads.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS as u32;
    create.key_size = INDEX_BYTES;
    create.value_size = 4;
    create.max_entries = entries;
    create.inner_map_fd = inner.as_fd().as_raw_fd() as u32;
    new_map(&mut attr, name)
}

/// Puts a map, or a value of any array, into an element. For an array of maps the kernel returns only after
/// every program that may still use the element's old map has finished.
pub fn update(map: impl AsFd, index: u32, value: &[u8]) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_UPDATE_ELEM reads.
    let update = unsafe { &mut attr.__bindgen_anon_2 };
    update.map_fd = map.as_fd().as_raw_fd() as u32;
    update.key = ptr::from_ref(&index) as u64;
    update.__bindgen_anon_1.value = value.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// Puts `inner` into an element of an array of maps.
pub fn set_inner(outer: impl AsFd, index: u32, inner: impl AsFd) -> io::Result<()> {
    update(outer, index, &inner.as_fd().as_raw_fd().to_ne_bytes())
}

/// Whether an element of an array of maps holds one.
pub fn has_inner(outer: impl AsFd, index: u32) -> io::Result<bool> {
    inner_id(outer, index).map(|id| id.is_some())
}

/// The kernel's id of the map in an element of an array of maps.
pub fn inner_id(outer: impl AsFd, index: u32) -> io::Result<Option<u32>> {
    let mut id = 0_u32;
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_MAP_LOOKUP_ELEM reads.
    let lookup = unsafe { &mut attr.__bindgen_anon_2 };
    lookup.map_fd = outer.as_fd().as_raw_fd() as u32;
    lookup.key = ptr::from_ref(&index) as u64;
    lookup.__bindgen_anon_1.value = ptr::from_mut(&mut id) as u64;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(Some(id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn path_of(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Pins a map or link under a path of a BPF file system.
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let path = path_of(path)?;
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_OBJ_PIN reads.
    let pin = unsafe { &mut attr.__bindgen_anon_4 };
    pin.bpf_fd = object.as_fd().as_raw_fd() as u32;
    pin.pathname = path.as_ptr() as u64;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// Opens what is pinned under a path.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = path_of(path)?;
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_OBJ_GET reads.
    let open = unsafe { &mut attr.__bindgen_anon_4 };
    open.pathname = path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// How XDP is attached (`XDP_FLAGS_*` of linux/if_link.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum XdpMode {
    /// In the stack.
    Generic = 1 << 1,
    /// In the driver.
    Native = 1 << 2,
}

/// Attaches an XDP program to an interface by a link (Linux 5.9). The interface keeps it for as long as the link
/// is open or pinned.
pub fn create_xdp_link(program: impl AsFd, ifindex: u32, mode: XdpMode) -> io::Result<OwnedFd> {
    create_link(program, ifindex, bpf_attach_type::BPF_XDP, mode as u32)
}

/// Attaches a tc program to an interface's egress, or its ingress, by a link (tcx, Linux 6.6), before all that are
/// there.
pub fn create_tcx_link(program: impl AsFd, ifindex: u32, egress: bool) -> io::Result<OwnedFd> {
    const BPF_F_BEFORE: u32 = 1 << 3;
    let kind = if egress {
        bpf_attach_type::BPF_TCX_EGRESS
    } else {
        bpf_attach_type::BPF_TCX_INGRESS
    };
    create_link(program, ifindex, kind, BPF_F_BEFORE)
}

fn create_link(
    program: impl AsFd,
    ifindex: u32,
    kind: bpf_attach_type,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_LINK_CREATE reads.
    let create = unsafe { &mut attr.link_create };
    create.__bindgen_anon_1.prog_fd = program.as_fd().as_raw_fd() as u32;
    create.__bindgen_anon_2.target_ifindex = ifindex;
    create.attach_type = kind as u32;
    create.flags = flags;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Puts another program in a link's place: each packet meets the one or the other.
pub fn update_link(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_LINK_UPDATE reads.
    let update = unsafe { &mut attr.link_update };
    update.link_fd = link.as_fd().as_raw_fd() as u32;
    update.__bindgen_anon_1.new_prog_fd = program.as_fd().as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Takes a link's program off its interface, whoever else holds the link (Linux 5.9).
pub fn detach_link(link: impl AsFd) -> io::Result<()> {
    let mut attr = zeroed();
    attr.link_detach.link_fd = link.as_fd().as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// The kernel's id of a map.
pub fn map_id(map: impl AsFd) -> io::Result<u32> {
    // SAFETY: a struct of plain numbers, for which all zeroes is a value.
    let mut info: bpf_map_info = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_OBJ_GET_INFO_BY_FD reads.
    let query = unsafe { &mut attr.info };
    query.bpf_fd = map.as_fd().as_raw_fd() as u32;
    query.info_len = mem::size_of::<bpf_map_info>() as u32;
    query.info = ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.id)
}

/// The interface an XDP or tcx link is attached to; 0 once that is gone.
pub fn link_ifindex(link: impl AsFd) -> io::Result<u32> {
    // SAFETY: a struct of plain numbers, for which all zeroes is a value.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    let mut attr = zeroed();
    // SAFETY: zeroed above; the member BPF_OBJ_GET_INFO_BY_FD reads.
    let query = unsafe { &mut attr.info };
    query.bpf_fd = link.as_fd().as_raw_fd() as u32;
    query.info_len = mem::size_of::<bpf_link_info>() as u32;
    query.info = ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: the kernel filled in the member that belongs to the link's type. We make XDP and tcx links; in the
    // members of both the interface stands first.
    Ok(unsafe { info.__bindgen_anon_1.xdp.ifindex })
}

/// Memory of a [`Kind::Shared`] map, for as long as this value lives.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is shared with the kernel and only reached through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `bytes` bytes of a map's memory, a multiple of eight.
    pub fn new(map: impl AsFd, bytes: usize) -> io::Result<Self> {
        // SAFETY: a new shared mapping of a descriptor we hold; the kernel refuses a length that is not the
        // map's.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self {
            start,
            words: bytes / 8,
        })
    }

    /// The memory as 64-bit words.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for the lifetime of `self`, page-aligned, of this length; all access is atomic.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, and nothing borrows it any more. Unmapping our own memory cannot
        // fail.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}
