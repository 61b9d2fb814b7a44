//! Image maps in the kernel. Needs root and a BPF file system; skipped without.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use zerorate::datapath::maps::Maps;

/// A pin directory that goes with the test.
struct Pins(PathBuf);

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

#[test]
fn a_larger_image_map_that_was_not_published_in_never_was() {
    let pins = Pins(PathBuf::from(format!(
        "/sys/fs/bpf/zr-test-images-{}",
        std::process::id()
    )));
    let mut maps = match Maps::create(&pins.0, 1, 1) {
        Ok(maps) => maps,
        Err(error) => {
            println!("SKIPPED: {error}");
            if let Some(path) = std::env::var_os("ZERORATE_SKIPS") {
                let mut skips = fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .expect("the file of skips can be opened");
                writeln!(skips, "image maps need root and a BPF file system: {error}")
                    .expect("the file of skips can be written");
            }
            return;
        }
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
