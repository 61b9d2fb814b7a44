//! `zerorate run`: the loop that keeps a node up to date until it is told to stop.
//!
//! The packets do not need it: they are judged and counted in the kernel. The agent puts new policies and
//! subscribers in force, looks after interfaces, and answers questions.

pub mod activation;
mod admission;
pub mod at_once;
mod billing;
pub mod charging;
mod disorder;
pub mod error;
pub mod events;
pub mod feeds;
mod gathering;
mod in_force;
pub mod interfaces;
pub(crate) mod measures;
pub mod nat;
pub mod node;
pub mod preflight;
mod reconcile;
pub mod records;
pub mod reload;
mod schedule;
pub mod service;
pub mod sources;
pub mod subscribers;
pub mod top;
mod triggers;
pub mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use nix::sys::stat::{Mode, umask};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::activation::Act;
use self::node::Node;
use self::sources::Want;
use self::triggers::{Files, Links};
use crate::api::server::{self, Server, Shared, SharedNode, with};
use crate::config::{Config, OnExit};
use crate::fault;
use crate::history::Action;
use crate::metrics;
use crate::report::Direction;
use crate::sinks::board::Board;
use crate::sinks::runner;

/// Between two parts of one work: whoever waits for the node has it then.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub fn run(config: &Path) -> anyhow::Result<()> {
    fault::check()?;
    keep_private();
    let config = Config::load(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(run_until_told(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// What is made from here on says what subscribers did: nobody but owner and group reads it, whatever shell this was started
/// from. There is no other thread yet whose files it could be about.
fn keep_private() {
    let closed = Mode::S_IWGRP | Mode::S_IRWXO;
    let asked_for = umask(closed);
    umask(asked_for | closed);
}

async fn run_until_told(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut files = Files::watch(&config)?;
    let mut links = Links::watch()?;

    // The socket first: of two agents with one configuration the second must not come near the maps.
    let doors = Server::open(&config.api, &config.ledger).await?;
    let places = doors.places();
    let metrics_listener = match config.metrics.listen {
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            let listener =
                bound.with_context(|| format!("`listen` = \"{address}\" under [metrics]"))?;
            // Said for whoever let the system choose the port.
            info!(address = %listener.local_addr()?, "metrics");
            Some(listener)
        }
        None => None,
    };
    let metrics_settings = metrics::Settings::of(&config);
    let board = Board::new(&config.sinks);
    let of_sinks = config.clone();
    let (checkpoint, interval) = (config.records.checkpoint, config.records.interval);
    let on_exit = config.on_exit;
    let of_sealer = records::sealer::Settings::of(&config);
    let of_roller = records::roller::Settings::of(&config);
    let node = tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _context = runtime.enter();
            nat::check(&config)?;
            Node::start(config)
        }
    });
    let node = node.await??;
    let node: Shared = Arc::new(SharedNode::new(node));
    let metrics = metrics::Source::new(Arc::clone(&node), metrics_settings)?;
    let sinks = runner::start(&of_sinks, &board, &tokio::runtime::Handle::current())?;
    with(Arc::clone(&node), move |node| node.sinks = board).await;
    let feed = with(Arc::clone(&node), |node| node.feed()).await;
    let ring = with(Arc::clone(&node), |node| node.events_ready()).await?;
    let mut events = tokio::spawn(events::read(Arc::clone(&node), ring));
    let (stop, stopped) = watch::channel(false);
    let recorder = tokio::spawn(records::recorder::run(
        Arc::clone(&node),
        (checkpoint, interval),
        metrics.durations(),
        stopped.clone(),
    ));
    let sealer = tokio::spawn(records::sealer::run(
        Arc::clone(&node),
        of_sealer,
        stopped.clone(),
    ));
    let roller = tokio::spawn(records::roller::run(
        Arc::clone(&node),
        of_roller,
        stopped.clone(),
    ));
    let mut feeds = tokio::spawn(feeds::run(Arc::clone(&node), stopped.clone()));
    if let Some(listener) = metrics_listener {
        tokio::spawn(metrics.clone().serve(listener, until(stopped.clone())));
    }
    let api = tokio::spawn(server::serve(
        doors,
        Arc::clone(&node),
        metrics,
        until(stopped),
    ));
    notify_systemd(&[sd_notify::NotifyState::Ready]);
    info!(api = places, "ready");

    let mut clock = Clock::new();
    // Whether something is due that was begun.
    let mut more = true;
    let mut looks = tokio::time::interval(checkpoint);
    let mut sums = tokio::time::interval(interval);
    sums.reset();
    loop {
        let boundary = match more {
            true => PAUSE,
            false => until_boundary(&node).await,
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&node, "SIGHUP", "SIGHUP").await,
            () = files.changed() => reload(&node, "file", "a file changed").await,
            () = links.changed() => more = keep_up(&node).await,
            () = tokio::time::sleep(boundary) => more = keep_up(&node).await,
            _ = looks.tick() => more = look(&node, &mut clock).await,
            _ = sums.tick() => sum_up(&node).await,
            ended = &mut events => {
                // It ends only by an error.
                ended??;
            }
            // It ends only by a panic.
            ended = &mut feeds => ended?,
        }
    }
    // What is in the ring waits for the next agent.
    events.abort();
    feed.end();
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    // Nobody is left to hear it when the API has already ended.
    let _ = stop.send(true);
    if tokio::time::timeout(Duration::from_secs(2), api)
        .await
        .is_err()
    {
        warn!("a request was cut off");
    }
    if let Err(error) = feeds.await {
        std::panic::resume_unwind(error.into_panic());
    }
    if let Err(error) = recorder.await {
        std::panic::resume_unwind(error.into_panic());
    }
    if let Err(error) = roller.await {
        std::panic::resume_unwind(error.into_panic());
    }
    // A file that is being written is written anew by the next agent.
    sealer.abort();
    if let Err(error) = sealer.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
    while with(Arc::clone(&node), Node::note_drawn).await {}
    with(node, move |node| {
        if on_exit == OnExit::Detach {
            node.detach();
        }
        node.record_to_the_end();
        match on_exit {
            OnExit::Keep => info!("stopped; counting goes on in the kernel"),
            OnExit::Detach => {
                info!("stopped; nothing is counted any more, the counters are kept");
            }
        }
    })
    .await;
    // Last: what was recorded at the end is brought, too.
    tokio::task::spawn_blocking(move || sinks.stop()).await?;
    Ok(())
}

