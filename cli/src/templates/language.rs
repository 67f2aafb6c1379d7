//! The languages of `wasmill new`.

/// A language that functions can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust
    Rust,
    /// JavaScript
    #[value(alias = "javascript")]
    Js,
    /// TypeScript
    #[value(alias = "typescript")]
    Ts,
    /// Python
    #[value(alias = "py")]
    Python,
    /// Go
    #[value(alias = "golang")]
    Go,
    /// C
    C,
    /// C++
    #[value(alias = "c++")]
    Cpp,
    /// Zig
    Zig,
    /// Nim
    Nim,
    /// Lua
    Lua,
    /// AssemblyScript
    #[value(alias = "as")]
    Assemblyscript,
    /// WebAssembly text
    Wat,
}

impl Language {
    /// Its name on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::Nim => "nim",
            Self::Lua => "lua",
            Self::Assemblyscript => "assemblyscript",
            Self::Wat => "wat",
        }
    }

    /// What must be run once in a new project before it can be built.
    pub(crate) fn preparation(self) -> Option<&'static str> {
        match self {
            Self::Js | Self::Ts | Self::Assemblyscript => Some("npm install"),
            Self::Python => Some("pip install -r requirements.txt"),
            _ => None,
        }
    }
}
