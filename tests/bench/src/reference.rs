//! The reference's maps: what it looks up in, and what it counted.

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, PerCpuHashMap};
use ipnet::IpNet;

use crate::lab::Lab;
use crate::tables::Family;
use crate::world::{Counted, World};

/// Puts a world's prefixes and subscribers into the reference's trie and hash.
pub(crate) fn fill(lab: &mut Lab, world: &World) -> Result<()> {
    let programs = &mut lab.programs;
    match world.size.family {
        Family::V4 => {
            let mut trie: LpmTrie<_, u32, u32> = map(programs, "REMOTES4")?.try_into()?;
            for (net, class) in &world.prefixes {
                if let IpNet::V4(net) = net {
                    let key = Key::new(net.prefix_len().into(), net.network().to_bits().to_be());
                    trie.insert(&key, class, 0)?;
                }
            }
            let mut hash: HashMap<_, u32, u32> = map(programs, "SUBSCRIBERS4")?.try_into()?;
            for (number, (net, _)) in world.subscribers.iter().enumerate() {
                if let IpNet::V4(net) = net {
                    hash.insert(net.network().to_bits(), number as u32, 0)?;
                }
            }
        }
        Family::V6 => {
            let mut trie: LpmTrie<_, [u8; 16], u32> = map(programs, "REMOTES6")?.try_into()?;
            for (net, class) in &world.prefixes {
                if let IpNet::V6(net) = net {
                    let key = Key::new(net.prefix_len().into(), net.network().octets());
                    trie.insert(&key, class, 0)?;
                }
            }
            let mut hash: HashMap<_, u64, u32> = map(programs, "SUBSCRIBERS6")?.try_into()?;
            for (number, (net, _)) in world.subscribers.iter().enumerate() {
                if let IpNet::V6(net) = net {
                    let upper = (net.network().to_bits() >> 72) as u64;
                    hash.insert(upper, number as u32, 0)?;
                }
            }
        }
    }
    Ok(())
}

fn map<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    programs
        .map_mut(name)
        .with_context(|| format!("the bench's object has no map `{name}`"))
}

/// What it counted, by class.
pub(crate) fn counted(lab: &Lab) -> Result<Counted> {
    let map = lab
        .programs
        .map("COUNTERS")
        .context("the bench's object has no counters")?;
    let counters: PerCpuHashMap<_, u64, [u64; 2]> = map.try_into()?;
    let mut counted = Counted::default();
    for entry in counters.iter() {
        let (key, values) = entry?;
        let sum = &mut counted.0[(key & 0xffff_ffff) as usize];
        for [bytes, packets] in values.iter() {
            sum[0] += bytes;
            sum[1] += packets;
        }
    }
    Ok(counted)
}
