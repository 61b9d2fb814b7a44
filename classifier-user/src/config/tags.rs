//! `[tags]` of the configuration: which bits of a packet's mark are ours, and what classes are called in them.

use std::collections::BTreeMap;

use classifier::tag::PAYER_BITS;
use serde::Deserialize;

use super::interface::{Interface, Tag};
use super::key::Key;
use crate::accounts::Catalog;
use crate::diagnostic::Diagnostics;
use crate::image::Labels;
use crate::policy::{Place, Policy};

/// Bits of a mark that nobody else is known to use.
const DEFAULT_MASK: u32 = 0x0fff_0000;
/// DSCP code points there are.
const CODE_POINTS: u32 = 64;

/// What packets are told of.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// Bits of the mark that are ours, side by side: the low four say who pays, the others which class.
    mask: Key<u32>,
    /// Numbers of classes: in the mark, or as DSCP.
    classes: BTreeMap<String, Key<u32>>,
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            mask: Key {
                value: DEFAULT_MASK,
                at: None,
            },
            classes: BTreeMap::new(),
        }
    }
}

impl Tags {
    /// The numbers of a node's classes.
    #[must_use]
    pub fn labels(&self, catalog: &Catalog) -> Labels {
        let number = |name: &String| self.classes.get(name).map(|number| number.value);
        Labels {
            mask: self.mask.value,
            classes: catalog
                .classes
                .iter()
                .map(|class| number(&class.name))
                .collect(),
        }
    }

    /// Classes that have a number and are not in the policy: a warning each. The policy may change while the agent runs,
    /// and a number without a class does nothing.
    #[must_use]
    pub fn without_class(&self, policy: &Policy) -> Vec<String> {
        let known = |name: &str| policy.classes.iter().any(|class| class.name == name);
        let names = || {
            let names: Vec<&str> = policy.classes.iter().map(|class| &*class.name).collect();
            names.join(", ")
        };
        let unknown = self.classes.keys().filter(|name| !known(name));
        unknown
            .map(|name| {
                format!(
                    "[tags.classes] of the configuration has a number for `{name}`, and policy {} has no such class: no \
                     packet carries it; there are {}",
                    policy.name,
                    names()
                )
            })
            .collect()
    }

    /// Most a number in the mark can be.
    fn most(&self) -> u32 {
        let bits = self.mask.value.count_ones().saturating_sub(PAYER_BITS);
        ((1_u64 << bits) - 1) as u32
    }
}

