//! Carol has not paid. She tries everything at once; what answers is shown, and what does not.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use zerorate_tests::netns::Endpoint;
use zerorate_tests::ping::ping;
use zerorate_tests::traffic::{Transfer, tcp_within, udp};

use crate::screen::{Table, grouped};
use crate::stage::Stage;
use crate::world::{Family, PLACES};

/// How many echo requests she sends, a second apart.
const ECHOES: usize = 3;
/// How long she waits for a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of payload in either direction of a connection.
const TCP: u64 = 20_000;

/// One thing she tries.
struct Attempt {
    /// A connection, or else echoes.
    tcp: bool,
    from: Endpoint,
    to: Endpoint,
}

pub(crate) fn carol(stage: &mut Stage) -> Result<()> {
    let before = stage.figures.clone();
    stage
        .screen
        .scene("Carol is suspended: essential services answer her, nothing else does")?;
    let mut attempts = Vec::new();
    for place in &PLACES {
        for tcp in [false, true] {
            for family in Family::BOTH {
                let from = family.of(stage.world.subscriber("carol"));
                let to = stage.world.remote(place.class)?.end(family).clone();
                attempts.push(Attempt { tcp, from, to });
            }
        }
    }
    let answers = try_all(&attempts)?;
    let outside = stage.world.remote("internet")?.end(Family::V4).clone();
    let inside = stage.world.subscriber("carol").v4();
    let arrived = udp(&outside, &inside, 50, 1000)?;
    let change = stage.measure()?;

    let heads = [
        "class",
        "ICMP IPv4",
        "ICMP IPv6",
        "TCP IPv4",
        "TCP IPv6",
        "free bytes",
        "dropped bytes",
    ];
    let mut table = Table::new(heads, 2);
    let attempts_at_one = attempts.len() / PLACES.len();
    for (place, answers) in PLACES.iter().zip(answers.chunks(attempts_at_one)) {
        let bytes = |charged: &str| {
            let rows = change.accounts.iter();
            let rows = rows.filter(|(a, _)| a.class == place.class && a.charged == charged);
            grouped(rows.map(|(_, traffic)| traffic.bytes()).sum::<u64>())
        };
        let word = |index: usize| if answers[index] { "answers" } else { "-" }.to_owned();
        table.row([
            place.class.to_owned(),
            word(0),
            word(1),
            word(2),
            word(3),
            bytes("free"),
            bytes("dropped"),
        ]);
        if answers.iter().any(|&answer| answer != place.essential) {
            let wrong = format!("carol: {} answered {answers:?}", place.class);
            stage.wrong.push(wrong);
        }
    }
    stage.screen.table(&table)?;
    stage.screen.gap()?;
    stage.screen.say(&format!(
        "From the internet 50 datagrams were sent to {}; {arrived} arrived. What is dropped is never usage.",
        inside.address
    ))?;
    if arrived != 0 {
        let wrong = format!("carol: {arrived} datagrams from the internet arrived");
        stage.wrong.push(wrong);
    }
    stage.compare(&before)
}

/// Which attempts came through, all made at the same time.
fn try_all(attempts: &[Attempt]) -> Result<Vec<bool>> {
    thread::scope(|scope| {
        let tries: Vec<_> = attempts
            .iter()
            .map(|attempt| scope.spawn(|| attempt.comes_through()))
            .collect();
        tries
            .into_iter()
            .map(|attempt| attempt.join().map_err(|_| anyhow!("an attempt panicked"))?)
            .collect()
    })
}

impl Attempt {
    fn comes_through(&self) -> Result<bool> {
        if self.tcp {
            let all = Transfer { up: TCP, down: TCP };
            // That nobody answers is an outcome here.
            let moved = tcp_within(&self.from, &self.to, TCP, TCP, PATIENCE).unwrap_or_default();
            return Ok(moved == all);
        }
        for _ in 0..ECHOES {
            if ping(&self.from, &self.to, 1, 64)? == 1 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
