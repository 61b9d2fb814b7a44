//! Money, and the bytes it buys. Amounts are whole numbers of the currency's smallest unit; what a bucket with a price is
//! worth is kept in *grains*, so fine that a byte of every price, and the smallest unit of every currency, is a whole
//! number of them. So nothing is rounded when bytes are bought, given back or priced anew: only showing what a bucket is
//! worth, and paying it out, leaves away what is less than the smallest unit, and paying out leaves that in the bucket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::Price;

/// Decimals a price may have.
const PRICE_DECIMALS: u32 = 9;
/// Least common multiple of the units of volume, 10^9 and 2^30 bytes the largest of their kinds.
const UNITS_MULTIPLE: u64 = 1_000_000_000 << 21;
/// Grains of one unit of a currency.
const GRAINS: i128 = 10_i128.pow(PRICE_DECIMALS) * UNITS_MULTIPLE as i128;

/// Currencies whose smallest unit is not a hundredth, by its decimals (ISO 4217).
const DECIMALS: [(u32, &[&str]); 2] = [
    (
        0,
        &[
            "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI",
            "VND", "VUV", "XAF", "XOF", "XPF",
        ],
    ),
    (3, &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]),
];

/// Decimals of a currency's smallest unit.
fn decimals(currency: &str) -> u32 {
    let listed = DECIMALS
        .iter()
        .find(|(_, currencies)| currencies.contains(&currency));
    listed.map_or(2, |(decimals, _)| *decimals)
}

/// An amount of money, such as `5000 UZS` or `-0.25 EUR`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount {
    /// Of the currency's smallest unit.
    pub units: i64,
    /// Currency, three letters.
    pub currency: String,
}

/// Text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// Not a number and a currency.
    #[error("it is not of the form \"5000 UZS\"")]
    Form,
    /// More decimals than the currency has.
    #[error("{currency} has {decimals} decimals")]
    Decimals {
        /// The currency.
        currency: String,
        /// How many it has.
        decimals: u32,
    },
    /// More than 64 bits hold.
    #[error("it is too much")]
    TooMuch,
}

impl utoipa::PartialSchema for Amount {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("An amount of money."))
            .examples(["5000 UZS", "-0.25 EUR"])
            .into()
    }
}

impl utoipa::ToSchema for Amount {}

impl Amount {
    /// Reads an amount.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidAmount> {
        let at = text
            .find(|c: char| c.is_ascii_uppercase())
            .ok_or(InvalidAmount::Form)?;
        let (number, currency) = (text[..at].trim_end_matches(' '), &text[at..]);
        let is_code = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, number),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_code || !is_number(whole) || !fraction.is_none_or(is_number) {
            return Err(InvalidAmount::Form);
        }
        let decimals = decimals(currency);
        let fraction = fraction.unwrap_or("").trim_end_matches('0');
        if fraction.len() > decimals as usize {
            return Err(InvalidAmount::Decimals {
                currency: currency.to_owned(),
                decimals,
            });
        }
        let units = format!("{whole}{fraction:0<width$}", width = decimals as usize);
        let units: i64 = units.parse().map_err(|_| InvalidAmount::TooMuch)?;
        Ok(Self {
            units: sign * units,
            currency: currency.to_owned(),
        })
    }

    /// In grains.
    fn grains(&self) -> Result<i128, InvalidAmount> {
        i128::from(self.units)
            .checked_mul(unit_grains(&self.currency))
            .ok_or(InvalidAmount::TooMuch)
    }
}

/// Grains of a currency's smallest unit.
fn unit_grains(currency: &str) -> i128 {
    GRAINS / 10_i128.pow(decimals(currency))
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = decimals(&self.currency);
        let scale = 10_u64.pow(decimals);
        let units = self.units.unsigned_abs();
        let sign = if self.units < 0 { "-" } else { "" };
        write!(f, "{sign}{}", units / scale)?;
        if decimals > 0 {
            write!(f, ".{:0width$}", units % scale, width = decimals as usize)?;
        }
        write!(f, " {}", self.currency)
    }
}

