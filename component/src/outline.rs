//! What a file says about itself. `inspect` reads it.

/// What a valid file says about itself at its top level.
#[derive(Default)]
pub(crate) struct Outline {
    pub(crate) is_component: bool,
    /// Whether it needs more than [`FEATURES`](crate::FEATURES): what WASI 0.3 is made with.
    pub(crate) is_async: bool,
    /// Whether a memory in it is shared, at any level.
    pub(crate) has_shared_memory: bool,
    /// Of a core module: `module.name`.
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    /// The names of a core module's custom sections.
    pub(crate) custom_sections: Vec<String>,
}
