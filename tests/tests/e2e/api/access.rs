//! Every route, for everybody, in every way to come in: who may ask what. And what a subscriber sees of itself.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zerorate_tests::api::{Route, ask, reply, routes, send, statuses};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::tls::Authority;
use zerorate_tests::town;
use zerorate_tests::traffic::udp;

use super::office::{FIRST_USER, NOBODY, Office, ROLES, bearer, shown};

/// The matrix, said once more: what `role` may do.
fn may(role: &str, access: &str) -> bool {
    match access {
        "anyone" => true,
        "self" => role == "self",
        "read" => ROLES.contains(&role),
        _ => role == access || role == "admin",
    }
}

/// A path that leads to nobody, where it leads to somebody.
fn path(route: &Route) -> String {
    let path = route
        .path
        .replace("{id}", "nobody")
        .replace("{name}", "nobody");
    let path = path
        .replace("{bucket}", "main")
        .replace("{action}", "grant");
    path.replace("{number}", "4711")
}

#[test]
fn every_route_is_for_whom_it_is_for() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let office = Office::open()?;
    let routes = routes(&office.agent)?;
    // Whoever may only read changes nothing.
    for route in &routes {
        let changes = route.method != "GET";
        assert_eq!(
            changes,
            ["billing", "policy", "admin"].contains(&&*route.access),
            "{route:?}"
        );
    }
    let open: Vec<_> = routes
        .iter()
        .filter(|route| route.access == "anyone")
        .collect();
    assert_eq!(open.len(), 3, "{open:?}");

    // (who, what it may do, curl as it runs it, its options, where, what it is told where it may not)
    type Way = (
        String,
        String,
        Command,
        Vec<(&'static str, String)>,
        String,
        u16,
    );
    let mut ways: Vec<Way> = Vec::new();
    let socket = "http://zerorate".to_owned();
    let user = |user: u32| {
        let mut curl = Command::new("setpriv");
        curl.args([format!("--reuid={user}"), format!("--regid={user}")]);
        curl.args(["--clear-groups", "curl"]);
        curl
    };
    for (number, role) in (FIRST_USER..).zip(ROLES) {
        ways.push((
            format!("user of {role}"),
            role.into(),
            user(number),
            vec![office.socket()],
            socket.clone(),
            403,
        ));
        let certificate = office
            .authority
            .sign(&format!("{role}.test"), "DNS:somebody.test")?;
        let mut options = vec![office.trusted()];
        options.extend(shown(&certificate));
        let curl = office.gateway().command("curl");
        ways.push((
            format!("certificate of {role}"),
            role.into(),
            curl,
            options,
            office.base.clone(),
            403,
        ));
    }
    let root = Command::new("curl");
    ways.push((
        "root".into(),
        "admin".into(),
        root,
        vec![office.socket()],
        socket.clone(),
        403,
    ));
    ways.push((
        "another user".into(),
        "none".into(),
        user(NOBODY),
        vec![office.socket()],
        socket.clone(),
        403,
    ));
    let curl = || office.gateway().command("curl");
    ways.push((
        "no certificate".into(),
        "none".into(),
        curl(),
        vec![office.trusted()],
        office.base.clone(),
        401,
    ));
    // By its alternative name.
    let other = office.authority.sign("other", "DNS:billing.test")?;
    let mut options = vec![office.trusted()];
    options.extend(shown(&other));
    ways.push((
        "alternative name".into(),
        "billing".into(),
        curl(),
        options,
        office.base.clone(),
        403,
    ));
    let unnamed = office.authority.sign("unnamed", "DNS:unnamed.test")?;
    let mut options = vec![office.trusted()];
    options.extend(shown(&unnamed));
    ways.push((
        "certificate of nobody".into(),
        "none".into(),
        curl(),
        options.clone(),
        office.base.clone(),
        403,
    ));
    for (role, token) in &office.tokens {
        // A token decides, whoever brings it.
        let on_socket = vec![office.socket(), bearer(token)];
        ways.push((
            format!("token of {role} by root"),
            role.clone(),
            Command::new("curl"),
            on_socket,
            socket.clone(),
            403,
        ));
        let by_tls = vec![office.trusted(), bearer(token)];
        ways.push((
            format!("token of {role}"),
            role.clone(),
            curl(),
            by_tls,
            office.base.clone(),
            403,
        ));
        let mut both = options.clone();
        both.push(bearer(token));
        ways.push((
            format!("token of {role}, certificate of nobody"),
            role.clone(),
            curl(),
            both,
            office.base.clone(),
            403,
        ));
    }
    for (who, role, mut curl, options, base, refused) in ways {
        let requests: Vec<_> = routes
            .iter()
            .map(|route| (route.method.clone(), format!("{base}{}", path(route))))
            .collect();
        let found = statuses(&mut curl, &options, &requests)?;
        for (route, status) in routes.iter().zip(found) {
            let is_refused = [401, 403].contains(&status);
            assert_eq!(
                is_refused,
                !may(&role, &route.access),
                "{who}: {route:?}: {status}"
            );
            assert!(
                !is_refused || status == refused,
                "{who}: {route:?}: {status}"
            );
            assert!(status < 500 && status != 429, "{who}: {route:?}: {status}");
        }
    }
    // It is in the log, and no token is.
    let log = office.agent.log();
    let told = "refused POST /v1/policy/reload of user 61001: user 61001 may not do this: it needs the role `policy`";
    assert!(log.contains(told), "{log}");
    let known = |(_, token): &&(String, String)| log.contains(&**token);
    assert_eq!(office.tokens.iter().find(known), None);
    Ok(())
}

