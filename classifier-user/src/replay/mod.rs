//! Replay: a capture through the verdict, with a policy and subscribers, and what it would have cost.
//!
//! Each packet is judged at its own time: there is one image per interval between validity boundaries. Every
//! bucket is granted once, at the beginning, and none restarts. Who is on a plan that ends is on its successor in the
//! intervals behind the end.

pub mod capture;
mod kernel;

use classifier::books::{BOOKS_WORDS, Books, Cell};
use classifier::charge::Direction;
use classifier::image::Image;
use classifier::packet::{Frame as FrameView, Parsed, parse};
use classifier::verdict::{Hook, Plain};
use jiff::Timestamp;

use self::capture::Frame;
use self::kernel::{KernelEngine, KernelError};
use crate::accounts::{Accounts, Full, usage};
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
    role: Role,
    accounts: Accounts,
    /// First instants of all intervals but the first.
    boundaries: Vec<Timestamp>,
    /// One image per interval.
    images: Vec<Compiled>,
    engine: Engine,
}

enum Engine {
    Native {
        lines: Lines,
        up: Box<HeapBooks>,
        down: Box<HeapBooks>,
    },
    Kernel(Box<KernelEngine>),
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
        let mut accounts = Accounts::new();
        let mut change = accounts.plan(policy, subscribers, Timestamp::UNIX_EPOCH)?;
        let boundaries = policy.boundaries();
        let mut images = vec![Source::new(policy, &change, Timestamp::MIN, &[], 0).compile()?];
        let mut before = Vec::new();
        for &start in &boundaries {
            if policy.plans.iter().any(|plan| plan.ends_at(start)) {
                let laid_out = change.clone();
                accounts.adopt(&mut change);
                before.push(laid_out);
                change = accounts.plan(policy, subscribers, start)?;
            }
            images.push(Source::new(policy, &change, start, &[], 0).compile()?);
        }
        let engine = match engine {
            EngineKind::Native => {
                let lines = Lines::on_heap(change.next_line);
                Engine::Native {
                    lines,
                    up: Box::default(),
                    down: Box::default(),
                }
            }
            EngineKind::Kernel => {
                Engine::Kernel(Box::new(KernelEngine::new(&images, change.next_line)?))
            }
        };
        for change in before.iter().chain([&change]) {
            change.write_new(engine.lines());
        }
        accounts.adopt(&mut change);
        Ok(Self {
            role,
            accounts,
            boundaries,
            images,
            engine,
        })
    }

    /// Judges and counts one frame.
    ///
    /// # Errors
    /// When the kernel refuses to run the program.
    pub fn judge(&mut self, frame: &Frame) -> Result<(), ReplayError> {
        let interval = self
            .boundaries
            .partition_point(|boundary| *boundary <= frame.time);
        let image = &self.images[interval];
        let direction = match self.role {
            Role::Access => Direction::Up,
            Role::Core => Direction::Down,
            Role::Auto => direction(image, &frame.view()),
        };
        match &mut self.engine {
            Engine::Native { lines, up, down } => {
                let books = if direction.is_down() { down } else { up };
                let hook = Hook {
                    direction,
                    from_gateway: false,
                    settings: Plain::default(),
                };
                NativeTables {
                    image,
                    lines,
                    books,
                    raised: None,
                }
                .judge(&frame.view(), hook);
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
            Engine::Native { up, down, .. } => (up.read(), down.read()),
            Engine::Kernel(kernel) => {
                (kernel.books(Direction::Up)?, kernel.books(Direction::Down)?)
            }
        };
        let both: Books = std::array::from_fn::<_, BOOKS_WORDS, _>(|cell| up[cell] + down[cell]);
        let cell = |cell: Cell| both[cell as usize];
        Ok(Report {
            usage: usage::usage(&self.accounts, self.engine.lines(), &[]),
            unattributed: usage::unattributed(&self.accounts, &up, &down),
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
            Self::Native { lines, .. } => lines,
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
