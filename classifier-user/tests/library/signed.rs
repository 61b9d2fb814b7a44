//! Lists, sources and policies that are signed by a real minisign, and those that are not, or no longer.

mod bundles;
mod lists;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::shell::{succeeded as said, zerorate};

/// Somebody with a key of minisign.
struct Signer {
    dir: TempDir,
    public: String,
}

impl Signer {
    /// `None` where there is no minisign, which is told.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("minisign")
            .args(["-G", "-W", "-p", "k.pub", "-s", "k.key"])
            .current_dir(dir.path())
            .output();
        let Ok(made) = made else {
            crate::skip::skip("there is no minisign");
            return None;
        };
        assert!(made.status.success(), "{made:?}");
        let public = fs::read_to_string(dir.path().join("k.pub")).unwrap();
        let public = public.lines().nth(1).unwrap().to_owned();
        Some(Self { dir, public })
    }

    /// Signs a file, as minisign does with these arguments.
    fn sign_as(&self, file: &Path, more: &[&str]) {
        let key = self.dir.path().join("k.key");
        let signed = Command::new("minisign")
            .args(["-S", "-W", "-s"])
            .arg(key)
            .arg("-m")
            .arg(file)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(signed.status.success(), "{signed:?}");
    }

    fn sign(&self, file: &Path) {
        self.sign_as(file, &[]);
    }
}

/// What is told of what is refused, which has to say something of each of these.
fn refused(output: &Output, parts: &[&str]) {
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// A policy with a list, in a directory `p` below another.
fn policy(set: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("p");
    fs::create_dir(&policy).unwrap();
    let text = format!(
        "name = \"signed\"\ndefault_class = \"internet\"\n[classes.internet]\nrating_group = 1\n\
         [classes.portal]\nrating_group = 2\n[[sets]]\nname = \"portals\"\nclass = \"portal\"\n\
         file = \"portals.txt\"\n{set}\n[plans.basic.charge]\n\"*\" = \"metered\"\n"
    );
    fs::write(policy.join("policy.toml"), text).unwrap();
    fs::write(policy.join("portals.txt"), "8.8.8.0/24\n").unwrap();
    (dir, policy)
}
