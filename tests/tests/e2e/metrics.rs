//! Metrics, as a real Prometheus scrapes them: they are what `zerorate usage` says, never fall, name nobody, and the alerts and
//! the dashboard that are shipped ask for metrics there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::can_use_namespaces;
use zerorate_tests::prometheus::{Prometheus, Samples, deployed, has_prometheus};
use zerorate_tests::topology::Lab;
use zerorate_tests::town::{self, taken_in, under_load};
use zerorate_tests::traffic::udp;
use zerorate_tests::wait::until;

const OFTEN: &str = "[records]\ninterval = \"300ms\"\ncheckpoint = \"100ms\"";
const LISTEN: &str = "[metrics]\nlisten = \"127.0.0.1:9477\"";

fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    labels.map(own).into()
}

/// What is scraped, as it is.
fn scrape(lab: &Lab, path: &str) -> Result<String> {
    let mut curl = lab.gateway.command("curl");
    let output = curl
        .args(["--silent", "--show-error", "--include"])
        .arg(format!("http://127.0.0.1:9477{path}"))
        .output()?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn prometheus_knows_what_the_bill_says() -> Result<()> {
    if !can_use_namespaces() || !has_prometheus() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section(OFTEN)
        .section(LISTEN)
        .start()?;
    let prometheus = Prometheus::start(&lab.gateway, "127.0.0.1:9477")?;
    let pairs = [
        (lab.subscriber("alice").v4(), lab.remote(town::INTERNET)),
        (lab.subscriber("bob").v6(), lab.remote(town::GOVERNMENT6)),
    ];
    let flow = taken_in(&lab, || {
        under_load(&pairs, || {
            for round in 0..3 {
                // Rows end and begin, and the agent does, while everything is scraped.
                agent.ask(&["subscriber", "plan", "alice", "small"])?;
                agent.ask(&["subscriber", "plan", "alice", "basic"])?;
                agent.ask(&["subscriber", "remove", "bob"])?;
                agent.ask(&[
                    "subscriber",
                    "add",
                    "bob",
                    "--plan",
                    "small",
                    "--address",
                    "2001:db8:b::/56",
                ])?;
                agent.kill9()?;
                agent.start()?;
                let scraped =
                    format!("count_over_time(zerorate_start_time_seconds[10m]) > {round}");
                until("Prometheus has scraped", || {
                    Ok(!prometheus.query(&scraped)?.is_empty())
                })?;
            }
            Ok(())
        })?;
        udp(
            &lab.subscriber("alice").v4(),
            &lab.remote(town::MESSENGERS),
            20,
            72,
        )?;
        // Nobody's.
        udp(
            &lab.subscriber("bob").v4(),
            &lab.remote(town::INTERNET),
            20,
            72,
        )
        .map(drop)
    })?;
    let bill = agent.bill()?;
    let mut bytes: Samples = BTreeMap::new();
    let mut packets = bytes.clone();
    for ((_, class, charged), flow) in &bill.usage {
        for (direction, volume) in [("up", flow.up), ("down", flow.down)] {
            let key = labels([
                ("class", class),
                ("charged", charged),
                ("direction", direction),
            ]);
            *bytes.entry(key.clone()).or_default() += volume.bytes as f64;
            *packets.entry(key).or_default() += volume.packets as f64;
        }
    }
    let used =
        |samples: Samples| -> Samples { samples.into_iter().filter(|(_, n)| *n != 0.0).collect() };
    let (bytes, packets) = (used(bytes), used(packets));
    until("a scrape of what there is now", || {
        let query = |name| Ok::<_, anyhow::Error>(used(prometheus.query(name)?));
        Ok(query("zerorate_usage_bytes_total")? == bytes
            && query("zerorate_usage_packets_total")? == packets)
    })
    .with_context(|| {
        format!(
            "{:#?}\n{bytes:#?}",
            prometheus.query("zerorate_usage_bytes_total")
        )
    })?;
    let attributed = prometheus.number("sum(zerorate_usage_bytes_total)")?;
    let unattributed = prometheus.number("sum(zerorate_unattributed_bytes_total)")?;
    let seen = prometheus.number("sum(zerorate_interface_ip_bytes_total)")?;
    assert!(unattributed >= 2000.0, "{unattributed}");
    assert_eq!(attributed + unattributed, seen);
    assert_eq!(seen, (flow.up.bytes + flow.down.bytes) as f64);
    for (expression, expected) in [
        // A counter that falls is a reset, and its rate is wrong.
        ("max(resets(zerorate_usage_bytes_total[10m]))", 0.0),
        ("max(resets(zerorate_usage_packets_total[10m]))", 0.0),
        ("max(resets(zerorate_interface_ip_bytes_total[10m]))", 0.0),
        ("max(resets(zerorate_ledger_records_total[10m]))", 0.0),
        ("max(abs(zerorate_books_difference_bytes))", 0.0),
        ("min(zerorate_interface_attached)", 1.0),
        ("sum(zerorate_sessions)", 2.0),
        ("zerorate_unrecorded", 0.0),
        ("zerorate_reload_refused", 0.0),
    ] {
        assert_eq!(prometheus.number(expression)?, expected, "{expression}");
    }
    let kinds = prometheus.query("zerorate_records_total")?;
    let kind = |kind| kinds.get(&labels([("kind", kind)])).copied();
    assert!(kind("usage") > Some(0.0), "{kinds:?}");
    // All that there are, by their number.
    let records = agent
        .ask_json(&["record", "list", "--limit", "1000000"])?
        .len() as f64;
    until("all records are written, and known", || {
        Ok(prometheus.number("zerorate_ledger_records_total")? >= records)
    })?;
    // What is wrong is known there, too.
    agent.write_policy("name = 3")?;
    agent.reload().unwrap_err();
    until("the refusal is known", || {
        Ok(prometheus.number("zerorate_reload_refused")? == 1.0)
    })?;
    let pending = "ALERTS{alertname=\"ZerorateReloadRefused\"}";
    assert!(
        prometheus
            .query(pending)?
            .keys()
            .all(|alert| alert["severity"] == "warning")
    );

    let text = scrape(&lab, "/metrics")?;
    assert!(
        text.contains("content-type: application/openmetrics-text"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    for name in ["alice", "bob"] {
        assert!(!text.contains(name), "{name} is named");
    }
    // The same on the socket of the API, which has more; here there is nothing else.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--unix-socket"]).arg(agent.socket());
    let output = curl.arg("http://localhost/metrics").output()?;
    assert!(String::from_utf8(output.stdout)?.contains("zerorate_usage_bytes_total"));
    for path in ["/v1/status", "/v1/subscribers", "/"] {
        assert!(scrape(&lab, path)?.starts_with("HTTP/1.1 404"), "{path}");
    }
    check_names(&text)
}

/// Words of a text that are names of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("zerorate_")).collect()
}

/// That every metric that rules, dashboard and document name is one there is, and that the document names all.
fn check_names(scraped: &str) -> Result<()> {
    let mut there = names(scraped);
    // Only where a policy has dates, where subscribers, sinks or feeds are configured.
    there.extend([
        "zerorate_policy_changes_timestamp_seconds",
        "zerorate_subscriber_bytes_total",
    ]);
    there.extend([
        "zerorate_sink_lag_records",
        "zerorate_sink_lag_seconds",
        "zerorate_sink_records_total",
        "zerorate_sink_errors_total",
        "zerorate_sink_failing",
    ]);
    there.extend([
        "zerorate_feed_stale",
        "zerorate_feed_refused",
        "zerorate_feed_fresh_timestamp_seconds",
    ]);
    let mut documented = BTreeSet::new();
    for file in [
        "prometheus/zerorate.rules.yml",
        "grafana/zerorate.json",
        "../docs/metrics.md",
    ] {
        let text = fs::read_to_string(deployed(file))?;
        let asked = names(&text);
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(unknown.is_empty(), "{file}: there are no {unknown:?}");
        assert!(asked.len() > 5, "{file} asks for nothing");
        documented = asked.iter().map(|name| (*name).to_owned()).collect();
    }
    let told: BTreeSet<_> = scraped
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| names(line.split(['{', ' ']).next().unwrap_or_default()))
        .map(|name| {
            let histogram = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            histogram.unwrap_or(name).to_owned()
        })
        .collect();
    let missing: Vec<_> = told
        .iter()
        .filter(|name| !documented.iter().any(|known| known.starts_with(*name)))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md does not name {missing:?}"
    );
    Ok(())
}

