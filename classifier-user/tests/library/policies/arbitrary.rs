//! Policies and subscribers that chance wrote: damaged ones are read or refused with a place, and what is looked up agrees with
//! a scan.

use std::fs;
use std::net::IpAddr;

use proptest::prelude::*;
use zerorate::policy::{self, Checked};
use zerorate::subscribers;

use super::{BEGINNING, LIST, SHIFOKOR, class_at, write};

fn arbitrary_prefix() -> impl Strategy<Value = String> {
    (any::<bool>(), 0u8..4, 0u8..16, 0u8..=6).prop_map(|(v6, net, host, length)| {
        let (address, length): (IpAddr, u8) = if v6 {
            (
                [0x2a00, u16::from(net), u16::from(host) << 12, 0, 0, 0, 0, 0].into(),
                30 + length,
            )
        } else {
            ([11, net, host << 4, 0].into(), 14 + length)
        };
        ipnet::IpNet::new(address, length)
            .unwrap()
            .trunc()
            .to_string()
    })
}

/// `text` with some of its characters replaced.
fn damaged(text: &'static str) -> impl Strategy<Value = String> {
    let junk = prop_oneof![
        "[ -~\n\r\"#\\[\\]{}=,./:]{0,6}",
        ".{0,3}",
        Just("\u{feff}".to_owned())
    ];
    (0..text.len(), 0usize..40, junk).prop_map(move |(at, length, junk)| {
        let end = (at + length).min(text.len());
        format!("{}{junk}{}", &text[..at], &text[end..])
    })
}

const SUBSCRIBERS: &str = "id,plan,state,addresses\n\
                           alice,shifokor,active,192.0.2.1 2001:db8:1::/56\n\
                           \"bob\",debtor,suspended,\"10.0.0.0/29\"\n";

proptest! {
    /// Whatever a file holds, it is read, or refused with at least one error whose place is in it.
    #[test]
    fn damaged_files_are_read_or_refused(
        toml in damaged(SHIFOKOR),
        list in damaged(LIST),
        csv in damaged(SUBSCRIBERS),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subscribers.csv");
        let lines = |text: &str| 1 + text.matches('\n').count();
        let told = |errors: &zerorate::diagnostic::Diagnostics, most: usize| {
            errors.errors() > 0 && errors.iter().all(|one| one.place.line as usize <= most)
        };
        fs::write(dir.path().join("state-portals.txt"), &list).unwrap();
        fs::write(dir.path().join("policy.toml"), &toml).unwrap();
        if let Err(errors) = policy::load(dir.path()) {
            prop_assert!(told(&errors, lines(&toml).max(lines(&list))), "{errors}");
        }
        write(dir.path(), SHIFOKOR);
        let checked = policy::load(dir.path()).unwrap();
        fs::write(&file, &csv).unwrap();
        if let Err(errors) = subscribers::load(&file, &checked.policy) {
            prop_assert!(told(&errors, lines(&csv)), "{errors}");
        }
    }

    /// The class of an address, against a scan over the text of the policy by other means.
    #[test]
    fn class_of_agrees_with_a_scan(
        lists in prop::collection::vec(prop::collection::vec(arbitrary_prefix(), 0..6), 2),
        probe in arbitrary_prefix(),
    ) {
        let mut toml = "name = \"x\"\ndefault_class = \"c9\"\n[classes.c9]\n".to_owned();
        toml += "rating_group = 9\n";
        for (n, prefixes) in lists.iter().enumerate() {
            toml += &format!(
                "[classes.c{n}]\nrating_group = {n}\n\
                 [[sets]]\nname = \"s{n}\"\nclass = \"c{n}\"\nprefixes = {prefixes:?}\n"
            );
        }
        let clash = lists[0].iter().find(|prefix| lists[1].contains(prefix));
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &toml);
        match policy::load(dir.path()) {
            Ok(Checked { policy, .. }) => {
                prop_assert_eq!(clash, None);
                let probe: ipnet::IpNet = probe.parse().unwrap();
                let mut best = (None, "c9".to_owned());
                for (n, prefixes) in lists.iter().enumerate() {
                    for net in prefixes.iter().map(|p| p.parse::<ipnet::IpNet>().unwrap()) {
                        if net.contains(&probe.addr()) && best.0 < Some(net.prefix_len()) {
                            best = (Some(net.prefix_len()), format!("c{n}"));
                        }
                    }
                }
                prop_assert_eq!(class_at(&policy, &probe.addr().to_string(), BEGINNING), best.1);
            }
            Err(errors) => prop_assert!(clash.is_some(), "{}", errors),
        }
    }
}
