//! The statement: time, speed, volume sent and received, in any period, and periods that add up.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use zerorate_tests::bill::Flow;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::records::{Statement, Volumes, billed};
use zerorate_tests::town;
use zerorate_tests::traffic::{Load, udp};
use zerorate_tests::wait::until;

#[test]
fn time_and_speed_are_those_of_the_traffic() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .setting("timezone = \"Asia/Almaty\"")
        .section("[records]\ninterval = \"1s\"\ncheckpoint = \"100ms\"")
        .start()?;
    let (alice, remote) = (lab.subscriber("alice").v4(), lab.remote(town::INTERNET));
    let begun = Timestamp::now();
    sleep(Duration::from_millis(300));
    let clock = Instant::now();
    let load = Load::start(&alice, &remote, false, true)?;
    sleep(Duration::from_secs(2));
    let moved = load.stop()?;
    let took = clock.elapsed().as_secs_f64();
    lab.settle()?;
    let settled = clock.elapsed().as_secs_f64();
    let rest = Timestamp::now();
    sleep(Duration::from_millis(1500));

    let statement = Statement::of(&agent, "alice", &[])?;
    let seconds = clock.elapsed().as_secs_f64();
    let connected = statement.total("connected_seconds")?;
    assert!(connected >= seconds, "{statement:#?}");
    let active = statement.total("active_seconds")?;
    // The checkpoints at both ends are active, too, and one may be late where the machine is busy.
    assert!(active <= seconds && active >= 0.5, "{active} of {took} s");
    let bits = moved.down as f64 * 8.0;
    let (mean, peak) = (
        statement.total("average_down_bps")?,
        statement.total("peak_down_bps")?,
    );
    assert!(mean <= peak, "{statement:#?}");
    assert!(
        mean * active >= bits,
        "{mean} bit/s in {active} s, of {bits} bits"
    );
    assert!(
        peak >= bits / settled,
        "{peak} bit/s at most, {bits} bits in {settled} s"
    );
    assert!(peak <= 1e11, "{peak}");
    let session = &statement.sessions[0];
    let last: Timestamp = session["last_activity"].as_str().context("none")?.parse()?;
    assert!(
        last > begun && last < rest + Duration::from_millis(1400),
        "{session}"
    );

    let shown = agent.ask_json(&["subscriber", "show", "alice"])?.remove(0);
    for field in [
        "active_seconds",
        "average_up_bps",
        "average_down_bps",
        "peak_up_bps",
        "peak_down_bps",
        "last_activity",
        "bytes_down",
        "start",
    ] {
        assert_eq!(shown[field], session[field], "{field}");
    }
    assert!(shown["duration_seconds"].as_f64().context("none")? >= connected);
    let bob = agent.ask_json(&["subscriber", "show", "bob"])?.remove(0);
    assert_eq!(
        (&bob["last_activity"], &bob["peak_up_bps"]),
        (&serde_json::Value::Null, &0.into())
    );
    let table = agent.ask(&["subscriber", "show", "alice"])?;
    assert!(table.contains("average_down_bps"), "{table}");
    assert!(table.contains("cycle until"), "{table}");
    let csv = agent.ask(&["subscriber", "show", "alice", "--format", "csv"])?;
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.len() == 2 && columns[0] == columns[1], "{csv}");
    let table = agent.ask(&["usage", "--subscriber", "alice"])?;
    assert!(
        table.contains("Asia/Almaty") && table.contains("peak down"),
        "{table}"
    );
    agent.check_order()
}

