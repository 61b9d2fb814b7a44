//! What each CPU counted and has not added to the rows yet. Whoever is about to read rows has it added before.
//!
//! Of what packets the classes may be found as late as that, too, is said here: of those of one image, from when no program
//! reads another one, until before another one is published.
//!
//! What a CPU noted is only ever changed on that CPU, as long as it is online. The program that adds it to the rows is run
//! there, by an interrupt, so it does not wait for a CPU that is busy with packets; and as a program of the kernel it does all
//! or nothing, whoever ends the agent meanwhile.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aya::programs::{Program, ProgramError, RawTracePoint, RawTracePointRunOptions};
use aya::util::nr_cpus;
use aya::{Ebpf, TestRun as _};
use classifier::layout::Batch;
use tracing::error;

use super::maps::{Maps, MapsError, array, doing, pin};
use super::object::{self, Entry, LoadError, Settings};
use super::sys::{self, Kind, Mapping};

/// Name of its pin.
pub(super) const PIN: &str = "batches";

/// 64-bit words of a batch.
const WORDS: usize = size_of::<Batch>() / 8;

/// What CPUs noted could not be added to the rows. It stays where it is: nothing is lost.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The program that does it could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel would not run it.
    #[error("running the program `flush` on CPU {cpu}: {error}")]
    Run {
        /// Where.
        cpu: u32,
        /// What the kernel said.
        error: ProgramError,
    },
    /// A CPU was in the middle of noting something at every try.
    #[error("CPU {0} did not come to an end with noting a packet: what it noted is not read yet")]
    Busy(u32),
    /// What a CPU noted was judged by an image that is not the one in force.
    #[error(
        "CPU {0} holds packets of a policy image that is not in force any more: somebody else than this agent put another \
         one in its place; when it is changed next time they are counted as unpriced"
    )]
    Undecided(u32),
}

/// The batches of all CPUs.
pub struct BatchesMap(Mapping);

impl fmt::Debug for BatchesMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchesMap").finish_non_exhaustive()
    }
}

impl BatchesMap {
    /// Makes and pins it, empty: a batch for each CPU there can be.
    pub(super) fn create(directory: &Path) -> Result<Self, MapsError> {
        let map = array(
            c"zr_batches",
            Kind::Shared,
            size_of::<Batch>() as u32,
            cpus()?,
        )?;
        pin(&map, &directory.join(PIN))?;
        Self::of(map)
    }

    /// Opens the one that is pinned.
    pub(super) fn open(directory: &Path) -> Result<Self, MapsError> {
        let path = directory.join(PIN);
        Self::of(sys::open_pinned(&path).map_err(doing(format!("opening {}", path.display())))?)
    }

    fn of(map: impl std::os::fd::AsFd) -> Result<Self, MapsError> {
        let bytes = cpus()? as usize * size_of::<Batch>();
        let mapping = Mapping::new(map, bytes).map_err(doing("mapping the map `batches`"))?;
        Ok(Self(mapping))
    }

    /// Lets the classes of packets be found later, where they pass whatever it is: of those that are judged by the image of
    /// this serial number. To be called when it is in force and all programs read the map it is published in.
    pub fn defer(&self, serial: NonZeroU32) {
        self.write_deferring(Batch::deferring(serial.get()));
    }

    fn write_deferring(&self, word: u64) {
        for (_, batch) in self.all() {
            batch[Batch::DEFERRING].store(word, Ordering::SeqCst);
        }
    }

    /// All of them, with the numbers of their CPUs.
    fn all(&self) -> impl Iterator<Item = (u32, &[AtomicU64])> {
        (0..).zip(self.0.words().chunks(WORDS))
    }

    /// CPUs that have noted something.
    fn pending(&self) -> impl Iterator<Item = u32> {
        self.all()
            .filter(|(_, batch)| Batch::is_pending(batch[Batch::STATE].load(Ordering::Acquire)))
            .map(|(cpu, _)| cpu)
    }
}

