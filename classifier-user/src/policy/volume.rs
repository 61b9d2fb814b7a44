//! Volumes (`"3GB"`) and prices for volume (`"630 UZS/MB"`): the amounts a plan is made of.
//!
//! Volumes are exact or refused: `"1.5GB"` is 1,500,000,000 bytes, `"0.3B"` is nothing anyone can
//! be granted.

use super::model::Price;

/// Units of volume and their bytes.
pub const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Largest volume, in bytes: buckets are signed, since the last packet may overdraw one.
pub const MAX_VOLUME: u64 = i64::MAX as u64;

/// Text that is not a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVolume {
    /// Does not begin with a decimal number.
    #[error("it does not begin with a number such as 3 or 1.5")]
    Number,
    /// No unit behind the number.
    #[error("it has no unit")]
    NoUnit,
    /// A unit that is none of [`UNITS`]; with the one probably meant.
    #[error("{unit:?} is not a unit")]
    Unit {
        /// What stands there.
        unit: String,
        /// The unit that differs only in its case.
        near: Option<&'static str>,
    },
    /// The decimals go below one byte.
    #[error("it is not a whole number of bytes")]
    Fraction,
    /// More than [`MAX_VOLUME`].
    #[error("it is more than {MAX_VOLUME} bytes")]
    TooLarge,
}

impl InvalidVolume {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            InvalidVolume::Unit {
                near: Some(near), ..
            } => {
                format!("did you mean {near:?}? units are B, kB, MB, GB, KiB, MiB and GiB")
            }
            InvalidVolume::Fraction => {
                "write whole bytes, such as \"1500B\" for one kilobyte and a half".to_owned()
            }
            InvalidVolume::TooLarge => "use a smaller volume".to_owned(),
            _ => "write a number and B, kB, MB, GB, KiB, MiB or GiB, as in \"3GB\", or \"0\""
                .to_owned(),
        }
    }
}

/// Bytes of a volume such as `3GB`, `1.5GiB` or `0`.
pub fn parse_volume(text: &str) -> Result<u64, InvalidVolume> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (whole, decimals) = split_decimal(number).ok_or(InvalidVolume::Number)?;
    let unit = match unit.trim_start_matches(' ') {
        "" if number == "0" => 1,
        "" => return Err(InvalidVolume::NoUnit),
        unit => parse_unit(unit)?,
    };
    let whole = whole.parse::<u64>().map_err(|_| InvalidVolume::TooLarge)?;
    let bytes = u128::from(whole) * u128::from(unit) + decimal_bytes(decimals, unit)?;
    u64::try_from(bytes)
        .ok()
        .filter(|&bytes| bytes <= MAX_VOLUME)
        .ok_or(InvalidVolume::TooLarge)
}

/// Bytes that the digits behind the point stand for.
fn decimal_bytes(decimals: &str, unit: u64) -> Result<u128, InvalidVolume> {
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() {
        return Ok(0);
    }
    // So many digits fit the arithmetic; who needs more has a smaller unit.
    if decimals.len() > 18 {
        return Err(InvalidVolume::Fraction);
    }
    let digits = decimals
        .parse::<u128>()
        .map_err(|_| InvalidVolume::Number)?;
    let scaled = digits * u128::from(unit);
    let scale = 10_u128.pow(decimals.len() as u32);
    if scaled.is_multiple_of(scale) {
        Ok(scaled / scale)
    } else {
        Err(InvalidVolume::Fraction)
    }
}

fn parse_unit(unit: &str) -> Result<u64, InvalidVolume> {
    if let Some(&(_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) {
        return Ok(bytes);
    }
    let near = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit));
    Err(InvalidVolume::Unit {
        unit: unit.to_owned(),
        near: near.map(|&(name, _)| name),
    })
}

/// Digits before and after the point; a point needs digits on both sides.
fn split_decimal(number: &str) -> Option<(&str, &str)> {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    match number.split_once('.') {
        None => digits(number).then_some((number, "")),
        Some((whole, decimals)) => (digits(whole) && digits(decimals)).then_some((whole, decimals)),
    }
}

/// A volume as people write it: the largest unit that gives a whole number, decimal units first.
pub fn show_volume(bytes: u64) -> String {
    const LARGEST_FIRST: [(&str, u64); 6] = [
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("kB", 1_000),
        ("KiB", 1 << 10),
    ];
    if bytes == 0 {
        return "0".to_owned();
    }
    let unit = LARGEST_FIRST
        .iter()
        .find(|(_, size)| bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{}{name}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// Text that is not a price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrice {
    /// Not three parts.
    #[error("it is not of the form \"630 UZS/MB\"")]
    Form,
    /// The amount is no decimal number above zero, or has more than 12 digits before or 9 after the
    /// point.
    #[error(
        "{0:?} is not an amount above zero with at most 12 digits before and 9 after the point"
    )]
    Amount(String),
    /// Not three capital letters.
    #[error("{0:?} is not a currency of three capital letters")]
    Currency(String),
    /// Not a unit of volume.
    #[error("{0:?} is not a unit of volume")]
    Unit(String),
}

