//! `cargo xtask kernels`: zerorate on other kernels than this machine's, first of all the oldest it is for.
//!
//! What the verifier lets in differs from kernel to kernel, and only the kernel itself can say. Debian's are
//! fetched and unpacked, not installed, and each is booted by QEMU into `tests/kernels/init`, with nothing around
//! it but busybox, `ip`, zerorate, its fixtures and captures. What the init script checks it says line by line.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::apt;
use crate::ebpf;
use crate::process;
use crate::setup::{self, Need};
use crate::tally::Tally;
use crate::test;
use crate::workspace::{Workspace, find_program};

/// The oldest series zerorate is for, and the one backported to the same Debian.
const SERIES: [&str; 2] = ["6.1", "6.12"];

const QEMU: &str = "qemu-system-x86_64";
/// What is needed besides a build, and Debian's package that has it.
const TOOLS: [(&str, &str); 3] = [
    (QEMU, "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("ip", "iproute2"),
];
/// Modules of the kernel: virtual wires, and what tc needs where there is no tcx.
const MODULES: [&str; 3] = ["veth", "sch_ingress", "cls_bpf"];
/// Seconds a machine may take; emulated, on a busy host, it needs minutes.
const PATIENCE: &str = "3600";
/// Captures taken from each folder of the data, and how large they may be: emulation is slow.
const CAPTURES: usize = 4;
const CAPTURE_BYTES: u64 = 64 << 10;

/// `cargo xtask kernels [SERIES...]`.
pub(crate) fn command(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("machines are made for x86-64 only");
    }
    setup::setup(workspace, Need::Build)?;
    tools()?;
    let payload = Payload::build(workspace)?;
    let directory = workspace.target.join("kernels");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;

    let mut wanted: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if wanted.is_empty() {
        wanted.extend(SERIES);
    }
    let mut total = Tally::default();
    for series in wanted {
        let Some(package) = newest(series)? else {
            println!("SKIPPED: Linux {series}: apt knows no linux-image-{series}.*-cloud-amd64");
            total.skipped += 1;
            continue;
        };
        println!("── {package} ──");
        let kernel = fetch(&package, &directory)?;
        let initramfs = payload.pack(&kernel, &directory.join("initramfs"))?;
        total += boot(&kernel, &initramfs, &directory.join(package + ".log"))?;
    }
    println!("{total}");
    Ok(if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tools() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt::install(&missing)
}

/// The package of a series' newest kernel for virtual machines, if apt knows one.
fn newest(series: &str) -> Result<Option<String>> {
    let pattern = format!("^linux-image-{series}[.].*-cloud-amd64$");
    let mut search = Command::new("apt-cache");
    let found = process::answer(search.args(["search", "--names-only", &pattern]))
        .context("apt-cache cannot be asked for kernels")?;
    let names = found.lines().filter_map(|line| line.split(' ').next());
    Ok(names.max_by_key(|name| numbers(name)).map(str::to_owned))
}

/// The numbers in a name, by which versions are ordered.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Downloads and unpacks a package, unless that was done before.
fn fetch(package: &str, directory: &Path) -> Result<PathBuf> {
    let unpacked = directory.join(package);
    if !unpacked.is_dir() {
        let steps =
            "rm -rf partial && mkdir partial && cd partial && apt-get -qq download \"$0\" &&
            dpkg -x *.deb . && rm *.deb && mv ../partial ../\"$0\"";
        let mut shell = Command::new("sh");
        process::run(shell.args(["-c", steps, package]).current_dir(directory))?;
    }
    Ok(unpacked)
}

/// All files below a directory, sorted.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = process::answer(Command::new("find").arg(directory).args(["-type", "f"]))
        .with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
    files.sort();
    Ok(files)
}

/// The file below a directory whose path has this in it.
fn find(directory: &Path, part: &str) -> Result<PathBuf> {
    files_below(directory)?
        .into_iter()
        .find(|path| path.to_string_lossy().contains(part))
        .with_context(|| format!("there is no {part} in {}", directory.display()))
}

