//! Which compiler, linker and LLVM can build the kernel program on this machine.
//!
//! Two compilers will do: Debian's own (`rustc-web`, with `core` precompiled for the BPF target by
//! `libstd-rust-web-dev-bpf`), and a rustup nightly that has the sources of `core`. The linker,
//! bpf-linker, brings no LLVM: it opens the one that belongs to the compiler.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::workspace::{Workspace, find_program};

/// What the kernel program is compiled for: little-endian BPF, as on x86-64 and arm64.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
/// The bpf-linker that is installed where there is none that will do.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The oldest bpf-linker known to understand what these compilers emit.
const OLDEST_LINKER: Version = Version(0, 10, 3);
/// The workspace's `rust-version`, which Debian's compiler has to satisfy too.
const OLDEST_RUSTC: Version = Version(1, 95, 0);

/// A compiler that can produce BPF code.
#[derive(Debug, PartialEq)]
pub(crate) enum Compiler {
    /// Debian's compiler, with `core` for the BPF target already built.
    Debian {
        /// Its LLVM.
        llvm: PathBuf,
    },
    /// A rustup toolchain that builds `core` itself.
    Rustup {
        /// The toolchain's name, as in `rustup run NAME`.
        toolchain: String,
        /// Its LLVM.
        llvm: PathBuf,
    },
}

impl Compiler {
    /// Looks for Debian's compiler first: it needs no time to build `core`.
    pub(crate) fn find() -> Option<Self> {
        Self::debian().or_else(Self::rustup)
    }

    fn debian() -> Option<Self> {
        let about = RustcVersion::of(Command::new(DEBIAN_RUSTC).arg("-vV"))?;
        let sysroot = process::answer(Command::new(DEBIAN_RUSTC).args(["--print", "sysroot"]))?;
        if about.release < OLDEST_RUSTC || !has_core(Path::new(&sysroot)) {
            return None;
        }
        let library_dirs = [format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH)];
        let llvm = find_llvm(library_dirs.iter().map(Path::new), &about.llvm)?;
        Some(Self::Debian { llvm })
    }

    fn rustup() -> Option<Self> {
        let toolchains = process::answer(Command::new("rustup").args(["toolchain", "list"]))?;
        toolchains
            .lines()
            .filter_map(nightly_name)
            .find_map(|toolchain| {
                let rustc = |argument: &[&str]| {
                    let mut command = Command::new("rustup");
                    command.args(["run", toolchain, "rustc"]).args(argument);
                    command
                };
                let about = RustcVersion::of(&mut rustc(&["-vV"]))?;
                let sysroot = PathBuf::from(process::answer(&mut rustc(&["--print", "sysroot"]))?);
                if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
                    return None;
                }
                let llvm = find_llvm(std::iter::once(sysroot.join("lib").as_path()), &about.llvm)?;
                Some(Self::Rustup {
                    toolchain: toolchain.to_owned(),
                    llvm,
                })
            })
    }

    /// The LLVM the compiler was built with, which the linker has to use as well.
    pub(crate) fn llvm(&self) -> &Path {
        match self {
            Self::Debian { llvm } | Self::Rustup { llvm, .. } => llvm,
        }
    }
}

/// The bpf-linker to use: ours if one had to be built here, or else the machine's.
pub(crate) fn find_linker(workspace: &Workspace) -> Option<PathBuf> {
    let ours = linker_root(workspace).join("bin/bpf-linker");
    [Some(ours), find_program("bpf-linker")]
        .into_iter()
        .flatten()
        .find(|path| {
            process::answer(Command::new(path).arg("--version"))
                .and_then(|text| Version::parse(text.strip_prefix("bpf-linker ")?))
                .is_some_and(|version| version >= OLDEST_LINKER)
        })
}

/// Where our own bpf-linker goes when the machine has one that is too old, and keeps it.
pub(crate) fn linker_root(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn has_core(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    fs::read_dir(library).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// The shared LLVM of the given version in one of the directories.
fn find_llvm<'a>(directories: impl Iterator<Item = &'a Path>, version: &str) -> Option<PathBuf> {
    directories
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .map(|file| file.path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // A file of the right name may be a linker script that only points at the library.
            is_llvm_library(&name, version) && is_elf(path)
        })
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}

