//! A world in the kernel: the product's maps with an image in force, the bench's programs over them, and the
//! product's own program beside them.

use std::env;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use aya::programs::{Program, TestRun as _, TestRunOptions};
use classifier::books::{self, Books, Cell};
use classifier::charge::Direction;
use classifier::image::at;
use zerorate::datapath::batches_map::Flusher;
use zerorate::datapath::maps::Maps;
use zerorate::datapath::object::{self, Entry, Settings};
use zerorate::datapath::sys::Mapping;
use zerorate::engine::lines::Lines;
use zerorate::image::Compiled;

use crate::packets::{self, MOST, SLOT_BYTES, Slot};
use crate::tables::Family;
use crate::world::{CLASSES, Size, World};

/// Programs of the bench's object.
const PROGRAMS: [&str; 10] = [
    "floor",
    "parse",
    "reference",
    "ours",
    "tc_floor",
    "tc_ours",
    "pass",
    "reference_frame",
    "send",
    "deliver",
];

/// The bench's object, beside which this program was built.
pub(crate) fn object_file() -> Result<PathBuf> {
    let binary = env::current_exe().context("this program has no path")?;
    binary
        .ancestors()
        .map(|directory| directory.join("bpf-bench/zerorate-bench.bpf.o"))
        .find(|file| file.is_file())
        .context("the bench's kernel programs are not built: run `cargo xtask ebpf`")
}

/// A pin directory that goes when the lab does; named so that the next run recognises what a killed one left.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zr-test-{}-bench{count}", process::id());
        Self(Path::new("/sys/fs/bpf").join(name))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// See above.
pub(crate) struct Lab {
    pub(crate) maps: Maps,
    pub(crate) lines: Lines,
    pub(crate) image: Compiled,
    pub(crate) programs: Ebpf,
    product: Ebpf,
    flusher: Flusher,
    table: Mapping,
    /// Packets the product's verdict was given in the kernel.
    pub(crate) judged: AtomicU64,
    _pins: Pins,
}

impl Lab {
    /// Makes the maps of a world, fills them, and loads the programs.
    ///
    /// The reference gets room for as many pairs of subscriber and class as so many packets can make.
    pub(crate) fn new(world: &World, packets: usize) -> Result<Self> {
        let pairs = world.subscribers.len() * CLASSES as usize;
        Self::with_image(world, world.source().compile()?, pairs.min(packets) as u32)
    }

    /// The same with another image than the world's own, and room for so many of the reference's counters.
    pub(crate) fn with_image(world: &World, image: Compiled, counters: u32) -> Result<Self> {
        let pins = Pins::new();
        let maps = Maps::create(&pins.0, image.words().len() as u32, 0)?;
        let mut lines = Lines::default();
        maps.rows.grow(&mut lines, world.lines_end())?;
        world.write_rows(&lines);
        maps.image.publish(&maps.image.prepare(&image)?)?;
        defer(&maps, &image);
        let settings = Settings::default();
        let bytes = fs::read(object_file()?)?;
        let Size {
            family,
            prefixes,
            subscribers,
        } = world.size;
        let sized = |name: &str| match (name, family) {
            ("REMOTES4", Family::V4) | ("REMOTES6", Family::V6) => prefixes as u32,
            ("SUBSCRIBERS4", Family::V4) | ("SUBSCRIBERS6", Family::V6) => subscribers as u32,
            ("COUNTERS", _) => counters,
            _ => 1,
        };
        let mut programs = object::open(&bytes, &maps, settings, |loader| {
            for name in [
                "REMOTES4",
                "REMOTES6",
                "SUBSCRIBERS4",
                "SUBSCRIBERS6",
                "COUNTERS",
            ] {
                loader.map_max_entries(name, sized(name));
            }
        })?;
        for name in PROGRAMS {
            match programs.program_mut(name) {
                Some(Program::Xdp(program)) => program.load(),
                Some(Program::SchedClassifier(program)) => program.load(),
                _ => anyhow::bail!("the bench's object has no program `{name}`"),
            }
            .with_context(|| format!("loading the program `{name}`"))?;
        }
        let product = object::load(&maps, settings, &[Entry::Access])?;
        let table = match programs.map("PACKETS") {
            Some(Map::Array(map)) => Mapping::new(map.fd(), MOST * SLOT_BYTES)?,
            _ => anyhow::bail!("the bench's object has no table of packets"),
        };
        Ok(Self {
            lines,
            image,
            programs,
            product,
            flusher: Flusher::load(&maps)?,
            maps,
            table,
            judged: AtomicU64::new(0),
            _pins: pins,
        })
    }

    /// Puts headers into the table, and each CPU that is used at a place of its own in it.
    pub(crate) fn show(&mut self, headers: &[Slot], cpus: &[usize]) -> Result<()> {
        assert!(headers.len().is_power_of_two());
        packets::write(&self.table, headers);
        self.rewind(headers.len(), cpus)
    }

