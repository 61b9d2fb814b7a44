//! Prefixes inside prefixes of other sets: one inside a free prefix of another class, where who pays changes for a
//! part of what looks free (a hole), and sets that change nothing since others of their class hold all they have.

use std::collections::HashMap;

use super::findings::{Findings, Kind};
use super::model::{Class, Place, Plan, PrefixSet};
use super::overlap::{Item, listed};
use super::prefix::Range;
use super::space::{Space, thousands};
use super::special::{Widest, is_special};
use crate::diagnostic::quote;

/// What is checked of the sets, whose prefixes are `items`, sorted by address and the longer ones last.
pub(super) struct Nesting<'a> {
    pub(super) sets: &'a [PrefixSet],
    pub(super) classes: &'a [Class],
    /// Plans without errors, or none.
    pub(super) plans: &'a [Plan],
    /// Where each set begins.
    pub(super) places: &'a [&'a Place],
    /// How wide each set may be.
    pub(super) widest: &'a [Widest],
}

/// What is learned of one set while its prefixes go by.
#[derive(Clone, Default)]
struct Learned {
    /// Prefixes that decide nothing, since those around them of their class do.
    idle: usize,
    /// A set that holds one of these.
    around: Option<u32>,
    /// Ordinary address space.
    space: Space,
    /// Where the prefix ends that was counted last.
    end: Option<(bool, u128)>,
}

impl Nesting<'_> {
    /// Notes holes, sets that are swallowed, and sets that are wide as a whole.
    pub(super) fn check(&self, items: &[Item], findings: &mut [Findings]) {
        let mut learned = vec![Learned::default(); self.sets.len()];
        let mut holes = Holes::new(self.plans);
        let mut open: Vec<Item> = Vec::new();
        for &item in items {
            let range = Range::of(&listed(self.sets, item).net);
            while let Some(outer) = open.last() {
                if Range::of(&listed(self.sets, *outer).net).contains(&range) {
                    break;
                }
                open.pop();
            }
            let around = open.iter().rev().filter(|outer| outer.key() != item.key());
            if let Some(outer) = around.clone().find(|outer| self.meet(outer, &item)) {
                self.note_hole(item, *outer, &mut holes, findings);
            }
            let about = &mut learned[item.set as usize];
            if let Some(outer) = self.idle_inside(item, around) {
                about.idle += 1;
                about.around = Some(outer.set);
            }
            about.count(&range);
            open.push(item);
        }
        for (number, about) in learned.iter().enumerate() {
            self.note_swallowed(number, about, findings);
            self.note_wide(number, about, findings);
        }
    }

    fn set(&self, item: &Item) -> &PrefixSet {
        &self.sets[item.set as usize]
    }

    /// Whether both exist at one time.
    fn meet(&self, a: &Item, b: &Item) -> bool {
        self.set(a).validity.overlaps(&self.set(b).validity)
    }

    fn note_hole(
        &self,
        inner: Item,
        outer: Item,
        holes: &mut Holes<'_>,
        findings: &mut [Findings],
    ) {
        let (inside, outside) = (self.set(&inner).class, self.set(&outer).class);
        let Some(plan) = holes.plan(outside, inside) else {
            return;
        };
        let (prefix, around) = (listed(self.sets, inner), listed(self.sets, outer));
        findings[inner.set as usize].note(Kind::Hole, &prefix.place, || {
            format!(
                "{} is not free under plan {}, inside {} of class {}, which is, at {}: a hole",
                prefix.net,
                quote(&plan.name),
                around.net,
                quote(&self.classes[outside].name),
                around.place
            )
        });
    }

    /// The prefix of another set, of its class and whenever it exists, inside which `item` decides nothing.
    fn idle_inside<'i>(
        &self,
        item: Item,
        around: impl Iterator<Item = &'i Item>,
    ) -> Option<&'i Item> {
        let own = self.set(&item);
        for outer in around {
            let other = self.set(outer);
            if !self.meet(outer, &item) {
                continue;
            }
            if other.class != own.class {
                return None;
            }
            if outer.set != item.set && other.validity.covers(&own.validity) {
                return Some(outer);
            }
        }
        None
    }

    fn note_swallowed(&self, number: usize, about: &Learned, findings: &mut [Findings]) {
        let set = &self.sets[number];
        if about.idle == set.prefixes.len()
            && let Some(around) = about.around
        {
            let other = quote(&self.sets[around as usize].name);
            findings[number].note(Kind::Swallowed, self.places[number], || {
                format!(
                    "it decides nothing: prefixes of its class hold all of it, as in set {other}"
                )
            });
        }
    }

    fn note_wide(&self, number: usize, about: &Learned, findings: &mut [Findings]) {
        let found = &mut findings[number];
        let (space, widest) = (about.space, self.widest[number]);
        let most = |bits: u32, length: u8| 1_u128.checked_shl(bits - u32::from(length));
        let wide4 = most(32, widest.v4).is_some_and(|most| space.v4 > most);
        let wide6 = most(128, widest.v6).is_some_and(|most| space.v6 > most);
        if found.has(Kind::Wide) || found.has(Kind::DefaultRoute) || !(wide4 || wide6) {
            return;
        }
        found.note(Kind::Wide, self.places[number], || {
            if wide4 {
                let addresses = thousands(space.v4);
                format!(
                    "it has {addresses} IPv4 addresses, more than a /{}",
                    widest.v4
                )
            } else {
                format!("it has more IPv6 addresses than a /{}", widest.v6)
            }
        });
    }
}

impl Learned {
    /// Counts a prefix, unless an earlier one of the set holds it.
    fn count(&mut self, range: &Range) {
        let inside = self
            .end
            .is_some_and(|(v6, last)| v6 == range.v6 && range.first <= last);
        if !inside {
            self.end = Some((range.v6, range.last));
            if !is_special(range) {
                self.space
                    .add(range.v6, (range.last - range.first).saturating_add(1));
            }
        }
    }
}

/// Which classes are holes in which, each pair looked at once.
struct Holes<'a> {
    plans: &'a [Plan],
    known: HashMap<(usize, usize), Option<&'a Plan>>,
}

impl<'a> Holes<'a> {
    fn new(plans: &'a [Plan]) -> Self {
        Holes {
            plans,
            known: HashMap::new(),
        }
    }

    /// A plan under which the class `outside` is free, and `inside` is not.
    fn plan(&mut self, outside: usize, inside: usize) -> Option<&'a Plan> {
        if outside == inside {
            return None;
        }
        let plans = self.plans;
        *self.known.entry((outside, inside)).or_insert_with(|| {
            plans
                .iter()
                .find(|plan| plan.is_free(outside) && !plan.is_free(inside))
        })
    }
}
