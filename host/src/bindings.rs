//! What wasmtime makes of `wit/wasmill-function.wit`.

wasmtime::component::bindgen!({
    path: "../wit",
    // Has all that the world `function` has: a component of that one imports less.
    world: "function-with-secrets",
    // The event is lent to the guest: nothing is copied but into its memory.
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { "wasmill:function/secrets": async | trappable },
    exports: { default: async },
    with: { "wasmill:function/secrets.secret": wasmill_secrets::Secret },
});

pub(crate) use self::{FunctionWithSecrets as Function, FunctionWithSecretsPre as FunctionPre};