    /// Puts each CPU back at its place.
    pub(crate) fn rewind(&mut self, headers: usize, cpus: &[usize]) -> Result<()> {
        let mut places = vec![[0, headers as u64 - 1]; aya::util::nr_cpus().map_err(|(_, e)| e)?];
        for (share, cpu) in cpus.iter().enumerate() {
            places[*cpu][0] = (headers / cpus.len() * share) as u64;
        }
        let map = self
            .programs
            .map_mut("WALK")
            .context("the bench's object has no walk")?;
        let mut walk: PerCpuArray<&mut MapData, [u64; 2]> = map.try_into()?;
        Ok(walk.set(0, PerCpuValues::try_from(places)?, 0)?)
    }

    /// Runs a program of the bench on the calling thread's CPU.
    pub(crate) fn run(&self, name: &str, packets: u32) -> Result<()> {
        let data = [0; SLOT_BYTES];
        self.test(name, options(&data, packets))
    }

    /// Runs a program on live frames that arrive at, or leave by, an interface of the calling thread's namespace.
    pub(crate) fn run_live(
        &self,
        name: &str,
        packets: u32,
        frame: &Slot,
        interface: u32,
    ) -> Result<()> {
        const BATCH: u32 = 64;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, SLOT_BYTES as u32, 0, interface, 0, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        let mut options = options(frame, packets);
        options.ctx_in = Some(&context);
        options.attrs = options.attrs.xdp_live_frames(BATCH);
        self.test(name, options)
    }

    /// Runs the product's own program on a real frame.
    pub(crate) fn run_product(&self, frame: &[u8], packets: u32) -> Result<()> {
        self.count(packets);
        let program = self.product.program("access");
        run(
            program.context("there is no program")?,
            options(frame, packets),
        )
    }

    /// Runs a program on a real frame.
    pub(crate) fn run_on(&self, name: &str, frame: &[u8], packets: u32) -> Result<()> {
        self.test(name, options(frame, packets))
    }

    fn test(&self, name: &str, options: TestRunOptions<'_>) -> Result<()> {
        if matches!(name, "ours" | "tc_ours") {
            self.count(options.repeat);
        }
        let program = self.programs.program(name);
        run(
            program.with_context(|| format!("no program `{name}`"))?,
            options,
        )
        .with_context(|| format!("running the program `{name}`"))
    }

    fn count(&self, packets: u32) {
        self.judged.fetch_add(u64::from(packets), Ordering::Relaxed);
    }

    /// A program's descriptor, to attach it: the product's for `access`.
    pub(crate) fn program(&self, name: &str) -> Result<&Program> {
        let objects = [&self.programs, &self.product];
        let mut found = objects
            .into_iter()
            .filter_map(|object| object.program(name));
        found.next().with_context(|| format!("no program `{name}`"))
    }

    /// Has all that was counted added to the rows.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.flusher.flush(&self.maps.batches)?)
    }

    /// Puts another image in force, as the agent does.
    pub(crate) fn publish(&self, image: &Compiled) -> Result<()> {
        let live = self.maps.image.prepare(image)?;
        self.flusher.settle(&self.maps.batches)?;
        self.maps.image.publish(&live)?;
        defer(&self.maps, image);
        Ok(())
    }

    /// The books of everything the product's verdict was given.
    pub(crate) fn books(&self) -> Result<Books> {
        Ok(self.maps.books(books::index(0, Direction::Up))?)
    }

    /// Sees that the kernel counted every packet it was given, once, on a subscriber's meters. `elsewhere`: packets
    /// that were counted in the same meters by this process.
    pub(crate) fn check_books(&self, world: &World, elsewhere: u64) -> Result<()> {
        let judged = self.judged.load(Ordering::Relaxed);
        let books = self.books()?;
        let cell = |cell: Cell| books[cell as usize];
        let (packets, attributed) = (cell(Cell::Packets), cell(Cell::AttributedPackets));
        ensure!(
            (packets, attributed) == (judged, judged) && cell(Cell::UnpricedPackets) == 0,
            "of {judged} packets {packets} were seen and {attributed} attributed"
        );
        self.flush()?;
        let metered = world.counted(&self.lines).packets();
        ensure!(
            metered == judged + elsewhere,
            "the subscribers' meters hold {metered} packets, not {}",
            judged + elsewhere
        );
        Ok(())
    }
}

/// Lets classes be found later by an image that is in force.
fn defer(maps: &Maps, image: &Compiled) {
    if let Some(serial) = NonZeroU32::new(image.words()[at::SERIAL as usize]) {
        maps.batches.defer(serial);
    }
}

fn options(data: &[u8], packets: u32) -> TestRunOptions<'_> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(data);
    options.repeat = packets;
    options
}

fn run(program: &Program, options: TestRunOptions<'_>) -> Result<()> {
    match program {
        Program::Xdp(program) => program.test_run(options),
        Program::SchedClassifier(program) => program.test_run(options),
        _ => anyhow::bail!("not a program the bench runs"),
    }?;
    Ok(())
}
