//! Records in a real PostgreSQL: whatever becomes of server, connections and agent, the tables are the ledger.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::postgres::{Postgres, has_postgres};
use zerorate_tests::records::ledger;
use zerorate_tests::sinks::postgres::{check, rows};
use zerorate_tests::town::{self, under_load};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

const OFTEN: &str = "[records]\ninterval = \"100ms\"\ncheckpoint = \"100ms\"";

fn sink(url: &str) -> String {
    format!("[[sink]]\nkind = \"postgres\"\nname = \"billing\"\nurl = \"{url}\"")
}

fn failing(agent: &Agent) -> Result<Option<String>> {
    Ok(agent.status()?["sinks"][0]["error"]
        .as_str()
        .map(str::to_owned))
}

#[test]
fn whatever_happens_to_server_and_agent_the_tables_are_the_ledger() -> Result<()> {
    if !can_use_namespaces() || !has_postgres() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut server = Postgres::start(&lab.gateway)?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .setting("timezone = \"Asia/Almaty\"")
        .section(OFTEN)
        .section(&sink(&server.url()))
        .start()?;
    let pairs = [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ];
    under_load(&pairs, || {
        for round in 0..24_u64 {
            let id = format!("fee-{round}");
            agent.ask(&[
                "bucket", "debit", "alice", "main", "1kB", "--id", &id, "--reason", "a\tb \\N",
            ])?;
            sleep(Duration::from_millis(30 + round * 53 % 170));
            match round % 8 {
                7 => {
                    // It is away, and nobody is held up by that.
                    server.down()?;
                    until("the agent says so", || Ok(failing(&agent)?.is_some()))?;
                    agent.ask(&[
                        "subscriber",
                        "plan",
                        "alice",
                        if round == 7 { "small" } else { "basic" },
                    ])?;
                    server.up()?;
                }
                3 => {
                    agent.kill9()?;
                    agent.start()?;
                }
                // Before or after a commit, whatever it is doing.
                _ => {
                    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                  WHERE application_name LIKE 'zerorate %'";
                    server.sql(others)?;
                }
            }
        }
        Ok(())
    })?;
    lab.settle()?;
    assert!(check(&server, &agent, "test")? > 50);
    until("nothing is in the way", || Ok(failing(&agent)?.is_none()))?;

    // All of it a second time.
    server.sql("UPDATE node SET seq = 0, fingerprint = ''")?;
    udp(
        &lab.subscriber("alice").v4(),
        &lab.remote(town::GOVERNMENT),
        10,
        72,
    )?;
    lab.settle()?;
    until("it was brought again", || {
        let last = ledger(&agent)?.len().to_string();
        Ok(server.sql("SELECT seq FROM node")? == last)
    })?;
    check(&server, &agent, "test")?;

    // What people who write SQL find.
    let bill = agent.bill()?;
    until("the views are the bill", || {
        let mut same = true;
        for (_, class, charged) in bill.usage.keys() {
            let flow = bill.sum(|(_, of, by)| of == class && by == charged);
            let views = server.sql(&format!(
                "SELECT sum(bytes_up), sum(bytes_down), sum(packets_up), sum(packets_down) FROM usage_by_class \
                 WHERE class = '{class}' AND charged = '{charged}'"
            ))?;
            let numbers = [
                flow.up.bytes,
                flow.down.bytes,
                flow.up.packets,
                flow.down.packets,
            ];
            same &= views == numbers.map(|number| number.to_string()).join("|");
        }
        let total = bill.sum(|_| true);
        let both = (total.up.bytes + total.down.bytes).to_string();
        for view in ["usage_by_month", "usage_by_subscriber", "usage_by_day"] {
            same &= server.sql(&format!("SELECT sum(bytes_up + bytes_down) FROM {view}"))? == both;
        }
        Ok(same)
    })?;
    let partitions = server.sql("SELECT count(*) FROM pg_inherits")?;
    assert!(partitions.parse::<u32>()? >= 2, "{partitions}");

    // At the end, everything is there.
    udp(
        &lab.subscriber("alice").v4(),
        &lab.remote(town::GOVERNMENT),
        10,
        72,
    )?;
    lab.settle()?;
    agent.sigterm()?;
    let brought = rows(&server, "test")?.len();
    agent.start()?;
    assert_eq!(ledger(&agent)?.len(), brought);

    // Another gateway, by TLS and with a password, into the same tables; and one that says it is the first.
    server.sql("ALTER USER zerorate PASSWORD 'it''s a secret'")?;
    let password = agent.home().join("password");
    fs::write(&password, "it's a secret\n")?;
    let url = "postgresql://zerorate@127.0.0.1/postgres?sslmode=require";
    let certificate = server.certificate();
    let lines = format!(
        "{}\npassword_file = \"{}\"\nca_file = \"{}\"",
        sink(url),
        password.display(),
        certificate.display()
    );
    agent.sigterm()?;
    // One agent an interface.
    agent.purge()?;
    let mut other = town::agent(&lab)
        .node("other")
        .section(OFTEN)
        .section(&lines)
        .start()?;
    other.ask(&["bucket", "debit", "alice", "main", "1kB", "--id", "fee"])?;
    udp(
        &lab.subscriber("alice").v4(),
        &lab.remote(town::GOVERNMENT),
        10,
        72,
    )?;
    lab.settle()?;
    assert!(check(&server, &other, "other")? >= 1);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'zerorate other'";
    assert_eq!(server.sql(encrypted)?, "t");
    assert_eq!(rows(&server, "test")?.len(), brought);
    other.sigterm()?;
    other.configure("node = \"other\"", "node = \"test\"")?;
    other.start()?;
    until("it says that it is not the first", || {
        Ok(failing(&other)?.is_some())
    })?;
    let said = failing(&other)?.context("no error")?;
    assert!(said.contains("it is not the one in this ledger"), "{said}");
    assert_eq!(rows(&server, "test")?.len(), brought);
    assert!(!other.log().contains("secret"));
    Ok(())
}
