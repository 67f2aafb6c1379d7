//! Prices an order, and says so to the rest of the shop: `order.priced` for every order,
//! `order.flagged` besides for one that somebody should look at.

use std::env;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::exports::wasmill::function::handler::{Event, Failure, Guest, Output};
use crate::wasmill::function::log::{Level, log};
use crate::wasmill::function::types::EmittedEvent;

wit_bindgen::generate!({ world: "function", path: "../../wit" });

/// An order is flagged when it is over this many cents; `FLAG_OVER_CENTS` in the manifest's `[env]`
/// says otherwise.
const FLAG_OVER_CENTS: u64 = 100_000;

/// The data of an `order.created` event, as `order.schema.json` describes it.
#[derive(Deserialize)]
struct Order {
    customer: String,
    currency: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    sku: String,
    qty: u64,
    price_cents: u64,
}

impl Order {
    /// The sum over all items, unless it is beyond all reason.
    fn total_cents(&self) -> Result<u64, String> {
        self.items.iter().try_fold(0_u64, |total, item| {
            item.qty
                .checked_mul(item.price_cents)
                .and_then(|price| total.checked_add(price))
                .ok_or_else(|| format!("the total overflows at item {}", item.sku))
        })
    }
}

struct OrderTotal;

impl Guest for OrderTotal {
    fn handle(event: Event) -> Result<Output, Failure> {
        let data = event.data.unwrap_or_default();
        let order: Order =
            serde_json::from_slice(&data).map_err(|error| Failure::Reject(error.to_string()))?;
        let limit = flag_over_cents().map_err(Failure::Reject)?;
        let total = order.total_cents().map_err(Failure::Reject)?;
        let flagged = total > limit;

        let fields = [
            ("customer".into(), json!(order.customer).to_string()),
            ("total_cents".into(), json!(total).to_string()),
            ("flagged".into(), json!(flagged).to_string()),
        ];
        log(Level::Info, "order priced", &fields);

        let priced = json!({
            "customer": order.customer,
            "currency": order.currency,
            "items": order.items.len(),
            "total_cents": total,
            "flagged": flagged,
        });
        let mut emit = vec![order_event("order.priced", event.subject.clone(), &priced)];
        if flagged {
            let reason = json!({ "total_cents": total, "limit_cents": limit });
            emit.push(order_event("order.flagged", event.subject, &reason));
        }
        Ok(Output { content_type: None, data: priced.to_string().into_bytes(), emit })
    }
}

/// The limit from the environment, or the default where it names none.
fn flag_over_cents() -> Result<u64, String> {
    match env::var("FLAG_OVER_CENTS") {
        Ok(limit) => {
            limit.parse().map_err(|error| format!("FLAG_OVER_CENTS is {limit:?}: {error}"))
        }
        Err(_) => Ok(FLAG_OVER_CENTS),
    }
}

/// An event about the same order as the one at hand.
fn order_event(kind: &str, order: Option<String>, data: &Value) -> EmittedEvent {
    EmittedEvent {
        type_: kind.into(),
        source: None,
        subject: order,
        extensions: Vec::new(),
        datacontenttype: None,
        data: Some(data.to_string().into_bytes()),
    }
}

export!(OrderTotal);

#[cfg(test)]
mod tests {
    use super::{Item, Order};

    fn order(items: &[(u64, u64)]) -> Order {
        let item =
            |&(qty, price_cents): &(u64, u64)| Item { sku: "TEA-1".into(), qty, price_cents };
        Order {
            customer: "Ada".into(),
            currency: "EUR".into(),
            items: items.iter().map(item).collect(),
        }
    }

    #[test]
    fn totals_add_up() {
        assert_eq!(order(&[]).total_cents(), Ok(0));
        assert_eq!(order(&[(2, 450), (1, 1999)]).total_cents(), Ok(2899));
    }

    #[test]
    fn an_overflow_names_its_item() {
        let overflow = Err("the total overflows at item TEA-1".into());
        assert_eq!(order(&[(2, u64::MAX)]).total_cents(), overflow);
        assert_eq!(order(&[(1, u64::MAX), (1, 1)]).total_cents(), overflow);
    }
}
