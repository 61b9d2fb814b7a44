//! Times as they are asked for: RFC 3339, or a date, which is its first moment in the gateway's time zone.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::problem::{Answer, Problem};
use super::server::{Shared, with};
use crate::agent::records::statement::parse_time;

/// Where dates begin.
pub(super) async fn zone(node: &Shared) -> TimeZone {
    with(Arc::clone(node), |node| node.timezone().clone()).await
}

/// Times that may be left out; the node is asked only where one is not.
pub(super) async fn times<const N: usize>(
    node: &Shared,
    texts: [Option<String>; N],
) -> Answer<[Option<Timestamp>; N]> {
    let mut times = [None; N];
    if texts.iter().any(Option::is_some) {
        let zone = zone(node).await;
        for (time, text) in times.iter_mut().zip(texts) {
            let parse = |text: String| parse_time(&text, &zone).map_err(Problem::invalid);
            *time = text.map(parse).transpose()?;
        }
    }
    Ok(times)
}
