//! The table of routes. What the server answers, what OpenAPI says of it, and who may ask for it are added in one line each:
//! there is no route without a description, and none that nobody thought of who may use it.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};

use super::access::role::Access;
use super::access::{Gate, guard};
use super::problem::PROBLEM_JSON;
use super::server::App;

/// What `routes!` makes of handlers.
pub(super) type Described = (Vec<(String, RefOr<Schema>)>, Paths, MethodRouter<App>);

/// A route: what is asked, and who may ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `GET` and so on.
    pub method: &'static str,
    /// Its path, with parameters in braces.
    pub path: String,
    /// Who may ask.
    pub access: Access,
}

/// All routes.
pub(super) struct Table {
    /// Handlers by path, behind no gate yet.
    methods: Vec<(String, Access, MethodRouter<App>)>,
    pub(super) openapi: OpenApi,
    pub(super) routes: Vec<Route>,
}

impl Table {
    pub(super) fn new(openapi: OpenApi) -> Self {
        Self {
            methods: Vec::new(),
            openapi,
            routes: Vec::new(),
        }
    }

    /// Adds handlers of one path, for whom they are.
    pub(super) fn add(mut self, access: Access, (schemas, paths, methods): Described) -> Self {
        let components = self.openapi.components.get_or_insert_default();
        components.schemas.extend(schemas);
        for (path, mut item) in paths.paths {
            for (method, operation) in operations(&mut item) {
                describe(operation, access);
                self.routes.push(Route {
                    method,
                    path: path.clone(),
                    access,
                });
            }
            self.methods.push((path.clone(), access, methods.clone()));
            match self.openapi.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    self.openapi.paths.paths.insert(path, item);
                }
            }
        }
        self
    }

    /// The routes, each behind the gate it is to be behind.
    pub(super) fn router(self, gate: &Arc<Gate>) -> Router<App> {
        let routes = self.methods.into_iter();
        routes.fold(Router::new(), |router, (path, access, methods)| {
            let guard = from_fn_with_state((Arc::clone(gate), access), guard);
            router.route(&path, methods.route_layer(guard))
        })
    }
}

/// The operations of a path.
fn operations(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        patch,
        ..
    } = item;
    [
        ("GET", get),
        ("PUT", put),
        ("POST", post),
        ("DELETE", delete),
        ("PATCH", patch),
    ]
    .into_iter()
    .filter_map(|(name, operation)| Some((name, operation.as_mut()?)))
    .collect()
}

/// Refusals any route may answer with, by what is said of it.
fn common(operation: &Operation, access: Access) -> Vec<(&'static str, &'static str)> {
    let mut common = vec![
        (
            "429",
            "Too many requests; `Retry-After` says when to come again.",
        ),
        ("503", "The agent is too busy, or cannot do it now."),
    ];
    if access != Access::Anyone {
        common.push((
            "401",
            "Nobody is known by what the request says of its sender.",
        ));
        common.push(("403", "The sender's role may not do this."));
        common.push(("500", "The agent could not; its log says why."));
    }
    if operation.parameters.is_some() || operation.request_body.is_some() {
        common.push(("400", "The path, the query or the body cannot be read."));
    }
    if operation.request_body.is_some() {
        common.push(("408", "The body did not arrive in time."));
        common.push(("413", "The body is too large."));
        common.push(("415", "The body is not said to be JSON."));
        common.push(("422", "The body lacks something, or says what cannot be."));
    }
    common
}

/// Completes what is said of an operation: who may use it, and how refusals look.
fn describe(operation: &mut Operation, access: Access) {
    for (status, what) in common(operation, access) {
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_owned())
            .or_insert_with(|| ResponseBuilder::new().description(what).build().into());
    }
    let what = operation.summary.clone();
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        if status.as_str() >= "400" && response.content.is_empty() {
            *response = refusal(std::mem::take(&mut response.description));
        }
        if response.description.is_empty() {
            response.description = what.clone().unwrap_or_default();
        }
    }
    let extensions = Extensions::builder().add("x-zerorate-access", access.to_string());
    operation
        .extensions
        .get_or_insert_default()
        .merge(extensions.build());
}

fn refusal(description: String) -> Response {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, problem)
        .build()
}
