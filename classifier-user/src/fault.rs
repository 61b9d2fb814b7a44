//! Points at which a test has the agent end, as the kernel would end it: at once, with nothing put in order. They are in
//! builds for tests only; `ZERORATE_FAULT=NAME` chooses one, `NAME:3` its third time.

/// What is being done.
macro_rules! points {
    ($($point:ident $name:literal,)*) => {
        /// A point.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Point {
            $(#[doc = $name] $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            const ALL: &[Self] = &[$(Self::$point,)*];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    BeforeRead "before rows are read",
    AfterRead "after rows are read",
    BeforeRecords "before the transaction of records",
    BeforeRecordsCommit "before records are committed",
    AfterRecordsCommit "after records are committed",
    BeforeChangeCommit "before a change is committed",
    AfterChangeCommit "after a change is committed",
    BeforePublish "before an image is published",
    AfterPublish "after an image is published",
    AfterSplitRecorded "after what the old policy counted is recorded",
    AfterSplitReleased "after rows are counted in again",
    AfterSplitMerged "after what stood aside is in the rows",
    BeforeOrderCommit "before an order is committed",
    AfterOrderCommit "after an order is committed",
    BeforeRollupCommit "before roll-ups are committed",
    AfterRollupCommit "after roll-ups are committed",
    BeforeAcknowledge "before an acknowledgement is noted",
    AfterAcknowledge "after an acknowledgement is noted",
    BeforeRename "before a file is renamed",
    AfterRename "after a file is renamed",
    BeforeSend "before records are sent",
    BeforeSendCommit "before sent records are committed",
    AfterSendCommit "after sent records are committed",
}

/// Ends the process if this is the point that was chosen.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) const fn at(_: Point) {}

/// Ends the process if this is the point that was chosen.
#[cfg(debug_assertions)]
pub(crate) fn at(point: Point) {
    use std::sync::atomic::Ordering;

    if let Some(chosen) = chosen::get()
        && chosen.point == point
        && chosen.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // What cannot be caught: nothing is written, nothing is put in order.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }
}

/// Sees that what was chosen is a point.
///
/// # Errors
/// When there is none of this name; the error names all there are, a line each.
pub(crate) fn check() -> anyhow::Result<()> {
    #[cfg(debug_assertions)]
    chosen::parse()?;
    Ok(())
}

#[cfg(debug_assertions)]
mod chosen {
    use std::sync::OnceLock;
    use std::sync::atomic::AtomicU32;

    use super::Point;

    pub(super) struct Chosen {
        pub(super) point: Point,
        /// How many times it has to be come to.
        pub(super) left: AtomicU32,
    }

    pub(super) fn get() -> Option<&'static Chosen> {
        static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
        CHOSEN.get_or_init(|| parse().ok().flatten()).as_ref()
    }

    pub(super) fn parse() -> anyhow::Result<Option<Chosen>> {
        let Ok(text) = std::env::var("ZERORATE_FAULT") else {
            return Ok(None);
        };
        let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
        let point = Point::ALL.iter().find(|point| point.name() == name);
        match (point, times.parse()) {
            (Some(point), Ok(times)) => Ok(Some(Chosen {
                point: *point,
                left: AtomicU32::new(times),
            })),
            _ => {
                let all: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
                anyhow::bail!("no point `{text}`; there are\n{}", all.join("\n"))
            }
        }
    }
}
