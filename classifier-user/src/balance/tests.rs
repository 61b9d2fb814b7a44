//! Orders, by example and by chance.

use proptest::prelude::*;

use super::money::{Amount, Tariff};
use super::{
    Action, Booked, Booking, Level, Order, Refusal, Settled, Terms, lapse, reprice, settle,
};
use crate::policy::{Overrun, parse_price};

const fn level(drawn: u64, granted: u64) -> Level {
    Level {
        drawn,
        granted,
        rest: 0,
    }
}

fn order(action: Action, bytes: u64) -> Order {
    Order {
        id: "1".into(),
        subscriber: "ann".into(),
        bucket: Some("main".into()),
        action,
        bytes,
        amount: None,
        reason: None,
    }
}

fn of_money(action: Action, amount: &str) -> Order {
    Order {
        amount: Some(Amount::parse(amount).unwrap()),
        ..order(action, 0)
    }
}

fn packages(cycle: u64) -> Terms {
    Terms {
        cycle,
        ..Terms::default()
    }
}

fn tariff(price: &str) -> Tariff {
    Tariff::of(&parse_price(price).unwrap())
}

fn balance(price: &str) -> Terms {
    Terms {
        tariff: Some(tariff(price)),
        ..Terms::default()
    }
}

/// Kind, bytes and money of what is booked.
fn shown(settled: &Settled) -> Vec<String> {
    let show = |booking: &Booking| {
        let amount = booking.amount.as_ref();
        let amount = amount.map_or_else(String::new, |amount| format!(" {amount}"));
        format!("{} {}{amount}", booking.kind.as_str(), booking.bytes)
    };
    settled.booked.iter().map(show).collect()
}

#[test]
fn each_order_does_what_it_says() {
    let level = level(300, 1000);
    let after = |action, bytes| {
        let settled = settle(&order(action, bytes), level, &packages(5000)).unwrap();
        (settled.level.left(), shown(&settled))
    };
    assert_eq!(after(Action::Grant, 50), (750, vec!["grant 50".to_owned()]));
    assert_eq!(after(Action::Debit, 50), (650, vec!["debit 50".to_owned()]));
    assert_eq!(after(Action::Return, 0), (0, vec!["return 700".to_owned()]));
    assert_eq!(after(Action::Set, 900), (900, vec!["grant 200".to_owned()]));
    assert_eq!(after(Action::Set, 100), (100, vec!["debit 600".to_owned()]));
    assert_eq!(after(Action::Set, 700), (700, vec![]));
    let anew = vec!["expire 700".to_owned(), "grant 5000".to_owned()];
    assert_eq!(after(Action::Restart, 0), (5000, anew));
}

#[test]
fn what_ran_over_is_paid_by_what_comes_next() {
    let over = level(1040, 1000);
    let left = |action, bytes| {
        let settled = settle(&order(action, bytes), over, &packages(5000)).unwrap();
        settled.level.left()
    };
    assert_eq!(left(Action::Grant, 100), 60);
    assert_eq!(left(Action::Restart, 0), 4960);
    assert_eq!(left(Action::Set, 100), 100);
    // There is nothing to give back.
    assert_eq!(left(Action::Return, 0), -40);
}

#[test]
fn what_ran_over_is_written_off_where_the_plan_says_so() {
    let over = level(1040, 1000);
    let terms = Terms {
        overrun: Overrun::WriteOff,
        ..packages(5000)
    };
    let after = |action, bytes| {
        let settled = settle(&order(action, bytes), over, &terms).unwrap();
        (settled.level.left(), shown(&settled).join(", "))
    };
    assert_eq!(
        after(Action::Grant, 100),
        (100, "write_off 40, grant 100".to_owned())
    );
    assert_eq!(
        after(Action::Restart, 0),
        (5000, "write_off 40, grant 5000".to_owned())
    );
    assert_eq!(
        after(Action::Set, 100),
        (100, "write_off 40, grant 100".to_owned())
    );
    // A fee is none of it.
    assert_eq!(after(Action::Debit, 100), (-140, "debit 100".to_owned()));
}

#[test]
fn a_fee_may_take_more_than_there_is() {
    let settled = settle(&order(Action::Debit, 900), level(300, 1000), &packages(0)).unwrap();
    assert_eq!(settled.level.left(), -200);
}

#[test]
fn a_bucket_has_an_end() {
    let most = i64::MAX.unsigned_abs();
    let try_it =
        |action, bytes, level| settle(&order(action, bytes), level, &packages(0)).map(drop);
    assert!(try_it(Action::Set, most, level(7, 3)).is_ok());
    assert_eq!(
        try_it(Action::Grant, 1, level(0, most)),
        Err(Refusal::TooMuch {
            left: i128::from(i64::MAX) + 1
        })
    );
    assert!(try_it(Action::Set, u64::MAX, level(0, 0)).is_err());
    assert!(try_it(Action::Debit, u64::MAX, level(0, 0)).is_err());
}

