//! `zerorate explain` says what the verdict does: random policies, asked at random addresses and times, and packets with these
//! addresses at these times through `zerorate replay`, which judges them as the kernel does.
//!
//! Everybody sends one packet. So what a bucket holds is what its plan grants, and what `explain` says of class, chain, gate
//! and limit comes to one charge.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

/// Noon of some day; bounds of validity are whole hours from it.
const NOON: i64 = 1_767_225_600 + 12 * 3600;
const CLASSES: [&str; 4] = ["free-of-charge", "internet", "messengers", "vital"];
const BUCKETS: [&str; 3] = ["main", "extra", "money"];
const CHAINS: [&str; 8] = [
    "\"free\"",
    "\"metered\"",
    "\"drop\"",
    "[\"main\", \"drop\"]",
    "[\"extra\", \"main\", \"metered\"]",
    "[\"money\", \"extra\", \"free\"]",
    "[\"money\", \"drop\"]",
    "[\"extra\", \"money\", \"main\", \"metered\"]",
];

#[derive(Debug, Clone)]
struct Plan {
    chains: [usize; CLASSES.len()],
    gate: Vec<&'static str>,
    /// Whether `main` and `extra` hold anything; `money` never does before somebody pays.
    full: [bool; 2],
    /// Whether there is a limit to what is billed, and whether it holds anything.
    limit: Option<bool>,
    suspension_ignored: bool,
}

#[derive(Debug, Clone)]
struct Set {
    class: usize,
    /// Hours from noon.
    valid: (Option<i64>, Option<i64>),
    prefixes: Vec<String>,
}

#[derive(Debug, Clone)]
struct Packet {
    plan: usize,
    suspended: bool,
    v6: bool,
    remote: u8,
    /// Microseconds from noon.
    at: i64,
    up: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        prop::array::uniform4(0..CHAINS.len()),
        prop::sample::subsequence(&BUCKETS[..], 0..=2),
        any::<[bool; 2]>(),
        any::<Option<bool>>(),
        any::<bool>(),
    )
        .prop_map(|(chains, gate, full, limit, suspension_ignored)| Plan {
            chains,
            gate,
            full,
            limit,
            suspension_ignored,
        })
}

fn set() -> impl Strategy<Value = Set> {
    let bound = || prop::option::of(-3_i64..3);
    // 31.1.1.0/28 and 2a00:1::/124, in pieces.
    let prefix = (any::<bool>(), 0_u8..16, 0_u8..=5).prop_map(|(v6, host, length)| {
        let (address, length): (IpAddr, u8) = match v6 {
            false => ([31, 1, 1, host].into(), 27 + length),
            true => (
                [0x2a00, 1, 0, 0, 0, 0, 0, u16::from(host)].into(),
                123 + length,
            ),
        };
        let net = ipnet::IpNet::new(address, length).unwrap();
        net.trunc().to_string()
    });
    (
        0..CLASSES.len(),
        bound(),
        bound(),
        prop::collection::vec(prefix, 1..5),
    )
        .prop_map(|(class, from, until, prefixes)| {
            // One that never exists is an error.
            let until = until.filter(|until| from.is_none_or(|from| from < *until));
            Set {
                class,
                valid: (from, until),
                prefixes,
            }
        })
}

fn packet() -> impl Strategy<Value = Packet> {
    // At a bound to the microsecond, just beside one, and anywhere.
    let at = (-4_i64..4, -1_i64..=1, any::<bool>(), 0_i64..3_600_000_000).prop_map(
        |(hour, beside, near, offset)| hour * 3_600_000_000 + if near { beside } else { offset },
    );
    (
        0_usize..2,
        any::<bool>(),
        any::<bool>(),
        0_u8..20,
        at,
        any::<bool>(),
    )
        .prop_map(|(plan, suspended, v6, remote, at, up)| Packet {
            plan,
            suspended,
            v6,
            remote,
            at,
            up,
        })
}