/// CPUs there can be: all of them have a batch, also those that come later.
fn cpus() -> Result<u32, MapsError> {
    let cpus = nr_cpus().map_err(|(file, error)| MapsError::Io {
        what: format!("reading {file}"),
        error,
    })?;
    Ok(cpus as u32)
}

/// Adds to rows what CPUs noted.
pub struct Flusher(Ebpf);

impl fmt::Debug for Flusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flusher").finish_non_exhaustive()
    }
}

impl Flusher {
    /// Loads the program for it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(maps: &Maps) -> Result<Self, LoadError> {
        let mut object = object::load(maps, Settings::default(), &[Entry::Flush])?;
        // The program keeps what it needs. A map that is exchanged for a larger one lives until this is loaded anew.
        drop(object.take_map("IMAGE"));
        Ok(Self(object))
    }

    /// Has the classes of all packets found at once from here on, and those found that are not: when this returns there is
    /// no packet whose class is still to be found, and there will be none until [`BatchesMap::defer`]. To be called before
    /// another image is published, with the program loaded over the map of the one in force.
    ///
    /// # Errors
    /// When the kernel would not run the program on some CPU: another image may not be published then.
    pub fn settle(&self, batches: &BatchesMap) -> Result<(), FlushError> {
        batches.write_deferring(0);
        let program = self.program()?;
        // All CPUs: one that has noted nothing may be about to. The interrupt that runs the program comes before or behind
        // that, or meets it in the middle and is repeated.
        for (cpu, _) in batches.all() {
            match run(program, cpu, false) {
                Err(FlushError::Undecided(cpu)) => {
                    // It would be in the way of every other image, and its own does not come back.
                    error!("{}", FlushError::Undecided(cpu));
                    run(program, cpu, true)?;
                }
                ran => ran?,
            }
        }
        Ok(())
    }

    /// Adds what was noted until now. When this returns it stands in the rows.
    ///
    /// # Errors
    /// When the kernel would not run the program on some CPU: what was noted there stays noted.
    pub fn flush(&self, batches: &BatchesMap) -> Result<(), FlushError> {
        let program = self.program()?;
        let mut outcome = Ok(());
        for cpu in batches.pending() {
            // The others', whatever becomes of this one's.
            outcome = outcome.and(run(program, cpu, false));
        }
        outcome
    }

    fn program(&self) -> Result<&RawTracePoint, LoadError> {
        match object::program(&self.0, Entry::Flush)? {
            Program::RawTracePoint(program) => Ok(program),
            _ => Err(LoadError::Missing(Entry::Flush.name())),
        }
    }
}

/// Runs the program on a CPU; `give_up`: what can be decided no more is counted as unpriced.
fn run(program: &RawTracePoint, cpu: u32, give_up: bool) -> Result<(), FlushError> {
    /// Noting a packet takes some nanoseconds; a CPU is met in the middle of it rarely, and hardly twice in a row.
    const TRIES: u32 = 10_000;
    for _ in 0..TRIES {
        let said = run_once(program, cpu, give_up);
        match said.map_err(|error| FlushError::Run { cpu, error })? {
            Batch::FLUSHED => return Ok(()),
            Batch::UNDECIDED => return Err(FlushError::Undecided(cpu)),
            _ => thread::yield_now(),
        }
    }
    Err(FlushError::Busy(cpu))
}

/// What the program says.
fn run_once(program: &RawTracePoint, cpu: u32, give_up: bool) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args[..2].copy_from_slice(&[cpu.into(), give_up.into()]);
    options.cpu = Some(cpu);
    let ran = match program.test_run(options) {
        // It is offline, and nothing is counted there: what it noted may be added from here. Until a CPU that comes back
        // takes in packets milliseconds pass.
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENXIO) =>
        {
            let mut options = RawTracePointRunOptions::new();
            options.args[..2].copy_from_slice(&[cpu.into(), give_up.into()]);
            program.test_run(options)
        }
        ran => ran,
    }?;
    Ok(ran.return_value)
}
