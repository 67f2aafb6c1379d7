//! The last word before a deploy: whether a host could run this.

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_domain::preflight::PreflightAnswer;
use wasmill_domain::{Digest, Manifest, TenantName};

use crate::error::InspectError;
use crate::inspect::Unrunnable;

/// An artifact's bytes, where they are kept: nobody holds them in memory who only waits.
#[async_trait]
pub trait Artifact: FileSource {
    /// All of them.
    ///
    /// # Errors
    /// [`PreflightError::Unavailable`] where they cannot be had now.
    async fn bytes(&self) -> Result<Bytes, PreflightError>;
}

/// The contents of a version's files, where they are kept.
#[async_trait]
pub trait FileSource: Send + Sync {
    /// One of them.
    ///
    /// # Errors
    /// [`PreflightError::Unavailable`] where it cannot be had now.
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError>;
}

/// An artifact alone has no files.
#[async_trait]
impl FileSource for Bytes {
    async fn file(&self, digest: Digest) -> Result<Bytes, PreflightError> {
        Err(PreflightError::Unavailable(format!("the file {digest} is not here")))
    }
}

#[async_trait]
impl Artifact for Bytes {
    async fn bytes(&self) -> Result<Bytes, PreflightError> {
        Ok(self.clone())
    }
}

/// Checks an artifact and its manifest the way a host will use them: read, compile, link, compare
/// the limits.
#[async_trait]
pub trait Preflight: Send + Sync + 'static {
    /// Says whether this version could run. `digest` is that of the artifact. Tenants are served
    /// fairly at what takes long.
    ///
    /// # Errors
    /// The first thing that is wrong, said to the one who deploys; or
    /// [`PreflightError::Unavailable`].
    async fn check(
        &self,
        tenant: &TenantName,
        digest: Digest,
        artifact: &dyn Artifact,
        manifest: &Manifest,
    ) -> Result<(), PreflightError>;
}

/// Why a version cannot be deployed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightError {
    /// It is not a component that anybody could run.
    #[error(transparent)]
    Component(#[from] InspectError),
    /// It is a component, but not one that this version of wasmill can run.
    #[error(transparent)]
    Unrunnable(#[from] Unrunnable),
    /// It is valid and does not compile.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// Compiling it takes more than the operator lets it, or broke the compiler's process. The same
    /// component is refused without a try for a while.
    #[error("the component takes too much to compile: {0}")]
    TooCostly(String),
    /// An import or the handler does not have the type that it should have.
    #[error("the component does not fit its host: {0}")]
    Mismatch(String),
    /// The manifest asks for what no host here can give, or less than the component needs.
    #[error("{key}: {message}")]
    Manifest {
        /// The manifest's dotted key.
        key: String,
        /// What is wrong with its value.
        message: String,
    },
    /// Another process refuses it, for this reason.
    #[error("{0}")]
    Refused(String),
    /// Nothing is known to be wrong: the check itself could not be made. Try again later.
    #[error("the check could not be made: {0}")]
    Unavailable(String),
}

impl PreflightError {
    /// What another process is told of this error.
    pub fn to_answer(&self) -> PreflightAnswer {
        match self {
            Self::Manifest { key, message } => {
                PreflightAnswer::Manifest { key: key.clone(), message: message.clone() }
            }
            Self::Unavailable(why) => PreflightAnswer::Unavailable(why.clone()),
            refusal => PreflightAnswer::Refused(refusal.to_string()),
        }
    }

    /// Whether the same artifact and manifest may pass later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_told_the_words_of_a_refusal() {
        let refused = |error: PreflightError| match error.to_answer() {
            PreflightAnswer::Refused(why) => assert_eq!(why, error.to_string()),
            other => panic!("{other:?}"),
        };
        refused(PreflightError::Mismatch("no instance of it can be made".into()));
        refused(PreflightError::TooCostly("compiling took longer than 1s".into()));
        refused(PreflightError::Compile("a broken block".into()));
        refused(PreflightError::Refused("another's word".into()));
        refused(PreflightError::from(Unrunnable::Imports(Vec::new())));
        assert_eq!(
            PreflightError::Unavailable("away".into()).to_answer(),
            PreflightAnswer::Unavailable("away".into())
        );
    }
}
