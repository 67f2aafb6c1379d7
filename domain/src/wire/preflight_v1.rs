//! Version 1 of the messages about versions to deploy, behind its version's byte: what is said, and
//! extras.

use serde::{Deserialize, Serialize};

use super::extras;
use super::octets::Octets;
use crate::digest::Digest;
use crate::json;
use crate::manifest::Manifest;
use crate::preflight::{DecodeError, PreflightAnswer, PreflightRequest};

#[derive(Serialize, Deserialize)]
struct RequestV1<'a> {
    tenant: &'a str,
    #[serde(borrow)]
    digest: Octets<'a>,
    /// As JSON, in the form of the API.
    manifest: &'a str,
}

#[derive(Serialize, Deserialize)]
enum AnswerV1<'a> {
    Passed,
    Refused(&'a str),
    Manifest { key: &'a str, message: &'a str },
    Unavailable(&'a str),
    Unread(&'a str),
}

pub(super) fn encode_request(
    request: &PreflightRequest,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    // Every key is a string, and no value is one that JSON does not have.
    let manifest = serde_json::to_string(&request.manifest).unwrap_or_default();
    let wire = RequestV1 {
        tenant: request.tenant.as_str(),
        digest: Octets(request.digest.as_bytes()),
        manifest: &manifest,
    };
    extras::encode_with(&wire, &[], bytes)
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<PreflightRequest, DecodeError> {
    let RequestV1 { tenant, digest, manifest } =
        extras::decode_without(bytes).map_err(DecodeError)?;
    let manifest = json::parse(manifest.as_bytes())
        .map_err(|e| DecodeError(format!("the manifest is not JSON: {e}")))?;
    Ok(PreflightRequest {
        tenant: tenant.parse().map_err(|e| DecodeError(format!("the tenant: {e}")))?,
        digest: Digest::from_slice(digest.0)
            .ok_or_else(|| DecodeError(format!("a digest of {} bytes", digest.0.len())))?,
        manifest: Manifest::from_json(manifest)
            .map_err(|e| DecodeError(format!("the manifest cannot be read here: {e}")))?,
    })
}

pub(super) fn encode_answer(
    answer: &PreflightAnswer,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, postcard::Error> {
    let wire = match answer {
        PreflightAnswer::Passed => AnswerV1::Passed,
        PreflightAnswer::Refused(why) => AnswerV1::Refused(why),
        PreflightAnswer::Manifest { key, message } => AnswerV1::Manifest { key, message },
        PreflightAnswer::Unavailable(why) => AnswerV1::Unavailable(why),
        PreflightAnswer::Unread(why) => AnswerV1::Unread(why),
    };
    extras::encode_with(&wire, &[], bytes)
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<PreflightAnswer, DecodeError> {
    let wire = extras::decode_without(bytes).map_err(DecodeError)?;
    Ok(match wire {
        AnswerV1::Passed => PreflightAnswer::Passed,
        AnswerV1::Refused(why) => PreflightAnswer::Refused(why.into()),
        AnswerV1::Manifest { key, message } => {
            PreflightAnswer::Manifest { key: key.into(), message: message.into() }
        }
        AnswerV1::Unavailable(why) => PreflightAnswer::Unavailable(why.into()),
        AnswerV1::Unread(why) => PreflightAnswer::Unread(why.into()),
    })
}
