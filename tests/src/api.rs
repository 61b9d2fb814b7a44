//! The agent's API, asked with curl.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::process::run_with;

/// What the agent answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A number in a header.
    ///
    /// # Errors
    /// If there is none.
    pub fn number(&self, name: &str) -> Result<u64> {
        let text = self.header(name);
        text.parse()
            .with_context(|| format!("{name} is `{text}` in {:?}", self.headers))
    }

    /// The detail of problem details, after a look at the rest of them.
    ///
    /// # Errors
    /// If it is none.
    pub fn problem(&self) -> Result<String> {
        ensure!(
            self.header("content-type") == "application/problem+json",
            "no problem details: {self:?}"
        );
        let problem = self.json()?;
        ensure!(problem["status"] == self.status, "{problem}");
        ensure!(problem["type"] == "about:blank", "{problem}");
        ensure!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty()),
            "{problem}"
        );
        let detail = problem["detail"].as_str().context("no detail")?;
        Ok(detail.to_owned())
    }
}

/// Asks over the agent's socket, with further arguments for curl.
///
/// # Errors
/// If there is no answer.
pub fn ask<S: AsRef<OsStr>>(agent: &Agent, path: &str, arguments: &[S]) -> Result<Reply> {
    let mut curl = Command::new("curl");
    curl.arg("--unix-socket")
        .arg(agent.socket())
        .args(arguments);
    reply(curl.arg(format!("http://zerorate{path}")))
}

/// Sends JSON over the agent's socket.
///
/// # Errors
/// If there is no answer.
pub fn send(agent: &Agent, method: &str, path: &str, json: &str) -> Result<Reply> {
    let kind = "Content-Type: application/json";
    ask(
        agent,
        path,
        &["-X", method, "-H", kind, "--data-binary", json],
    )
}

/// Runs curl, and reads what was answered.
///
/// # Errors
/// If there is no answer, or not all of one.
pub fn reply(curl: &mut Command) -> Result<Reply> {
    // Nothing that is not asked for: no configuration of the user's, no proxy, no waiting for a go-ahead.
    curl.args(["-s", "-S", "-i", "--noproxy", "*", "-H", "Expect:"]);
    let output = curl
        .stdin(Stdio::null())
        .output()
        .context("cannot run curl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{curl:?}: {}: {said}",
        output.status
    );
    parse(&output.stdout).with_context(|| format!("no answer: {:?}", output.stdout))
}

fn parse(answer: &[u8]) -> Option<Reply> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|piece| piece == END)?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Reply {
        status,
        headers: lines.filter_map(header).collect(),
        body: answer[end + END.len()..].to_vec(),
    })
}

/// A route, as the agent's own description has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `GET` and so on.
    pub method: String,
    /// Its path, with parameters in braces.
    pub path: String,
    /// For whom it is: `anyone`, `self`, or a role.
    pub access: String,
}

/// All routes there are.
///
/// # Errors
/// If the description does not say.
pub fn routes(agent: &Agent) -> Result<Vec<Route>> {
    let document = ask::<&str>(agent, "/openapi.json", &[])?.json()?;
    let paths = document["paths"].as_object().context("no paths")?;
    let mut routes = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().context("no operations")? {
            let access = operation["x-zerorate-access"].as_str();
            routes.push(Route {
                method: method.to_ascii_uppercase(),
                path: path.clone(),
                access: access
                    .with_context(|| format!("{method} {path}"))?
                    .to_owned(),
            });
        }
    }
    Ok(routes)
}

/// The statuses of many requests, each a method and a path, in one run of curl with these options for each.
///
/// # Errors
/// If there is not an answer to each.
pub fn statuses(
    curl: &mut Command,
    options: &[(&str, String)],
    requests: &[(String, String)],
) -> Result<Vec<u16>> {
    let mut config = String::new();
    for (method, url) in requests {
        let next = if config.is_empty() { "" } else { "next\n" };
        config += &format!(
            "{next}url = \"{url}\"\nrequest = \"{method}\"\nwrite-out = \"%{{http_code}}\\n\"\n\
             output = \"/dev/null\"\nnoproxy = \"*\"\nsilent\n"
        );
        for (name, value) in options {
            config += &format!("{name} = \"{value}\"\n");
        }
    }
    let text = run_with(curl.args(["-K", "-"]), &config)?;
    let found: Vec<u16> = text.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(
        found.len() == requests.len(),
        "not {} answers: {text}",
        requests.len()
    );
    Ok(found)
}