/// Reads a price for volume such as `630 UZS/MB`.
pub fn parse_price(text: &str) -> Result<Price, InvalidPrice> {
    let (amount, rest) = text.split_once(' ').ok_or(InvalidPrice::Form)?;
    let (currency, unit) = rest.split_once('/').ok_or(InvalidPrice::Form)?;
    let valid_amount = split_decimal(amount).is_some_and(|(whole, decimals)| {
        whole.len() <= 12 && decimals.len() <= 9 && amount.bytes().any(|b| matches!(b, b'1'..=b'9'))
    });
    if !valid_amount {
        return Err(InvalidPrice::Amount(amount.to_owned()));
    }
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(InvalidPrice::Currency(currency.to_owned()));
    }
    let per_bytes = parse_unit(unit).map_err(|_| InvalidPrice::Unit(unit.to_owned()))?;
    Ok(Price {
        amount: amount.to_owned(),
        currency: currency.to_owned(),
        per_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn volumes() {
        for (text, bytes) in [
            ("0", 0),
            ("0GB", 0),
            ("1B", 1),
            ("3GB", 3_000_000_000),
            ("3 GB", 3_000_000_000),
            ("1.5GB", 1_500_000_000),
            ("1.500GB", 1_500_000_000),
            ("0.001kB", 1),
            ("0.5KiB", 512),
            ("1.25MiB", 1_310_720),
            ("2GiB", 2 << 30),
            ("9223372036854775807B", MAX_VOLUME),
        ] {
            assert_eq!(parse_volume(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_volume() {
        use InvalidVolume::*;
        let unit = |unit: &str, near| Unit {
            unit: unit.to_owned(),
            near,
        };
        for (text, error) in [
            ("", Number),
            ("GB", Number),
            ("-1GB", Number),
            (".5GB", Number),
            ("1.GB", Number),
            ("1.2.3GB", Number),
            ("100", NoUnit),
            ("0.0", NoUnit),
            ("3gb", unit("gb", Some("GB"))),
            ("3Gb", unit("Gb", Some("GB"))),
            ("3KB", unit("KB", Some("kB"))),
            ("3TB", unit("TB", None)),
            ("3GB ", unit("GB ", None)),
            ("0.5B", Fraction),
            ("0.1KiB", Fraction),
            ("0.0000000000000001GB", Fraction),
            ("9223372036854775808B", TooLarge),
            ("99999999999999999999999999999999999999999GB", TooLarge),
        ] {
            assert_eq!(parse_volume(text), Err(error), "{text}");
        }
    }

    #[test]
    fn prices() {
        assert_eq!(
            parse_price("630 UZS/MB"),
            Ok(Price {
                amount: "630".to_owned(),
                currency: "UZS".to_owned(),
                per_bytes: 1_000_000,
            })
        );
        assert_eq!(
            parse_price("0.015 KZT/MiB").map(|p| p.per_bytes),
            Ok(1 << 20)
        );
        for (text, error) in [
            ("630", InvalidPrice::Form),
            ("630 UZS", InvalidPrice::Form),
            ("0 UZS/MB", InvalidPrice::Amount("0".to_owned())),
            ("-1 UZS/MB", InvalidPrice::Amount("-1".to_owned())),
            ("1,5 UZS/MB", InvalidPrice::Amount("1,5".to_owned())),
            ("630 som/MB", InvalidPrice::Currency("som".to_owned())),
            ("630 UZS/mb", InvalidPrice::Unit("mb".to_owned())),
        ] {
            assert_eq!(parse_price(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn shown_volumes_read_back(bytes in 0..=MAX_VOLUME) {
            prop_assert_eq!(parse_volume(&show_volume(bytes)), Ok(bytes));
        }

        #[test]
        fn decimals_are_exact(
            whole in 0u64..1_000_000,
            thousandths in 0u64..1000,
            unit in 0usize..7,
        ) {
            let (name, size) = UNITS[unit];
            let exact = u128::from(whole * 1000 + thousandths) * u128::from(size);
            let expected = if exact.is_multiple_of(1000) {
                Ok((exact / 1000) as u64)
            } else {
                Err(InvalidVolume::Fraction)
            };
            prop_assert_eq!(parse_volume(&format!("{whole}.{thousandths:03}{name}")), expected);
        }
    }
}
