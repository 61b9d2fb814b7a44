//! Every published revision of real national lists, in the order they were published, put in force by a running agent under
//! traffic: each comes into force, what `diff` says of each adds up to the whole, and no byte is lost.
//!
//! They are not part of the repository. `ZERORATE_DATA` names a folder with `prefixes/churn/LIST/TIME.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use zerorate_tests::agent::Agent;
use zerorate_tests::records::usage;
use zerorate_tests::town::{self, POLICY, taken_in, under_load};
use zerorate_tests::{can_use_namespaces, skip};

const LISTS: [&str; 4] = ["kz-ipv4", "kz-ipv6", "uz-ipv4", "uz-ipv6"];

/// A list as it was published at a time.
struct Revision {
    time: String,
    list: &'static str,
    file: PathBuf,
}

/// All there are, in the order of their times; the first of each list to begin with.
fn revisions(folder: &Path) -> Result<(Vec<Revision>, Vec<Revision>)> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for list in LISTS {
        let folder = folder.join(list);
        let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let files = files.map(|file| Ok(file?.path()));
        let mut files = files.collect::<Result<Vec<_>>>()?;
        files.sort();
        let of = |file: PathBuf| Revision {
            time: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            list,
            file,
        };
        let mut files = files.into_iter().map(of);
        first.push(files.next().context("an empty folder")?);
        later.extend(files);
    }
    later.sort_by(|a, b| (&a.time, a.list).cmp(&(&b.time, b.list)));
    Ok((first, later))
}

/// The town's policy, and a class for each country.
fn policy() -> String {
    let mut text = POLICY.replace(
        "[[sets]]\nname = \"offices\"",
        "[classes.kz]\nrating_group = 50\n\n[classes.uz]\nrating_group = 51\n\n[[sets]]\nname = \"offices\"",
    );
    for list in LISTS {
        let set = format!(
            "\n[[sets]]\nname = \"{list}\"\nclass = \"{}\"\nsource = \"registry\"\nfile = \"{list}.txt\"\n",
            &list[..2]
        );
        let plans = text.find("[plans.basic").unwrap_or(text.len());
        text.insert_str(plans, &format!("{}\n", set.trim_start()));
    }
    text
}

/// What is listed, by list.
type Listed = BTreeMap<String, BTreeSet<String>>;

fn listed(folder: &Path) -> Result<Listed> {
    let list = |list: &&str| {
        let text = fs::read_to_string(folder.join(format!("{list}.txt")))?;
        Ok((
            (*list).to_owned(),
            text.lines().map(str::to_owned).collect(),
        ))
    };
    LISTS.iter().map(list).collect()
}

/// Adds and takes away what `diff --prefixes` says.
fn apply(listed: &mut Listed, diff: &str) -> Result<()> {
    for line in diff.lines() {
        let mut words = line.split(' ');
        let (sign, set, prefix) = (words.next(), words.next(), words.next());
        let (Some(sign @ ("+" | "-")), Some(set), Some(prefix)) = (sign, set, prefix) else {
            continue;
        };
        let set = listed.get_mut(set).context("a set nobody changed")?;
        let fits = match sign {
            "+" => set.insert(prefix.to_owned()),
            _ => set.remove(prefix),
        };
        if !fits {
            bail!("`{line}` of a list in which it was so already");
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn version(agent: &Agent) -> Result<String> {
    let status = agent.status()?;
    Ok(status["policy_version"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[test]
fn each_published_revision_comes_into_force_and_the_differences_add_up() -> Result<()> {
    if !can_use_namespaces() {
        return Ok(());
    }
    let Some(folder) = std::env::var_os("ZERORATE_DATA") else {
        skip("ZERORATE_DATA names no folder of published lists");
        return Ok(());
    };
    let (first, later) = revisions(&Path::new(&folder).join("prefixes/churn"))?;
    let lab = town::lab().build()?;
    let mut agent = town::agent(&lab)
        .setting("watch = false")
        .section("[records]\ninterval = \"200ms\"\ncheckpoint = \"100ms\"")
        .prepare()?;
    let policy_dir = agent.policy_dir();
    agent.write_policy(&policy())?;
    for revision in first {
        fs::copy(
            &revision.file,
            policy_dir.join(format!("{}.txt", revision.list)),
        )?;
    }
    agent.start()?;
    let before = tempfile::tempdir()?;
    let mut sum = listed(&policy_dir)?;
    let mut versions = BTreeSet::from([version(&agent)?]);
    let mut last = version(&agent)?;
    let flow = taken_in(&lab, || {
        under_load(&town::pairs(&lab), || {
            for revision in &later {
                copy(&policy_dir, before.path())?;
                let list = policy_dir.join(format!("{}.txt", revision.list));
                let same = fs::read(&list)? == fs::read(&revision.file)?;
                fs::copy(&revision.file, &list)?;
                let told = agent
                    .command(&["diff", "--prefixes"])
                    .args([before.path(), &policy_dir])
                    .output()?;
                assert!(
                    told.status.success(),
                    "{}: {told:?}",
                    revision.file.display()
                );
                apply(&mut sum, &String::from_utf8(told.stdout)?)
                    .with_context(|| revision.file.display().to_string())?;
                agent
                    .reload()
                    .with_context(|| revision.file.display().to_string())?;
                let now = version(&agent)?;
                // Some were published twice.
                assert_eq!(now == last, same, "{}", revision.file.display());
                versions.insert(now.clone());
                last = now;
            }
            Ok(())
        })
    })?;
    eprintln!("{} revisions", later.len());
    assert_eq!(sum, listed(&policy_dir)?);
    assert_eq!(agent.bill()?.sum(|_| true), flow);
    agent.sigterm()?;
    agent.start()?;
    let records = usage(&agent)?;
    let recorded: BTreeSet<_> = records
        .into_iter()
        .map(|record| record.policy_version)
        .collect();
    assert_eq!(recorded, versions, "each policy has counted something");
    assert_eq!(agent.status()?["unsplit_packets"], 0);
    agent.check_order()
}