#[test]
fn adjacent_periods_add_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .setting("timezone = \"Asia/Almaty\"")
        .section("[records]\ninterval = \"200ms\"\ncheckpoint = \"100ms\"")
        .start()?;
    let alice = lab.subscriber("alice").v4();
    let mut bounds = vec![Timestamp::now().to_string()];
    for _ in 0..6 {
        for remote in [town::INTERNET, town::GOVERNMENT] {
            udp(&alice, &lab.remote(remote), 40, 72)?;
            sleep(Duration::from_millis(70));
        }
        bounds.push(Timestamp::now().to_string());
    }
    lab.settle()?;
    until("everything is recorded", || {
        let statement = Statement::of(&agent, "alice", &[])?;
        let last = statement.sessions[0]["last_activity"]
            .as_str()
            .context("none")?;
        let recorded = statement.head["recorded_until"].as_str().unwrap_or("");
        Ok(!recorded.is_empty() && recorded.parse::<Timestamp>()? >= last.parse()?)
    })?;
    // Also in the middle of what a record counts, and at the end of one.
    let recorded = agent.ask_json(&["record", "list", "--kind", "usage", "--limit", "5"])?;
    let ends = recorded.iter().filter_map(|record| record["end"].as_str());
    bounds.extend(ends.map(str::to_owned));
    bounds.push(Timestamp::now().to_string());
    bounds.sort_by_key(|bound| bound.parse::<Timestamp>().ok());
    bounds.dedup();
    let mut sum = Volumes::new();
    let mut active = 0.0;
    for period in bounds.windows(2) {
        let statement =
            Statement::of(&agent, "alice", &["--from", &period[0], "--to", &period[1]])?;
        for (key, flow) in statement.volumes.clone() {
            *sum.entry(key).or_default() += flow;
        }
        active += statement.total("active_seconds")?;
    }
    assert_eq!(sum, billed(&agent, "alice")?);
    let whole = Statement::of(&agent, "alice", &[])?;
    assert_eq!(sum, whole.volumes);
    assert!((active - whole.total("active_seconds")?).abs() < 1e-6);
    let expected: Flow = town::up(town::volume(12 * 40, 100));
    assert_eq!(
        sum.into_values()
            .fold(Flow::default(), |sum, flow| sum + flow),
        expected
    );

    let (first, last) = (&bounds[0], &bounds[bounds.len() - 1]);
    let before = Statement::of(&agent, "alice", &["--to", first])?;
    assert!(
        before.volumes.is_empty()
            && before
                .records
                .iter()
                .all(|record| record["kind"] == "grant"),
        "{before:#?}"
    );
    let today = Timestamp::now().in_tz("Asia/Almaty")?;
    let tomorrow = today.tomorrow()?.date().to_string();
    let whole_day = ["--from", "2026-01-01", "--to", &tomorrow];
    let day = Statement::of(&agent, "alice", &whole_day)?;
    assert_eq!(day.volumes, whole.volumes);
    let asked = |bounds: &[&str]| {
        let words = [&["usage", "--subscriber", "alice"], bounds].concat();
        format!("{:#}", agent.ask(&words).unwrap_err())
    };
    let said = asked(&["--from", "yesterday"]);
    assert!(
        said.contains("`yesterday` is no time: write a date such as"),
        "{said}"
    );
    let said = asked(&["--from", "2026-03-01T00:00"]);
    assert!(said.contains("is no time"), "{said}");
    let said = asked(&["--from", last, "--to", first]);
    assert!(said.contains("after its end"), "{said}");
    let said = format!("{:#}", agent.ask(&["usage", "--from", first]).unwrap_err());
    assert!(said.contains("--subscriber"), "{said}");
    agent.check_order()
}

