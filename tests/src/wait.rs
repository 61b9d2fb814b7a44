//! Waiting for something that will come, and not for ever.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until a test is true, or fails.
///
/// # Errors
/// With the test's own error, or if it is not true within half a minute; `what` says of what.
pub fn until(what: &str, is_true: impl FnMut() -> Result<bool>) -> Result<()> {
    within(PATIENCE, what, is_true)
}

/// The same with a patience of one's own.
///
/// # Errors
/// With the test's own error, or if it is not true within so long; `what` says of what.
pub fn within(
    patience: Duration,
    what: &str,
    mut is_true: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !is_true()? {
        if Instant::now() >= deadline {
            bail!("waited in vain: {what}");
        }
        sleep(PAUSE);
    }
    Ok(())
}
