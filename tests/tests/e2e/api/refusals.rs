//! What is refused is answered as problem details, in words that say what to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use zerorate_tests::api::{self, ask, send};
use zerorate_tests::can_use_namespaces;
use zerorate_tests::town;

#[test]
fn every_refusal_is_a_problem_that_explains_itself() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab)
        .section("[api.limits]\nbody_bytes = 2000\nrate = 100")
        .start()?;
    let grant = "/v1/subscribers/alice/buckets/main/grant";
    let large = format!("{{\"id\": \"{}\"}}", "x".repeat(3_000));
    for (method, path, json, status, parts) in [
        (
            "POST",
            grant,
            "{\"id\": ",
            400,
            ["the body is no JSON: ", "line 1 column 7"],
        ),
        (
            "POST",
            grant,
            "{\"id\": \"a\", \"byte\": 1}",
            422,
            ["unknown field `byte`", "`bytes`"],
        ),
        (
            "POST",
            grant,
            "{\"bytes\": 1}",
            422,
            ["missing field `id`", "the body"],
        ),
        (
            "POST",
            grant,
            "{\"id\": \"a\", \"bytes\": -1}",
            422,
            ["invalid value", "`-1`"],
        ),
        (
            "POST",
            grant,
            &large,
            413,
            ["larger than the agent takes", "body_bytes"],
        ),
        (
            "POST",
            "/v1/subscribers/alice/buckets/main/give",
            "{\"id\": \"a\"}",
            400,
            ["the path", "unknown variant `give`"],
        ),
        (
            "POST",
            "/v1/subscribers/carol/buckets/main/grant",
            "{\"id\": \"a\", \"bytes\": 1}",
            404,
            ["carol", "no subscriber"],
        ),
        (
            "PUT",
            "/v1/status",
            "{}",
            405,
            ["/v1/status does not take PUT", "Allow"],
        ),
        (
            "GET",
            "/v1/statuses",
            "",
            404,
            ["nothing at /v1/statuses", "/openapi.json"],
        ),
        (
            "GET",
            "/v1/records?after=-1",
            "",
            400,
            ["the query: after", "invalid digit"],
        ),
        (
            "GET",
            "/v1/records?since=1",
            "",
            400,
            ["unknown field `since`", "`after`"],
        ),
        (
            "GET",
            "/v1/records?kind=usages",
            "",
            422,
            ["no records of kind `usages`", "write_off"],
        ),
        ("GET", "/v1/subscribers/%ff", "", 400, ["the path", "UTF-8"]),
        (
            "GET",
            "/v1/sessions",
            "",
            400,
            ["the query", "missing field `subscriber`"],
        ),
        (
            "DELETE",
            "/v1/scheduled/7",
            "",
            404,
            ["nothing is scheduled", "7"],
        ),
        (
            "DELETE",
            "/v1/consumers/cdr",
            "",
            404,
            ["no consumer `cdr`", "acknowledged"],
        ),
    ] {
        let refused = send(&agent, method, path, json)?;
        assert_eq!(
            refused.status,
            status,
            "{method} {path}: {}",
            refused.text()
        );
        let detail = refused.problem()?;
        for part in parts {
            assert!(
                detail.contains(part),
                "{method} {path}: no `{part}` in {detail}"
            );
        }
        if status == 405 {
            assert_eq!(refused.header("allow"), "GET,HEAD");
        }
    }
    let text = ask(
        &agent,
        grant,
        &["-H", "Content-Type: text/plain", "--data", "{}"],
    )?;
    assert_eq!(text.status, 415);
    assert!(text.problem()?.contains("Content-Type: application/json"));
    let html = ask(&agent, "/v1/records", &["-H", "Accept: text/html"])?;
    assert_eq!(html.status, 406);
    assert!(html.problem()?.contains("application/x-ndjson"));
    // Commands say what the agent says, and nothing around it.
    let said = format!(
        "{:#}",
        agent
            .ask(&["bucket", "grant", "carol", "main", "1B", "--id", "a"])
            .unwrap_err()
    );
    assert!(
        said.contains("zerorate: no subscriber \"carol\" is known") && !said.contains('{'),
        "{said}"
    );
    assert_eq!(agent.left("alice", "main")?, town::MAIN);

    let routes = api::routes(&agent)?;
    assert!(routes.len() > 25, "{routes:?}");

    // Too many at once, and a moment later as before.
    let out = agent.home().join("replies");
    let mut flood = Command::new("curl");
    flood
        .arg("--unix-socket")
        .arg(agent.socket())
        .arg("-o")
        .arg(&out);
    flood.args([
        "-s",
        "-w",
        "%{http_code} %header{retry-after}\n",
        "http://zerorate/healthz?[1-1000]",
    ]);
    let statuses = String::from_utf8(flood.output()?.stdout)?;
    let (fine, late): (Vec<_>, Vec<_>) = statuses.lines().partition(|line| line.starts_with("200"));
    assert!(fine.len() >= 100 && !late.is_empty(), "{statuses}");
    assert!(late.iter().all(|line| *line == "429 1"), "{late:?}");
    let mut patient = Command::new("curl");
    patient
        .args(["-s", "--retry", "20", "-w", "%{http_code}", "--unix-socket"])
        .arg(agent.socket())
        .arg("-o")
        .arg(&out);
    let statuses = String::from_utf8(patient.arg("http://zerorate/healthz").output()?.stdout)?;
    assert!(statuses.ends_with("200"), "{statuses}");
    fs::remove_file(out)?;
    assert!(
        agent
            .log()
            .contains("refused GET /healthz of user 0: too many requests")
    );
    Ok(())
}

#[test]
fn who_is_refused_while_it_still_speaks_hears_the_answer() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let lab = town::lab().build()?;
    let agent = town::agent(&lab).start()?;
    let mut stream = UnixStream::connect(agent.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let piece = [b'x'; 10_000];
    write!(
        stream,
        "POST /v1/nowhere HTTP/1.1\r\nHost: zerorate\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        20 * piece.len()
    )?;
    for _ in 0..20 {
        stream.write_all(&piece)?;
        thread::sleep(Duration::from_millis(5));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    Ok(())
}
