//! A real Prometheus, in a namespace with the agent it scrapes, asked with its own `promtool`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::netns::NetNs;
use crate::process::run;
use crate::skip::skip;
use crate::wait::until;

/// What `deploy/` of the repository holds.
#[must_use]
pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

/// Whether Debian's `prometheus` is here; if not, the calling test is skipped.
#[must_use]
pub fn has_prometheus() -> bool {
    let there = ["prometheus", "promtool"].iter().all(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    });
    if !there {
        skip("there is no Prometheus: install Debian's `prometheus`");
    }
    there
}

/// What an agent tells of one of its own affairs, without a Prometheus.
///
/// # Errors
/// If it is not running or tells of no such thing.
pub fn metric(agent: &Agent, name: &str) -> Result<f64> {
    let mut curl = Command::new("curl");
    let curl = curl.args(["-sS", "--unix-socket"]).arg(agent.socket());
    let output = curl.arg("http://localhost/metrics").output()?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.with_context(|| format!("there is no {name} in {text}"))?;
    Ok(value.trim().parse()?)
}

/// Samples by their labels, without the name.
pub type Samples = BTreeMap<BTreeMap<String, String>, f64>;

/// A running Prometheus; ended on drop.
#[derive(Debug)]
pub struct Prometheus {
    namespace: NetNs,
    _home: TempDir,
    child: Child,
}

const ADDRESS: &str = "127.0.0.1:9090";

impl Prometheus {
    /// Starts one that scrapes a target every 200 ms, with the alert rules of `deploy/`.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(namespace: &NetNs, target: &str) -> Result<Self> {
        let home = TempDir::with_prefix("zerorate-prometheus-")?;
        let config = fs::read_to_string(deployed("prometheus/prometheus.yml"))?
            .replace("127.0.0.1:9477", target)
            .replace(
                "scrape_interval: 15s",
                "scrape_interval: 200ms\n    scrape_timeout: 200ms",
            )
            .replace(
                "zerorate.rules.yml",
                &deployed("prometheus/zerorate.rules.yml")
                    .display()
                    .to_string(),
            );
        let file = home.path().join("prometheus.yml");
        fs::write(&file, config)?;
        let log = File::create(home.path().join("log"))?;
        let child = namespace
            .command("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                home.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={ADDRESS}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start prometheus")?;
        let prometheus = Self {
            namespace: namespace.clone(),
            _home: home,
            child,
        };
        until("Prometheus answers", || {
            Ok(prometheus.query("vector(1)").is_ok())
        })?;
        Ok(prometheus)
    }

    /// What an expression is at present.
    ///
    /// # Errors
    /// If Prometheus does not answer, or does not understand it.
    pub fn query(&self, expression: &str) -> Result<Samples> {
        let mut promtool = self.namespace.command("promtool");
        promtool.args(["query", "instant", "--format=json"]);
        let answer = run(promtool.arg(format!("http://{ADDRESS}")).arg(expression))?;
        let answer: Vec<Value> = serde_json::from_str(&answer).context(answer)?;
        let sample = |sample: &Value| {
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(sample["metric"].clone())?;
            for label in ["__name__", "instance", "job"] {
                labels.remove(label);
            }
            let value = sample["value"][1].as_str().context("no value")?;
            Ok((labels, value.parse()?))
        };
        answer.iter().map(sample).collect()
    }

    /// An expression that is one number.
    ///
    /// # Errors
    /// If it is not.
    pub fn number(&self, expression: &str) -> Result<f64> {
        let samples = self.query(expression)?;
        let first = samples.values().next();
        first
            .copied()
            .with_context(|| format!("{expression}: {samples:?}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
