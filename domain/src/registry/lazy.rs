//! Schemas that are compiled when they are first needed, within what their tenant may take.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;

use crate::digest::Digest;
use crate::schema::{CompileError, CompiledSchema, NoCompiler, SchemaCompiler};

/// What the compiled schemas of one tenant take, and may take, in this process.
#[derive(Debug)]
pub(crate) struct TenantShare {
    pub(crate) compiler: Arc<dyn SchemaCompiler>,
    bytes: AtomicUsize,
}

/// A schema of a tenant's definitions, compiled at its first use and kept while any registry has
/// it.
#[derive(Debug)]
pub(crate) struct LazySchema {
    source: Arc<Value>,
    digest: Digest,
    share: Arc<TenantShare>,
    compiled: OnceLock<Result<Box<dyn CompiledSchema>, CompileError>>,
    /// Whoever compiles holds it, so that it is done once.
    compiling: Mutex<()>,
    /// What it takes of the share.
    bytes: AtomicUsize,
    /// Whether a check was ended before its end.
    exceeded: AtomicBool,
}

impl Default for TenantShare {
    fn default() -> Self {
        Self::new(Arc::new(NoCompiler))
    }
}

impl TenantShare {
    pub(crate) fn new(compiler: Arc<dyn SchemaCompiler>) -> Self {
        Self { compiler, bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` if there is room for them.
    fn take(&self, bytes: usize) -> bool {
        let most = self.compiler.max_tenant_bytes();
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= most);
        self.bytes.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

impl LazySchema {
    pub(crate) fn new(source: Arc<Value>, digest: Digest, share: Arc<TenantShare>) -> Self {
        Self {
            source,
            digest,
            share,
            compiled: OnceLock::new(),
            compiling: Mutex::new(()),
            bytes: AtomicUsize::new(0),
            exceeded: AtomicBool::new(false),
        }
    }

    /// One that cannot be read, so that nothing is known to satisfy it.
    pub(crate) fn unreadable(why: &str, share: Arc<TenantShare>) -> Self {
        let lazy = Self::new(Arc::default(), Digest::of(&[]), share);
        let _ = lazy.compiled.set(Err(CompileError::of_all(why)));
        lazy
    }

    pub(crate) fn source(&self) -> &Value {
        &self.source
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn share(&self) -> &Arc<TenantShare> {
        &self.share
    }

    /// The compiled schema, where that is done already.
    pub(crate) fn compiled(&self) -> Option<Result<&dyn CompiledSchema, &CompileError>> {
        self.compiled.get().map(Result::as_deref)
    }

    /// The compiled schema, compiled now if need be: not for threads that serve requests.
    ///
    /// # Errors
    /// Where it cannot be compiled, or takes more than the tenant has left.
    pub(crate) fn compile(&self) -> Result<&dyn CompiledSchema, CompileError> {
        if let Some(compiled) = self.compiled.get() {
            return compiled.as_deref().map_err(Clone::clone);
        }
        let compiler = &self.share.compiler;
        let _compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.compiled.get().is_none()
            && let Ok(bytes) = compiler.bytes_of(&self.source)
        {
            if !self.share.take(bytes) {
                // Not kept: there may be room later.
                return Err(CompileError::over_quota(compiler.max_tenant_bytes()));
            }
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        let compile = || compiler.compile(Arc::clone(&self.source));
        self.compiled.get_or_init(compile).as_deref().map_err(Clone::clone)
    }

    /// Notes that a check was ended before its end, and says whether it is the first.
    pub(crate) fn note_exceeded(&self) -> bool {
        !self.exceeded.swap(true, Ordering::Relaxed)
    }
}

impl Drop for LazySchema {
    fn drop(&mut self) {
        self.share.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Required;
    use super::*;
    use serde_json::json;

    fn lazy(source: Value, share: &Arc<TenantShare>) -> LazySchema {
        LazySchema::new(Arc::new(source), Digest::of(b""), Arc::clone(share))
    }

    #[test]
    fn it_is_compiled_once_when_it_is_asked_for() {
        let share = Arc::new(TenantShare::new(Arc::new(Required::default())));
        let schema = lazy(json!({"required": ["total"]}), &share);
        assert!(schema.compiled().is_none());
        let compiled: Vec<usize> = std::thread::scope(|scope| {
            let compile = || std::ptr::from_ref(schema.compile().unwrap()).cast::<()>() as usize;
            let tasks: Vec<_> = (0..8).map(|_| scope.spawn(compile)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).collect()
        });
        assert!(compiled.windows(2).all(|pair| pair[0] == pair[1]));
        let bytes = schema.share.bytes.load(Ordering::Relaxed);
        assert_eq!(bytes, share.compiler.bytes_of(&schema.source).unwrap());
    }

    #[test]
    fn a_tenant_has_so_much_quota() {
        let source = json!({"required": ["total"]});
        let bytes = Required::default().bytes_of(&source).unwrap();
        let compiler = Required { max_tenant_bytes: 2 * bytes };
        let share = Arc::new(TenantShare::new(Arc::new(compiler)));
        let [first, second, third] = [(); 3].map(|()| lazy(source.clone(), &share));
        assert!(first.compile().is_ok() && second.compile().is_ok());
        assert!(third.compile().unwrap_err().message.contains("schemas.max_tenant_bytes"));
        drop(first);
        assert!(third.compile().is_ok());
    }
}
