/// Setters that take options and return them, so that they read as one expression:
/// `SessionOptions::default().context(512).threads(2)`.
///
/// Each is named with the type of its argument, which becomes the field's by `into`: with `impl Into<Option<usize>>` a
/// number is enough where the field may be None.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($($field:ident: $value:ty,)*) => {$(
        #[doc = concat!("These options with another [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
        #[must_use]
        pub fn $field(mut self, $field: $value) -> Self {
            self.$field = $field.into();
            self
        }
    )*};
}
