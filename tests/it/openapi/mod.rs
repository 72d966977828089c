//! What is said of the endpoint elsewhere, compared with what it does: `/openapi.json`, by schemathesis, and
//! the Postman collection. Both ask the real program, on the embedded broker.

mod endpoint;
mod postman;
mod schemathesis;

/// What the endpoint says of itself.
const DOCUMENT: &str = include_str!("../../../src/http/api/openapi.json");
