//! What one writes first: the kernel's longest-prefix trie for the remote, its hash for the subscriber, and a
//! per-CPU hash that counts bytes and packets by subscriber and class.
//!
//! It knows no plans, no buckets, no suspension and no books; what it leaves out only makes it faster.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{HashMap, LpmTrie, PerCpuHashMap};
use aya_ebpf::macros::btf_map;
use classifier::packet::{Packet, Parsed, parse};

// The sizes are set when the programs are loaded.

/// IPv4 prefix, address in network order, to class.
#[btf_map]
static REMOTES4: LpmTrie<u32, u32, 1> = LpmTrie::new();
/// IPv6 prefix to class.
#[btf_map]
static REMOTES6: LpmTrie<[u64; 2], u32, 1> = LpmTrie::new();
/// IPv4 address to subscriber.
#[btf_map]
static SUBSCRIBERS4: HashMap<u32, u32, 1> = HashMap::new();
/// Upper 56 bits of an IPv6 address to subscriber.
#[btf_map]
static SUBSCRIBERS6: HashMap<u64, u32, 1> = HashMap::new();
/// Subscriber and class to bytes and packets.
#[btf_map]
static COUNTERS: PerCpuHashMap<u64, [u64; 2], 1> = PerCpuHashMap::new();

/// The class of what no prefix names.
const DEFAULT_CLASS: u32 = 0;

/// Classifies a packet that a subscriber sends, and counts it.
#[inline(always)]
pub(crate) fn count<P: Packet>(packet: &P) {
    match parse(packet) {
        Parsed::V4(ip) => {
            let class = REMOTES4.get(&Key::new(32, ip.destination.to_be()));
            // SAFETY: nothing changes the element while programs run.
            let subscriber = unsafe { SUBSCRIBERS4.get(ip.source) };
            add(subscriber, class, ip.bytes);
        }
        Parsed::V6(ip) => {
            let class = REMOTES6.get(&Key::new(128, ip.destination.map(u64::to_be)));
            // SAFETY: as above.
            let subscriber = unsafe { SUBSCRIBERS6.get(ip.source[0] >> 8) };
            add(subscriber, class, ip.bytes);
        }
        Parsed::NonIp | Parsed::Malformed => {}
    }
}

#[inline(always)]
fn add(subscriber: Option<&u32>, class: Option<&u32>, bytes: u32) {
    let Some(subscriber) = subscriber else {
        return;
    };
    let class = class.copied().unwrap_or(DEFAULT_CLASS);
    let key = u64::from(*subscriber) << 32 | u64::from(class);
    match COUNTERS.get_ptr_mut(key) {
        // SAFETY: the CPU's own value.
        Some(counter) => unsafe {
            (*counter)[0] += u64::from(bytes);
            (*counter)[1] += 1;
        },
        None => {
            // A full table loses packets; the bench checks that none is lost.
            let _ = COUNTERS.insert(key, [u64::from(bytes), 1], 0);
        }
    }
}
