//! Enumerations stored as text.

/// Defines an enumeration with its stored words.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident in $table:literal {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            pub(crate) fn parse(word: &str) -> Result<Self, $crate::Error> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::Error::corrupt($table, format_args!("unknown word {word:?}"))),
                }
            }
        }

        impl From<$name> for $crate::batch::Value {
            fn from(value: $name) -> Self {
                value.as_str().into()
            }
        }
    };
}
pub(crate) use text_enum;
