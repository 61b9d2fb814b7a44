//! Everything that pages and statements say, a field each: a language that lacks one does not compile.

/// What is said of plans, packages, free services and statements in one language.
#[derive(Debug)]
pub struct Phrases {
    /// Heading over all.
    pub page: &'static str,
    /// What the pages in other languages are called together, for who cannot see.
    pub languages: &'static str,
    /// `Published`, before a time.
    pub published: &'static str,
    /// `Legal basis`, before the text the policy rests on.
    pub basis: &'static str,
    /// Name of the place where times are, after which its name comes.
    pub times: &'static str,
    /// Heading of plans.
    pub plans: &'static str,
    /// The plan takes nobody new.
    pub closed: &'static str,
    /// `Valid from`, before a time.
    pub valid_from: &'static str,
    /// `Valid until`, before a time.
    pub valid_until: &'static str,
    /// What follows a plan, before the plan's title.
    pub successor: &'static str,
    /// The plan is paid before it is used.
    pub advance: &'static str,
    /// The plan is paid by a bill.
    pub credit: &'static str,
    /// Both directions draw packages down.
    pub count_both: &'static str,
    /// Only what is received does.
    pub count_down: &'static str,
    /// Only what is sent does.
    pub count_up: &'static str,
    /// Packages begin anew after so many days,
    pub days: Days,
    /// and after so many months.
    pub months: Days,
    /// They do when the fee was taken.
    pub renewed_when_paid: &'static str,
    /// What is left of a package lapses.
    pub lapses: &'static str,
    /// What is free, before titles.
    pub free: &'static str,
    /// Nothing is.
    pub nothing_free: &'static str,
    /// What stays reachable while the service is suspended, before titles.
    pub when_suspended: &'static str,
    /// Suspension does not cut the plan off.
    pub never_suspended: &'static str,
    /// Before the packages of which one must hold something.
    pub gate: &'static str,
    /// Caption of the table of packages, and heads of its columns.
    pub packages: &'static str,
    /// A package.
    pub package: &'static str,
    /// What is in it.
    pub volume: &'static str,
    /// What it is for.
    pub covers: &'static str,
    /// What happens behind its end.
    pub afterwards: &'static str,
    /// An empty package that is filled separately.
    pub bought: &'static str,
    /// The package is money, at a price.
    pub money: &'static str,
    /// How a chain goes on.
    pub chain: Chain,
    /// Heading of the list of free services, and heads of its columns.
    pub services: &'static str,
    /// A service.
    pub service: &'static str,
    /// Its class.
    pub class: &'static str,
    /// Under which plans it is free.
    pub under_plans: &'static str,
    /// Since when,
    pub since: &'static str,
    /// and until when.
    pub until: &'static str,
    /// Without an end.
    pub no_end: &'static str,
    /// No service is free.
    pub no_services: &'static str,
    /// Heading of restrictions.
    pub restrictions: &'static str,
    /// What is counted.
    pub by_volume: &'static str,
    /// A service is known by its addresses.
    pub by_address: &'static str,
    /// Through a VPN nothing is known.
    pub by_tunnel: &'static str,
    /// Nothing is let through that nobody pays.
    pub cut_off: &'static str,
    /// What is always reachable, before titles.
    pub essential: &'static str,
    /// Heading of what changed.
    pub changes: &'static str,
    /// `Since the publication of`, before a time.
    pub changes_since: &'static str,
    /// Nothing was published before.
    pub first: &'static str,
    /// Nothing changed.
    pub unchanged: &'static str,
    /// A plan is new.
    pub plan_added: &'static str,
    /// A plan is gone.
    pub plan_removed: &'static str,
    /// A plan takes nobody new any more.
    pub plan_closed: &'static str,
    /// A plan takes newcomers again.
    pub plan_opened: &'static str,
    /// The time of a plan is another one.
    pub plan_moved: &'static str,
    /// Other terms of a plan changed.
    pub plan_changed: &'static str,
    /// A package is new in a plan.
    pub package_added: &'static str,
    /// A package is gone from a plan.
    pub package_removed: &'static str,
    /// What a package holds or costs is other than before.
    pub package_changed: &'static str,
    /// Something became free in a plan.
    pub became_free: &'static str,
    /// Something is no longer free in a plan.
    pub no_longer_free: &'static str,
    /// A free service is new.
    pub service_added: &'static str,
    /// A free service is gone.
    pub service_removed: &'static str,
    /// The time of a free service is another one.
    pub service_moved: &'static str,
    /// Of statements.
    pub statement: StatementPhrases,
}

