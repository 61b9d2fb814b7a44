//! Replay: a capture through the verdict, with a policy and subscribers, and what it would have cost.
//!
//! Each packet is judged at its own time: there is one image per interval between validity boundaries. Every
//! bucket is granted once, at the beginning, and none restarts. Who is on a plan that ends is on its successor in the
//! intervals behind the end.

pub mod against;
pub mod capture;
mod kernel;
mod noted;

use classifier::books::{BOOKS_WORDS, Books, Cell};
use classifier::charge::Direction;
use classifier::image::Image;
use classifier::packet::{Frame as FrameView, Parsed, parse};
use classifier::verdict::{Hook, Plain, verdict};
use jiff::Timestamp;

use self::capture::Frame;
use self::kernel::{KernelEngine, KernelError};
use self::noted::{Noted, Noting};
use crate::accounts::{Accounts, Change, Full, usage};
use crate::engine::lines::Lines;
use crate::engine::native::{HeapBooks, NativeTables};
use crate::image::{Compiled, Source, TooLarge};
use crate::policy::Policy;
use crate::report::{BooksRow, Report};
use crate::subscribers::Subscriber;

/// Which role the interface had on which the capture was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Source addresses are the subscribers'.
    Access,
    /// Destination addresses are the subscribers'.
    Core,
    /// Whichever of them is a subscriber's, the source first; neither: as on an access interface.
    Auto,
}

/// What carries the verdict out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// This process: needs no privileges.
    Native,
    /// The kernel program, through BPF_PROG_TEST_RUN.
    Kernel,
}

