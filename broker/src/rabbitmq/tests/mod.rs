//! Tests against a real RabbitMQ: the one at `AMQP_URL`, or the one on this machine.

mod conformance;
mod consuming;
mod limits;
mod node;
mod outage;
mod proxy;
mod publishing;
mod restart;
mod support;