/// A number of days or months, of which languages have up to three forms.
#[derive(Debug)]
pub struct Days {
    /// For one, and in Russian for 21, 31, ...
    pub one: &'static str,
    /// In Russian for 2 to 4, 22 to 24, ...; elsewhere like `many`.
    pub few: &'static str,
    /// For all others.
    pub many: &'static str,
}

/// How a charge chain goes on.
#[derive(Debug)]
pub struct Chain {
    /// Between what pays and what pays then.
    pub then: &'static str,
    /// It costs nothing.
    pub free: &'static str,
    /// It is charged by volume.
    pub metered: &'static str,
    /// It is not let through.
    pub drop: &'static str,
}

/// What a statement says.
#[derive(Debug)]
pub struct StatementPhrases {
    /// Its heading.
    pub title: &'static str,
    /// Of whom.
    pub subscriber: &'static str,
    /// When.
    pub period: &'static str,
    /// Under which plan now.
    pub plan: &'static str,
    /// Whether there is service, before one of the next three.
    pub state: &'static str,
    /// There is.
    pub active: &'static str,
    /// There is none.
    pub suspended: &'static str,
    /// The subscriber is none any more.
    pub removed: &'static str,
    /// Until when it is complete.
    pub complete_until: &'static str,
    /// Until when records are gone, before a time.
    pub pruned_until: &'static str,
    /// Heading of time and speed.
    pub time: &'static str,
    /// Time of sessions.
    pub connected: &'static str,
    /// Time in which something moved.
    pub active_time: &'static str,
    /// Mean rate received, and sent.
    pub average: &'static str,
    /// Highest rate received, and sent.
    pub peak: &'static str,
    /// `received / sent`, behind those.
    pub down_up: &'static str,
    /// Kilobits a second.
    pub kilobits: &'static str,
    /// Heading of volume.
    pub volume: &'static str,
    /// What the traffic was.
    pub class: &'static str,
    /// What it was charged to.
    pub charged: &'static str,
    /// Bytes received,
    pub received: &'static str,
    /// and sent.
    pub sent: &'static str,
    /// Bytes taken from the package.
    pub drawn: &'static str,
    /// What a unit of volume costs.
    pub price: &'static str,
    /// What it costs.
    pub amount: &'static str,
    /// Nothing.
    pub free: &'static str,
    /// By volume.
    pub metered: &'static str,
    /// The last line.
    pub total: &'static str,
    /// Heading of what was not let through.
    pub dropped: &'static str,
    /// Nothing was used.
    pub nothing: &'static str,
    /// No record of the period is left to say what was used.
    pub nothing_kept: &'static str,
    /// Heading of outages.
    pub outages: &'static str,
    /// When one began,
    pub from: &'static str,
    /// and ended.
    pub to: &'static str,
    /// What happened.
    pub cause: &'static str,
    /// Time that is credited.
    pub creditable: &'static str,
    /// Heading of corrections of records, which are in no sum.
    pub corrections: &'static str,
    /// The number of the record that is corrected.
    pub record: &'static str,
    /// Why it is.
    pub reason: &'static str,
    /// What the prices are.
    pub prices: &'static str,
}

impl Days {
    /// The form for a number, with the number in place of `{n}`.
    #[must_use]
    pub fn of(&self, number: u32) -> String {
        let (tens, units) = (number / 10 % 10, number % 10);
        let form = match (tens, units) {
            _ if number == 1 => self.one,
            // Where few and many are the same, so are all numbers beyond one.
            _ if self.few == self.many => self.many,
            (tens, 1) if tens != 1 => self.one,
            (tens, 2..=4) if tens != 1 => self.few,
            _ => self.many,
        };
        form.replace("{n}", &number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Language;

    #[test]
    fn days_have_the_form_their_number_asks_for() {
        let days = |language: Language| {
            let days = &language.phrases().days;
            [1, 2, 5, 11, 14, 21, 22, 30].map(|number| days.of(number))
        };
        let russian = days(Language::Ru);
        for (text, end) in russian.iter().zip([
            "1 день",
            "2 дня",
            "5 дней",
            "11 дней",
            "14 дней",
            "21 день",
            "22 дня",
            "30 дней",
        ]) {
            assert!(text.contains(end), "{text} has no {end}");
        }
        let english = days(Language::En);
        assert!(english[0].contains("every day"), "{}", english[0]);
        assert!(english[5].contains("21 days"), "{}", english[5]);
    }
}
