//! Ctrl-C and its kin, seen between two steps of the demo or the bench: the error that stops it drops what was
//! made, in the order in which it can be taken down.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// Somebody wants it to end.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {0}")]
pub struct Interrupted(
    /// The signal that said so.
    pub Signal,
);

/// Begins to wait for the signals. To be called before there is a second thread: threads and
/// programs that are started later inherit that the signals do not end them. So a Ctrl-C in the
/// terminal, which all of them get, does not stop what is cleaning up.
///
/// # Errors
/// If the kernel does not let them be blocked.
pub fn watch() -> nix::Result<()> {
    let signals: SigSet = SIGNALS.into_iter().collect();
    signals.thread_block()?;
    thread::spawn(move || {
        loop {
            match signals.wait() {
                Ok(signal) if CAUGHT.swap(signal as i32, Ordering::Relaxed) == 0 => {
                    eprintln!("\n{signal}: taking everything down ...");
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    });
    Ok(())
}

/// Starts a program that SIGTERM is to end, which inherits what the calling thread blocks. A SIGTERM at just this moment
/// ends this process, too, and what it made is left to the next one's sweep.
///
/// # Errors
/// With those of `start`, or if the kernel does not let the signal through.
pub fn let_through<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let signals: SigSet = [Signal::SIGTERM].into_iter().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_UNBLOCK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

/// Fails once a signal has come.
///
/// # Errors
/// The signal.
pub fn check() -> Result<(), Interrupted> {
    match Signal::try_from(CAUGHT.load(Ordering::Relaxed)) {
        Ok(signal) => Err(Interrupted(signal)),
        Err(_) => Ok(()),
    }
}
