//! Version 1 of the broadcast, behind its version's byte: a list of tagged parts, so that a release
//! can add a kind which the one before passes over.

use serde::{Deserialize, Serialize};

use super::broadcast_error::BroadcastError;
use super::extras::{Extra, MUST_UNDERSTAND};
use super::octets::Id;
use crate::order::{Order, OrderKind};

/// The tag of an order.
const ORDER: u8 = 1;

/// The tag of an order's extra that says whose it is. A reader that does not know it asks the store
/// as ever.
const TENANT: u8 = 1;

#[derive(Serialize, Deserialize)]
struct OrderV1<'a> {
    execution: Id,
    epoch: u32,
    kind: KindV1,
    reason: Option<&'a str>,
    extras: Vec<Extra>,
}

/// The order is the format's.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum KindV1 {
    Cancel,
    Suspend,
    Abandon,
}

/// Appends a broadcast of orders to `bytes`.
pub(super) fn encode(orders: &[Order], bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
    encode_with(orders, &[], bytes)
}

/// Appends a broadcast of orders to `bytes`, with other parts behind it.
fn encode_with(
    orders: &[Order],
    others: &[Extra],
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    let mut parts = Vec::with_capacity(orders.len() + others.len());
    for order in orders {
        let body = postcard::to_extend(&OrderV1::from(order), Vec::new())?;
        parts.push(Extra { tag: ORDER, body });
    }
    parts.extend_from_slice(others);
    postcard::to_extend(&parts, bytes)
}

/// Reads all of `bytes`. A part of a kind that is not known here is left out.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Order>, BroadcastError> {
    let (parts, _): (Vec<Extra>, &[u8]) = postcard::take_from_bytes(bytes)?;
    let mut orders = Vec::new();
    for Extra { tag, body } in parts {
        match tag {
            ORDER => {
                let (order, _): (OrderV1<'_>, &[u8]) = postcard::take_from_bytes(&body)?;
                if let Some(tag) = Extra::first_needed(&order.extras) {
                    return Err(BroadcastError::Tag(tag));
                }
                orders.push(order.try_into()?);
            }
            tag if tag & MUST_UNDERSTAND != 0 => return Err(BroadcastError::Tag(tag)),
            _ => {}
        }
    }
    Ok(orders)
}

impl<'a> From<&'a Order> for OrderV1<'a> {
    fn from(order: &'a Order) -> Self {
        let kind = match order.kind {
            OrderKind::Cancel => KindV1::Cancel,
            OrderKind::Suspend => KindV1::Suspend,
            OrderKind::Abandon => KindV1::Abandon,
        };
        Self {
            execution: Id(order.execution),
            epoch: order.epoch,
            kind,
            reason: order.reason.as_deref(),
            extras: order
                .tenant
                .iter()
                .map(|tenant| Extra { tag: TENANT, body: tenant.as_bytes().to_vec() })
                .collect(),
        }
    }
}

impl TryFrom<OrderV1<'_>> for Order {
    type Error = BroadcastError;

    fn try_from(order: OrderV1<'_>) -> Result<Self, BroadcastError> {
        let tenant = order.extras.iter().find(|extra| extra.tag == TENANT);
        let tenant = tenant.map(|extra| String::from_utf8_lossy(&extra.body).parse());
        let kind = match order.kind {
            KindV1::Cancel => OrderKind::Cancel,
            KindV1::Suspend => OrderKind::Suspend,
            KindV1::Abandon => OrderKind::Abandon,
        };
        Ok(Self {
            tenant: tenant.transpose().map_err(|_| BroadcastError::Tenant)?,
            execution: order.execution.0,
            epoch: order.epoch,
            kind,
            reason: order.reason.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::ExecutionId;

    #[test]
    fn what_is_not_known_is_passed_over_unless_it_must_be_understood() {
        let order = Order {
            tenant: Some("acme".parse().unwrap()),
            execution: ExecutionId::new(),
            epoch: 2,
            kind: OrderKind::Suspend,
            reason: Some("ü".into()),
        };
        let orders = vec![order];
        let with = |tag| {
            let other = Extra { tag, body: vec![1, 2, 3] };
            decode(&encode_with(&orders, &[other], Vec::new()).unwrap())
        };
        assert_eq!(with(7).unwrap(), orders);
        assert!(matches!(with(7 | MUST_UNDERSTAND), Err(BroadcastError::Tag(0x87))));
        let bytes = encode(&orders, Vec::new()).unwrap();
        assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
    }
}
