//! Feeds on the web: asked on their schedule, by the entity tag of what was taken last, so that what is the same is not sent
//! again. A host that is down, slow, somebody else, or sends too much or too little, changes nothing.

use std::path::Path;
use std::thread;

use tokio::sync::{oneshot, watch};

use super::{Followed, activate};
use crate::api::server::Shared;
use crate::import::fetch::{self, Body, Fetched, Unfetched};
use crate::import::update::{self, Refreshed};
use crate::policy::Declared;
use crate::progress::Progress;

/// What is known of what a host sent last.
#[derive(Default)]
pub(super) struct Known {
    etag: Option<String>,
    /// Why it was refused, if it was: it is refused again for as long as it is what the host has.
    refused: Option<String>,
}

/// Asks the host, and takes what is new.
pub(super) async fn look(
    node: &Shared,
    dir: &Path,
    feed: &mut Followed,
    url: String,
    stopped: &mut watch::Receiver<bool>,
) {
    let (say, said) = oneshot::channel();
    let (declared, below, etag) = (
        feed.declared.clone(),
        dir.to_owned(),
        feed.known.etag.clone(),
    );
    // Of its own: who stops does not wait for a host that does not answer.
    thread::spawn(move || {
        // Nobody may be listening any more.
        let _ = say.send(ask(&declared, &below, &url, etag.as_deref()));
    });
    let asked = tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => return,
        asked = said => asked,
    };
    match asked {
        Ok(Ok(Asked::Same)) => {}
        Ok(Ok(Asked::New { etag, made })) => {
            let taken = match made {
                Ok(made) if made.is_change() => activate(node, &made).await,
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            // What was refused is asked for again: what was in its way, a signature that came later, may not be there.
            feed.known = Known {
                etag: etag.filter(|_| taken.is_ok()),
                refused: taken.err(),
            };
        }
        Ok(Err(error)) => {
            let source = &feed.status.feed;
            return feed.failed(format!("{source} {error}: {}", error.help()));
        }
        Err(_) => {
            return feed
                .failed("asking for it ended early; this is an error of zerorate".to_owned());
        }
    }
    match feed.known.refused.clone() {
        None => feed.good(None),
        Some(refused) => feed.failed(refused),
    }
}

/// What came of asking.
enum Asked {
    Same,
    New {
        etag: Option<String>,
        made: Result<Box<Refreshed>, String>,
    },
}

fn ask(declared: &Declared, dir: &Path, url: &str, etag: Option<&str>) -> Result<Asked, Unfetched> {
    let limits = declared.request.limits.below(dir);
    Ok(match fetch::fetch(url, &limits, etag)? {
        Fetched::Same => Asked::Same,
        Fetched::New(Body { bytes, etag }) => Asked::New {
            etag,
            made: make(declared, dir, bytes),
        },
    })
}

fn make(declared: &Declared, dir: &Path, bytes: Vec<u8>) -> Result<Box<Refreshed>, String> {
    let made = update::refresh_fetched(declared, dir, bytes).map_err(|error| error.to_string())?;
    update::check(dir, std::slice::from_ref(&made), &Progress::default())
        .map_err(|error| error.to_string())?;
    Ok(Box::new(made))
}
