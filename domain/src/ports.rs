//! Structs of ports.

/// Makes a struct of ports: those of a backend that somebody uses, each by itself.
///
/// `ports! { pub struct HostStore of wasmill_store { ledger: Ledger } }` has the field
/// `ledger: Arc<dyn wasmill_store::Ledger>`, and is made by `HostStore::of(&store)`.
#[macro_export]
macro_rules! ports {
    ($(#[$about:meta])* $visible:vis struct $name:ident of $backend:ident { $($field:ident: $port:ident),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone)]
        $visible struct $name {
            $(
                #[doc = concat!("Its `", stringify!($port), "`.")]
                $visible $field: ::std::sync::Arc<dyn $backend::$port>,
            )+
        }

        impl $name {
            /// These ports of one backend.
            $visible fn of<B: $($backend::$port +)+>(backend: &::std::sync::Arc<B>) -> Self {
                Self {
                    $($field: ::std::sync::Arc::clone(backend) as ::std::sync::Arc<dyn $backend::$port>),+
                }
            }
        }
    };
}