#[test]
fn a_statement_in_every_language_has_the_numbers_of_the_json() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let priced = town::POLICY
        .replace("main = \"500kB\"", "main = { price = \"630.50 UZS/MB\" }")
        .replace(
            "[plans.small.buckets]",
            "[plans.small]\ntitle.kk = \"Шағын <жоспар>\"\n[plans.small.buckets]",
        );
    let agent = town::agent(&lab)
        .policy(&priced)
        .setting("timezone = \"Asia/Almaty\"")
        .setting("watch = false")
        .start()?;
    let grant = ["bucket", "grant", "bob", "main", "1000 UZS", "--id", "g-1"];
    agent.ask(&grant)?;
    let bob = lab.subscriber("bob").v4();
    udp(&bob, &lab.remote(town::INTERNET), 50, 972)?;
    udp(&bob, &lab.remote(town::GOVERNMENT), 20, 972)?;
    lab.settle()?;

    let zone = jiff::tz::TimeZone::get("Asia/Almaty")?;
    let today = Timestamp::now().to_zoned(zone).date();
    let month = today.strftime("%Y-%m").to_string();
    let statement = Statement::of(&agent, "bob", &["--from", &format!("{month}-01")])?;
    let asked = ["statement", "bob", "--period", &month];
    let json = agent.ask(&[&asked[..], &["--format", "json"]].concat())?;
    let lines = json.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>()?;
    let usage: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "usage")
        .collect();
    let sums: u64 = usage
        .iter()
        .filter_map(|line| line["bytes_up"].as_u64())
        .sum();
    assert_eq!(sums, 70_000);
    assert_eq!(
        sums,
        statement
            .volumes
            .values()
            .map(|flow| flow.up.bytes)
            .sum::<u64>()
    );
    let paid = usage.iter().find(|line| line["charged"] == "main");
    let paid = paid.context("nothing was drawn")?;
    assert_eq!(paid["price"], "630.50 UZS/MB");
    // 50,000 bytes.
    assert_eq!(paid["amount"], "31.52 UZS");
    for language in ["kk", "ru", "uz", "sq", "en"] {
        let page = agent.ask(&[&asked[..], &["--lang", language, "--format", "html"]].concat())?;
        for line in &usage {
            let value = format!("<data value=\"{}\">", line["bytes_up"]);
            assert!(page.contains(&value), "{language}: no {value} in {page}");
        }
        assert!(page.contains("<data value=\"31.52 UZS\">"), "{page}");
        let csv = agent.ask(&[&asked[..], &["--lang", language, "--format", "csv"]].concat())?;
        assert!(
            csv.contains(",50000,50000,630.50 UZS/MB,31.52 UZS"),
            "{csv}"
        );
    }
    let page = agent.ask(&[&asked[..], &["--lang", "kk", "--format", "html"]].concat())?;
    assert!(page.contains("Шағын &lt;жоспар&gt;"), "{page}");
    let refused = agent.ask(&["statement", "bob", "--period", "2026-13"]);
    let refused = format!("{:#}", refused.err().context("a month of no year")?);
    assert!(refused.contains("write a month as in 2026-11"), "{refused}");
    agent.check_order()
}

#[test]
fn what_was_used_costs_what_it_cost_then() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let at = |price: &str| {
        let priced = format!("main = {{ price = \"{price}\" }}");
        town::POLICY.replace("main = \"500kB\"", &priced)
    };
    let mut agent = town::agent(&lab)
        .policy(&at("630.50 UZS/MB"))
        .setting("watch = false")
        .start()?;
    agent.ask(&["bucket", "grant", "bob", "main", "1000 UZS", "--id", "g-1"])?;
    let bob = lab.subscriber("bob").v4();
    udp(&bob, &lab.remote(town::INTERNET), 50, 972)?;
    lab.settle()?;
    agent.write_policy(&at("700 UZS/MB"))?;
    agent.reload()?;
    udp(&bob, &lab.remote(town::INTERNET), 100, 972)?;
    lab.settle()?;
    // The agent that comes knows as much.
    agent.sigterm()?;
    agent.start()?;
    let json = agent.ask(&["usage", "--subscriber", "bob", "--format", "json"])?;
    let lines = json.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>()?;
    let paid: Vec<_> = lines
        .iter()
        .filter(|line| line["kind"] == "usage" && line["charged"] == "main")
        .map(|line| (&line["price"], &line["bytes_drawn"], &line["amount"]))
        .collect();
    let expected = [
        ("630.50 UZS/MB".into(), 50_000.into(), "31.52 UZS".into()),
        ("700 UZS/MB".into(), 100_000.into(), "70.00 UZS".into()),
    ];
    let expected: Vec<(serde_json::Value, serde_json::Value, serde_json::Value)> = expected.into();
    let expected: Vec<_> = expected.iter().map(|(a, b, c)| (a, b, c)).collect();
    assert_eq!(paid, expected);
    agent.check_order()
}