/// Ends when the sender says so, or is gone.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn reload(node: &Shared, how: &str, why: &str) {
    info!("reloading: {why}");
    notify_systemd(&[
        sd_notify::NotifyState::Reloading,
        sd_notify::NotifyState::monotonic_usec_now().unwrap_or(sd_notify::NotifyState::Ready),
    ]);
    // What went wrong was logged, and is kept for `status`.
    let act = Act::itself(Action::Reload, how);
    let _ = server::load(Arc::clone(node), act, Want::Configured).await;
    notify_systemd(&[sd_notify::NotifyState::Ready]);
}

/// Does what is due, a part of it: whoever suspends somebody, or stops the agent, need not wait for a million subscribers.
/// Whether there is more.
async fn keep_up(node: &Shared) -> bool {
    activation::keep_time(node).await;
    with(Arc::clone(node), |node| {
        node.look_after_interfaces();
        node.keep_up();
        let more = [node.keep_schedule(), node.end_cycles(), node.price_more()];
        more.contains(&true)
    })
    .await
}

/// What there is to do every now and then beside that.
async fn look(node: &Shared, clock: &mut Clock) -> bool {
    if clock.was_set_back() {
        with(Arc::clone(node), Node::mind_the_clock).await;
    }
    let more = keep_up(node).await;
    while with(Arc::clone(node), Node::note_drawn).await {
        tokio::time::sleep(PAUSE).await;
    }
    more
}

/// The clock of the wall beside one that nobody sets.
struct Clock {
    wall: Timestamp,
    steady: Instant,
}

impl Clock {
    /// By how much the one may lag behind the other before it was set back.
    const SLACK: SignedDuration = SignedDuration::from_secs(2);

    fn new() -> Self {
        Self {
            wall: Timestamp::now(),
            steady: Instant::now(),
        }
    }

    /// Whether somebody set the clock back since the last time this was asked.
    fn was_set_back(&mut self) -> bool {
        let now = Self::new();
        let passed = SignedDuration::try_from(now.steady - self.steady).unwrap_or_default();
        let lag = passed - now.wall.duration_since(self.wall);
        *self = now;
        lag > Self::SLACK
    }
}

/// How long nothing changes by itself, at most an hour: clocks step.
async fn until_boundary(node: &Shared) -> Duration {
    const LONGEST: Duration = Duration::from_secs(3600);
    let boundary = with(Arc::clone(node), |node| node.next_change()).await;
    let left = boundary.map(|boundary| boundary.duration_since(Timestamp::now()));
    match left {
        None => LONGEST,
        // It has passed, and something was in the way.
        Some(left) if left <= SignedDuration::ZERO => Duration::from_secs(1),
        Some(left) => Duration::try_from(left).unwrap_or(LONGEST).min(LONGEST),
    }
}

/// The books, in the log.
async fn sum_up(node: &Shared) {
    let books = with(Arc::clone(node), |node| {
        node.tell_of_lost_events();
        node.books()
    });
    let books = match books.await {
        Ok(books) => books,
        Err(error) => return error!("{error}"),
    };
    for row in &books {
        let place = row.place.as_ref().map(|place| {
            let direction = match place.direction {
                Direction::Up => "up",
                Direction::Down => "down",
            };
            format!("{} {direction}", place.interface)
        });
        info!(
            packets = row.packets,
            ip_bytes = row.ip_bytes,
            non_ip_packets = row.non_ip_packets,
            malformed_packets = row.malformed_packets,
            "books: {}",
            place.as_deref().unwrap_or("all")
        );
    }
}

/// Tells systemd, if it is systemd that started us.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        warn!("telling systemd: {error}");
    }
}