/// What is the same in every machine: a file here, and its path there.
struct Payload(Vec<(PathBuf, PathBuf)>);

impl Payload {
    /// Builds zerorate and its fixtures, and finds all that they and the init script need.
    fn build(workspace: &Workspace) -> Result<Self> {
        ebpf::build(workspace)?;
        process::run(workspace.cargo().args(test::BINARY))?;
        let in_place = |path: PathBuf| (path.clone(), path);
        let mut files = Vec::new();
        for (program, there) in [
            (tool("busybox")?, "/bin/busybox"),
            (tool("ip")?, "/usr/sbin/ip"),
            (workspace.binary("debug"), "/usr/bin/zerorate"),
            (tests(workspace)?, "/usr/bin/e2e"),
        ] {
            files.extend(libraries(&program).into_iter().map(in_place));
            files.push((program, there.into()));
        }
        let own = workspace.root.join("tests/kernels");
        files.push((own.join("init"), "/init".into()));
        for path in files_below(&own.join("zerorate"))? {
            let there = Path::new("/etc").join(path.strip_prefix(&own)?);
            files.push((path, there));
        }
        // The fixtures look for their policy where it was when they were compiled.
        let town = files_below(&workspace.root.join("tests/fixtures"))?;
        files.extend(town.into_iter().map(in_place));
        for path in captures(workspace)? {
            let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
            let name = path.file_name().unwrap_or_default();
            let there = Path::new("/captures").join(folder).join(name);
            files.push((path, there));
        }
        Ok(Self(files))
    }

    /// Writes an initramfs with these files and the modules the checks need, by way of a directory.
    fn pack(&self, kernel: &Path, root: &Path) -> Result<PathBuf> {
        let _ = fs::remove_dir_all(root);
        let mut modules = Vec::new();
        for name in MODULES {
            let module = find(kernel, &format!("/{name}.ko"))?;
            let there = Path::new("/modules").join(module.file_name().unwrap_or_default());
            modules.push((module, there));
        }
        for (here, there) in self.0.iter().chain(&modules) {
            let copy = root.join(there.strip_prefix("/").unwrap_or(there));
            let failed = || format!("cannot copy {} to {}", here.display(), copy.display());
            fs::create_dir_all(copy.parent().unwrap_or(root)).with_context(failed)?;
            fs::copy(here, &copy).with_context(failed)?;
        }
        let archive = root.with_extension("cpio");
        let mut cpio = Command::new("sh");
        cpio.args(["-c", "find . | busybox cpio -o -H newc 2>/dev/null >\"$0\""]);
        process::run(cpio.arg(&archive).current_dir(root))?;
        Ok(archive)
    }
}

fn tool(name: &str) -> Result<PathBuf> {
    find_program(name).with_context(|| format!("there is no `{name}`"))
}

/// The shared libraries a program is linked to, its loader among them; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let said = process::answer(Command::new("ldd").arg(program)).unwrap_or_default();
    said.split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// Builds the tests that know what the packets written by hand cost, and says where they are.
fn tests(workspace: &Workspace) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-run", "--package", "zerorate-tests"]);
    cargo.args(["--test", "e2e", "--message-format", "json"]);
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", process::describe(&cargo), output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout), "e2e")
        .with_context(|| format!("`{}` built no tests", process::describe(&cargo)))
}

/// Where cargo, by its messages, put the test of this name.
fn executable(messages: &str, test: &str) -> Option<PathBuf> {
    messages
        .split("\"executable\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.contains(&format!("/{test}-")))
        .map(PathBuf::from)
}

/// The captures of the documents, and some of each kind where there is a folder of real ones.
fn captures(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let is_capture = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "pcap");
    let mut captures = files_below(&workspace.root.join("docs/example"))?;
    captures.retain(is_capture);
    let Some(data) = test::data_dir(workspace) else {
        println!("SKIPPED: real captures: ZERORATE_DATA names no folder of them");
        return Ok(captures);
    };
    let small = |path: &PathBuf| path.metadata().is_ok_and(|it| it.len() <= CAPTURE_BYTES);
    let mut taken = BTreeMap::<_, usize>::new();
    let mut real = files_below(&data.join("pcap"))?;
    real.retain(|path| is_capture(path) && small(path));
    for path in real {
        let count = taken.entry(path.parent().map(Path::to_owned)).or_default();
        *count += 1;
        if *count <= CAPTURES {
            captures.push(path);
        }
    }
    Ok(captures)
}