#[test]
fn a_token_that_is_none_is_refused_and_one_that_is_revoked() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let office = Office::open()?;
    let agent = &office.agent;
    let status = |header: &str| ask(agent, "/v1/status", &["-H", header]);
    let read = &office.tokens[0].1;
    assert_eq!(
        status(&format!("Authorization: Bearer {read}"))?.status,
        200
    );
    for header in [
        format!("Authorization: Bearer {read}0"),
        "Authorization: Bearer".to_owned(),
        "Authorization: Basic cm9vdDpyb290".to_owned(),
        format!("Authorization: Bearer {}0", office.tokens[4].1),
    ] {
        let refused = status(&header)?;
        assert_eq!(refused.status, 401, "{header}");
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer realm=\"zerorate\""
        );
        refused.problem()?;
    }
    let mut revoke = agent.command(&["api", "token", "revoke", "read", "--file"]);
    assert!(revoke.arg(agent.home().join("tokens")).status()?.success());
    assert_eq!(
        status(&format!("Authorization: Bearer {read}"))?.status,
        401
    );
    // Whom an authority we do not know has signed does not come in; nor who does not speak TLS.
    let others = Authority::new(agent.home(), "others")?;
    let stranger = others.sign("stranger", "DNS:admin.test")?;
    for extra in [
        vec![
            "--cert".as_ref(),
            stranger.certificate.as_os_str(),
            "--key".as_ref(),
            stranger.key.as_os_str(),
        ],
        vec!["--http0.9".as_ref()],
    ] {
        let mut curl = office.gateway().command("curl");
        curl.arg("--cacert")
            .arg(office.authority.certificate())
            .args(&extra);
        let base = match extra.len() {
            1 => office.base.replace("https:", "http:"),
            _ => office.base.clone(),
        };
        assert!(
            reply(curl.arg(format!("{base}/v1/status"))).is_err(),
            "{extra:?}"
        );
    }
    let log = agent.log();
    assert!(
        log.contains("refused a certificate of 127.0.0.1: "),
        "{log}"
    );
    // A renewed certificate is in use at once.
    let renewed = office
        .authority
        .sign("renewed", "IP:127.0.0.1,DNS:renewed.test")?;
    fs::copy(&renewed.key, agent.home().join("gateway.key"))?;
    fs::copy(&renewed.certificate, agent.home().join("gateway.pem"))?;
    let mut curl = office.gateway().command("curl");
    curl.arg("--cacert").arg(office.authority.certificate());
    let port = office.base.rsplit(':').next().unwrap_or_default();
    curl.arg("--resolve")
        .arg(format!("renewed.test:{port}:127.0.0.1"));
    let alive = reply(curl.arg(format!("https://renewed.test:{port}/healthz")))?;
    assert_eq!(alive.status, 200);
    Ok(())
}

#[test]
fn a_subscriber_sees_what_is_its_own_also_while_it_is_suspended() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let office = Office::open()?;
    let agent = &office.agent;
    let alice = office.lab.subscriber("alice").v4();
    udp(&alice, &office.lab.remote(town::INTERNET), 10, 72)?;
    udp(
        &office.lab.subscriber("bob").v4(),
        &office.lab.remote(town::INTERNET),
        33,
        72,
    )?;
    office.lab.settle()?;
    agent.ask(&["subscriber", "suspend", "alice", "--reason", "unpaid"])?;
    let header = format!("Authorization: Bearer {}", office.tokens[4].1);
    let own = |path: &str| -> Result<Value> {
        let mut curl = office.gateway().command("curl");
        curl.arg("--cacert").arg(office.authority.certificate());
        let reply = reply(
            curl.args(["-H", &header])
                .arg(format!("{}{path}", office.base)),
        )?;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.text().contains("bob"), "{}", reply.text());
        reply.json()
    };
    let shown = own("/v1/self")?;
    assert_eq!(
        (&shown["subscriber"], &shown["state"]),
        (&Value::from("alice"), &Value::from("suspended"))
    );
    assert_eq!(
        (&shown["plan"], &shown["packets_up"]),
        (&Value::from("basic"), &Value::from(10))
    );
    let main = shown["buckets"][0]["left"].as_i64().context("no bucket")?;
    assert_eq!(main, agent.left("alice", "main")?);
    let statement = own("/v1/self/statement")?;
    assert_eq!(statement["total"]["packets_up"], 10);
    assert!(
        statement["records"].to_string().contains("unpaid"),
        "{statement}"
    );
    // Nothing is known of somebody who never was, and nobody's token is good for ever.
    let nobody = send(
        agent,
        "POST",
        "/v1/self-tokens",
        "{\"subscriber\": \"carol\"}",
    )?;
    assert_eq!(nobody.status, 404);
    let long = "{\"subscriber\": \"bob\", \"lifetime_seconds\": 90000}";
    let long = send(agent, "POST", "/v1/self-tokens", long)?;
    assert_eq!(long.status, 422);
    assert!(long.problem()?.contains("1 to 86400 seconds"));
    Ok(())
}
