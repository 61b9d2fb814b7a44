//! A bar on the terminal while long work is done, for whoever waits; nothing of it anywhere else, and nothing of it left when
//! the work is done.
//!
//! A thread of its own looks at the numbers and draws them: the work neither waits for the terminal nor knows of it.

use std::io::{IsTerminal as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// What is less, in bytes to be read, is done before anybody could read the bar.
const WORTH_A_BAR: u64 = 1 << 20;

/// How often the numbers are looked at.
const TICK: Duration = Duration::from_millis(50);

/// In ASCII and without colours, so that it is right with `NO_COLOR` and in every font.
const TEMPLATE: &str = "{msg} [{bar:32}] {percent:>3}%";

/// Progress that is shown until this is dropped.
pub(super) struct Shown {
    /// What the work counts for.
    pub(super) progress: Progress,
    drawing: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Shown {
    /// Shows `what` is done if somebody `looks`, and standard error is a terminal that can erase what it shows.
    pub(super) fn start(what: &'static str, looks: bool) -> Self {
        if !looks || !stderr().is_terminal() || is_dumb() {
            return Shown {
                progress: Progress::default(),
                drawing: None,
            };
        }
        let progress = Progress::watched();
        let over = Arc::new(AtomicBool::new(false));
        let (counts, ends) = (progress.clone(), Arc::clone(&over));
        let thread = thread::Builder::new().name("progress".to_owned());
        let drawing = thread.spawn(move || draw(what, &counts, &ends)).ok();
        Shown {
            progress,
            drawing: drawing.map(|thread| (over, thread)),
        }
    }

    /// Takes the bar away, before something is printed.
    pub(super) fn end(self) {}
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.drawing.take() {
            over.store(true, Ordering::Release);
            Thread::unpark(thread.thread());
            // Whether a bar was drawn well is no reason to fail.
            let _ = thread.join();
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

fn draw(what: &'static str, progress: &Progress, over: &AtomicBool) {
    let style = ProgressStyle::with_template(TEMPLATE);
    let style = style.map_or_else(
        |_| ProgressStyle::default_bar(),
        |s| s.progress_chars("=> "),
    );
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
    bar.set_style(style);
    bar.set_message(what);
    while !over.load(Ordering::Acquire) {
        let (done, planned) = progress.so_far();
        if planned >= WORTH_A_BAR {
            if bar.is_hidden() {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.set_length(planned);
            bar.set_position(done);
            bar.tick();
        }
        thread::park_timeout(TICK);
    }
    bar.finish_and_clear();
}
