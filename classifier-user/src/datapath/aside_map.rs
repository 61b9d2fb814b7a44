//! The map of what is counted aside. While a policy takes another's place the rows are kept still, so that all the old one
//! counted in them can be read; what the new one counts meanwhile stands here, and is added to the rows afterwards.
//!
//! Adding to a row and taking away here is one step of a program in the kernel: whoever ends the agent at any moment neither
//! loses nor doubles what it was about.

use std::fmt;
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya::programs::{ProgramError, TestRunOptions};
use aya::{Ebpf, TestRun as _};
use classifier::layout::{ASIDE_ENTRIES, Aside, MERGED_AT_ONCE, Meter};

use super::maps::{Maps, MapsError, doing, pin};
use super::object::{self, Entry, LoadError, Settings};
use super::sys;

/// Name of its pin.
pub(super) const PIN: &str = "aside";
/// Shortest frame the kernel runs a program on.
const SHORTEST: usize = 14;

/// What was counted aside could not be added to the rows.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The program that does it could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel would not run it.
    #[error("running the program `merge`: {0}")]
    Run(#[from] ProgramError),
    /// The map could not be read.
    #[error("reading what was counted aside: {0}")]
    Map(#[from] MapError),
}

/// A [`Meter`] as the map holds it; only the kernel looks into it.
type Counters = [u64; size_of::<Meter>() / 8];

/// What is counted aside.
pub struct AsideMap(HashMap<MapData, u64, Counters>);

impl fmt::Debug for AsideMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsideMap").finish_non_exhaustive()
    }
}

impl AsideMap {
    /// Makes and pins it, empty.
    pub(super) fn create(directory: &Path) -> Result<Self, MapsError> {
        let map = sys::create_hash(
            c"zr_aside",
            size_of::<u64>() as u32,
            size_of::<Meter>() as u32,
            ASIDE_ENTRIES,
        );
        let map = map.map_err(doing("making the map `aside`"))?;
        pin(&map, &directory.join(PIN))?;
        let map = Map::from_map_data(MapData::from_fd(map)?)?;
        Ok(Self(map.try_into()?))
    }

    /// Opens the one that is pinned.
    pub(super) fn open(directory: &Path) -> Result<Self, MapsError> {
        let path = directory.join(PIN);
        let map = sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
        let map = Map::from_map_data(MapData::from_fd(map)?)?;
        Ok(Self(map.try_into()?))
    }

    /// Whether nothing stands aside.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn is_empty(&self) -> Result<bool, MergeError> {
        Ok(self.0.keys().next().transpose()?.is_none())
    }

    /// Whether something stands aside that is `wanted`.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn has(&self, wanted: impl Fn(Aside) -> bool) -> Result<bool, MergeError> {
        Ok(self.places()?.into_iter().any(wanted))
    }

    /// What stands aside.
    fn places(&self) -> Result<Vec<Aside>, MergeError> {
        let keys = self.0.keys().map(|key| key.map(Aside::of_key));
        Ok(keys.collect::<Result<_, _>>()?)
    }
}

/// Adds to rows what was counted aside.
#[derive(Debug)]
pub struct Merger(Ebpf);

impl Merger {
    /// Loads the program for it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(maps: &Maps) -> Result<Self, LoadError> {
        let mut object = object::load(maps, Settings::default(), &[Entry::Merge])?;
        // The program reads no image: a map of them that is exchanged for a larger one need not be kept for it.
        drop(object.take_map("IMAGE"));
        Ok(Self(object))
    }

    /// Adds to their rows the meters that stand aside and are `wanted`.
    ///
    /// # Errors
    /// When the map cannot be read, or the kernel would not run the program: what is still there stands aside.
    pub fn merge(
        &mut self,
        aside: &AsideMap,
        wanted: impl Fn(Aside) -> bool,
    ) -> Result<(), MergeError> {
        self.add(aside, wanted).map(drop)
    }

    /// The same for meters nobody counts in aside any more; they are forgotten.
    ///
    /// # Errors
    /// As above.
    pub fn finish(
        &mut self,
        aside: &mut AsideMap,
        wanted: impl Fn(Aside) -> bool,
    ) -> Result<(), MergeError> {
        for place in self.add(aside, wanted)? {
            aside.0.remove(&place.key())?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        aside: &AsideMap,
        wanted: impl Fn(Aside) -> bool,
    ) -> Result<Vec<Aside>, MergeError> {
        let mut places = aside.places()?;
        places.retain(|place| wanted(*place));
        let program = object::loaded(&mut self.0, Entry::Merge)?;
        for some in places.chunks(MERGED_AT_ONCE as usize) {
            let mut keys: Vec<u8> = some
                .iter()
                .flat_map(|place| place.key().to_ne_bytes())
                .collect();
            // A key of zeroes is nobody's: line 0 is no row.
            keys.resize(keys.len().max(SHORTEST.next_multiple_of(8)), 0);
            let mut options = TestRunOptions::new();
            options.data_in = Some(&keys);
            program.test_run(options)?;
        }
        Ok(places)
    }
}
