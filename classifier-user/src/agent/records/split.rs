//! A change of policy splits the records to the packet: each is priced by one policy, and stands in a record of that one.
//!
//! 1. The new image is published so that what it counts stands [aside](crate::datapath::aside_map). After the grace period
//!    of its publication nothing is counted for the rows any more, and when what CPUs have
//!    [noted](crate::datapath::batches_map) is added to them, they hold what the old one counted, to the last packet.
//! 2. The rows are read and recorded under the old policy, and that is committed.
//! 3. The node's map says that what is in the rows is the new one's; packets count in the rows again, and what stood aside
//!    is added to them.
//!
//! An agent that is ended in between leaves the kernel in one of these states, and the next one goes on from it: the map
//! says whose the rows are, and each meter that stands aside says by which image.

use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::recording::NewRows;
use crate::agent::error::NodeError;
use crate::agent::node::Node;
use crate::datapath::live_image::LiveImage;
use crate::datapath::maps::Serials;
use crate::fault::{self, Point};
use crate::ledger::usage::{Cause, Judged};

/// How long others wait for the node, and packets count aside, until what was read is written down. It is kept and written
/// in any case; only an agent that is killed before that leaves it to be recorded as the next policy's.
const LONGEST: Duration = Duration::from_secs(1);

impl Node {
    /// Whether rows have to be kept still when a policy takes the place of what is in force.
    pub(in crate::agent) fn is_to_split(&self, next: &Judged) -> Result<bool, NodeError> {
        let another = self.recording.judged().is_some_and(|now| now != next);
        let Serials { last, in_rows } = self.maps.serials()?;
        Ok(another || last != in_rows || !self.maps.aside.is_empty()?)
    }

    /// What is to be noted before an image is published.
    pub(in crate::agent) fn serials_for(&self, serial: u32, split: bool) -> Serials {
        let in_rows = if split {
            self.recording.serial()
        } else {
            serial
        };
        Serials {
            last: serial,
            in_rows,
        }
    }

    /// Rows are still, since an image was published that counts aside: what an image before it counted there, when the agent
    /// was ended in the middle of this, belongs to what the rows hold.
    pub(in crate::agent) fn take_in_older(&mut self, serial: u32) {
        let aside = &mut self.maps.aside;
        let taken = self.merger.finish(aside, |place| !place.is_of(serial));
        if let Err(error) = taken {
            error!("what was counted aside before is recorded as the next policy's: {error}");
        }
    }

    /// Reads and records what the rows hold, to the last packet, and has packets count in them again. Where CPUs' notes cannot
    /// be had at present the rows stay still, and it is tried again at the next look.
    pub(in crate::agent) fn split(&mut self, image: &LiveImage, serial: u32) {
        if !self.gather() {
            self.unsettled = true;
            return;
        }
        self.divide(Some(serial));
        self.end_split(image, serial);
    }

    /// What was read of the rows is written down, and packets count in them again. What cannot be done is tried again at
    /// the next look; until then what is counted stands aside.
    fn end_split(&mut self, image: &LiveImage, serial: u32) {
        // Otherwise a next agent would take it for the new policy's. What cannot be written is kept until it can be.
        let begun = Instant::now();
        while self.write_records() && begun.elapsed() < LONGEST {}
        fault::at(Point::AfterSplitRecorded);
        if let Err(error) = self.try_end_split(image, serial) {
            self.unsettled = true;
            error!(
                "what is counted stands aside and is not recorded yet; it is tried again: {error}"
            );
        }
    }

    fn try_end_split(&mut self, image: &LiveImage, serial: u32) -> Result<(), NodeError> {
        self.maps.set_serials(Serials {
            last: serial,
            in_rows: serial,
        })?;
        image.count_aside(None);
        // For the grace period: after it nobody counts aside.
        self.maps.image.publish(image)?;
        image.rested();
        fault::at(Point::AfterSplitReleased);
        self.merger.finish(&mut self.maps.aside, |_| true)?;
        fault::at(Point::AfterSplitMerged);
        self.unsettled = false;
        Ok(())
    }

    /// Tries again what could not be done.
    pub(in crate::agent) fn settle(&mut self) {
        if self.unsettled
            && !self.unpublished
            && let Some(live) = self.live.clone()
        {
            self.split(&live, self.serial);
        }
    }

    /// Goes on where an agent before this one was ended in the middle of a split: the image in force counts aside, and the
    /// rows hold what the one before it counted.
    pub(in crate::agent) fn resume_split(&mut self) -> Result<(), NodeError> {
        let Serials { last, in_rows } = self.maps.serials()?;
        // One that was never published counts nothing.
        if last == in_rows || !self.maps.aside.has(|place| place.is_of(last))? {
            return Ok(());
        }
        let Some(next) = self.ledger.judged(last)? else {
            warn!(
                "what image {last} was compiled from is not known: what it counted is recorded as image {in_rows}'s"
            );
            return Ok(());
        };
        // Where that was ended in the middle of it, too.
        let aside = &self.maps.aside;
        self.merger.merge(aside, |place| place.is_of(in_rows))?;
        self.gathering.settle(&self.maps)?;
        self.cut_all(Cause::Recovered, &NewRows::default());
        while self.write_records() {}
        self.maps.set_serials(Serials {
            last,
            in_rows: last,
        })?;
        self.recording.judge_on(last, next);
        Ok(())
    }
}
