//! `signed_by`: of a list, and of the source that one is made of.

use super::*;

#[test]
fn a_list_its_signer_signed_passes_and_any_other_does_not() {
    let (Some(ministry), Some(other)) = (Signer::new(), Signer::new()) else {
        return;
    };
    // A name of [keys] has to stand before the first set.
    let (dir, policy) = policy("signed_by = \"ministry\"");
    let toml = policy.join("policy.toml");
    let text = fs::read_to_string(&toml).unwrap();
    let keys = format!(
        "[keys]\nministry = \"{}\"\n[classes.internet]",
        ministry.public
    );
    fs::write(&toml, text.replacen("[classes.internet]", &keys, 1)).unwrap();
    let check = || zerorate(dir.path(), &["check", "p", "--strict"]);
    let list = policy.join("portals.txt");

    refused(
        &check(),
        &[
            "policy.toml:13:13: error: the signature \"portals.txt.minisig\" of the list cannot be read",
        ],
    );
    ministry.sign(&list);
    let before = said(&check());
    // The signature is part of the version: it is kept with the list.
    ministry.sign_as(&list, &["-t", "another comment"]);
    assert_ne!(said(&check()), before);

    fs::write(&list, "8.8.8.0/24\n8.8.4.0/24\n").unwrap();
    refused(
        &check(),
        &[
            "portals.txt: \"portals.txt.minisig\" does not fit",
            "fetch the list and its signature again",
        ],
    );
    other.sign(&list);
    refused(&check(), &["was made by the key"]);
    ministry.sign_as(&list, &["-l"]);
    refused(&check(), &["sign it without -l"]);
    fs::write(policy.join("portals.txt.minisig"), "nonsense\n").unwrap();
    refused(&check(), &["is no signature of minisign"]);
    ministry.sign(&list);
    said(&check());

    let text = fs::read_to_string(&toml).unwrap();
    fs::write(
        &toml,
        text.replace("signed_by = \"ministry\"", "signed_by = \"mnistry\""),
    )
    .unwrap();
    refused(
        &check(),
        &["signed_by names \"mnistry\"", "did you mean \"ministry\"?"],
    );
    let itself = format!("signed_by = \"{}\"", ministry.public);
    fs::write(&toml, text.replace("signed_by = \"ministry\"", &itself)).unwrap();
    said(&check());
}

#[test]
fn a_source_is_taken_only_as_it_was_signed() {
    let Some(signer) = Signer::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("published.txt");
    fs::write(&source, "8.8.8.0/24\n").unwrap();
    let import = || {
        let to = [
            "import",
            "text",
            "published.txt",
            "--signed-by",
            &signer.public,
        ];
        zerorate(dir.path(), &to)
    };
    refused(
        &import(),
        &[
            "published.txt:1:1: error",
            "\"published.txt\" is to be signed",
            "published.txt.minisig cannot be read",
        ],
    );
    signer.sign(&source);
    assert!(said(&import()).contains(&format!("--signed-by {}", signer.public)));
    fs::write(&source, "8.8.0.0/16\n").unwrap();
    refused(
        &import(),
        &["\"published.txt\" is to be signed, and its signature does not fit"],
    );
    let bad = zerorate(
        dir.path(),
        &["import", "text", "published.txt", "--signed-by", "RWQ"],
    );
    refused(&bad, &["is no public key of minisign"]);
}

#[test]
fn a_list_that_is_made_of_a_signed_source_needs_no_signature_of_its_own() {
    let Some(signer) = Signer::new() else { return };
    let set = format!(
        "signed_by = \"{}\"\n[sets.import]\nformat = \"text\"\nfrom = [\"../published.txt\"]",
        signer.public
    );
    let (dir, policy) = policy(&set);
    said(&zerorate(dir.path(), &["check", "p"]));
    let source = dir.path().join("published.txt");
    fs::write(&source, "8.8.4.0/24\n").unwrap();
    let update = || zerorate(dir.path(), &["import", "--update", "p", "--yes"]);
    refused(&update(), &["published.txt.minisig cannot be read"]);
    let list = || fs::read_to_string(policy.join("portals.txt")).unwrap();
    assert_eq!(list(), "8.8.8.0/24\n");
    signer.sign(&source);
    said(&update());
    assert!(list().contains("8.8.4.0/24"), "{}", list());
    said(&zerorate(dir.path(), &["check", "p"]));
}