/// The policy, in which a prefix that is in one class already is in no other: when they meet depends on the clock, and that is
/// an error of its own.
fn policy(sets: &[Set], plans: &[Plan]) -> String {
    let mut toml = "name = \"random\"\ndefault_class = \"internet\"\n".to_owned();
    for (number, class) in CLASSES.iter().enumerate() {
        toml += &format!("[classes.{class}]\nrating_group = {}\n", 10 + number);
        toml += &format!("essential = {}\n", *class == "vital");
    }
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, set) in sets.iter().enumerate() {
        let prefixes: Vec<&str> = set
            .prefixes
            .iter()
            .map(String::as_str)
            .filter(|prefix| *classes.entry(prefix).or_insert(set.class) == set.class)
            .collect();
        toml += &format!(
            "[[sets]]\nname = \"s{number}\"\nclass = \"{}\"\nprefixes = {prefixes:?}\n",
            CLASSES[set.class]
        );
        for (key, hours) in [("valid_from", set.valid.0), ("valid_until", set.valid.1)] {
            if let Some(hours) = hours {
                let time = Timestamp::from_second(NOON + hours * 3600).unwrap();
                toml += &format!("{key} = {time}\n");
            }
        }
    }
    for (number, plan) in plans.iter().enumerate() {
        toml += &format!("[plans.p{number}]\n");
        if !plan.gate.is_empty() {
            toml += &format!("gate = {:?}\n", plan.gate);
        }
        if plan.limit.is_some() {
            toml += "settlement = \"credit\"\n";
        }
        if plan.suspension_ignored {
            toml += "suspension = \"ignore\"\n";
        }
        let grant = |full: bool| if full { "1GB" } else { "0" };
        toml += &format!(
            "[plans.p{number}.buckets]\nmain = \"{}\"\nextra = \"{}\"\nmoney = {{ price = \"1 KZT/MB\" }}\n",
            grant(plan.full[0]),
            grant(plan.full[1])
        );
        if let Some(full) = plan.limit {
            toml += &format!("limit = \"{}\"\n", grant(full));
        }
        toml += &format!("[plans.p{number}.charge]\n");
        for (class, chain) in CLASSES.iter().zip(plan.chains) {
            toml += &format!("{class} = {}\n", CHAINS[chain]);
        }
    }
    toml
}

fn remote(packet: &Packet) -> IpAddr {
    match packet.v6 {
        false => [31, 1, 1, packet.remote].into(),
        true => [0x2a00, 1, 0, 0, 0, 0, 0, u16::from(packet.remote)].into(),
    }
}

fn subscriber(number: usize, v6: bool) -> IpAddr {
    let number = u8::try_from(number).unwrap() + 1;
    match v6 {
        false => [100, 64, 0, number].into(),
        true => [0x2a01, u16::from(number), 0, 0, 0, 0, 0, 1].into(),
    }
}

/// A capture of raw IP packets (pcap, link type 101), each a header and nothing else.
fn capture(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 101_u32] {
        file.extend(word.to_le_bytes());
    }
    for (number, packet) in packets.iter().enumerate() {
        let (near, far) = (subscriber(number, packet.v6), remote(packet));
        let (from, to) = if packet.up { (near, far) } else { (far, near) };
        let mut frame = match packet.v6 {
            false => vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0],
            true => vec![0x60, 0, 0, 0, 0, 0, 59, 64],
        };
        for address in [from, to] {
            match address {
                IpAddr::V4(address) => frame.extend(address.octets()),
                IpAddr::V6(address) => frame.extend(address.octets()),
            }
        }
        let micros = NOON * 1_000_000 + packet.at;
        let length = u32::try_from(frame.len()).unwrap();
        for word in [
            u32::try_from(micros / 1_000_000).unwrap(),
            u32::try_from(micros % 1_000_000).unwrap(),
            length,
            length,
        ] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