/// A replay could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Policy or subscribers do not fit.
    #[error(transparent)]
    Full(#[from] Full),
    /// The image does not fit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The kernel engine failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A replay in progress.
pub struct Replay {
    bench: Bench,
    engine: Engine,
}

/// What frames are judged by, whatever carries the verdict out.
struct Bench {
    role: Role,
    accounts: Accounts,
    /// First instants of all intervals but the first.
    boundaries: Vec<Timestamp>,
    /// One image per interval.
    images: Vec<Compiled>,
}

enum Engine {
    Native(Native),
    Kernel(Box<KernelEngine>),
}

/// Memory of this process that is counted in.
struct Native {
    lines: Lines,
    up: Box<HeapBooks>,
    down: Box<HeapBooks>,
}

impl Bench {
    /// Compiles the policy for every interval, and lays out subscribers anew where a plan ends; they have their places once
    /// all of these changes are [laid out](Self::lay_out).
    fn new(
        policy: &Policy,
        subscribers: &[Subscriber],
        role: Role,
    ) -> Result<(Self, Changes), ReplayError> {
        let mut accounts = Accounts::new();
        let mut last = accounts.plan(policy, subscribers, Timestamp::UNIX_EPOCH)?;
        let boundaries = policy.boundaries();
        // Each has a number of its own: to who judges, two images of one number are the same.
        let mut images = vec![Source::new(policy, &last, Timestamp::MIN, &[], 1).compile()?];
        let mut before = Vec::new();
        for &start in &boundaries {
            if policy.plans.iter().any(|plan| plan.ends_at(start)) {
                let laid_out = last.clone();
                accounts.adopt(&mut last);
                before.push(laid_out);
                last = accounts.plan(policy, subscribers, start)?;
            }
            let serial = 1 + images.len() as u32;
            images.push(Source::new(policy, &last, start, &[], serial).compile()?);
        }
        let bench = Self {
            role,
            accounts,
            boundaries,
            images,
        };
        Ok((bench, Changes { before, last }))
    }

    /// Gives subscribers their places, and each bucket its grant.
    fn lay_out(&mut self, mut changes: Changes, lines: &Lines) {
        for change in changes.before.iter().chain([&changes.last]) {
            change.write_new(lines);
        }
        self.accounts.adopt(&mut changes.last);
    }

    /// The interval a frame belongs to, and its direction.
    fn place(&self, frame: &Frame) -> (usize, Direction) {
        let interval = self
            .boundaries
            .partition_point(|boundary| *boundary <= frame.time);
        let direction = match self.role {
            Role::Access => Direction::Up,
            Role::Core => Direction::Down,
            Role::Auto => direction(&self.images[interval], &frame.view()),
        };
        (interval, direction)
    }
}

/// Who gets which rows, one change after the other; all but the last are adopted.
struct Changes {
    before: Vec<Change>,
    last: Change,
}

impl Changes {
    /// Lines all of them take.
    const fn lines(&self) -> u32 {
        self.last.next_line
    }
}

impl Native {
    fn new(lines: u32) -> Self {
        Self {
            lines: Lines::on_heap(lines),
            up: Box::default(),
            down: Box::default(),
        }
    }

    /// Judges and counts one frame; what was counted for it.
    fn judge(&self, image: &Compiled, direction: Direction, frame: &Frame) -> Noted {
        let tables = NativeTables {
            image,
            lines: &self.lines,
            books: if direction.is_down() {
                &self.down
            } else {
                &self.up
            },
            raised: None,
        };
        let hook = Hook {
            direction,
            from_gateway: false,
            settings: Plain::default(),
        };
        let noting = Noting::new(tables);
        verdict(&frame.view(), hook, &noting);
        noting.noted()
    }
}

impl Replay {
    /// Compiles the policy for every interval and gives each bucket its grant.
    ///
    /// # Errors
    /// When something does not fit, or the kernel refuses the program.
    pub fn new(
        policy: &Policy,
        subscribers: &[Subscriber],
        role: Role,
        engine: EngineKind,
    ) -> Result<Self, ReplayError> {
        let (mut bench, changes) = Bench::new(policy, subscribers, role)?;
        let engine = match engine {
            EngineKind::Native => Engine::Native(Native::new(changes.lines())),
            EngineKind::Kernel => {
                let kernel = KernelEngine::new(&bench.images, changes.lines())?;
                Engine::Kernel(Box::new(kernel))
            }
        };
        bench.lay_out(changes, engine.lines());
        Ok(Self { bench, engine })
    }

    /// Judges and counts one frame.
    ///
    /// # Errors
    /// When the kernel refuses to run the program.
    pub fn judge(&mut self, frame: &Frame) -> Result<(), ReplayError> {
        let (interval, direction) = self.bench.place(frame);
        match &mut self.engine {
            Engine::Native(native) => {
                native.judge(&self.bench.images[interval], direction, frame);
            }
            Engine::Kernel(kernel) => kernel.judge(interval, direction, frame)?,
        }
        Ok(())
    }

    /// What was counted.
    ///
    /// # Errors
    /// When the kernel's books cannot be read.
    pub fn report(&self) -> Result<Report, ReplayError> {
        let (up, down) = match &self.engine {
            Engine::Native(native) => (native.up.read(), native.down.read()),
            Engine::Kernel(kernel) => {
                kernel.flush()?;
                (kernel.books(Direction::Up)?, kernel.books(Direction::Down)?)
            }
        };
        let both: Books = std::array::from_fn::<_, BOOKS_WORDS, _>(|cell| up[cell] + down[cell]);
        let cell = |cell: Cell| both[cell as usize];
        Ok(Report {
            usage: usage::usage(&self.bench.accounts, self.engine.lines(), &[]),
            unattributed: usage::unattributed(&self.bench.accounts, &up, &down),
            books: vec![BooksRow {
                place: None,
                packets: cell(Cell::Packets),
                ip_packets: cell(Cell::IpPackets),
                ip_bytes: cell(Cell::IpBytes),
                non_ip_packets: cell(Cell::NonIp),
                malformed_packets: cell(Cell::Malformed),
                closing: None,
                refused: None,
            }],
        })
    }
}

impl Engine {
    fn lines(&self) -> &Lines {
        match self {
            Self::Native(native) => &native.lines,
            Self::Kernel(kernel) => kernel.lines(),
        }
    }
}

impl Frame {
    /// The frame as the parser reads it.
    #[must_use]
    pub fn view(&self) -> FrameView<'_> {
        FrameView {
            captured: &self.bytes,
            room: self.original_len,
        }
    }
}

/// Source is a subscriber → up, else destination is one → down, else up.
fn direction(image: &Compiled, frame: &FrameView<'_>) -> Direction {
    let Some(image) = Image::new(image) else {
        return Direction::Up;
    };
    let down = match parse(frame) {
        Parsed::V4(ip) => {
            image.subscriber4(ip.source).line() == 0
                && image.subscriber4(ip.destination).line() != 0
        }
        Parsed::V6(ip) => {
            image.subscriber6(ip.source).line() == 0
                && image.subscriber6(ip.destination).line() != 0
        }
        Parsed::NonIp | Parsed::Malformed => false,
    };
    if down { Direction::Down } else { Direction::Up }
}
