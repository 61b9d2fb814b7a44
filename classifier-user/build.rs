//! Finds the eBPF object that `cargo xtask build` left in the target directory and hands it to
//! `datapath::object`. Without one the crate builds all the same: whatever needs the kernel then says so.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CARGO_TARGET_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let bpf = target_directory(&out).join("bpf");
    // The directory is watched, so it has to exist before the object does.
    fs::create_dir_all(&bpf).expect("the target directory can be written");
    println!("cargo:rerun-if-changed={}", bpf.display());
    let object = fs::read(bpf.join("zerorate.bpf.o")).unwrap_or_default();
    fs::write(out.join("zerorate.bpf.o"), object).expect("OUT_DIR can be written");
}

/// The target directory: the one above OUT_DIR that cargo tagged.
fn target_directory(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .or_else(|| out.ancestors().nth(4))
        .expect("OUT_DIR lies in the target directory")
        .to_owned()
}