#[test]
fn money_buys_bytes_and_comes_back() {
    let terms = balance("630 UZS/MB");
    let mut bucket = level(0, 0);
    let mut after = |order: &Order, drawn: u64| {
        bucket.drawn += drawn;
        let settled = settle(order, bucket, &terms).unwrap();
        bucket = settled.level;
        let amount = bucket.amount(terms.tariff.as_ref().unwrap()).unwrap();
        format!("{} {amount}: {}", bucket.left(), shown(&settled).join(", "))
    };
    for (order, drawn, expected) in [
        (
            of_money(Action::Grant, "630 UZS"),
            0,
            "1000000 630.00 UZS: grant 1000000 630.00 UZS",
        ),
        // A tiyin is fifteen bytes and a bit.
        (
            of_money(Action::Grant, "0.01 UZS"),
            0,
            "1000015 630.01 UZS: grant 15 0.01 UZS",
        ),
        (
            of_money(Action::Debit, "30.01 UZS"),
            500_000,
            "452380 285.00 UZS: debit 47635 30.01 UZS",
        ),
        (
            of_money(Action::Set, "63 UZS"),
            0,
            "100000 63.00 UZS: debit 352380 222.00 UZS",
        ),
        (
            order(Action::Return, 0),
            1,
            "0 0.00 UZS: return 99999 62.99 UZS",
        ),
        // What was less than a tiyin then is there still: with a tiyin more it is 15.8 and 14.8 bytes.
        (
            of_money(Action::Grant, "0.01 UZS"),
            0,
            "30 0.01 UZS: grant 30 0.01 UZS",
        ),
        (
            of_money(Action::Debit, "1 UZS"),
            0,
            "-1557 -0.99 UZS: debit 1587 1.00 UZS",
        ),
    ] {
        assert_eq!(after(&order, drawn), expected, "{order}");
    }
}

#[test]
fn a_price_changes_and_the_money_stays() {
    let (old, new) = (tariff("630 UZS/MB"), tariff("700 UZS/MB"));
    let paid = settle(
        &of_money(Action::Grant, "1000 UZS"),
        level(0, 0),
        &balance("630 UZS/MB"),
    );
    let mut bucket = paid.unwrap().level;
    bucket.drawn += 587_301;
    assert_eq!(bucket.left(), 1_000_000);
    let worth = bucket.amount(&old).unwrap();
    let settled = reprice(bucket, &old, &new).unwrap();
    assert_eq!(settled.level.amount(&new).unwrap(), worth);
    assert_eq!(settled.level.left(), 900_000);
    assert_eq!(shown(&settled), ["debit 100000"]);
    // And back.
    let back = reprice(settled.level, &new, &old).unwrap();
    assert_eq!(
        (back.level.left(), back.level.rest),
        (1_000_000, bucket.rest)
    );
    assert!(matches!(
        reprice(bucket, &old, &tariff("1 KZT/MB")),
        Err(Refusal::Currency { .. })
    ));
}

#[test]
fn money_is_refused_where_there_is_no_price_for_it() {
    let grant = of_money(Action::Grant, "5 UZS");
    assert_eq!(
        settle(&grant, level(0, 0), &packages(7)),
        Err(Refusal::NoPrice)
    );
    assert!(matches!(
        settle(&grant, level(0, 0), &balance("1 KZT/MB")),
        Err(Refusal::Currency { .. })
    ));
    assert_eq!(
        settle(
            &order(Action::Restart, 0),
            level(0, 0),
            &balance("1 UZS/MB")
        ),
        Err(Refusal::Money)
    );
}

#[test]
fn what_lapses_expires() {
    let settled = lapse(level(300, 1000));
    assert_eq!(
        (settled.level.left(), shown(&settled)),
        (0, vec!["expire 700".to_owned()])
    );
    let over = lapse(level(1040, 1000));
    assert_eq!((over.level.left(), over.booked), (-40, vec![]));
}

#[test]
fn what_is_no_order() {
    assert_eq!(order(Action::Grant, 1).check(), Ok(()));
    assert_eq!(order(Action::Set, 0).check(), Ok(()));
    assert_eq!(
        order(Action::Grant, 0).check(),
        Err(Refusal::Quantity(Action::Grant))
    );
    assert_eq!(
        order(Action::Return, 1).check(),
        Err(Refusal::NoQuantity(Action::Return))
    );
    for id in ["", "a b", "ä", &"x".repeat(129)] {
        let order = Order {
            id: id.into(),
            ..order(Action::Grant, 1)
        };
        assert_eq!(order.check(), Err(Refusal::Id));
    }
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Grant),
        Just(Action::Debit),
        Just(Action::Return),
        Just(Action::Set),
        Just(Action::Restart),
    ]
}

proptest! {
    /// Whatever is ordered and drawn in whatever order, drawn is what was granted and not taken back or left.
    #[test]
    fn the_equation_holds(
        steps in prop::collection::vec((actions(), 0..1_u64 << 40, 0..1_u64 << 40, any::<bool>()), 1..40),
        cycle in 0..1_u64 << 40,
        money in any::<bool>(),
        write_off in any::<bool>(),
    ) {
        let terms = Terms {
            cycle,
            tariff: money.then(|| tariff("0.37 KZT/MB")),
            overrun: if write_off { Overrun::WriteOff } else { Overrun::Carry },
        };
        let mut level = level(0, cycle);
        let mut granted = i128::from(cycle);
        for (action, number, drawn, paid) in steps {
            level.drawn += drawn;
            let mut order = match action.says_how_much() {
                true => order(action, number),
                false => order(action, 0),
            };
            if money && paid && action.says_how_much() {
                order.amount = Some(Amount { units: (number >> 20) as i64 + 1, currency: "KZT".to_owned() });
                order.bytes = 0;
            }
            let settled = match (action, money) {
                (Action::Restart, true) => lapse(level),
                _ => settle(&order, level, &terms).unwrap(),
            };
            level = settled.level;
            for booking in settled.booked {
                let bytes = i128::from(booking.bytes);
                granted += match booking.kind {
                    Booked::Grant | Booked::WriteOff => bytes,
                    Booked::Debit | Booked::Return | Booked::Expire => -bytes,
                };
            }
            prop_assert!(!write_off || action == Action::Debit || action == Action::Return || money || level.left() >= 0);
        }
        prop_assert_eq!(i128::from(level.drawn), granted - i128::from(level.left()));
    }
}
