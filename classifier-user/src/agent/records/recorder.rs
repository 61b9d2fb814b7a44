//! When rows are looked at, and when they are recorded: a task beside the agent's loop, which has the node in small
//! steps.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::warn;

use crate::agent::node::Node;
use crate::api::server::{Shared, with};
use crate::metrics::Durations;

/// Between two steps: whoever waits for the node has it then.
const PAUSE: Duration = Duration::from_millis(1);

/// Looks every `checkpoint` and at midnight, and records every `record`, until it is told to stop.
pub(in crate::agent) async fn run(
    node: Shared,
    (checkpoint, record): (Duration, Duration),
    durations: Durations,
    mut stopped: watch::Receiver<bool>,
) {
    let mut looks = interval(checkpoint);
    let mut records = interval(record);
    // After a delay, rates are of the time that it took, not of none.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    records.set_missed_tick_behavior(MissedTickBehavior::Delay);
    records.reset();
    let mut slow = false;
    loop {
        let midnight = with(Arc::clone(&node), |node| node.until_midnight()).await;
        let due = tokio::select! {
            // The sender is gone only when the agent ends.
            _ = stopped.wait_for(|stopped| *stopped) => return,
            _ = looks.tick() => false,
            _ = records.tick() => true,
            () = sleep(midnight) => false,
        };
        let begun = tokio::time::Instant::now();
        for slice in 0.. {
            if !with(Arc::clone(&node), move |node| node.look(slice)).await {
                break;
            }
            sleep(PAUSE).await;
        }
        // Said when it begins to be so, not at every checkpoint.
        let took = begun.elapsed();
        durations.look.observe(took.as_secs_f64());
        if took > checkpoint && !slow {
            warn!(
                "looking at all rows took {:.1} s, longer than `checkpoint` under [records]: rates are those of \
                 longer times",
                took.as_secs_f64()
            );
        }
        slow = took > checkpoint;
        with(Arc::clone(&node), move |node| {
            node.look_at_the_day();
            if due {
                node.record_all();
            }
        })
        .await;
        let begun = tokio::time::Instant::now();
        let write = |node: &mut Node| {
            // What is read behind midnight is another day's.
            node.look_at_the_day();
            node.write_records()
        };
        while with(Arc::clone(&node), write).await {
            sleep(PAUSE).await;
            // The rest is done by who stops the agent.
            if *stopped.borrow() {
                return;
            }
        }
        if due {
            durations.record.observe(begun.elapsed().as_secs_f64());
        }
    }
}