#[test]
fn what_is_shipped_for_prometheus_is_in_order() -> Result<()> {
    if !has_prometheus() {
        return Ok(());
    }
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "zerorate.tests.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        let output = promtool
            .args(arguments)
            .current_dir(deployed("prometheus"))
            .output()?;
        assert!(output.status.success(), "{output:?}");
    }
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deployed("grafana/zerorate.json"))?)?;
    assert!(
        dashboard["panels"]
            .as_array()
            .is_some_and(|panels| panels.len() > 10)
    );
    Ok(())
}

#[test]
fn subscribers_are_named_when_they_are_asked_for() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .section(OFTEN)
        .section("[metrics]\nlisten = \"127.0.0.1:9477\"\nsubscribers = [\"alice\"]")
        .start()?;
    for name in ["alice", "bob"] {
        udp(
            &lab.subscriber(name).v4(),
            &lab.remote(town::GOVERNMENT),
            10,
            72,
        )?;
    }
    lab.settle()?;
    let line = "zerorate_subscriber_bytes_total{subscriber=\"alice\",class=\"government\",charged=\"free\",\
                direction=\"up\"} 1000\n";
    until("alice's bytes are told", || {
        Ok(scrape(&lab, "/metrics")?.contains(line))
    })?;
    assert!(!scrape(&lab, "/metrics")?.contains("bob"));
    agent.sigterm()?;
    agent.configure("127.0.0.1:9477", "0.0.0.0:9477")?;
    let said = agent.refusal()?;
    assert!(
        said.contains("where anybody may ask who used how much"),
        "{said}"
    );
    Ok(())
}