impl TryFrom<String> for Amount {
    type Error = InvalidAmount;
    fn try_from(text: String) -> Result<Self, InvalidAmount> {
        Self::parse(&text)
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

/// A price as what a byte costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Grains of a byte, above zero.
    byte: i128,
    currency: String,
}

impl Tariff {
    /// Of a price a policy names.
    #[must_use]
    pub fn of(price: &Price) -> Self {
        let (whole, fraction) = price.amount.split_once('.').unwrap_or((&price.amount, ""));
        let digits = format!(
            "{whole}{fraction:0<width$}",
            width = PRICE_DECIMALS as usize
        );
        // A checked price has at most 12 + 9 digits and is above zero.
        let nano: i128 = digits.parse().unwrap_or(1);
        Self {
            byte: nano * i128::from(UNITS_MULTIPLE / price.per_bytes),
            currency: price.currency.clone(),
        }
    }

    /// Its currency.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// What so many bytes and grains are worth.
    ///
    /// # Errors
    /// When it is more than can be reckoned with.
    pub fn worth(&self, bytes: i64, rest: i128) -> Result<Worth, InvalidAmount> {
        let grains = i128::from(bytes).checked_mul(self.byte);
        grains
            .and_then(|grains| grains.checked_add(rest))
            .map(Worth)
            .ok_or(InvalidAmount::TooMuch)
    }

    /// The bytes that it buys, and the grains that are left over; fewer bytes, not more, where it is below zero.
    ///
    /// # Errors
    /// When they are more than a bucket can hold.
    pub fn buy(&self, worth: Worth) -> Result<(i64, i128), InvalidAmount> {
        let bytes = i64::try_from(worth.0.div_euclid(self.byte));
        let rest = worth.0.rem_euclid(self.byte);
        Ok((bytes.map_err(|_| InvalidAmount::TooMuch)?, rest))
    }
}

/// What a bucket is worth, in grains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth(i128);

impl Worth {
    /// Nothing.
    pub const NOTHING: Self = Self(0);

    /// With an amount more, or less where that is below zero.
    ///
    /// # Errors
    /// When it is more than can be reckoned with.
    pub fn plus(self, amount: &Amount) -> Result<Self, InvalidAmount> {
        let sum = self.0.checked_add(amount.grains()?);
        sum.map(Self).ok_or(InvalidAmount::TooMuch)
    }

    /// In grains.
    #[must_use]
    pub const fn grains(self) -> i128 {
        self.0
    }