/// Checks the section against what interfaces do with it; `place` knows where a byte of the file stands.
pub(super) fn check(
    tags: &Tags,
    interfaces: &[Interface],
    out: &mut Diagnostics,
    place: impl Fn(usize) -> Place,
) {
    let mask = tags.mask.value;
    let whole = mask >> mask.trailing_zeros().min(31);
    if !whole.wrapping_add(1).is_power_of_two() && whole != u32::MAX
        || mask.count_ones() <= PAYER_BITS
    {
        out.error(
            place(tags.mask.at.unwrap_or(0)),
            "config",
            format!("`mask` is 0x{mask:08x}: its bits have to be side by side, and five at least"),
            "four bits say who pays, the others which class: 0x0fff0000 has room for class numbers up to 255",
        );
        return;
    }
    let tagging = |tag: Tag| interfaces.iter().find(|interface| interface.tag() == tag);
    if let (Some(interface), true) = (tagging(Tag::Dscp), tags.classes.is_empty()) {
        out.error(
            place(interface.tag_at().unwrap_or(0)),
            "config",
            format!(
                "interface `{}`: tag = \"dscp\", but no class has a number",
                interface.name
            ),
            "give those classes a DSCP whose packets are to have one, under [tags.classes]",
        );
    }
    for (name, number) in &tags.classes {
        let most = tags.most();
        let (most, what) = match (tagging(Tag::Mark), tagging(Tag::Dscp)) {
            (Some(_), _) if number.value > most => {
                (most, format!("a class in the mask 0x{mask:08x}"))
            }
            (_, Some(_)) if number.value >= CODE_POINTS => (CODE_POINTS - 1, "a DSCP".to_owned()),
            _ => continue,
        };
        out.error(
            place(number.at.unwrap_or(0)),
            "config",
            format!(
                "class `{name}` has the number {}, and {what} is at most {most}",
                number.value
            ),
            "choose a smaller one, or widen `mask` if it is for marks",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The errors of a configuration with these lines for `access0`, for `core0`, and in sections of their own.
    fn errors(access: &str, core: &str, sections: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zerorate.toml");
        let text = format!(
            "node = \"gw-1\"\npolicy = \"/p\"\nsubscribers = \"/s\"\n\
             [[interface]]\nname = \"access0\"\nrole = \"access\"\n{access}\n\
             [[interface]]\nname = \"core0\"\nrole = \"core\"\n{core}\n{sections}\n"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        const MARK: &str = "tag = \"mark\"";
        const DSCP: &str = "tag = \"dscp\"";
        for (access, core, sections, expected) in [
            (
                MARK,
                "",
                "[tags]\nmask = 0xf0f0",
                ":13:8: error: `mask` is 0x0000f0f0: its bits have to be side by side",
            ),
            (MARK, "", "[tags]\nmask = 0x0f", "five at least"),
            (MARK, "", "[tags]\nmask = 0", "five at least"),
            (MARK, "", "[tags]\nmask = 0x80000000", "five at least"),
            (
                MARK,
                "",
                "[tags.classes]\nnews = 256",
                ":13:8: error: class `news` has the number 256, and a class in the mask 0x0fff0000 is at most 255",
            ),
            (
                "",
                DSCP,
                "[tags.classes]\nnews = 64",
                "class `news` has the number 64, and a DSCP is at most 63",
            ),
            (
                DSCP,
                "",
                "",
                ":7:7: error: interface `access0`: tag = \"dscp\", but no class has a number",
            ),
            (
                "downlink = \"egress\"",
                MARK,
                "",
                "11:7: error: interface `core0`: `tag` does nothing where nothing is counted",
            ),
            (
                "downlink = \"egress\"",
                "on_block = \"mark\"",
                "",
                "interface `core0`: `on_block` does nothing where nothing is counted",
            ),
            (
                "",
                "tc = \"tcx\"",
                "",
                "interface `core0`: `tc` says how, but downlink = \"core\" attaches nothing there",
            ),
            (
                "tag = \"colour\"",
                "",
                "",
                "unknown variant `colour`, expected one of `none`, `mark`, `dscp`",
            ),
            (
                MARK,
                "",
                "[tags]\nmark = 1",
                "unknown field `mark`, expected `mask` or `classes`",
            ),
        ] {
            let text = errors(access, core, sections).unwrap_err();
            assert!(
                text.contains(expected),
                "{access}, {core}, {sections}: {text}"
            );
        }
    }

    #[test]
    fn what_can_be_is_taken() {
        for (access, core, sections) in [
            (
                "on_block = \"mark\"\ntc = \"clsact\"",
                "tag = \"mark\"\ntc = \"tcx\"",
                "",
            ),
            (
                "tag = \"mark\"",
                "",
                "[tags]\nmask = 0xffffffff\n[tags.classes]\nnews = 268435455",
            ),
            (
                "tag = \"mark\"",
                "",
                "[tags]\nmask = 0x1f\n[tags.classes]\nnews = 1",
            ),
            // Nobody marks: any number will do.
            ("", "", "[tags.classes]\nnews = 1000"),
            (
                "downlink = \"egress\"\ntag = \"dscp\"",
                "tag = \"none\"",
                "[tags.classes]\nnews = 63",
            ),
        ] {
            let read = errors(access, core, sections);
            assert!(read.is_ok(), "{access}, {core}, {sections}: {read:?}");
        }
    }
}
