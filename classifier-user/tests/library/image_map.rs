//! Image maps in the kernel. Needs root and a BPF file system; skipped without.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zerorate::accounts::Accounts;
use zerorate::datapath::maps::Maps;
use zerorate::image::Source;
use zerorate::policy;

/// A pin directory that goes with the test.
pub(crate) struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        // Nothing was pinned if the test was skipped.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn images(maps: &Maps) -> usize {
    fs::read_dir(maps.path())
        .expect("the pin directory can be read")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("image-"))
        .count()
}

/// Maps of this test's own; `None` if there cannot be any here, which is said.
pub(crate) fn maps(name: &str) -> Option<(Pins, Maps)> {
    let pins = Pins(PathBuf::from(format!(
        "/sys/fs/bpf/zr-test-{name}-{}",
        std::process::id()
    )));
    match Maps::create(&pins.0, 1, 1) {
        Ok(maps) => Some((pins, maps)),
        Err(error) => {
            crate::skip::skip(&format!(
                "image maps need root and a BPF file system: {error}"
            ));
            None
        }
    }
}

#[test]
fn what_is_in_force_is_read_back() {
    let Some((_pins, maps)) = maps("read-back") else {
        return;
    };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/policy");
    let policy = policy::load(&example)
        .expect("the example is a policy")
        .policy;
    let now = Timestamp::now();
    let change = Accounts::new()
        .plan(&policy, &[], now)
        .expect("nobody is a subscriber");
    let image = |serial| {
        let compiled = Source::new(&policy, &change, now, &[], serial).compile();
        maps.image
            .prepare(&compiled.expect("it compiles"))
            .expect("there is room")
    };
    let (first, second) = (image(7), image(8));
    let nothing = maps.image.read_back(&first, 7).unwrap_err().to_string();
    assert!(nothing.contains("finds none"), "{nothing}");
    maps.image.publish(&first).expect("it is published");
    maps.image.read_back(&first, 7).expect("it is in force");
    // Another map, of whatever image, and another image in the same map.
    let other = maps.image.read_back(&second, 8).unwrap_err().to_string();
    assert!(other.contains("finds map"), "{other}");
    let other = maps.image.read_back(&first, 8).unwrap_err().to_string();
    assert!(other.contains("finds image 7 in map"), "{other}");
    maps.image.publish(&second).expect("it is published");
    maps.image.read_back(&first, 7).unwrap_err();
    maps.image.read_back(&second, 8).expect("it is in force");
}

#[test]
fn a_larger_image_map_that_was_not_published_in_never_was() {
    let Some((_pins, mut maps)) = maps("images") else {
        return;
    };
    let words = maps.image.words();
    let larger = maps
        .image
        .larger(words * 2)
        .expect("a larger map")
        .expect("it is larger");
    assert_eq!(images(&maps), 2);
    drop(larger);
    assert_eq!((images(&maps), maps.image.words()), (1, words));

    let larger = maps
        .image
        .larger(words * 2)
        .expect("a larger map")
        .expect("it is larger");
    larger.replace(&mut maps.image);
    assert_eq!((images(&maps), maps.image.words()), (2, words * 2));
    maps.image.drop_smaller();
    assert_eq!(images(&maps), 1);
    assert!(maps.image.larger(words).expect("no map is made").is_none());
}
