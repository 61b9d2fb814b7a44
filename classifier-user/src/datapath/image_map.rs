//! The policy image's map: an outer map with one element, pinned under a name that carries its capacity, and
//! inner maps that each hold a whole image.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::live_image::LiveImage;
use super::maps::{MapsError, array, doing, pin};
use super::sys::{self, Kind, Mapping};
use crate::image::Compiled;

/// Largest image map: 1 GiB.
pub const MAX_IMAGE_WORDS: u32 = 1 << 28;
/// Smallest image map: 2 MiB.
const LEAST_IMAGE_WORDS: u32 = 1 << 19;
/// Where images are published.
#[derive(Debug)]
pub struct ImageMap {
    directory: PathBuf,
    outer: OwnedFd,
    words: u32,
}

impl ImageMap {
    /// Makes and pins a map for images of `words` words.
    pub(super) fn create(directory: &Path, words: u32) -> Result<Self, MapsError> {
        let words = capacity(words);
        let outer = create_outer(words)?;
        pin(&outer, &directory.join(pin_name(words)))?;
        Ok(Self {
            directory: directory.to_owned(),
            outer,
            words,
        })
    }

    /// Opens the largest one that is pinned; `None` when there is none.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, MapsError> {
        let pins = pinned(directory).map_err(doing(format!("reading {}", directory.display())))?;
        let Some(words) = pins.into_iter().max() else {
            return Ok(None);
        };
        let path = directory.join(pin_name(words));
        let outer =
            sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?;
        Ok(Some(Self {
            directory: directory.to_owned(),
            outer,
            words,
        }))
    }

    /// Words an image may have: a power of two, so that an index can be masked.
    pub const fn words(&self) -> u32 {
        self.words
    }

    /// Where it is pinned.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(pin_name(self.words))
    }

    /// A larger map for images of `words` words, if this one is too small. The programs that run now keep theirs
    /// until each has been replaced.
    ///
    /// # Errors
    /// When the kernel refuses the map.
    pub fn larger(&self, words: u32) -> Result<Option<Larger>, MapsError> {
        if capacity(words) <= self.words {
            return Ok(None);
        }
        Self::create(&self.directory, words).map(|map| Some(Larger { map: Some(map) }))
    }

    /// Makes another image map of the same size in place of the present one, for programs loaded from now on.
    ///
    /// # Errors
    /// When the kernel refuses the map.
    pub fn renew(&mut self) -> Result<(), MapsError> {
        let path = self.directory.join(pin_name(self.words));
        let image = create_outer(self.words)?;
        fs::remove_file(&path).map_err(doing(format!("unpinning {}", path.display())))?;
        pin(&image, &path)?;
        self.outer = image;
        Ok(())
    }

    /// Forgets image maps no program uses any more.
    pub fn drop_smaller(&self) {
        for words in self.smaller() {
            // A pin that stays costs memory, nothing else.
            let _ = fs::remove_file(self.directory.join(pin_name(words)));
        }
    }

    /// Whether there are image maps that programs may still use.
    pub fn has_smaller(&self) -> bool {
        self.smaller().next().is_some()
    }

    fn smaller(&self) -> impl Iterator<Item = u32> {
        let pins = pinned(&self.directory).into_iter().flatten();
        pins.filter(|words| *words < self.words)
    }

    /// Fills a map with an image, out of sight of the programs.
    ///
    /// # Errors
    /// When the image does not fit, or there is no memory for it.
    pub fn prepare(&self, image: &Compiled) -> Result<LiveImage, MapsError> {
        let words = image.words();
        if words.len() > self.words as usize {
            return Err(MapsError::ImageTooLarge {
                words: words.len(),
                capacity: self.words,
            });
        }
        let map = inner(self.words)?;
        let mapping =
            Mapping::new(&map, self.words as usize * 4).map_err(doing("mapping a policy image"))?;
        for (to, from) in mapping.words().iter().zip(words.chunks(2)) {
            let high = from.get(1).copied().unwrap_or(0);
            to.store(
                u64::from(high) << 32 | u64::from(from[0]),
                Ordering::Relaxed,
            );
        }
        Ok(LiveImage::new(map, mapping, words.len() as u32))
    }

    /// Puts an image in force. When this returns no packet is judged by an older one any more: the kernel
    /// waits for the programs that may still read it (`synchronize_rcu` in `map_update_elem` of maps in maps,
    /// Linux 5.0).
    ///
    /// # Errors
    /// When the kernel refuses; the old image is then still in force.
    pub fn publish(&self, image: &LiveImage) -> Result<(), MapsError> {
        sys::set_inner(&self.outer, 0, image.map()).map_err(doing("publishing a policy image"))
    }

    /// Asks the kernel which image is in force, and reads in its memory, which packets are judged by, whose it is.
    ///
    /// # Errors
    /// When it is not this image of this serial number, or the kernel does not say.
    pub fn read_back(&self, image: &LiveImage, serial: u32) -> Result<(), MapsError> {
        let ask = || "reading back the policy image";
        let found = sys::inner_id(&self.outer, 0).map_err(doing(ask()))?;
        let expected = sys::map_id(image.map()).map_err(doing(ask()))?;
        let counts = image.serial();
        if found == Some(expected) && counts == Some(serial) {
            return Ok(());
        }
        Err(MapsError::NotInForce {
            expected: format!("image {serial} in map {expected}"),
            found: match (found, counts) {
                // Into the memory of another one than ours nobody looks: that takes more than the agent may do.
                (Some(map), _) if map != expected => format!("map {map}"),
                (Some(map), Some(counts)) => format!("image {counts} in map {map}"),
                (Some(map), None) => format!("map {map}, in which there is no image"),
                (None, _) => "none".to_owned(),
            },
        })
    }
}

/// A larger map that nothing is published in yet. Unless it is put in place, it is as if it had never been.
#[derive(Debug)]
pub struct Larger {
    map: Option<ImageMap>,
}

impl Larger {
    /// The map.
    #[must_use]
    pub const fn map(&self) -> Option<&ImageMap> {
        self.map.as_ref()
    }

    /// Puts it in place of the map in use, once an image is published in it.
    pub fn replace(mut self, in_use: &mut ImageMap) {
        if let Some(map) = self.map.take() {
            *in_use = map;
        }
    }
}

impl Drop for Larger {
    fn drop(&mut self) {
        if let Some(map) = &self.map {
            // A pin that stays costs memory, nothing else.
            let _ = fs::remove_file(map.path());
        }
    }
}

/// A power of two, so that an index can be masked.
fn capacity(words: u32) -> u32 {
    words
        .clamp(LEAST_IMAGE_WORDS, MAX_IMAGE_WORDS)
        .next_power_of_two()
}

fn inner(words: u32) -> Result<OwnedFd, MapsError> {
    array(c"zr_image", Kind::Shared, words * 4, 1)
}

fn create_outer(words: u32) -> Result<OwnedFd, MapsError> {
    // The kernel takes the shape of the inner maps from one of them.
    let inner = inner(words)?;
    sys::create_array_of_maps(c"zr_images", 1, &inner).map_err(doing("making the map `image`"))
}

fn pin_name(words: u32) -> String {
    format!("image-{words}")
}

fn pinned(directory: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(words) = name
            .to_str()
            .and_then(|name| name.strip_prefix("image-")?.parse().ok())
        {
            found.push(words);
        }
    }
    Ok(found)
}
