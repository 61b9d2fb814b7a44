//! A client that knows nothing but the description, and tries what it allows and what it does not: schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use zerorate_tests::api::send;
use zerorate_tests::tls::Authority;
use zerorate_tests::traffic::udp;
use zerorate_tests::{can_use_namespaces, skip, town};

const VERSION: &str = "4.32.5";

/// Schemathesis, installed below the build directory; why not, if it cannot be.
fn schemathesis() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let home = target.join(format!("schemathesis-{VERSION}"));
    let program = home.join("bin/schemathesis");
    let works = || {
        Command::new(&program)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if works() {
        return Ok(program);
    }
    let run = |command: &mut Command| {
        let output = command
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| format!("{command:?}: {last}"))
    };
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&home))?;
    let package = format!("schemathesis=={VERSION}");
    run(Command::new(home.join("bin/pip")).args(["install", "--quiet", "--no-input", &package]))?;
    works()
        .then_some(program)
        .ok_or_else(|| "schemathesis does not run".to_owned())
}

/// What it is told beside the description: whom there is, and not to ask for what goes on for ever. Parameters nobody knows it
/// never judges by themselves, but where one of those given here takes the place of another it made it takes the rest
/// for wrong; that they are refused is seen elsewhere.
const SETTINGS: &str = r#"
[generation]
allow-extra-parameters = false

[parameters]
"path.id" = "alice"
"path.bucket" = "main"
"path.name" = "cdr"

[[operations]]
include-path = "/v1/subscribers/{id}"
include-method = "DELETE"
parameters = { "path.id" = "bob" }

[[operations]]
include-path = "/v1/events"
parameters = { "query.follow" = "false" }

[[operations]]
include-path = "/v1/records"
parameters = { "query.wait" = "0" }

[[operations]]
include-path-regex = "^/v1/self(/statement)?$"
headers = { Authorization = "Bearer OWN" }
"#;

#[test]
fn answers_are_as_described_whatever_is_asked() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let program = match schemathesis() {
        Ok(program) => program,
        Err(why) => {
            skip(&format!("schemathesis cannot be installed: {why}"));
            return Ok(());
        }
    };
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab).setting("watch = false").prepare()?;
    let authority = Authority::new(agent.home(), "authority")?;
    let server = authority.sign("gateway", "IP:127.0.0.1")?;
    let tokens = agent.home().join("tokens");
    let mut new = agent.command(&[
        "api", "token", "new", "--role", "admin", "--name", "tester", "--file",
    ]);
    let token = String::from_utf8(new.arg(&tokens).output()?.stdout)?;
    let socket = format!("socket = \"{}\"\n", agent.socket().display());
    let config = format!(
        "{socket}tokens = \"{}\"\n[api.limits]\nrate = 100000\nself_rate = 100000\n[api.tcp]\n\
         listen = \"127.0.0.1:0\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        tokens.display(),
        server.certificate.display(),
        server.key.display()
    );
    agent.configure(&socket, &config)?;
    agent.start()?;
    udp(
        &lab.subscriber("alice").v4(),
        &lab.remote(town::INTERNET),
        10,
        72,
    )?;
    agent.ask(&["bucket", "grant", "alice", "main", "1MB", "--id", "first"])?;
    let log = agent.log();
    let (_, after) = log
        .rsplit_once("127.0.0.1:")
        .context("no address in the log")?;
    let port: String = after.chars().take_while(char::is_ascii_digit).collect();
    let settings = agent.home().join("schemathesis.toml");
    let own = send(
        &agent,
        "POST",
        "/v1/self-tokens",
        "{\"subscriber\": \"alice\"}",
    )?
    .json()?;
    let own = own["token"].as_str().context("no token")?;
    std::fs::write(&settings, SETTINGS.replace("OWN", own))?;
    let mut client = lab.gateway.command(&program);
    client.arg("--config-file").arg(&settings).arg("run");
    client.arg(format!("https://127.0.0.1:{port}/openapi.json"));
    client.arg("--tls-verify").arg(authority.certificate());
    client
        .arg("-H")
        .arg(format!("Authorization: Bearer {}", token.trim()));
    client.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance",
    ]);
    client.args([
        "--checks",
        "response_headers_conformance,response_schema_conformance",
    ]);
    client.args([
        "--checks",
        "negative_data_rejection,unsupported_method,use_after_free,ignored_auth",
    ]);
    client.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "25",
        "--workers",
        "1",
    ]);
    client.args([
        "--suppress-health-check",
        "all",
        "--no-color",
        "--generation-database",
        "none",
    ]);
    let output = client.current_dir(agent.home()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What was tried is worth a look.
    eprintln!("{said}");
    ensure!(said.contains("Test cases"), "{said}");
    agent.check_order()
}
