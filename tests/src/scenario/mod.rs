//! The situations the shipped policies are for, played with real traffic: every step is checked as it is played, and
//! told to whoever listens. A test plays a scenario in silence, the demo on the screen; both play the same.
//!
//! The policy directories are those below `policies/`, copied. A list that holds real addresses only gets documentation
//! addresses beside them, so that nothing is ever sent to anybody's network.

mod deed;
mod kz_access_rules;
mod kz_emergency;
mod stage;
mod stream;
mod tell;
mod uz_shifokor;
mod xk_order;

use anyhow::Result;

pub use tell::{Attempt, Narrator, Silent};

/// A situation.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its policy's directory below `policies/`.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    play: fn(&mut dyn Narrator) -> Result<()>,
}

/// All of them.
pub const ALL: [Scenario; 4] = [
    kz_emergency::SCENARIO,
    xk_order::SCENARIO,
    uz_shifokor::SCENARIO,
    kz_access_rules::SCENARIO,
];

impl Scenario {
    /// The one of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Plays it to its end: the usage table, and books that close.
    ///
    /// # Errors
    /// If a step comes out otherwise than it should: the error says what was expected, and what came. Also if the
    /// narrator wants it to end.
    pub fn play(&self, narrator: &mut dyn Narrator) -> Result<()> {
        (self.play)(narrator)
    }
}