/// Boots a kernel and shows what is checked; the whole console goes to a file.
fn boot(kernel: &Path, initramfs: &Path, log: &Path) -> Result<Tally> {
    let mut qemu = Command::new("timeout");
    qemu.args(["--foreground", PATIENCE, QEMU]);
    // Emulated: not every host with /dev/kvm can boot these kernels by it.
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35"]);
    qemu.args(["-smp", "2", "-m", "2048", "-nographic", "-no-reboot"]);
    qemu.arg("-kernel").arg(find(kernel, "/boot/vmlinuz-")?);
    qemu.arg("-initrd").arg(initramfs);
    qemu.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    let mut machine = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(&qemu)))?;
    let console = machine
        .stdout
        .take()
        .context("the machine has no console")?;
    let (mut reader, mut all) = (Reader::default(), String::new());
    for line in BufReader::new(console).split(b'\n') {
        let line = line.context("cannot read the console")?;
        let line = String::from_utf8_lossy(&line);
        if let Some(said) = reader.read(line.trim_end()) {
            println!("{said}");
        }
        all += &line;
        all.push('\n');
    }
    fs::write(log, all).with_context(|| format!("cannot write {}", log.display()))?;
    machine.wait().context("cannot wait for the machine")?;
    if !reader.ended {
        reader.tally += Tally::FAILURE;
        println!("FAILED: the machine stopped before all was checked");
    }
    if reader.tally.failed > 0 {
        println!("its console: {}", log.display());
    }
    Ok(reader.tally)
}

/// Understands the lines of `tests/kernels/init`.
#[derive(Default)]
struct Reader {
    tally: Tally,
    ended: bool,
}

impl Reader {
    /// What a line of the console is worth telling.
    fn read<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let said = line.strip_prefix("check: ")?;
        match said {
            "end" => self.ended = true,
            _ if said.ends_with(": ok") && !said.contains(": FAILED: ") => self.tally.passed += 1,
            _ => self.tally.failed += 1,
        }
        Some(said).filter(|_| !self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_the_one_with_the_highest_numbers() {
        let mut names = [
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
        ];
        names.sort_by_key(|name| numbers(name));
        assert_eq!(names[0], "linux-image-6.1.0-9-cloud-amd64");
        assert_eq!(names[3], "linux-image-6.12.117+deb12-cloud-amd64");
    }

    #[test]
    fn a_test_is_found_in_cargo_s_messages() {
        let messages = r#"{"executable":null}
            {"target":{"name":"demo"},"executable":"/t/debug/demo","fresh":true}
            {"target":{"name":"fixtures"},"executable":"/t/debug/deps/fixtures-1f","fresh":true}"#;
        let found = executable(messages, "fixtures");
        assert_eq!(found, Some(PathBuf::from("/t/debug/deps/fixtures-1f")));
        assert_eq!(executable(messages, "lab"), None);
    }

    #[test]
    fn only_what_says_ok_has_passed() {
        let mut reader = Reader::default();
        assert_eq!(reader.read("[    1.0] check: noise"), None);
        assert_eq!(reader.read("check: a: ok"), Some("a: ok"));
        assert!(reader.read("check: b: FAILED: this: ok").is_some());
        assert!(reader.read("check: c").is_some() && !reader.ended);
        assert_eq!(reader.read("check: end"), None);
        assert!(reader.ended);
        assert_eq!(reader.tally.to_string(), "1 passed, 2 failed, 0 skipped");
    }
}
