//! Alive, ready, and why not.

use anyhow::Result;
use zerorate_tests::api::{self, Reply, send};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town::{self, POLICY};
use zerorate_tests::wait::until;

fn get(agent: &zerorate_tests::agent::Agent, path: &str) -> Result<Reply> {
    api::ask::<&str>(agent, path, &[])
}

#[test]
fn it_is_ready_when_it_can_do_all_of_its_work() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let mut lab = town::lab().build()?;
    let agent = town::agent(&lab).setting("watch = false").start()?;
    let ready = |expected: u16, why: &str| {
        until(&format!("/readyz says {expected} {why}"), || {
            let reply = get(&agent, "/readyz")?;
            let said = reply.json()?;
            assert_eq!(said["ready"], reply.status == 200, "{said}");
            let reasons = said["reasons"].to_string();
            Ok(reply.status == expected && reasons.contains(why))
        })
    };
    ready(200, "")?;
    let version = get(&agent, "/v1/version")?.json()?;
    assert_eq!(version["node"], "test");
    assert_eq!(version["api"], "v1");

    lab.unplug("bob")?;
    ready(503, "interface `access1` is not attached")?;
    lab.replug("bob")?;
    ready(200, "")?;

    agent.write_policy("name = ")?;
    let refused = send(&agent, "POST", "/v1/policy/reload", "")?;
    assert_eq!(refused.status, 422);
    assert!(
        refused.problem()?.contains("policy.toml:1:8"),
        "{}",
        refused.text()
    );
    ready(503, "the latest reload or start was refused")?;
    // It is alive all the time.
    assert_eq!(get(&agent, "/healthz")?.json()?["alive"], true);
    agent.write_policy(POLICY)?;
    agent.reload()?;
    ready(200, "")
}