/// Names seen: `libLLVM.so.22.1`, `libLLVM-22.so.1`, `libLLVM.so.22.1-rust-1.97.0-nightly`.
fn is_llvm_library(name: &str, version: &str) -> bool {
    let major = version.split('.').next().unwrap_or(version);
    ["libLLVM.so.", "libLLVM-"].iter().any(|prefix| {
        name.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix(major))
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
    })
}

/// The toolchain's name in a line of `rustup toolchain list`, if it is a nightly.
fn nightly_name(line: &str) -> Option<&str> {
    line.split_whitespace()
        .next()
        .filter(|name| name.starts_with("nightly"))
}

/// What `rustc -vV` says of itself, as far as it matters here.
#[derive(Debug, PartialEq)]
struct RustcVersion {
    release: Version,
    llvm: String,
}

impl RustcVersion {
    fn of(rustc: &mut Command) -> Option<Self> {
        Self::parse(&process::answer(rustc)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            release: Version::parse(field("release: ")?)?,
            llvm: field("LLVM version: ")?.to_owned(),
        })
    }
}

#[derive(Debug, PartialEq, PartialOrd)]
struct Version(u32, u32, u32);

impl Version {
    /// Reads `1.97.0-nightly` and the like; what follows the numbers is left out.
    fn parse(text: &str) -> Option<Self> {
        let numbers = text
            .trim()
            .split(|c: char| !c.is_ascii_digit() && c != '.')
            .next()?;
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(Version::parse("1.97.0-nightly\n"), Some(Version(1, 97, 0)));
        assert!(Version::parse("0.9.15") < Version::parse("0.10.3"));
        assert!(Version::parse("0.10.2").unwrap() < OLDEST_LINKER);
        assert!(Version::parse(LINKER_VERSION).unwrap() >= OLDEST_LINKER);
        assert_eq!(Version::parse("unknown"), None);
        assert_eq!(Version::parse("1.97"), None);
    }

    #[test]
    fn rustc_says_its_release_and_its_llvm() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: \
                    x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        let expected = RustcVersion {
            release: Version(1, 96, 0),
            llvm: "22.1.8".into(),
        };
        assert_eq!(RustcVersion::parse(text), Some(expected));
        assert_eq!(RustcVersion::parse("rustc 1.96.0\n"), None);
    }

    #[test]
    fn only_the_compilers_own_llvm_is_taken() {
        for name in [
            "libLLVM.so.22.1",
            "libLLVM-22.so.1",
            "libLLVM.so.22.1-rust-1.97.0-nightly",
        ] {
            assert!(is_llvm_library(name, "22.1.8"), "{name}");
        }
        for name in [
            "libLLVM-15.so",
            "libLLVM-2.so",
            "libLLVM.so.221.0",
            "libLLVM.so",
            "libm.so",
        ] {
            assert!(!is_llvm_library(name, "22.1.8"), "{name}");
        }
    }

    #[test]
    fn a_linker_script_is_not_a_library() {
        let directory = std::env::temp_dir().join(format!("zerorate-llvm-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("libLLVM-22.so"), "INPUT(libLLVM.so.22.1)").unwrap();
        let find = || find_llvm(std::iter::once(directory.as_path()), "22.1.2");
        let before = find();
        fs::write(directory.join("libLLVM.so.22.1"), b"\x7fELF...").unwrap();
        let after = find();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(before, None);
        assert_eq!(after, Some(directory.join("libLLVM.so.22.1")));
    }

    #[test]
    fn nightlies_are_told_from_other_toolchains() {
        assert_eq!(
            nightly_name("nightly-2026-05-19 (override)"),
            Some("nightly-2026-05-19")
        );
        assert_eq!(
            nightly_name("stable-x86_64-unknown-linux-gnu (active, default)"),
            None
        );
        assert_eq!(nightly_name("no installed toolchains"), None);
    }
}
