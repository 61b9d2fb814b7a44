//! The end: what zerorate itself says, and its books beside the senders' counters.

use anyhow::Result;
use zerorate_tests::counters::Volume;

use crate::figures::Books;
use crate::screen::{Table, grouped};
use crate::stage::Stage;

/// Shows everything, and says whether it is as it should be.
pub(crate) fn accounts(stage: &mut Stage) -> Result<bool> {
    stage.measure()?;
    stage.screen.scene("What zerorate says")?;
    for command in ["usage", "status"] {
        let said = stage.agent.ask(&[command])?;
        stage
            .screen
            .command(&format!("zerorate {command}"), &said)?;
    }
    stage
        .screen
        .scene("The books beside the senders' own counters")?;
    let all_well = books(stage)?;
    for wrong in &stage.wrong {
        stage.screen.stress(&format!("WRONG: {wrong}"))?;
    }
    Ok(all_well && stage.wrong.is_empty())
}

/// A row for each interface of the gateway: what was sent to it, what zerorate has seen there, and
/// on which accounts it is. Whether there is no difference at all.
fn books(stage: &Stage) -> Result<bool> {
    let heads = [
        "interface",
        "direction",
        "bytes sent",
        "bytes seen",
        "charged",
        "dropped",
        "unattributed",
        "packets sent",
        "packets seen",
        "difference",
    ];
    let mut table = Table::new(heads, 8);
    let figures = &stage.figures;
    let (mut all_sent, mut all) = (Volume::default(), Books::default());
    let mut difference = 0;
    for (point, &sent) in &figures.sent {
        let books = figures.books.get(point).copied().unwrap_or_default();
        table.row(row(&point.interface, point.direction, sent, &books));
        difference += off(sent, &books);
        all_sent += sent;
        all.seen += books.seen;
        all.charged += books.charged;
        all.dropped += books.dropped;
        all.unattributed += books.unattributed;
    }
    table.row(row("together", "", all_sent, &all));
    stage.screen.table(&table)?;
    stage.screen.gap()?;
    let counted = figures.counted();
    let on_accounts = counted.bytes();
    difference += apart(all.seen.bytes, on_accounts);
    difference += apart(all.seen.packets, counted.packets_up + counted.packets_down);
    for line in [
        "sent          by the counters of the interfaces the traffic came from (the kernel's own)",
        "seen          by zerorate's program; charged + dropped + unattributed is where those bytes went",
        "difference    bytes and packets sent and not seen, or seen and on no account",
    ] {
        stage.screen.say(line)?;
    }
    stage.screen.gap()?;
    let verdict = format!(
        "{} bytes sent, {} bytes on the accounts above: difference {} bytes.",
        grouped(all_sent.bytes),
        grouped(on_accounts),
        grouped(difference)
    );
    stage.screen.stress(&verdict)?;
    if difference != 0 {
        stage.screen.stress("THE BOOKS DO NOT CLOSE.")?;
    }
    Ok(difference == 0)
}

fn row(interface: &str, direction: &str, sent: Volume, books: &Books) -> [String; 10] {
    let numbers = [
        sent.bytes,
        books.seen.bytes,
        books.charged,
        books.dropped,
        books.unattributed,
        sent.packets,
        books.seen.packets,
        off(sent, books),
    ];
    let [a, b, c, d, e, f, g, h] = numbers.map(grouped);
    [
        interface.to_owned(),
        direction.to_owned(),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ]
}

/// How far apart the two sides and the accounts are. Zero only if all agree.
fn off(sent: Volume, books: &Books) -> u64 {
    let accounts = books.charged + books.dropped + books.unattributed;
    apart(sent.bytes, books.seen.bytes)
        + apart(sent.packets, books.seen.packets)
        + apart(books.seen.bytes, accounts)
}

fn apart(a: u64, b: u64) -> u64 {
    a.abs_diff(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disagreement_is_a_difference() {
        let sent = Volume {
            packets: 3,
            bytes: 300,
        };
        let closed = Books {
            seen: sent,
            charged: 200,
            dropped: 60,
            unattributed: 40,
        };
        assert_eq!(off(sent, &closed), 0);
        let one_more = |mut books: Books, change: fn(&mut Books)| {
            change(&mut books);
            off(sent, &books)
        };
        assert_eq!(one_more(closed, |books| books.charged += 1), 1);
        assert_eq!(one_more(closed, |books| books.dropped += 1), 1);
        assert_eq!(one_more(closed, |books| books.unattributed += 1), 1);
        assert_eq!(one_more(closed, |books| books.seen.packets += 1), 1);
        // Seen on the one side more than was sent, on the other more than is on accounts.
        assert_eq!(one_more(closed, |books| books.seen.bytes += 1), 2);
    }
}
