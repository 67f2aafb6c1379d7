//! Gateways, hosts and schedulers as processes that share a real PostgreSQL and a real RabbitMQ.

mod chaos;
mod compiling;
mod dead_letters;
mod leaders;
mod orders;
mod outages;
mod preflight;
mod roles;
mod rolling;
mod secrets;
mod signals;
mod starts;
