//! All there is to be asked, a file for each kind of thing.

mod buckets;
mod consumers;
mod events;
mod health;
mod ledger;
mod metrics;
mod notes;
mod own;
mod policy;
mod reconciliation;
mod records;
mod rollups;
mod scheduled;
mod sessions;
mod status;
mod subscribers;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::routes;

pub use self::buckets::NewOrder;
pub use self::consumers::Acknowledgement;
pub use self::events::{GapWord, Line};
pub use self::ledger::{PruneAnswer, PruneRequest};
pub use self::notes::{CorrectionRequest, OutageOf, OutageRequest};
pub use self::policy::Version;
pub use self::records::{COUNT, KINDS, LAST, NEXT_AFTER};
pub use self::rollups::COMPLETE_UNTIL;
pub(crate) use self::status::MOST;
pub use self::subscribers::NewSubscriber;

use super::access::role::{Access, Role};
use super::openapi;
use super::table::{Described, Route, Table};

/// What can be asked, and by whom.
#[must_use]
pub fn all() -> Vec<Route> {
    table().routes
}

/// The routes, and for whom each is.
pub(super) fn table() -> Table {
    let anyone = Access::Anyone;
    let read = Access::Role(Role::Read);
    let billing = Access::Role(Role::Billing);
    let puts = Access::Role(Role::Policy);
    Table::new(openapi::beginning())
        .add(anyone, routes!(health::alive))
        .add(anyone, routes!(health::ready))
        .add(anyone, routes!(health::described))
        .add(read, routes!(health::version))
        .add(read, routes!(metrics::metrics))
        .add(read, routes!(status::status))
        .add(read, routes!(status::usage))
        .add(read, routes!(status::top))
        .add(read, routes!(subscribers::list))
        .add(billing, routes!(subscribers::add))
        .add(read, routes!(subscribers::one))
        .add(billing, routes!(subscribers::change))
        .add(billing, routes!(subscribers::remove))
        .add(read, routes!(subscribers::statement))
        .add(billing, routes!(buckets::order))
        .add(billing, routes!(buckets::restart))
        .add(read, routes!(scheduled::list))
        .add(billing, routes!(scheduled::give_up))
        .add(read, routes!(sessions::list))
        .add(read, routes!(records::list))
        .add(read, routes!(rollups::list))
        .add(read, routes!(reconciliation::list))
        .add(billing, routes!(notes::outage))
        .add(billing, routes!(notes::correction))
        .add(read, routes!(consumers::list))
        .add(read, routes!(consumers::one))
        .add(billing, routes!(consumers::acknowledge))
        .add(billing, routes!(consumers::forget))
        .add(Access::Role(Role::Admin), routes!(ledger::prune))
        .add(billing, routes!(own::token))
        .add(Access::Own, routes!(own::one))
        .add(Access::Own, routes!(own::statement))
        .add(read, routes!(events::list))
        .add(read, routes!(policy::diff))
        .add(puts, routes!(policy::reload))
        .add(puts, large(routes!(policy::stage), policy::MOST_BYTES))
        .add(read, routes!(policy::version))
        .add(puts, routes!(policy::activate))
        .add(puts, routes!(policy::rollback))
        .add(read, routes!(policy::scheduled))
        .add(puts, routes!(policy::unschedule))
        .add(read, routes!(policy::log))
}

/// Handlers that take bodies of so many bytes, whatever is configured.
fn large((schemas, paths, methods): Described, bytes: usize) -> Described {
    (schemas, paths, methods.layer(DefaultBodyLimit::max(bytes)))
}
