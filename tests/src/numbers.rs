//! Numbers as people read them.

/// A number with a comma before every three digits.
#[must_use]
pub fn grouped(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_threes() {
        let shown = [0, 999, 1000, -1_234_567].map(|number: i32| grouped(number));
        assert_eq!(shown, ["0", "999", "1,000", "-1,234,567"]);
    }
}
