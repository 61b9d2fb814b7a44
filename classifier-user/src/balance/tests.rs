//! Orders, by example and by chance.

use proptest::prelude::*;

use super::{Action, Booked, Level, Order, Refusal, settle};

const fn level(drawn: u64, granted: u64) -> Level {
    Level { drawn, granted }
}

fn order(action: Action, bytes: u64) -> Order {
    Order {
        id: "1".into(),
        subscriber: "ann".into(),
        bucket: "main".into(),
        action,
        bytes,
        reason: None,
    }
}

#[test]
fn each_order_does_what_it_says() {
    let level = level(300, 1000);
    let after = |action, bytes| {
        let settled = settle(action, bytes, level, 5000).unwrap();
        (settled.granted - level.drawn, settled.booked)
    };
    assert_eq!(after(Action::Grant, 50), (750, vec![(Booked::Grant, 50)]));
    assert_eq!(after(Action::Debit, 50), (650, vec![(Booked::Debit, 50)]));
    assert_eq!(after(Action::Return, 0), (0, vec![(Booked::Return, 700)]));
    assert_eq!(after(Action::Set, 900), (900, vec![(Booked::Grant, 200)]));
    assert_eq!(after(Action::Set, 100), (100, vec![(Booked::Debit, 600)]));
    assert_eq!(after(Action::Set, 700), (700, vec![]));
    let anew = vec![(Booked::Expire, 700), (Booked::Grant, 5000)];
    assert_eq!(after(Action::Restart, 0), (5000, anew));
}

#[test]
fn what_ran_over_is_paid_by_what_comes_next() {
    let over = level(1040, 1000);
    let left = |action, bytes| {
        let settled = settle(action, bytes, over, 5000).unwrap();
        level(over.drawn, settled.granted).left()
    };
    assert_eq!(left(Action::Grant, 100), 60);
    assert_eq!(left(Action::Restart, 0), 4960);
    assert_eq!(left(Action::Set, 100), 100);
    // There is nothing to give back.
    assert_eq!(left(Action::Return, 0), -40);
}

#[test]
fn a_fee_may_take_more_than_there_is() {
    let settled = settle(Action::Debit, 900, level(300, 1000), 0).unwrap();
    assert_eq!(level(300, settled.granted).left(), -200);
}

#[test]
fn a_bucket_has_an_end() {
    let most = i64::MAX.unsigned_abs();
    assert!(settle(Action::Set, most, level(7, 3), 0).is_ok());
    let refused = settle(Action::Grant, 1, level(0, most), 0);
    assert_eq!(
        refused,
        Err(Refusal::TooMuch {
            left: i128::from(i64::MAX) + 1
        })
    );
    assert!(settle(Action::Set, u64::MAX, level(0, 0), 0).is_err());
    assert!(settle(Action::Debit, u64::MAX, level(0, 0), 0).is_err());
}

#[test]
fn what_is_no_order() {
    assert_eq!(order(Action::Grant, 1).check(), Ok(()));
    assert_eq!(order(Action::Set, 0).check(), Ok(()));
    assert_eq!(
        order(Action::Grant, 0).check(),
        Err(Refusal::Bytes(Action::Grant))
    );
    assert_eq!(
        order(Action::Return, 1).check(),
        Err(Refusal::NoBytes(Action::Return))
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
        steps in prop::collection::vec((actions(), 0..1_u64 << 40, 0..1_u64 << 40), 1..40),
        cycle in 0..1_u64 << 40,
    ) {
        let mut level = level(0, cycle);
        let mut granted = i128::from(cycle);
        for (action, bytes, drawn) in steps {
            level.drawn += drawn;
            let settled = settle(action, bytes, level, cycle).unwrap();
            level.granted = settled.granted;
            for (kind, bytes) in settled.booked {
                let bytes = i128::from(bytes);
                granted += match kind {
                    Booked::Grant => bytes,
                    Booked::Debit | Booked::Return | Booked::Expire => -bytes,
                };
            }
        }
        prop_assert_eq!(i128::from(level.drawn), granted - i128::from(level.left()));
    }
}
