//! Counters as bytes: seven bits a byte, lowest first, the highest bit says that more follow (LEB128). Most counters
//! take two to five.

use classifier::layout::Meter;

use super::Moved;

/// The counters of a meter in the order they are written.
pub(super) fn words(meter: &Meter) -> [u64; 4] {
    [
        meter.bytes_up,
        meter.packets_up,
        meter.bytes_down,
        meter.packets_down,
    ]
}

/// The reverse of [`words`].
pub(super) fn meter([bytes_up, packets_up, bytes_down, packets_down]: [u64; 4]) -> Meter {
    Meter {
        bytes_up,
        packets_up,
        bytes_down,
        packets_down,
    }
}

pub(in crate::ledger) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(in crate::ledger) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(in crate::ledger) fn put_meter(out: &mut Vec<u8>, meter: &Meter) {
    for number in words(meter) {
        put(out, number);
    }
}

pub(in crate::ledger) fn take_meter(bytes: &mut &[u8]) -> Option<Meter> {
    let mut counted = [0; 4];
    for number in &mut counted {
        *number = take(bytes)?;
    }
    Some(meter(counted))
}

/// All meters of a row.
pub(super) fn put_counters(counters: &[Meter]) -> Vec<u8> {
    let mut out = Vec::with_capacity(counters.len() * 12);
    for counter in counters {
        put_meter(&mut out, counter);
    }
    out
}

/// The reverse of [`put_counters`], in place of what was in `found`; `None` when it is something else.
pub(super) fn counters(mut bytes: &[u8], found: &mut Vec<Meter>) -> Option<()> {
    found.clear();
    while !bytes.is_empty() {
        found.push(take_meter(&mut bytes)?);
    }
    Some(())
}

/// Meters that moved.
pub(super) fn put_moved(moved: &[Moved]) -> Vec<u8> {
    let mut out = Vec::with_capacity(moved.len() * 24);
    for moved in moved {
        put(&mut out, moved.meter as u64);
        put_meter(&mut out, &moved.delta);
        put_meter(&mut out, &moved.total);
    }
    out
}

/// The reverse of [`put_moved`]; `None` when it is something else.
pub(in crate::ledger) fn moved(mut bytes: &[u8]) -> Option<Vec<Moved>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(Moved {
            meter: usize::try_from(take(&mut bytes)?).ok()?,
            delta: take_meter(&mut bytes)?,
            total: take_meter(&mut bytes)?,
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_meter() -> impl Strategy<Value = Meter> {
        // Of every length.
        let number = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
        [number.clone(), number.clone(), number.clone(), number].prop_map(meter)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pairs in prop::collection::vec((0..255_usize, any_meter(), any_meter()), 0..9),
        ) {
            let all: Vec<Moved> = pairs
                .into_iter()
                .map(|(meter, delta, total)| Moved { meter, delta, total })
                .collect();
            prop_assert_eq!(moved(&put_moved(&all)), Some(all.clone()));
            let each: Vec<Meter> = all.iter().map(|moved| moved.delta).collect();
            let mut read = vec![Meter::default()];
            prop_assert!(counters(&put_counters(&each), &mut read).is_some());
            prop_assert_eq!(read, each);
        }

        #[test]
        fn what_is_something_else_is_not_read_as_more(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(all) = moved(&bytes) {
                // Numbers may be longer than they need to be, and nothing else.
                prop_assert!(put_moved(&all).len() <= bytes.len());
            }
        }
    }
}
