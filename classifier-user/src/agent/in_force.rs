//! Putting a change in force. Whatever fails before the ledger knows of it leaves what was in force in force.
//!
//! A change of policy, of time or of many subscribers is a new image and one pointer swap. Where only subscribers
//! changed, and not most of them, the image in force takes the change in place, an address at a time.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use classifier::layout::LINE_BYTES;
use ipnet::IpNet;
use jiff::Timestamp;

use super::at_once::Sight;
use super::error::NodeError;
use super::node::{InForce, Node, gateway_addresses};
use super::preflight;
use super::records::recording::judged;
use crate::accounts::{Change, Summary};
use crate::config::Config;
use crate::datapath::image_map::{ImageMap, Larger, MAX_IMAGE_WORDS};
use crate::datapath::live_image::LiveImage;
use crate::datapath::maps::Maps;
use crate::fault::{self, Point};
use crate::image::Source;
use crate::policy::Policy;

/// One prefix in so many may change in place; when more do, a new image costs less.
const IN_PLACE_SHARE: usize = 8;

impl Node {
    /// Puts a planned change to a policy in force.
    pub(super) fn put_in_force(
        &mut self,
        policy: Arc<Policy>,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Summary, NodeError> {
        for full in &change.stranded {
            tracing::error!("stays on a plan that has ended: {full}");
        }
        let gateway = gateway_addresses();
        let summary = change.summary;
        let ended = !change.ended.is_empty();
        if self.only_subscribers_differ(&policy, &change, &gateway, now) {
            self.make_room(&change)?;
            change.write_new(&self.lines);
            let serial = self.serial;
            self.ledger
                .begin(&self.accounts, &change, serial, || Ok::<_, NodeError>(()))?;
            self.adopt(&mut change, serial);
            if self.rebind(&change, ended)? {
                self.divide(None);
                return Ok(summary);
            }
            // No room where it is: the image is compiled anew, and leaves room again.
            tracing::debug!("the image in force has no room for the change in place");
            if change.of_one {
                change.bindings = self.accounts.bindings();
                change.of_one = false;
            }
        }
        if change.of_one {
            return Err(self.behind());
        }
        self.publish(policy, change, gateway, now)?;
        Ok(summary)
    }

    /// Gives a subscriber that has left a bucket block, where it has none since counters began anew: orders work on it.
    pub(super) fn give_block(&mut self, id: &str) -> Result<(), NodeError> {
        let waits = self
            .accounts
            .subscribers
            .get(id)
            .is_some_and(|account| account.waits());
        let (Some(in_force), true) = (&self.in_force, waits) else {
            return Ok(());
        };
        let policy = Arc::clone(&in_force.policy);
        let mut change = self.accounts.plan_block(&policy, id, Timestamp::now())?;
        self.make_room(&change)?;
        change.write_new(&self.lines);
        let serial = self.serial;
        self.ledger
            .begin(&self.accounts, &change, serial, || Ok::<_, NodeError>(()))?;
        // Nothing in the image is different.
        let unpublished = self.unpublished;
        self.adopt(&mut change, serial);
        self.unpublished = unpublished;
        Ok(())
    }

    /// Whether a change leaves everything in the image as it is but for some subscribers.
    fn only_subscribers_differ(
        &self,
        policy: &Policy,
        change: &Change,
        gateway: &[IpNet],
        now: Timestamp,
    ) -> bool {
        let few = change.of_one
            || (change.bound.len() + change.unbound.len()).saturating_mul(IN_PLACE_SHARE)
                <= change.bindings.len();
        self.in_force.as_ref().is_some_and(|before| {
            few && !self.unpublished
                // What stands aside is in its row before the row ends.
                && !self.unsettled
                && before.policy.version == policy.version
                && before.is_of(now)
                && before.gateway == gateway
                && change.catalog == self.accounts.catalog
        })
    }

    /// Why what is in force cannot be changed now.
    pub(super) fn behind(&self) -> NodeError {
        let why = self.refused.clone();
        NodeError::Behind {
            why: why.unwrap_or_else(|| "it is changing at this moment; try again".to_owned()),
        }
    }

    /// Sees that there are lines for what a change gives out.
    fn make_room(&mut self, change: &Change) -> Result<(), NodeError> {
        let lines = change.next_line - self.accounts.next_line;
        let bytes = u64::from(lines) * u64::from(LINE_BYTES);
        preflight::check_memory(
            bytes,
            &format!("{lines} more lines for rows and bucket blocks"),
        )?;
        self.maps.rows.grow(&mut self.lines, change.next_line)?;
        Ok(())
    }

    /// Takes over a change the ledger knows of: from here on what is in force must follow.
    fn adopt(&mut self, change: &mut Change, serial: u32) {
        self.serial = serial;
        self.ends.learn(&self.accounts, change);
        self.levels.learn(change);
        self.recording.note(&self.accounts, change);
        self.news.learn(change);
        self.accounts.adopt(change);
        for (id, wish) in change.wishes.drain(..) {
            match wish {
                Some(wish) => self.wishes.insert(id, wish),
                None => self.wishes.remove(&id),
            };
        }
        self.unpublished = true;
    }

    /// Changes the image in force in place; `ended`: rows cease to count. `false` when it has no room for that.
    fn rebind(&mut self, change: &Change, ended: bool) -> Result<bool, NodeError> {
        let Some(live) = &self.live else {
            return Ok(false);
        };
        if live.rebind(&change.unbound, &change.bound).is_err() {
            return Ok(false);
        }
        self.at_once.sees(self.sight().into_iter().collect());
        // Who is suspended, or has its service again, need not wait for a grace period.
        if ended {
            // The same image once more, for the grace period: after it rows that ended are final.
            self.maps.image.publish(live)?;
            live.rested();
        }
        self.unpublished = false;
        Ok(true)
    }

    /// Compiles an image and swaps it for the one in force.
    fn publish(
        &mut self,
        policy: Arc<Policy>,
        mut change: Change,
        gateway: Vec<IpNet>,
        now: Timestamp,
    ) -> Result<(), NodeError> {
        // Before there is a larger map, too, which the next agent would look in.
        self.gathering.settle(&self.maps)?;
        let serial = self.serial + 1;
        let split = self.is_to_split(&judged(&policy, now))?;
        self.make_room(&change)?;
        self.note_image(serial, &policy, now)?;
        let keeps_its_map = split || self.interfaces.any_attached();
        let (maps, lines, config) = (&self.maps, &self.lines, &self.config);
        // Compiling and writing down take seconds where subscribers are many, and do not need each other. The ledger
        // keeps what was written when the image is there, too.
        let Prepared {
            image: prepared,
            larger,
            bytes: image_bytes,
        } = thread::scope(|scope| {
            let change = &change;
            let source = Source {
                labels: config.tags.labels(&change.catalog),
                ..Source::new(&policy, change, now, &gateway, serial)
            };
            let source = source.watching(config.events.watch());
            let prepare = scope.spawn(move || prepare(&source, maps, config, keeps_its_map));
            change.write_new(lines);
            self.ledger.begin(&self.accounts, change, serial, || {
                let prepared = prepare.join();
                prepared.unwrap_or_else(|panic| resume_unwind(panic))
            })
        })?;
        self.adopt(&mut change, serial);
        self.maps.set_serials(self.serials_for(serial, split))?;
        if split {
            prepared.count_aside(Some(serial));
        }
        let prepared = Arc::new(prepared);
        self.at_once.also_sees(Sight {
            subscribers: self.accounts.subscribers.clone(),
            image: Arc::clone(&prepared),
        });
        let map = target(&larger, &self.maps);
        fault::at(Point::BeforePublish);
        map.publish(&prepared)?;
        fault::at(Point::AfterPublish);
        map.read_back(&prepared, serial)?;
        self.live = Some(Arc::clone(&prepared));
        self.at_once.sees(self.sight().into_iter().collect());
        let grown = larger.is_some();
        if let Some(larger) = larger {
            larger.replace(&mut self.maps.image);
        }
        let mut replaced = grown;
        if self.in_force.is_some() {
            // Programs that were loaded over a smaller image map. At the start all are attached after this.
            self.interfaces.look_after(&self.maps);
        } else if split && self.maps.image.has_smaller() {
            // But here those of an earlier agent may count where nobody publishes any more: in a map that this one outgrew, or
            // that the earlier one was about to leave when it was ended.
            self.interfaces.attach_all(&self.maps)?;
            replaced = true;
        }
        if replaced {
            // The last packets of programs that were just replaced.
            self.maps.image.publish(&prepared)?;
        }
        self.unpublished = false;
        self.in_force = Some(InForce {
            until: policy
                .boundaries()
                .into_iter()
                .find(|boundary| *boundary > now),
            policy,
            gateway,
            since: now,
            image_bytes,
        });
        if split {
            self.take_in_older(serial);
            self.split(&prepared, serial);
        } else {
            self.divide(Some(serial));
        }
        // At the start programs are attached after this.
        if self.interfaces.any_attached() {
            self.defer();
        }
        Ok(())
    }
}

/// An image in a map, ready to be published.
struct Prepared {
    image: LiveImage,
    /// The maps it needs, if those there are are too small.
    larger: Option<Larger>,
    bytes: usize,
}

/// Compiles an image and writes it into a map.
fn prepare(
    source: &Source,
    maps: &Maps,
    config: &Config,
    keeps_its_map: bool,
) -> Result<Prepared, NodeError> {
    let image = source.compile()?;
    let bytes = image.words().len() * 4;
    let room = room_for(image.words().len(), config);
    let map_bytes = u64::from(room.max(maps.image.words())) * 4;
    let what = format!("an image map of {map_bytes} bytes");
    preflight::check_memory(map_bytes, &what)?;
    let fits = image.words().len() <= maps.image.words() as usize;
    let larger = if fits && keeps_its_map {
        None
    } else {
        maps.image.larger(room)?
    };
    Ok(Prepared {
        image: target(&larger, maps).prepare(&image)?,
        larger,
        bytes,
    })
}

/// Where the next image is published.
fn target<'a>(larger: &'a Option<Larger>, maps: &'a Maps) -> &'a ImageMap {
    larger.as_ref().and_then(Larger::map).unwrap_or(&maps.image)
}

/// Words of the image map: what is configured, or twice the image, so that it may grow.
fn room_for(words: usize, config: &Config) -> u32 {
    let words = u32::try_from(words).unwrap_or(u32::MAX);
    config
        .limits
        .image_words
        .max(words.saturating_mul(2))
        .clamp(words, MAX_IMAGE_WORDS.max(words))
}
