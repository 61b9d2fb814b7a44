//! Builds the kernel program into the ELF object that the agent's binary carries, and the bench's programs into
//! one that nothing carries.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::setup::{self, Need};
use crate::toolchain::{self, Compiler, TARGET};
use crate::workspace::{self, Workspace};

pub(crate) const PACKAGE: &str = "classifier-ebpf";
/// The product's programs.
pub(crate) const BINARY: &str = "zerorate-ebpf";
/// The bench's programs.
pub(crate) const BENCH: &str = "zerorate-bench-ebpf";

/// `cargo xtask ebpf`.
pub(crate) fn command(workspace: &Workspace, _arguments: &[String]) -> Result<ExitCode> {
    setup::setup(workspace, Need::Build)?;
    build(workspace)?;
    Ok(ExitCode::SUCCESS)
}

/// Compiles and links the kernel program and puts it where the agent's build script finds it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let compiler = Compiler::find().context(setup::NO_COMPILER)?;
    let linker = toolchain::find_linker(workspace).context("there is no usable bpf-linker")?;
    // A directory of its own: the host's builds lock theirs, and neither waits for the other.
    let build_dir = workspace.target.join("bpf-build");
    let linker = linker_wrapper(&build_dir.join("linker"), &linker, compiler.llvm())?;

    let mut cargo = cargo_with(&compiler, workspace);
    cargo.current_dir(&workspace.root);
    cargo.args(["build", "--release", "--package", PACKAGE]);
    cargo.args(["--bin", BINARY, "--bin", BENCH]);
    cargo.args(["--features", "kernel", "--target", TARGET]);
    cargo.env("CARGO_TARGET_DIR", &build_dir);
    cargo.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker);
    cargo.env(
        "CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS",
        rustflags(std::env::consts::ARCH)?,
    );
    cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    // BTF, by which the loader finds the maps, is made from full debug information.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "2");
    process::run(&mut cargo)?;

    let built = build_dir.join(TARGET).join("release");
    for (binary, object) in [
        (BINARY, workspace.object()),
        (BENCH, workspace.bench_object()),
    ] {
        let changed = copy_if_changed(&built.join(binary), &object)?;
        println!(
            "ebpf: {} {}",
            object.display(),
            if changed { "is new" } else { "has not changed" }
        );
    }
    Ok(())
}

/// The compiler's cargo, with nothing in its environment that is meant for the host's builds.
fn cargo_with(compiler: &Compiler, workspace: &Workspace) -> Command {
    let mut cargo = match compiler {
        Compiler::Debian { .. } => {
            let mut cargo = workspace.cargo();
            // Debian's compiler is a stable one; the kernel program uses BPF intrinsics.
            cargo
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1");
            cargo
        }
        Compiler::Rustup { toolchain, .. } => {
            let mut cargo = Command::new("rustup");
            cargo.args(["run", toolchain, "cargo", "-Zbuild-std=core"]);
            cargo
                .env_remove("RUSTC")
                .env_remove("CARGO")
                .env_remove("RUSTUP_TOOLCHAIN");
            workspace::forget_this_run(&mut cargo);
            cargo
        }
    };
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        // Cargo points it at the host toolchain's libraries.
        "LD_LIBRARY_PATH",
    ] {
        cargo.env_remove(variable);
    }
    cargo
}

/// The compiler's flags; `bpf_target_arch` is whose registers and structures the program meets.
fn rustflags(host_arch: &str) -> Result<String> {
    if !matches!(host_arch, "x86_64" | "aarch64") {
        bail!("zerorate runs on x86-64 and arm64, not on {host_arch}");
    }
    Ok(format!(
        "--cfg bpf_target_arch=\"{host_arch}\" -Clink-arg=--btf -Ctarget-cpu=v3"
    ))
}

/// Writes a `bpf-linker` that sees no LLVM but the compiler's, and returns its path.
///
/// The linker opens the first libLLVM it meets in the directories of `LD_LIBRARY_PATH`, in whatever
/// order they list their files, and Debian keeps several versions in one directory.
fn linker_wrapper(directory: &Path, linker: &Path, llvm: &Path) -> Result<PathBuf> {
    let library_dir = directory.join("lib");
    let _ = fs::remove_dir_all(&library_dir);
    fs::create_dir_all(&library_dir)
        .with_context(|| format!("cannot create {}", library_dir.display()))?;
    let link = library_dir.join(llvm.file_name().context("LLVM's path has no file name")?);
    std::os::unix::fs::symlink(llvm, &link)
        .with_context(|| format!("cannot create {}", link.display()))?;

    let path = directory.join("bpf-linker");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        quoted(&library_dir),
        quoted(linker)
    );
    fs::write(&path, script)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Copies a file unless the copy is already the same, so that its time tells when it changed.
fn copy_if_changed(from: &Path, to: &Path) -> Result<bool> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("zerorate-xtask-{name}-{}", std::process::id()))
    }

    #[test]
    fn the_program_is_told_whose_registers_it_meets() {
        assert!(
            rustflags("aarch64")
                .unwrap()
                .contains(r#"bpf_target_arch="aarch64""#)
        );
        assert!(
            rustflags("riscv64")
                .unwrap_err()
                .to_string()
                .contains("riscv64")
        );
    }

    #[test]
    fn an_unchanged_object_keeps_its_time() {
        let directory = scratch("copy");
        fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("new.o"), directory.join("bpf/old.o"));
        fs::write(&from, "one").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        assert!(!copy_if_changed(&from, &to).unwrap());
        assert_eq!(to.metadata().unwrap().modified().unwrap(), long_ago);
        fs::write(&from, "two").unwrap();
        assert!(copy_if_changed(&from, &to).unwrap());
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_wrapped_linker_sees_one_llvm_and_gets_every_argument() {
        let directory = scratch("it's a linker");
        let real = directory.join("real");
        fs::create_dir_all(&directory).unwrap();
        fs::write(
            &real,
            "#!/bin/sh\nls \"$LD_LIBRARY_PATH\"; printf '%s\\n' \"$@\"\n",
        )
        .unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o755)).unwrap();
        let llvm = Path::new("/usr/lib/libLLVM.so.22.1");
        let wrapper = linker_wrapper(&directory.join("w"), &real, llvm).unwrap();
        let said = process::answer(Command::new(wrapper).args(["a b", "c"]));
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(said.as_deref(), Some("libLLVM.so.22.1\na b\nc"));
    }
}
