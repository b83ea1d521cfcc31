//! Debug without contents: rows hold phone numbers and ciphertext that must not reach a log by accident.

/// Implements `Debug` that shows the type's name only.
macro_rules! opaque {
    ($($name:ident),+ $(,)?) => { $(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+ };
}
pub(crate) use opaque;
