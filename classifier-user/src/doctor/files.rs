//! Files: policy, subscribers, the ledger, and whether its disk is large enough for it.

use std::fmt::Display;
use std::path::Path;

use jiff::Timestamp;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};

use super::Finding;
use crate::config::Config;
use crate::ledger::Reader;
use crate::{policy, subscribers};

/// Bytes of a subscriber's records and roll-ups a day, at a record in five minutes: docs/ledger.md.
const BYTES_A_DAY: u128 = 5_800;
const FIVE_MINUTES: u128 = 300_000;
/// Less of a disk, in hundredths, is little.
const LITTLE: u64 = 10;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let count = match policy::load(&config.policy) {
        Ok(checked) => {
            let policy = &checked.policy;
            let said = format!("{} version {}", policy.name, policy.version);
            found.push(judged(
                "policy",
                said,
                checked.warnings.len(),
                &config.policy,
            ));
            match subscribers::load(&config.subscribers, policy) {
                Ok(loaded) => {
                    let count = loaded.subscribers.len();
                    let said = format!("{count} in {}", config.subscribers.display());
                    found.push(judged(
                        "subscribers",
                        said,
                        loaded.warnings.len(),
                        &config.policy,
                    ));
                    Some(count)
                }
                Err(diagnostics) => {
                    found.push(refused("subscribers", &diagnostics, &config.policy));
                    None
                }
            }
        }
        Err(diagnostics) => {
            found.push(refused("policy", &diagnostics, &config.policy));
            None
        }
    };
    found.extend(ledger(&config.ledger));
    found.extend(disk(config, count));
    found
}

fn judged(about: &str, said: String, warnings: usize, policy: &Path) -> Finding {
    if warnings == 0 {
        return Finding::ok(about, said);
    }
    Finding::warning(about, format!("{said}; warnings: {warnings}")).advice(format!(
        "`zerorate check {} --subscribers FILE` says which",
        policy.display()
    ))
}

fn refused(about: &str, diagnostics: &impl Display, policy: &Path) -> Finding {
    Finding::error(about, diagnostics.to_string()).advice(format!(
        "`zerorate check {} --subscribers FILE` shows each with its line",
        policy.display()
    ))
}

fn ledger(path: &Path) -> Vec<Finding> {
    if path.exists() {
        let read = Reader::open(path).and_then(|reader| reader.last_seq());
        return vec![match read {
            Ok(last) => Finding::ok(
                "ledger",
                format!("{}, records up to {last}", path.display()),
            ),
            // Says what to do itself.
            Err(error) => Finding::error("ledger", error.to_string()),
        }];
    }
    let directory = standing(path);
    vec![match access(directory, AccessFlags::W_OK) {
        Ok(()) => Finding::ok(
            "ledger",
            format!("{} is made at the first start", path.display()),
        ),
        Err(error) => Finding::error("ledger", format!("{}: {error}", directory.display())).advice(
            "nothing can be recorded there: correct its rights, or set `ledger` to another place",
        ),
    }]
}

/// The nearest directory above a path that is there.
fn standing(path: &Path) -> &Path {
    let mut above = path.ancestors().skip(1);
    above.find(|path| path.is_dir()).unwrap_or(Path::new("."))
}

/// Whether records have room for as long as they have to be kept.
fn disk(config: &Config, subscribers: Option<usize>) -> Vec<Finding> {
    const GIGABYTE: u128 = 1_000_000_000;
    let place = standing(&config.ledger);
    let Ok(disk) = statfs(place) else {
        let found = format!("how much room {} has is not known", place.display());
        return vec![Finding::note("disk", found)];
    };
    let mut found = Vec::new();
    if disk.filesystem_type() == TMPFS_MAGIC {
        found.push(
            Finding::error(
                "disk",
                format!(
                    "{} is memory: records are gone with the next boot",
                    place.display()
                ),
            )
            .advice("set `ledger` to a place on a disk"),
        );
    }
    let block = u128::try_from(disk.block_size()).unwrap_or(0);
    let (all, free) = (
        u128::from(disk.blocks()) * block,
        u128::from(disk.blocks_available()) * block,
    );
    if disk.blocks_available() < disk.blocks() / 100 * LITTLE {
        found.push(
            Finding::warning(
                "disk",
                format!("{} GB of {} GB are free", free / GIGABYTE, all / GIGABYTE),
            )
            .advice(
                "make room before it is full: what cannot be recorded is counted on, and waits",
            ),
        );
    }
    let Some(subscribers) = subscribers else {
        return found;
    };
    let now = Timestamp::now();
    let kept = config.records.retention.before(now, &config.timezone);
    let days = u128::try_from(now.duration_since(kept).as_hours() / 24).unwrap_or(0);
    let interval = config.records.interval.as_millis().max(1);
    let needed = subscribers as u128 * BYTES_A_DAY * days * FIVE_MINUTES / interval;
    let said = format!(
        "{days} days of records of {subscribers} subscribers take some {} GB; {} has {} GB, {} GB of them free",
        needed.div_ceil(GIGABYTE),
        place.display(),
        all / GIGABYTE,
        free / GIGABYTE
    );
    found.push(if needed > all {
        Finding::warning("disk", said)
            .advice("a larger disk, a longer `interval`, or a shorter `retention` under [records]")
    } else {
        Finding::ok("disk", said)
    });
    found
}
