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
    /// Whatever has a description can have one in OpenAPI: each of them says something.
    #[test]
    fn everything_is_described() {
        let document = serde_json::to_value(super::document()).unwrap();
        let operations = document["paths"].as_object().unwrap().iter();
        let operations = operations.flat_map(|(path, item)| {
            let item = item.as_object().unwrap().iter();
            item.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        let said = |value: &serde_json::Value| value.as_str().is_some_and(|text| !text.is_empty());
        for (name, operation) in operations {
            assert!(said(&operation["summary"]), "{name}");
            assert!(said(&operation["x-zerorate-access"]), "{name}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(said(&response["description"]), "{name}: {status}");
                let problem = &response["content"]["application/problem+json"];
                let is_ready = name.ends_with("/readyz");
                assert_eq!(
                    problem.is_object(),
                    &**status >= "400" && !(is_ready && status == "503"),
                    "{name}: {status}"
                );
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(said(&parameter["description"]), "{name}: {parameter}");
            }
        }
    }

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
