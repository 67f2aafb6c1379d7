//! Signed requests: nothing of a function runs before the signature is checked, over the body as it
//! came.
//!
//! What a scheme signs is in [`signature`]; which deliveries are known, in [`deliveries`]; what is
//! counted, in [`counts`].

mod counts;
mod deliveries;
mod signature;
pub(crate) mod state;
mod target;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use wasmill_domain::Timestamp;
use wasmill_domain::manifest::webhook::Webhook;

pub(crate) use self::counts::Counted;
use self::counts::TriggerCounts;
use self::deliveries::{Claimed, delivery_key};
use self::signature::{Refused, Statement, key_of};
pub(crate) use self::target::WebhookTrigger;
use crate::app::App;
use crate::body;
use crate::budget::Owner;
use crate::error::{ApiError, Result};

/// What a caller receives while its signature cannot be checked.
const UNVERIFIABLE: ApiError =
    ApiError::Unavailable("the request's signature cannot be checked now");

/// Checks a request, and has it answered by `run` if it is signed as the trigger asks and its
/// delivery was not accepted before.
///
/// # Errors
/// Where it is not, where its body cannot be read, where a secret is missing, and whatever `run`
/// says.
pub(crate) async fn verified<F>(
    app: &App,
    target: WebhookTrigger<'_>,
    webhook: &Webhook,
    request: Request,
    run: impl FnOnce(Request) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<Response>>,
{
    let counts = app.webhooks.counts.of(target);
    let (parts, body) = request.into_parts();
    let owner = Owner::without_key(&parts.extensions, target.tenant);
    // What can be told without the body is told before it is read.
    let statement = Statement::read(&webhook.scheme, &parts.headers);
    let statement = statement.and_then(|statement| {
        statement.check_time(Timestamp::now(), webhook.tolerance.0)?;
        Ok(statement)
    });
    let statement = statement.map_err(|why| refuse(target, &counts, why))?;
    // Its share of what bodies may hold is kept until the answer begins.
    let buffered = {
        let _reading = app.admit(&owner)?;
        body::read_as_it_is(app, &owner, body, app.settings.max_event_bytes).await?
    };
    check(app, target, webhook, &statement, &buffered.bytes, &counts).await?;
    let delivery =
        statement.delivery_id(&webhook.scheme, &buffered.bytes).map(|id| delivery_key(target, &id));
    let claim = match delivery.map(|key| app.webhooks.deliveries.claim(key)) {
        None => None,
        Some(Claimed::New(claim)) => Some(claim),
        Some(Claimed::AtWork) => {
            return Err(ApiError::Conflict(
                "the same delivery is being answered: send it again later".into(),
            ));
        }
        Some(Claimed::Accepted) => {
            counts.repeated();
            return Ok(Json(json!({"repeated": true})).into_response());
        }
    };
    counts.accepted();
    let answered = run(Request::from_parts(parts, Body::from(buffered.bytes.clone()))).await?;
    if let Some(claim) = claim
        && answered.status().is_success()
    {
        // A timestamp may lie ahead by the tolerance, and is good until it lies back by it.
        claim.accepted(webhook.tolerance.0 * 2);
    }
    Ok(answered)
}

/// Makes sure that one of the secrets made the signature.
async fn check(
    app: &App,
    target: WebhookTrigger<'_>,
    webhook: &Webhook,
    statement: &Statement,
    body: &[u8],
    counts: &TriggerCounts,
) -> Result<()> {
    let mut fault = None;
    for name in &webhook.secrets {
        let why = match app.secrets.reveal(target.tenant, name).await {
            Ok(Some(secret)) => match key_of(&webhook.scheme, secret.expose()) {
                Ok(key) if statement.is_signed_with(&key, body) => return Ok(()),
                Ok(_) => continue,
                Err(why) => why.to_string(),
            },
            Ok(None) => "there is none of this name".to_owned(),
            Err(error) => error.to_string(),
        };
        fault = Some((name, why));
    }
    let Some((secret, why)) = fault else { return Err(refuse(target, counts, Refused::Signature)) };
    // It may be signed with the one that is not there: the sender is to try again when the operator
    // has seen to it.
    if counts.unverifiable() {
        let WebhookTrigger { tenant, function, trigger } = target;
        tracing::warn!(%tenant, %function, route = %trigger.http, %secret, why, "a secret of a webhook cannot be used");
    }
    Err(UNVERIFIABLE)
}

fn refuse(target: WebhookTrigger<'_>, counts: &TriggerCounts, why: Refused) -> ApiError {
    if counts.refused() {
        let WebhookTrigger { tenant, function, trigger } = target;
        tracing::warn!(%tenant, %function, route = %trigger.http, %why, "a webhook's request is refused");
    }
    ApiError::NotSigned
}
