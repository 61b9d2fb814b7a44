//! Where the threads of a process stand in the kernel: said by tests that wait for it in vain.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Each thread's name and state, and its way through the kernel, as far as this process may read them.
#[must_use]
pub fn stacks(process: u32) -> String {
    let mut said = String::new();
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let read = |what: &str| fs::read_to_string(thread.path().join(what)).unwrap_or_default();
        let status = read("status");
        let state = status.lines().find(|line| line.starts_with("State:"));
        let id = thread.file_name();
        let id = Path::new(&id).display();
        let (name, state) = (read("comm"), state.unwrap_or_default());
        let _ = writeln!(
            said,
            "thread {id} {} {state}\n{}",
            name.trim(),
            read("stack")
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::wait::until;

    #[test]
    fn a_thread_that_sleeps_is_said_to() -> anyhow::Result<()> {
        let mut sleeper = Command::new("sleep").arg("60").spawn()?;
        let said = until("it sleeps", || {
            Ok(stacks(sleeper.id()).contains("sleep State:\tS (sleeping)"))
        });
        sleeper.kill()?;
        sleeper.wait()?;
        said
    }
}
