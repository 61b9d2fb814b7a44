//! The smallest XDP program there is, somebody else's as far as zerorate is concerned.
//!
//! It lets every packet through, and brings an interface into the state native XDP brings it into.
//! `ip` loads it from an object file, which is put together here: no compiler is needed for it.

use std::fs;

use anyhow::{Context as _, Result};

use crate::process::run;
use crate::veth::End;

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// In the network stack, for drivers without XDP.
    Generic,
}

impl Mode {
    fn keyword(self) -> &'static str {
        match self {
            Self::Native => "xdpdrv",
            Self::Generic => "xdpgeneric",
        }
    }
}

impl End {
    /// Attaches a program that passes every packet.
    ///
    /// # Errors
    /// If a program is attached already.
    pub fn attach_pass_program(&self, mode: Mode) -> Result<()> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let object = directory.path().join("pass.o");
        fs::write(&object, object_of(&PASS)).context("cannot write the object")?;
        // `ip` makes directories in a bpffs when it loads a program. It is shown one of its own,
        // which goes with its mounts.
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "ip", "link", "set", &self.name, mode.keyword()]);
        command.arg("object").arg(&object).args(["section", "xdp"]);
        command.env("TC_BPF_MNT", directory.path().join("bpf"));
        run(&mut command).map(drop)
    }

    /// Drops everything that leaves the interface, by a tc filter of a priority: the program again, whose answer is
    /// also `TC_ACT_SHOT`.
    ///
    /// # Errors
    /// If `tc` is missing, or a filter has that priority already.
    pub fn drop_on_egress(&self, priority: u16) -> Result<()> {
        self.filter_egress(priority, &PASS)
    }

    /// Drops what leaves the interface with a mark that is this one under a mask, by a tc filter of a priority.
    ///
    /// # Errors
    /// If `tc` is missing, or a filter has that priority already.
    pub fn drop_marked_on_egress(&self, priority: u16, mask: u32, mark: u32) -> Result<()> {
        self.filter_egress(priority, &drop_marked(mask, mark))
    }

    fn filter_egress(&self, priority: u16, program: &[u8]) -> Result<()> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let object = directory.path().join("drop.o");
        fs::write(&object, object_of(program)).context("cannot write the object")?;
        // It may be there already.
        let _ = self.tc(&["qdisc", "add", "dev", &self.name, "clsact"]);
        let mut command = self.namespace.command("unshare");
        command.args(["--mount", "tc", "filter", "add", "dev", &self.name]);
        command.args(["egress", "prio", &priority.to_string(), "bpf", "da"]);
        command.arg("obj").arg(&object).args(["sec", "xdp"]);
        command.env("TC_BPF_MNT", directory.path().join("bpf"));
        run(&mut command).map(drop)
    }

    /// Runs `tc` where the interface is.
    ///
    /// # Errors
    /// If it is missing, or fails.
    pub fn tc(&self, arguments: &[&str]) -> Result<String> {
        self.namespace.run("tc", arguments)
    }

    /// Takes whatever program is attached in that mode off the interface.
    ///
    /// # Errors
    /// If a link holds it there.
    pub fn detach_program(&self, mode: Mode) -> Result<()> {
        self.namespace
            .ip(&format!("link set {} {} off", self.name, mode.keyword()))
    }
}

/// A tc program that answers `TC_ACT_SHOT` to packets whose mark is `mark` under `mask`, `TC_ACT_UNSPEC` to others.
fn drop_marked(mask: u32, mark: u32) -> Vec<u8> {
    let instruction = |code: u8, registers: u8, offset: u16, value: u32| {
        let mut bytes = vec![code, registers];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes
    };
    [
        // w2 = mark of the context in r1; w2 &= mask; if w2 != mark, skip two
        instruction(0x61, 0x12, 8, 0),
        instruction(0x54, 0x02, 0, mask),
        instruction(0x56, 0x02, 2, mark),
        // r0 = 2; exit
        instruction(0xb7, 0, 0, 2),
        instruction(0x95, 0, 0, 0),
        // r0 = -1; exit
        instruction(0xb7, 0, 0, u32::MAX),
        instruction(0x95, 0, 0, 0),
    ]
    .concat()
}

/// `r0 = XDP_PASS; exit`
const PASS: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENSE: &[u8] = b"GPL\0";
const NAMES: &[u8] = b"\0xdp\0license\0.symtab\0.strtab\0pass\0";

const HEADER_SIZE: u16 = 64;
const SECTION_SIZE: u16 = 64;
const SYMBOL_SIZE: u64 = 24;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHF_WRITE: u64 = 1;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;

struct Section<'a> {
    /// Where its name begins in [`NAMES`].
    name: u32,
    kind: u32,
    flags: u64,
    bytes: &'a [u8],
    /// For a symbol table: the section its symbols' names are in.
    names_in: Option<u32>,
}

/// A relocatable ELF file for BPF, little-endian, with one function `pass` in the section `xdp`.
fn object_of(program: &[u8]) -> Vec<u8> {
    let section = |name, kind, flags, bytes| Section {
        name,
        kind,
        flags,
        bytes,
        names_in: None,
    };
    let symbols = symbols(program.len());
    let sections = [
        section(0, 0, 0, &[]),
        section(1, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, program),
        section(5, SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, LICENSE),
        Section {
            names_in: Some(4),
            ..section(13, SHT_SYMTAB, 0, &symbols)
        },
        section(21, SHT_STRTAB, 0, NAMES),
    ];

    let mut contents = Vec::new();
    let mut table = Vec::new();
    for Section {
        name,
        kind,
        flags,
        bytes,
        names_in,
    } in sections
    {
        // A symbol table says where its names are, and which symbol is the first global one.
        let (link, info, entry_size) = names_in.map_or((0, 0, 0), |names| (names, 1, SYMBOL_SIZE));
        contents.resize(contents.len().next_multiple_of(8), 0);
        let offset = u64::from(HEADER_SIZE) + contents.len() as u64;
        contents.extend(bytes);
        table.extend([name, kind].map(u32::to_le_bytes).concat());
        table.extend(
            [flags, 0, offset, bytes.len() as u64]
                .map(u64::to_le_bytes)
                .concat(),
        );
        table.extend([link, info].map(u32::to_le_bytes).concat());
        table.extend([8, entry_size].map(u64::to_le_bytes).concat());
    }
    contents.resize(contents.len().next_multiple_of(8), 0);

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_REL, EM_BPF, version 1.
    file.extend([1, 247].map(u16::to_le_bytes).concat());
    file.extend(1u32.to_le_bytes());
    let table_offset = u64::from(HEADER_SIZE) + contents.len() as u64;
    file.extend([0, 0, table_offset].map(u64::to_le_bytes).concat());
    file.extend(0u32.to_le_bytes());
    // No program headers; five sections, the names in the last one.
    file.extend(
        [HEADER_SIZE, 0, 0, SECTION_SIZE, 5, 4]
            .map(u16::to_le_bytes)
            .concat(),
    );
    file.extend(contents);
    file.extend(table);
    file
}

/// The empty symbol every table begins with, and the global function `pass` in section 1.
fn symbols(program: usize) -> Vec<u8> {
    const GLOBAL_FUNCTION: u8 = 1 << 4 | 2;
    let mut symbols = vec![0; SYMBOL_SIZE as usize];
    symbols.extend(29u32.to_le_bytes());
    symbols.extend([GLOBAL_FUNCTION, 0, 1, 0]);
    symbols.extend([0, program as u64].map(u64::to_le_bytes).concat());
    symbols
}
