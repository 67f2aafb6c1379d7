//! Tests against a real RabbitMQ: the one at `AMQP_URL`, or the one on this machine. Each has
//! queues of its own, by a prefix of its own, so any RabbitMQ will do. Those that stop it, or make
//! it short of memory, start a node of their own, which is to be installed on this machine.

mod absence;
mod conformance;
mod consuming;
mod limits;
mod outage;
mod publishing;
pub(super) mod support;
