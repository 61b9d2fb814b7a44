//! Classes: rating groups two of them share, classes nothing is ever in, and services that are free over IPv4 only, or
//! over IPv6 only, so that the same service is paid for by whoever reaches it the other way.

use std::collections::HashMap;

use super::expect::{CLASS_WARNINGS, Expect};
use super::findings::Kind;
use super::model::{ListedPrefix, Plan, PrefixSet};
use super::read::RawClass;
use super::special::{Widest, kinds_of};
use crate::diagnostic::{Diagnostics, quote};

/// What the classes are checked against; nothing but rating groups after an error.
pub(super) struct Uses<'a> {
    /// Names of the classes, sorted, which `sets` and `plans` number.
    pub(super) names: Vec<&'a str>,
    pub(super) default_class: usize,
    pub(super) sets: &'a [PrefixSet],
    pub(super) plans: &'a [Plan],
}

/// Warns about the classes.
pub(super) fn check(classes: &[RawClass], uses: Option<&Uses<'_>>, out: &mut Diagnostics) {
    let mut groups: HashMap<u32, &RawClass> = HashMap::new();
    let families = uses.map(Uses::families);
    for class in classes {
        let name = &class.name;
        let mut expect = Expect::class(&name.value, &class.expect);
        if let Some(group) = &class.rating_group {
            let first = *groups.entry(group.value).or_insert(class);
            if !std::ptr::eq(first, class) {
                expect.warn(
                    &group.place,
                    "shared-rating-group",
                    format!(
                        "class {} has the rating group {} of class {} at {}",
                        quote(&name.value),
                        group.value,
                        quote(&first.name.value),
                        first.name.place
                    ),
                    "give each class a rating group of its own, or billing cannot tell the two apart",
                    out,
                );
            }
        }
        if let (Some(uses), Some(families)) = (uses, &families)
            && let Ok(number) = uses.names.binary_search(&name.value.as_str())
        {
            uses.check_class(number, class, families, &mut expect, out);
        }
        let complete = uses.is_some() && !class.broken;
        expect.finish(&CLASS_WARNINGS, complete, &[], out);
    }
}

/// Which address families a class has.
#[derive(Clone, Copy, Default)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Uses<'_> {
    fn families(&self) -> Vec<Families> {
        let mut found = vec![Families::default(); self.names.len()];
        for set in self.sets {
            let class = &mut found[set.class];
            for prefix in &set.prefixes {
                let family = if prefix.net.addr().is_ipv4() {
                    &mut class.v4
                } else {
                    &mut class.v6
                };
                *family = *family || is_service(prefix);
                if class.v4 && class.v6 {
                    break;
                }
            }
        }
        found
    }

    fn check_class(
        &self,
        number: usize,
        class: &RawClass,
        families: &[Families],
        expect: &mut Expect<'_>,
        out: &mut Diagnostics,
    ) {
        let name = &class.name;
        let of_class = |set: &PrefixSet| set.class == number;
        if number != self.default_class && !self.sets.is_empty() && !self.sets.iter().any(of_class)
        {
            expect.warn(
                &name.place,
                "no-set",
                format!(
                    "class {} has no set: nothing is ever in it, and its chains are never reached",
                    quote(&name.value)
                ),
                "add a set, or remove the class",
                out,
            );
        }
        // A policy of one family is for a network of one.
        let both = families.iter().any(|class| class.v4) && families.iter().any(|class| class.v6);
        let free = |plan: &&Plan| plan.is_free(number) && !plan.is_free(self.default_class);
        let Some(plan) = self.plans.iter().find(free).filter(|_| both) else {
            return;
        };
        let (code, has, lacks) = match families[number] {
            Families {
                v4: true,
                v6: false,
            } => ("ipv4-only", "IPv4", "IPv6"),
            Families {
                v4: false,
                v6: true,
            } => ("ipv6-only", "IPv6", "IPv4"),
            _ => return,
        };
        expect.warn(
            &name.place,
            code,
            format!(
                "class {} has {has} prefixes and no {lacks}: who reaches the service over {lacks} pays for it under \
                 plan {}",
                quote(&name.value),
                quote(&plan.name)
            ),
            &format!("list its {lacks} prefixes"),
            out,
        );
    }
}

/// Whether a prefix can be a service's: what never leaves the link is none.
fn is_service(prefix: &ListedPrefix) -> bool {
    kinds_of(&prefix.net, Widest::default()).all(|(kind, _)| {
        !matches!(
            kind,
            Kind::Multicast
                | Kind::LinkLocal
                | Kind::Loopback
                | Kind::Broadcast
                | Kind::Unspecified
        )
    })
}
