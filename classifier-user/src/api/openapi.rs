//! The description of the API, OpenAPI 3.1: made from the handlers, served at `/openapi.json`, checked into the repository.

use utoipa::OpenApi as _;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use super::problem::Problem;
use super::routes;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "zerorate",
        description = "The agent of zerorate, a packet-level zero-rating classifier: subscribers and their buckets, records \
            for billing, the policy in force. Refusals are problem details (RFC 9457). `x-zerorate-access` says which role \
            an operation needs.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "the agent's Unix socket, or the address under [api.tcp]")),
    components(schemas(Problem, routes::Line)),
)]
struct Described;

/// What is said of the API before any of its routes.
pub(super) fn beginning() -> OpenApi {
    Described::openapi()
}

/// The whole description.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = routes::table().openapi;
    let components = document.components.iter_mut();
    for schema in components.flat_map(|components| components.schemas.values_mut()) {
        leave_out(schema);
    }
    document
}

/// Fields that are there together or not at all are said to be an object or `null`, where they are part of another object:
/// what is meant is that object with them, or without.
fn leave_out(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::AllOf(all)) = schema else {
        return;
    };
    for part in &mut all.items {
        if let RefOr::T(Schema::OneOf(one)) = part
            && let Some(fields) = one.items.iter().find(|item| matches!(item, RefOr::Ref(_)))
        {
            let with = AnyOfBuilder::new().item(fields.clone());
            let without = ObjectBuilder::new().schema_type(Type::Object);
            *part = with.item(without).into();
        }
    }
}

/// The same as text, the way it is checked in and served.
#[must_use]
pub fn text() -> String {
    // Maps of strings and numbers: there is nothing in it that cannot be written.
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_in_the_repository_is_this_one() {
        let checked_in = include_str!("../../../docs/openapi.json");
        let is = super::text();
        let differs = checked_in
            .lines()
            .zip(is.lines())
            .find(|(one, other)| one != other);
        assert!(
            checked_in == is,
            "docs/openapi.json is of another API, first in {differs:?}: `zerorate api openapi > docs/openapi.json`"
        );
    }
}
