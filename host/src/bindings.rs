//! What wasmtime makes of `wit/wasmill-function.wit`.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "function",
    // The event is lent to the guest: nothing is copied but into its memory.
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});
