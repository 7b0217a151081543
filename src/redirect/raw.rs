//! An expression of libnftnl by its name and attributes: nftnl has no type for some,
//! and this way all are told alike.

use std::ffi::CStr;
use std::ptr::NonNull;

use nftnl::Rule;
use nftnl::expr::Expression;
use nftnl::nftnl_sys as sys;

/// The expression. Attributes are NFTNL_EXPR_* of libnftnl/expr.h; whoever sets one
/// gives it the type that libnftnl has for it.
pub struct Raw<'a> {
    /// nf_tables' name for it.
    pub name: &'static CStr,
    /// What is set.
    pub attributes: &'a [(u32, Value<'a>)],
}

/// What an attribute is set to.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A number of 8 bits.
    U8(u8),
    /// A number of 32 bits.
    U32(u32),
    /// Data; of a name, the NUL that ends it as well.
    Bytes(&'a [u8]),
}

impl Expression for Raw<'_> {
    fn to_expr(&self, _rule: &Rule) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string, which libnftnl only compares.
        let expr = unsafe { sys::nftnl_expr_alloc(self.name.as_ptr()) };
        let Some(expr) = NonNull::new(expr) else {
            // A few bytes could not be had. Rust's own allocations end the same way.
            std::process::abort();
        };
        for (attribute, value) in self.attributes {
            let (expr, attribute) = (expr.as_ptr(), *attribute as u16);
            match value {
                // SAFETY: the expression is ours alone, and the attribute a number of
                // this size.
                Value::U8(value) => unsafe { sys::nftnl_expr_set_u8(expr, attribute, *value) },
                // SAFETY: as above.
                Value::U32(value) => unsafe { sys::nftnl_expr_set_u32(expr, attribute, *value) },
                // SAFETY: the expression is ours alone; the bytes are copied, as many
                // as there are, and a name up to its NUL. It fails only for more than
                // a register holds.
                Value::Bytes(value) => unsafe {
                    sys::nftnl_expr_set(expr, attribute, value.as_ptr().cast(), value.len() as u32);
                },
            }
        }
        expr
    }
}
