//! Tells a scenario on the screen: sentences, commands, and a table of attempts.

use anyhow::Result;
use zerorate_tests::interrupt;
use zerorate_tests::scenario::{Attempt, Narrator};

use crate::screen::{Columns, Screen, grouped};

const ATTEMPTS: Columns<8> = Columns {
    widths: [12, 20, 20, 15, 13, 10, 10, 10],
    numbers: 2,
};

/// Screen and state of what is on it.
#[derive(Debug)]
pub(crate) struct Teller {
    pub(crate) screen: Screen,
    last: Last,
}

/// What was told last, which says whether a line follows at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    Text,
    /// A row of a table, which goes on with the next one.
    Attempt,
    Command,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self {
            screen: Screen::new(),
            last: Last::Text,
        }
    }
}

impl Narrator for Teller {
    fn title(&mut self, text: &str) -> Result<()> {
        self.screen.title(text)
    }

    fn scene(&mut self, text: &str) -> Result<()> {
        self.last = Last::Text;
        self.screen.scene(text)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        if std::mem::replace(&mut self.last, Last::Text) != Last::Text {
            self.screen.gap()?;
        }
        self.screen.say(text)
    }

    fn attempt(&mut self, attempt: &Attempt) -> Result<()> {
        if std::mem::replace(&mut self.last, Last::Attempt) != Last::Attempt {
            let heads = [
                "subscriber",
                "traffic",
                "with",
                "address",
                "arrived",
                "charged to",
                "bytes up",
                "bytes down",
            ];
            self.screen.gap()?;
            self.screen.stress(&ATTEMPTS.line(&heads))?;
        }
        let remote = attempt.remote.to_string();
        for (line, (_, charged, flow)) in attempt.accounts.iter().enumerate() {
            let mut deed = [
                &*attempt.who,
                &*attempt.what,
                &*attempt.place,
                &*remote,
                &*attempt.arrived,
            ];
            if line > 0 {
                deed = [""; 5];
            }
            let [who, what, place, remote, arrived] = deed;
            let (up, down) = (grouped(flow.up.bytes), grouped(flow.down.bytes));
            let cells = [who, what, place, remote, arrived, charged, &up, &down];
            self.screen.say(&ATTEMPTS.line(&cells))?;
        }
        Ok(())
    }

    fn command(&mut self, command: &str, output: &str) -> Result<()> {
        self.last = Last::Command;
        self.screen.command(command, output.trim_end())
    }

    fn go_on(&mut self) -> Result<()> {
        Ok(interrupt::check()?)
    }
}
