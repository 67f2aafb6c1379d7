//! `#[handler]`, see `wasmill_guest::handler`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Error, ItemFn};

/// Makes a function what the host calls with each event. It takes an `Event<T>`, where `T` is
/// `Bytes` or a type that serde can read from JSON, and returns a `Result<Output, Failure>`. A
/// crate has one.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = proc_macro2::TokenStream::from(arguments);
    let function: ItemFn = match syn::parse(item) {
        Ok(function) => function,
        Err(error) => {
            return Error::new(error.span(), "#[handler] stands before a function")
                .into_compile_error()
                .into();
        }
    };
    let signature = &function.sig;
    let wrong = if !arguments.is_empty() {
        Some(Error::new_spanned(&arguments, "#[handler] takes no arguments"))
    } else if let Some(is_async) = &signature.asyncness {
        Some(Error::new_spanned(
            is_async,
            "a handler is not async: the host runs one execution at a time in an instance",
        ))
    } else if !signature.generics.params.is_empty() {
        Some(Error::new_spanned(&signature.generics, "a handler has no type parameters"))
    } else if signature.inputs.len() != 1 {
        Some(Error::new_spanned(&signature.ident, "a handler takes one argument, an `Event`"))
    } else {
        None
    };
    if let Some(error) = wrong {
        return error.into_compile_error().into();
    }
    let name = &signature.ident;
    quote! {
        #function

        #[allow(dead_code)]
        const _: () = {
            struct Handler;

            impl ::wasmill_guest::bindings::exports::wasmill::function::handler::Guest for Handler {
                fn handle(
                    event: ::wasmill_guest::bindings::exports::wasmill::function::handler::Event,
                ) -> ::core::result::Result<
                    ::wasmill_guest::bindings::exports::wasmill::function::handler::Output,
                    ::wasmill_guest::bindings::exports::wasmill::function::handler::Failure,
                > {
                    ::wasmill_guest::call(event, #name)
                }
            }

            #[cfg(target_arch = "wasm32")]
            ::wasmill_guest::bindings::export!(Handler with_types_in ::wasmill_guest::bindings);
        };
    }
    .into()
}
