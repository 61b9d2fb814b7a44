//! An agent with everybody in its configuration: users, certificates, tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use zerorate_tests::agent::Agent;
use zerorate_tests::api::send;
use zerorate_tests::netns::NetNs;
use zerorate_tests::tls::{Authority, Certificate};
use zerorate_tests::topology::Lab;
use zerorate_tests::town;

pub(super) const ROLES: [&str; 4] = ["read", "billing", "policy", "admin"];
/// User and group of the process with the first of them; the next ones follow.
pub(super) const FIRST_USER: u32 = 61_001;
/// A user nobody knows.
pub(super) const NOBODY: u32 = 61_009;

/// An agent with everybody in its configuration, and what they come with.
pub(super) struct Office {
    pub(super) lab: Lab,
    pub(super) agent: Agent,
    pub(super) authority: Authority,
    /// The address, with its port.
    pub(super) base: String,
    pub(super) tokens: Vec<(String, String)>,
}

impl Office {
    pub(super) fn open() -> Result<Self> {
        let lab = town::lab().build()?;
        let mut agent = town::agent(&lab).setting("watch = false").prepare()?;
        let home = agent.home().to_owned();
        // Whoever is somebody else has to come in here, too.
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755))?;
        let authority = Authority::new(&home, "authority")?;
        let server = authority.sign("gateway", "IP:127.0.0.1")?;
        let tokens = home.join("tokens");
        let mut config = format!("tokens = \"{}\"\n", tokens.display());
        config += "[api.limits]\nrate = 100000\nself_rate = 100000\n[api.tcp]\nlisten = \"127.0.0.1:0\"\n";
        for (key, path) in [
            ("certificate", &server.certificate),
            ("key", &server.key),
            ("client_ca", &authority.certificate()),
        ] {
            config += &format!("{key} = \"{}\"\n", path.display());
        }
        for (user, role) in (FIRST_USER..).zip(ROLES) {
            // By user, and by group.
            let who = if user % 2 == 0 { "user" } else { "group" };
            config += &format!("[[api.peer]]\n{who} = {user}\nrole = \"{role}\"\n");
            config += &format!("[[api.client]]\nsubject = \"{role}.test\"\nrole = \"{role}\"\n");
        }
        let socket = format!("socket = \"{}\"\n", agent.socket().display());
        agent.configure(&socket, &(socket.clone() + &config))?;
        let mut known = Vec::new();
        for role in ROLES {
            let mut new = agent.command(&[
                "api", "token", "new", "--role", role, "--name", role, "--file",
            ]);
            let output = new.arg(&tokens).output()?;
            known.push((
                role.to_owned(),
                String::from_utf8(output.stdout)?.trim().to_owned(),
            ));
        }
        agent.start()?;
        fs::set_permissions(agent.socket(), fs::Permissions::from_mode(0o666))?;
        let log = agent.log();
        let (_, after) = log
            .rsplit_once("127.0.0.1:")
            .context("no address in the log")?;
        let port: String = after.chars().take_while(char::is_ascii_digit).collect();
        let made = send(
            &agent,
            "POST",
            "/v1/self-tokens",
            "{\"subscriber\": \"alice\"}",
        )?
        .json()?;
        let own = made["token"].as_str().context("no token")?;
        known.push(("self".to_owned(), own.to_owned()));
        Ok(Self {
            base: format!("https://127.0.0.1:{port}"),
            lab,
            agent,
            authority,
            tokens: known,
        })
    }

    pub(super) fn gateway(&self) -> &NetNs {
        &self.lab.gateway
    }

    pub(super) fn socket(&self) -> (&'static str, String) {
        ("unix-socket", self.agent.socket().display().to_string())
    }

    pub(super) fn trusted(&self) -> (&'static str, String) {
        ("cacert", self.authority.certificate().display().to_string())
    }
}

pub(super) fn bearer(token: &str) -> (&'static str, String) {
    ("header", format!("Authorization: Bearer {token}"))
}

pub(super) fn shown(certificate: &Certificate) -> [(&'static str, String); 2] {
    [
        ("cert", certificate.certificate.display().to_string()),
        ("key", certificate.key.display().to_string()),
    ]
}