    /// As an amount, without what is less than the smallest unit.
    ///
    /// # Errors
    /// When it is more than an amount can be.
    pub fn amount(self, currency: &str) -> Result<Amount, InvalidAmount> {
        let units = self.0.div_euclid(unit_grains(currency));
        Ok(Amount {
            units: i64::try_from(units).map_err(|_| InvalidAmount::TooMuch)?,
            currency: currency.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::parse_price;

    fn tariff(price: &str) -> Tariff {
        Tariff::of(&parse_price(price).unwrap())
    }

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn amounts() {
        for (text, units, shown) in [
            ("5000 UZS", 500_000, "5000.00 UZS"),
            ("5000UZS", 500_000, "5000.00 UZS"),
            ("0.5 KZT", 50, "0.50 KZT"),
            ("-12.34 EUR", -1234, "-12.34 EUR"),
            ("-0.05 EUR", -5, "-0.05 EUR"),
            ("7 JPY", 7, "7 JPY"),
            ("1.250 KWD", 1250, "1.250 KWD"),
            ("1.100 EUR", 110, "1.10 EUR"),
        ] {
            assert_eq!(amount(text).units, units, "{text}");
            assert_eq!(amount(text).to_string(), shown);
        }
        for (text, error) in [
            ("", InvalidAmount::Form),
            ("5000", InvalidAmount::Form),
            ("UZS", InvalidAmount::Form),
            ("5,000 UZS", InvalidAmount::Form),
            ("+5 UZS", InvalidAmount::Form),
            ("5. UZS", InvalidAmount::Form),
            ("5 uzs", InvalidAmount::Form),
            ("500 MB", InvalidAmount::Form),
            ("5 UZSS", InvalidAmount::Form),
            (
                "1.005 EUR",
                InvalidAmount::Decimals {
                    currency: "EUR".to_owned(),
                    decimals: 2,
                },
            ),
            ("99999999999999999999 UZS", InvalidAmount::TooMuch),
        ] {
            assert_eq!(Amount::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_megabyte_for_630() {
        let tariff = tariff("630 UZS/MB");
        let (bytes, rest) = tariff
            .buy(Worth::NOTHING.plus(&amount("1000 UZS")).unwrap())
            .unwrap();
        // 1000 / 630 MB = 1,587,301.58… bytes.
        assert_eq!(bytes, 1_587_301);
        let worth = tariff.worth(bytes, rest).unwrap();
        assert_eq!(worth.amount("UZS").unwrap(), amount("1000 UZS"));
        // Half of a byte's price is not a byte yet, and not lost.
        assert!(rest > 0);
        assert_eq!(tariff.buy(worth).unwrap(), (bytes, rest));
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let dear = tariff("999999999999.999999999 UZS/B");
        assert_eq!(dear.worth(i64::MAX, 0), Err(InvalidAmount::TooMuch));
        let cheap = tariff("0.000000001 UZS/GiB");
        let much = Worth::NOTHING.plus(&amount("90000000000000 UZS"));
        assert_eq!(
            much.and_then(|much| cheap.buy(much)),
            Err(InvalidAmount::TooMuch)
        );
    }

    fn prices() -> impl Strategy<Value = String> {
        let units = vec!["B", "kB", "MB", "GB", "KiB", "MiB", "GiB"];
        (1..100_000_u32, 0..=9_u32, prop::sample::select(units)).prop_map(
            |(number, decimals, unit)| {
                let text = format!("{number:010}");
                let (whole, fraction) = text.split_at(10 - decimals as usize);
                let whole = whole.trim_start_matches('0');
                let whole = if whole.is_empty() { "0" } else { whole };
                match fraction {
                    "" => format!("{whole} UZS/{unit}"),
                    _ => format!("{whole}.{fraction} UZS/{unit}"),
                }
            },
        )
    }

    proptest! {
        /// However money comes, is drawn, and is priced anew: not a grain is lost.
        #[test]
        fn no_grain_is_lost(
            prices in prop::collection::vec(prices(), 1..6),
            steps in prop::collection::vec((0..3_u8, 0..1_000_000_i64), 1..40),
        ) {
            let tariffs: Vec<Tariff> = prices.iter().map(|price| tariff(price)).collect();
            let mut current = &tariffs[0];
            let (mut bytes, mut rest) = (0, 0);
            let mut exact = 0_i128;
            for (what, number) in steps {
                match what {
                    0 => {
                        let paid = Amount { units: number, currency: "UZS".to_owned() };
                        exact += paid.grains().unwrap();
                        let worth = current.worth(bytes, rest).unwrap().plus(&paid).unwrap();
                        let bought = current.buy(worth);
                        prop_assume!(bought.is_ok());
                        (bytes, rest) = bought.unwrap();
                    }
                    1 => {
                        bytes -= number;
                        exact -= i128::from(number) * current.byte;
                    }
                    _ => {
                        let worth = current.worth(bytes, rest).unwrap();
                        current = &tariffs[number as usize % tariffs.len()];
                        let bought = current.buy(worth);
                        prop_assume!(bought.is_ok());
                        (bytes, rest) = bought.unwrap();
                    }
                }
                prop_assert!((0..current.byte).contains(&rest));
                prop_assert_eq!(current.worth(bytes, rest).unwrap(), Worth(exact));
            }
        }

        #[test]
        fn amounts_read_back(units in any::<i64>(), currency in prop::sample::select(vec!["UZS", "JPY", "KWD"])) {
            prop_assume!(units != i64::MIN);
            let amount = Amount { units, currency: currency.to_owned() };
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
        }
    }
}