/// What a command prints, an object a line.
fn zerorate(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_zerorate"))
        .args(arguments)
        .args(["--format", "json"])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Who pays, by what `explain` says of the class and the plan, and what the plan's buckets hold.
fn charged(class: &Value, charge: &Value, holds: &BTreeSet<&str>, suspended: bool) -> String {
    let words = |key: &str| -> Vec<&str> {
        let list = charge[key].as_array().unwrap();
        list.iter().map(|word| word.as_str().unwrap()).collect()
    };
    let chain = words("chain");
    let shut = match class["essential"].as_bool().unwrap() {
        true => "free",
        false => "dropped",
    };
    if suspended && charge["when_suspended"] == "drop" {
        return "dropped".to_owned();
    }
    if chain == ["free"] {
        return "free".to_owned();
    }
    let gate = words("gate");
    if !gate.is_empty() && gate.iter().all(|bucket| !holds.contains(bucket)) {
        return shut.to_owned();
    }
    let (end, buckets) = chain.split_last().unwrap();
    if let Some(payer) = buckets.iter().find(|bucket| holds.contains(*bucket)) {
        return (*payer).to_owned();
    }
    let over_limit = charge["limit"]
        .as_str()
        .is_some_and(|limit| !holds.contains(limit));
    match *end {
        "metered" if over_limit => shut.to_owned(),
        "drop" => shut.to_owned(),
        end => end.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn explain_says_what_the_verdict_does(
        sets in prop::collection::vec(set(), 1..6),
        plans in prop::collection::vec(plan(), 2),
        packets in prop::collection::vec(packet(), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let text = policy(&sets, &plans);
        fs::create_dir(dir.path().join("policy")).unwrap();
        fs::write(dir.path().join("policy/policy.toml"), &text).unwrap();
        let mut list = "id,plan,state,addresses\n".to_owned();
        for (number, packet) in packets.iter().enumerate() {
            let state = if packet.suspended { "suspended" } else { "active" };
            let address = subscriber(number, packet.v6);
            list += &format!("s{number},p{},{state},{address}\n", packet.plan);
        }
        fs::write(dir.path().join("subscribers.csv"), list).unwrap();
        fs::write(dir.path().join("packets.pcap"), capture(&packets)).unwrap();
        let replay = ["replay", "--policy", "policy", "--subscribers", "subscribers.csv", "--pcap", "packets.pcap"];
        let rows = zerorate(dir.path(), &replay);
        for (number, packet) in packets.iter().enumerate() {
            let name = format!("s{number}");
            let rows: Vec<&Value> = rows.iter().filter(|row| row["subscriber"] == *name).collect();
            prop_assert_eq!(rows.len(), 1, "one packet, one row: {:?}", rows);
            let at = Timestamp::from_microsecond(NOON * 1_000_000 + packet.at).unwrap().to_string();
            let address = remote(packet).to_string();
            let plan = format!("p{}", packet.plan);
            let asked = ["explain", "policy", "--remote", &address, "--plan", &plan, "--at", &at];
            let said = zerorate(dir.path(), &asked);
            let is_full = plans[packet.plan].full;
            let limit = plans[packet.plan].limit == Some(true);
            let holds: BTreeSet<&str> = [("main", is_full[0]), ("extra", is_full[1]), ("limit", limit)]
                .into_iter()
                .filter_map(|(bucket, full)| full.then_some(bucket))
                .collect();
            let expected = charged(&said[0], &said[1], &holds, packet.suspended);
            let shown = format!("{packet:?}\n{text}\n{said:?}");
            prop_assert_eq!(&rows[0]["class"], &said[0]["class"], "{}", shown);
            prop_assert_eq!(&rows[0]["rating_group"], &said[0]["rating_group"], "{}", shown);
            prop_assert_eq!(rows[0]["charged"].as_str().unwrap(), expected, "{}", shown);
        }
    }
}
