//! A policy and subscribers for a capture: real lists, and some of the addresses that occur in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use zerorate_tests::oracle::{Address, Captured, Prefix, Reading, read_frame};

/// Classes, the lists each is made of (below `prefixes/`), and whether it is essential.
const CLASSES: [(&str, &[&str], bool); 6] = [
    ("government", &[], true),
    (
        "messengers",
        &["services/telegram-ipv4.txt", "services/telegram-ipv6.txt"],
        false,
    ),
    (
        "social",
        &[
            "services/facebook-ipv4.txt",
            "services/facebook-ipv6.txt",
            "services/twitter-ipv4.txt",
            "services/twitter-ipv6.txt",
        ],
        false,
    ),
    (
        "cloud",
        &[
            "services/cloudflare-ipv4.txt",
            "services/google-ipv4.txt",
            "services/google-ipv6.txt",
        ],
        false,
    ),
    ("exchange", &["ix/tasix-2016-django-tasix.txt"], false),
    (
        "country",
        &[
            "country/kz-ipv4.txt",
            "country/kz-ipv6.txt",
            "country/uz-ipv4.txt",
            "country/uz-ipv6.txt",
        ],
        false,
    ),
];

const PLANS: &str = r#"
[plans.open.charge]
government = "free"
"*" = "metered"
[plans.gated]
gate = ["main", "balance"]
count = "down"
[plans.gated.buckets]
main = "20kB"
chat = "5kB"
balance = { price = "630 UZS/MB" }
[plans.gated.charge]
government = "free"
messengers = ["chat", "main", "balance", "drop"]
social = ["chat", "metered"]
"*" = ["main", "balance", "drop"]
[plans.chained.buckets]
first = "1kB"
second = "100B"
third = "3KiB"
fourth = "1MB"
[plans.chained.charge]
government = ["fourth", "drop"]
country = ["fourth", "third", "second", "first", "free"]
"*" = ["first", "second", "third", "fourth", "drop"]
[plans.safe]
suspension = "ignore"
count = "up"
[plans.safe.buckets]
main = "2kB"
[plans.safe.charge]
government = "free"
"*" = ["main", "drop"]
"#;

/// The published lists, each prefix in the first class that names it.
pub(crate) struct Lists(BTreeMap<&'static str, BTreeSet<Prefix>>);

impl Lists {
    /// Reads them from the folder `prefixes`.
    pub(crate) fn read(folder: &Path) -> Self {
        let mut taken = BTreeSet::new();
        let mut lists = BTreeMap::new();
        for (class, files, _) in CLASSES {
            let mut prefixes = BTreeSet::new();
            for file in files {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let lines = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or_default().trim());
                for line in lines.filter(|line| !line.is_empty()) {
                    let prefix = Prefix::parse(line).expect("a prefix");
                    if taken.insert(prefix) {
                        prefixes.insert(prefix);
                    }
                }
            }
            lists.insert(class, prefixes);
        }
        Self(lists)
    }
}

/// Where the policy and the subscribers for one capture lie.
pub(crate) struct Town {
    pub(crate) policy: PathBuf,
    pub(crate) subscribers: PathBuf,
}

impl Town {
    /// Writes them for these packets.
    pub(crate) fn around(lists: &Lists, packets: &[Captured], folder: &Path) -> Self {
        let addresses: Vec<Address> = packets
            .iter()
            .filter_map(|packet| read_frame(packet.link, &packet.bytes, packet.original).ok())
            .filter_map(|reading| match reading {
                Reading::Ip(packet) => Some([packet.source, packet.destination]),
                _ => None,
            })
            .flatten()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let middle = packets
            .get(packets.len() / 2)
            .map_or(0, |packet| packet.time);
        let town = Self {
            policy: folder.join("policy"),
            subscribers: folder.join("subscribers.csv"),
        };
        std::fs::create_dir(&town.policy).expect("a new folder");
        write_policy(&town.policy, lists, &addresses, middle);
        std::fs::write(&town.subscribers, subscribers(&addresses)).expect("the subscribers");
        town
    }
}

/// The lists for all time; and every third address that occurs in a class of its own accord, half of
/// them only until, and half only from, the middle of the capture.
fn write_policy(folder: &Path, lists: &Lists, addresses: &[Address], middle: i128) {
    let mut text =
        String::from("name = \"captures\"\nbasis = \"Real lists, and what was captured\"\n");
    text += "default_class = \"internet\"\n[classes.internet]\nrating_group = 1\n";
    let mut taken: BTreeSet<Prefix> = BTreeSet::new();
    for (number, (class, _, essential)) in CLASSES.iter().enumerate() {
        let rating_group = (number + 1) * 10;
        let _ = writeln!(
            text,
            "[classes.{class}]\nrating_group = {rating_group}\nessential = {essential}"
        );
        let prefixes = &lists.0[class];
        taken.extend(prefixes);
        if prefixes.is_empty() {
            continue;
        }
        let _ = writeln!(
            text,
            "[[sets]]\nname = \"{class}-list\"\nclass = \"{class}\""
        );
        let _ = writeln!(text, "source = \"published\"\nfile = \"{class}.txt\"");
        let list: String = prefixes
            .iter()
            .map(|prefix| format!("{prefix}\n"))
            .collect();
        std::fs::write(folder.join(format!("{class}.txt")), list).expect("a list");
    }
    let middle = jiff::Timestamp::from_nanosecond(middle).expect("a time of these centuries");
    let hosts = addresses
        .iter()
        .skip(1)
        .step_by(3)
        .map(|address| Prefix::around(*address, address.width()));
    for (number, prefix) in hosts.filter(|prefix| !taken.contains(prefix)).enumerate() {
        let class = CLASSES[number % CLASSES.len()].0;
        let _ = writeln!(
            text,
            "[[sets]]\nname = \"seen-{number}\"\nclass = \"{class}\""
        );
        let _ = writeln!(text, "source = \"captured\"\nprefixes = [\"{prefix}\"]");
        match number % 4 {
            0 => {
                let _ = writeln!(text, "valid_until = {middle}");
            }
            1 => {
                let _ = writeln!(text, "valid_from = {middle}");
            }
            _ => {}
        }
    }
    text += PLANS;
    std::fs::write(folder.join("policy.toml"), text).expect("the policy");
}

/// Every third address that occurs is a subscriber's, some with the network around it.
fn subscribers(addresses: &[Address]) -> String {
    let mut text = String::from("id,plan,state,addresses\n");
    let mut taken: Vec<Prefix> = Vec::new();
    for (number, address) in addresses.iter().step_by(3).take(300).enumerate() {
        let length = match (number % 5, address.v6) {
            (0, false) => 24,
            (1, false) => 29,
            (_, false) => 32,
            (0, true) => 56,
            (1, true) => 64,
            (_, true) => 128,
        };
        let prefix = Prefix::around(*address, length);
        if taken.iter().any(|other| other.overlaps(&prefix)) {
            continue;
        }
        taken.push(prefix);
        let plan = ["gated", "open", "chained", "safe"][number % 4];
        let state = if number % 7 == 3 {
            "suspended"
        } else {
            "active"
        };
        let _ = writeln!(text, "s{number},{plan},{state},{prefix}");
    }
    text
}
