//! The client verbs: each sends requests to a gateway and prints the answers.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod dead_letters;
pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod embed;
pub(crate) mod executions;
pub(crate) mod functions;
pub(crate) mod hostnames;
pub(crate) mod invoke;
pub(crate) mod keys;
pub(crate) mod keyvalue;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod nodes;
pub(crate) mod ready;
pub(crate) mod schemas;
pub(crate) mod secrets;
pub(crate) mod test;
