//! Which version of a secret may be put, and which secrets can be listed.

use std::fmt::Display;

use wasmill_domain::secret::MOST_SECRETS;
use wasmill_domain::{SealedSecret, SecretSummary, TenantName};

use crate::port::{Result, StoreError};

/// Checks that `secret` follows what is there: its version `known`, among `count` secrets of the
/// tenant.
pub(crate) fn check_next(secret: &SealedSecret, known: Option<i64>, count: i64) -> Result<()> {
    let name = &secret.name;
    let next = known.unwrap_or(0) + 1;
    if i64::from(secret.version) != next {
        // What is sealed says which version it is, so two writers at once cannot both be the next.
        return Err(StoreError::Conflict(format!(
            "secret {name} was changed in the same moment: its next version is {next}"
        )));
    }
    if known.is_none() && count >= MOST_SECRETS {
        return Err(StoreError::Conflict(format!("a tenant has at most {MOST_SECRETS} secrets")));
    }
    Ok(())
}

/// The secrets in a tenant's rows that can be read. Another release wrote the others: the log names
/// them, and whoever asks for one by its name is told why it cannot be had.
pub(crate) fn readable<R, E: Display>(
    tenant: &TenantName,
    rows: &[R],
    named: impl Fn(&R) -> String,
    read: impl Fn(&R) -> Result<SecretSummary, E>,
) -> Vec<SecretSummary> {
    let mut secrets = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(secret) => secrets.push(secret),
            Err(why) => {
                tracing::error!(%tenant, secret = named(row), %why, "a secret cannot be read here");
            }
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use wasmill_domain::{TenantName, Timestamp};

    use super::*;

    #[test]
    fn a_tenant_has_so_many_secrets() {
        let version = |version| SealedSecret {
            tenant: TenantName::default(),
            name: "token".parse().unwrap(),
            version,
            key: "one".parse().unwrap(),
            sealed: bytes::Bytes::new(),
            at: Timestamp::now(),
        };
        assert!(check_next(&version(1), None, MOST_SECRETS - 1).is_ok());
        assert!(check_next(&version(8), Some(7), MOST_SECRETS).is_ok());
        let error = check_next(&version(1), None, MOST_SECRETS).unwrap_err();
        assert!(
            matches!(&error, StoreError::Conflict(why) if why.contains("at most 1000")),
            "{error}"
        );
    }
}
