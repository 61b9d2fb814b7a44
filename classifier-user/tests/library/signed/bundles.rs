//! `zerorate bundle`: what is signed is what arrives, or it is refused with the file and what to do.

use super::*;

/// A signed policy, and its bundle.
fn bundle(signer: &Signer) -> (TempDir, PathBuf) {
    let (dir, policy) = policy("");
    let made = said(&zerorate(
        dir.path(),
        &["bundle", "manifest", "p", "--serial", "7"],
    ));
    assert!(made.contains("minisign -Sm p/bundle.json"), "{made}");
    signer.sign(&policy.join("bundle.json"));
    let made = said(&zerorate(
        dir.path(),
        &["bundle", "make", "p", "-o", "b.tar"],
    ));
    assert!(made.contains("serial number 7"), "{made}");
    (dir, policy)
}

fn verify(dir: &TempDir, what: &str, key: &str) -> Output {
    zerorate(dir.path(), &["bundle", "verify", what, "--key", key])
}

#[test]
fn what_was_signed_is_known_again_and_the_same_files_give_the_same_bytes() {
    let Some(signer) = Signer::new() else { return };
    let (dir, _) = bundle(&signer);
    let version = said(&zerorate(dir.path(), &["check", "p"]));
    let version = version
        .lines()
        .find_map(|line| line.strip_prefix("version      "))
        .unwrap();
    for what in ["p", "b.tar"] {
        let told = said(&verify(&dir, what, &signer.public));
        assert!(
            told.contains(&format!("version        {version}")),
            "{told}"
        );
        assert!(told.contains("serial number  7"), "{told}");
    }
    let first = fs::read(dir.path().join("b.tar")).unwrap();
    said(&zerorate(
        dir.path(),
        &["bundle", "make", "p", "-o", "b.tar"],
    ));
    assert_eq!(fs::read(dir.path().join("b.tar")).unwrap(), first);
}

#[test]
fn no_byte_of_a_bundle_changes_unseen() {
    let Some(signer) = Signer::new() else { return };
    let (dir, _) = bundle(&signer);
    let good = said(&verify(&dir, "b.tar", &signer.public));
    let bytes = fs::read(dir.path().join("b.tar")).unwrap();
    let trust = zerorate::trust::Trust {
        keys: vec![zerorate::trust::Key::parse(&signer.public).unwrap()],
        require_signed: true,
    };
    let verified = |bytes: &[u8]| {
        let files = zerorate::trust::bundle::unpack(bytes).ok()?;
        let seal = trust.verify(&files, &Default::default()).ok()?;
        Some((files.version(), files.read, seal))
    };
    let expected = verified(&bytes).unwrap();
    assert!(good.contains(&expected.0));
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        match verified(&other) {
            // What was changed is in no file: who owns it, what stands behind it; or in the comment that nobody signed.
            Some(found) => assert_eq!(found, expected, "byte {at}"),
            None => refused += 1,
        }
    }
    assert!(refused > 1000, "{refused} of {} bytes", bytes.len());
    for length in (0..bytes.len()).step_by(64) {
        if let Some(found) = verified(&bytes[..length]) {
            assert_eq!(found, expected, "cut off at {length}");
        }
    }
}

#[test]
fn what_is_unsigned_changed_missing_or_extra_is_named() {
    let (Some(signer), Some(other)) = (Signer::new(), Signer::new()) else {
        return;
    };
    let (dir, policy) = bundle(&signer);
    let key = signer.public.as_str();
    refused(
        &verify(&dir, "p", &other.public),
        &["is signed by the key", "trusted are:", "under [trust]"],
    );

    let list = policy.join("portals.txt");
    fs::write(&list, "8.8.0.0/16\n").unwrap();
    refused(
        &verify(&dir, "p", key),
        &[
            "portals.txt is not the file that was signed",
            "have the policy signed again",
        ],
    );
    let again = zerorate(dir.path(), &["bundle", "make", "p", "-o", "b.tar"]);
    refused(
        &again,
        &[
            "its files are no longer those of bundle.json",
            "zerorate bundle manifest p",
        ],
    );
    fs::write(&list, "8.8.8.0/24\n").unwrap();
    said(&verify(&dir, "p", key));

    let manifest = policy.join("bundle.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"serial\": 7", "\"serial\": 8")).unwrap();
    refused(
        &verify(&dir, "p", key),
        &["bundle.json.minisig: does not fit"],
    );
    fs::write(&manifest, &text).unwrap();

    let toml = policy.join("policy.toml");
    let signed = fs::read_to_string(&toml).unwrap();
    fs::write(policy.join("more.txt"), "1.1.1.0/24\n").unwrap();
    let more = "[[sets]]\nname = \"more\"\nclass = \"portal\"\nfile = \"more.txt\"\n[plans";
    fs::write(&toml, signed.replacen("[plans", more, 1)).unwrap();
    refused(&verify(&dir, "p", key), &["is not"]);
    fs::write(&toml, &signed).unwrap();

    fs::remove_file(policy.join("bundle.json.minisig")).unwrap();
    refused(
        &verify(&dir, "p", key),
        &["not signed", "bundle.json.minisig", "minisign -Sm"],
    );
    refused(
        &zerorate(dir.path(), &["bundle", "make", "p", "-o", "b.tar"]),
        &["is not signed yet"],
    );
    fs::write(dir.path().join("b.tar"), "no tar at all").unwrap();
    refused(&verify(&dir, "b.tar", key), &["b.tar: is no bundle"]);

    // A new manifest takes the old signature away.
    signer.sign(&manifest);
    said(&zerorate(dir.path(), &["bundle", "manifest", "p"]));
    assert!(!policy.join("bundle.json.minisig").exists());
}
