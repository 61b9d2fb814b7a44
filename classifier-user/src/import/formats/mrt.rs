//! Routing tables as routers and route collectors dump them (MRT, RFC 6396): TABLE_DUMP_V2 and the older TABLE_DUMP.
//! Read record by record, so that a table of a million routes needs no more memory than its prefixes.
//!
//! BIRD appends each dump to the same file. Where a file has several dumps of one table, which has a name in them, the
//! last one counts: what was withdrawn since the first is not in the list. A default route is in many tables and is no list of anything: it is left out, and told.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::net::IpAddr;

use ipnet::IpNet;

use bgpkit_parser::models::{
    Attributes, MrtMessage, NetworkPrefix, TableDumpMessage, TableDumpV2Message, TableDumpV2Type,
};
use bgpkit_parser::parse_mrt_record;

use crate::diagnostic::Diagnostics;
use crate::import::gathered::Gathered;
use crate::import::input::Input;
use crate::import::request::Key;
use crate::policy::Range;

/// A neighbour: its address and its AS number, as they are chosen by.
struct Peer {
    address: String,
    asn: String,
}

impl Peer {
    fn new(address: IpAddr, asn: u32) -> Self {
        Self {
            address: address.to_string(),
            asn: format!("AS{asn}"),
        }
    }
}

pub(super) fn read(input: &Input, into: &mut Gathered, out: &mut Diagnostics) {
    let bytes = input.bytes();
    let mut rest = Cursor::new(bytes);
    let mut peers: HashMap<u16, Peer> = HashMap::new();
    // What is wanted of the last dump of each table.
    let mut tables: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    let mut table = String::new();
    let mut others = 0_usize;
    while rest.position() < bytes.len() as u64 {
        let begin = rest.position();
        let record = match parse_mrt_record(&mut rest) {
            Ok(record) => record,
            Err(error) => {
                out.error(
                    input.start(),
                    "mrt",
                    format!(
                        "the MRT record at byte {begin} cannot be read: {}",
                        error.error
                    ),
                    "dump the table again: this file was cut off or damaged, or it is no MRT",
                );
                return;
            }
        };
        input.progress.advance(rest.position() - begin);
        match record.message {
            MrtMessage::TableDumpV2Message(TableDumpV2Message::PeerIndexTable(index)) => {
                table.clone_from(&index.view_name);
                tables.insert(index.view_name.clone(), Vec::new());
                peers = index
                    .id_peer_map
                    .iter()
                    .map(|(&id, peer)| (id, Peer::new(peer.peer_ip, peer.peer_asn.to_u32())))
                    .collect();
            }
            MrtMessage::TableDumpV2Message(TableDumpV2Message::RibAfi(rib)) => {
                if is_multicast(rib.rib_type) {
                    into.leave_out("multicast routes");
                    continue;
                }
                let mut wanted = false;
                for entry in &rib.rib_entries {
                    let Some(peer) = peers.get(&entry.peer_index) else {
                        let message = format!(
                            "the MRT record at byte {begin} names neighbour {}, which the table of neighbours lacks",
                            entry.peer_index
                        );
                        out.error(input.start(), "mrt", message, "dump the table again");
                        return;
                    };
                    wanted |= is_wanted(peer, &entry.attributes, into);
                }
                if wanted {
                    tables
                        .entry(table.clone())
                        .or_default()
                        .push(net(&rib.prefix));
                }
            }
            // The older form has no names.
            MrtMessage::TableDumpMessage(message) => {
                let routes = tables.entry(String::new()).or_default();
                routes.extend(old(&message, into));
            }
            MrtMessage::TableDumpMessageBatch(messages) => {
                let routes = tables.entry(String::new()).or_default();
                routes.extend(messages.iter().filter_map(|message| old(message, into)));
            }
            MrtMessage::TableDumpV2Message(_) => into.leave_out("records of other tables"),
            _ => others += 1,
        }
    }
    if tables.is_empty() {
        let message = match others {
            0 => "there is no routing table in it".to_owned(),
            _ => format!("it has {others} messages between routers and no routing table"),
        };
        let help = "use a dump of the table (a RIB), not a log of updates";
        out.error(input.start(), "not-a-list", message, help);
    }
    for net in tables.into_values().flatten() {
        if net.prefix_len() == 0 {
            into.leave_out("default routes");
        } else {
            into.add(Range::of(&net));
        }
    }
}

fn is_multicast(kind: TableDumpV2Type) -> bool {
    matches!(
        kind,
        TableDumpV2Type::RibIpv4Multicast
            | TableDumpV2Type::RibIpv6Multicast
            | TableDumpV2Type::RibIpv4MulticastAddPath
            | TableDumpV2Type::RibIpv6MulticastAddPath
    )
}

fn old(message: &TableDumpMessage, into: &mut Gathered) -> Option<IpNet> {
    let peer = Peer::new(message.peer_ip, message.peer_asn.to_u32());
    is_wanted(&peer, &message.attributes, into).then(|| net(&message.prefix))
}

fn net(prefix: &NetworkPrefix) -> IpNet {
    prefix.prefix.trunc()
}

fn is_wanted(peer: &Peer, attributes: &Attributes, into: &mut Gathered) -> bool {
    let from = into.wants(Key::Peer, [peer.address.as_str(), peer.asn.as_str()]);
    if !into.chooses(Key::Asn) {
        return from;
    }
    // A route that begins in a set of ASes has several origins; one without a path begins here.
    let path = attributes.effective_as_path();
    let origins = path.iter().flat_map(|path| path.iter_origins());
    let origins: Vec<String> = origins.map(|asn| format!("AS{}", asn.to_u32())).collect();
    into.wants(Key::Asn, origins.iter().map(String::as_str)) && from
}
