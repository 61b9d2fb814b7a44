//! Subscribers beside the time their plans exist in: nobody can be on a plan before it begins, and who is listed on one
//! that has ended is on its successor, which the file had better say.

use jiff::Timestamp;

use super::Subscriber;
use crate::diagnostic::{Diagnostics, quote};
use crate::policy::{NotAdmitted, Policy};

/// Checks the plans of subscribers at a time. One that is to begin is an error where that is `strict`, otherwise a warning.
pub(super) fn check(
    subscribers: &[Subscriber],
    policy: &Policy,
    strict: bool,
    now: Timestamp,
    out: &mut Diagnostics,
) {
    if policy
        .plans
        .iter()
        .all(|plan| plan.validity().contains(now))
    {
        return;
    }
    // Of each plan that has ended: who is listed on it first, and how many are.
    let mut ended: Vec<Option<(&Subscriber, usize)>> = vec![None; policy.plans.len()];
    for subscriber in subscribers {
        let number = subscriber.plan;
        let plan = &policy.plans[number];
        if let Some(from) = plan.valid_from.filter(|from| now < *from) {
            let plan = plan.name.clone();
            let early = NotAdmitted::NotYet { plan, from };
            let message = format!("subscriber {}: {early}", quote(&subscriber.id));
            let place = subscriber.place.clone();
            if strict {
                out.error(place, early.code(), message, early.help());
            } else {
                let help = "it is on the plan all the same: see that the clock is right";
                out.warn(place, early.code(), message, help);
            }
        }
        if policy.plan_at(number, now) != number {
            ended[number].get_or_insert((subscriber, 0)).1 += 1;
        }
    }
    for (number, found) in ended.into_iter().enumerate() {
        let (Some((first, count)), Some(end)) = (found, policy.plans[number].end) else {
            continue;
        };
        let successor = &policy.plans[policy.plan_at(number, now)].name;
        let others = match count {
            1 => String::new(),
            2 => " and another one".to_owned(),
            _ => format!(" and {} others", count - 1),
        };
        out.warn(
            first.place.clone(),
            "plan-ended",
            format!(
                "subscriber {}{others}: plan {} has ended at {}, and its successor {} holds",
                quote(&first.id),
                quote(&policy.plans[number].name),
                end.at,
                quote(successor)
            ),
            format!(
                "write {successor} in place of {}",
                policy.plans[number].name
            ),
        );
    }
}
