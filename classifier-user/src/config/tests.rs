//! What is read of a configuration, and what is refused.

use super::*;

const WHOLE: &str = r#"
node = "gw-1"
timezone = "Asia/Almaty"
policy = "/etc/zerorate/policy"
subscribers = "/etc/zerorate/subscribers.csv"
ledger = "/var/lib/zerorate/ledger.db"
pin_dir = "/sys/fs/bpf/zerorate"
[[interface]]
name = "access0"
role = "access"
mode = "native"
downlink = "core"
unknown = "pass"
enforce = true
[[interface]]
name = "core0"
role = "core"
[records]
interval = "60s"
checkpoint = "1s"
[api]
socket = "/run/zerorate/api.sock"
"#;

fn message(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zerorate.toml");
    std::fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    Config::load(&path)
        .unwrap_err()
        .to_string()
        .replace(&prefix, "")
}

#[test]
fn the_contract_s_example_is_read() {
    let config: Config = toml::from_str(WHOLE).unwrap();
    assert_eq!(config.interfaces.len(), 2);
    assert_eq!(config.interfaces[1].mode, Mode::Native);
    assert_eq!(config.records.interval, Duration::from_secs(60));
}

#[test]
fn downlink_is_one_choice_for_all() {
    for (key, expected) in [("core", Downlink::Core), ("egress", Downlink::Egress)] {
        let text = WHOLE.replace("downlink = \"core\"", &format!("downlink = \"{key}\""));
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.downlink(), expected);
    }
    let config: Config = toml::from_str(&WHOLE.replace("downlink = \"core\"", "")).unwrap();
    assert_eq!(config.downlink(), Downlink::Core);
}

#[test]
fn an_unknown_key_is_shown_with_its_place() {
    let text = message(&WHOLE.replace("enforce = true", "enforced = true"));
    assert!(
        text.starts_with("zerorate.toml:14:1: error: unknown field `enforced`"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_is_refused() {
    for (from, to, expected) in [
        ("core0", "access0", "interface `access0` stands here twice"),
        ("\"gw-1\"", "\"\"", "`node` is empty"),
        ("Asia/Almaty", "Asia/Alma", "unknown time zone `Asia/Alma`"),
        ("\"60s\"", "\"soon\"", "`soon` is no duration"),
        (
            "[api]",
            "[events]\nlow = 100\n[api]",
            "`low` under [events] is 100",
        ),
        (
            "[api]",
            "[events]\nring_bytes = 5000\n[api]",
            "`ring_bytes` is 5000, and no power of two",
        ),
        (
            "[api]",
            "[events]\nkinds = [\"low\", \"high\"]\n[api]",
            "unknown variant `high`, expected one of `low`, `empty`, `blocked`, `class_first_used`",
        ),
        (
            "[api]",
            "[[api.peer]]\nuser = \"nobody at all\"\nrole = \"read\"\n[api]",
            "zerorate.toml:22:8: error: [[api.peer]] names somebody who is not known",
        ),
        (
            "[api]",
            "[[api.peer]]\nuser = 7\nrole = \"king\"\n[api]",
            "unknown variant `king`, expected one of `read`, `billing`, `policy`, `admin`",
        ),
        (
            "[api]",
            "[[api.client]]\nsubject = \"cdr\"\nrole = \"read\"\n[api]",
            "zerorate.toml:22:11: error: [[api.client]] without `client_ca` under [api.tcp]",
        ),
        (
            "[api]",
            "[api.limits]\nrate = 0\n[api]",
            "a limit under [api.limits] leaves no room",
        ),
        (
            "role = \"core\"",
            "role = \"core\"\ndownlink = \"egress\"",
            "zerorate.toml:18:12: error: interface `core0`: `downlink` is of access interfaces",
        ),
        (
            "[records]",
            "[[interface]]\nname = \"access1\"\nrole = \"access\"\ndownlink = \"egress\"\n[records]",
            "zerorate.toml:21:12: error: interface `access1`: downlink = \"egress\", but `access0` has \"core\"",
        ),
        (
            "downlink = \"core\"",
            "tc = \"clsact\"",
            "zerorate.toml:12:6: error: interface `access0`: `tc` says how, but downlink = \"core\"",
        ),
    ] {
        let text = message(&WHOLE.replace(from, to));
        assert!(text.contains(expected), "{from} → {to}: {text}");
    }
}

#[test]
fn an_address_to_listen_on_has_its_port() {
    let tcp = "[api.tcp]\nlisten = \"127.0.0.1\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
    for section in [tcp, "[metrics]\nlisten = \"127.0.0.1\"\n"] {
        let said = message(&format!("{WHOLE}{section}"));
        let expected = "`127.0.0.1` is no address to listen on: write address:port";
        assert!(said.contains(expected), "{said}");
        let whole =
            format!("{WHOLE}{section}").replace("listen = \"127.0.0.1\"", "listen = \"[::1]:80\"");
        let config: Config = toml::from_str(&whole).unwrap();
        let tcp = config.api.tcp.map(|tcp| tcp.listen);
        assert_eq!(tcp.or(config.metrics.listen), "[::1]:80".parse().ok());
    }
}
