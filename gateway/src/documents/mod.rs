//! The documents of the API: what handlers take and answer, with their places in the OpenAPI
//! description.

pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod functions;
pub(crate) mod hostnames;
pub(crate) mod keys;
pub(crate) mod keyvalue;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod schemas;
pub(crate) mod secrets;
