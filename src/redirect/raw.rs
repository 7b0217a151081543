//! An expression of libnftnl by its name and attributes, for those that nftnl
//! has no type for or not all of whose attributes it sets.

use std::ffi::CStr;
use std::ptr::NonNull;

use nftnl::Rule;
use nftnl::expr::Expression;
use nftnl::nftnl_sys as sys;

/// The expression in the making. Attributes are NFTNL_EXPR_* of libnftnl/expr.h;
/// whoever sets one gives it the type that libnftnl has for it.
pub struct Raw<'a> {
    name: &'static CStr,
    attributes: Vec<(u32, Value<'a>)>,
}

enum Value<'a> {
    U8(u8),
    U32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// Without attributes; `name` is nf_tables' own.
    pub fn new(name: &'static CStr) -> Self {
        let attributes = Vec::new();
        Self { name, attributes }
    }

    /// Sets a number of 8 bits.
    pub fn u8(self, attribute: u32, value: u8) -> Self {
        self.with(attribute, Value::U8(value))
    }

    /// Sets a number of 32 bits.
    pub fn u32(self, attribute: u32, value: u32) -> Self {
        self.with(attribute, Value::U32(value))
    }

    /// Sets data.
    pub fn bytes(self, attribute: u32, value: &'a [u8]) -> Self {
        self.with(attribute, Value::Bytes(value))
    }

    fn with(mut self, attribute: u32, value: Value<'a>) -> Self {
        self.attributes.push((attribute, value));
        self
    }
}

impl Expression for Raw<'_> {
    fn to_expr(&self, _rule: &Rule) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string, which libnftnl only compares.
        let expr = unsafe { sys::nftnl_expr_alloc(self.name.as_ptr()) };
        let Some(expr) = NonNull::new(expr) else {
            // A few bytes could not be had. Rust's own allocations end the same way.
            std::process::abort();
        };
        for (attribute, value) in &self.attributes {
            let (expr, attribute) = (expr.as_ptr(), *attribute as u16);
            match value {
                // SAFETY: the expression is ours alone, and the attribute a number of
                // this size.
                Value::U8(value) => unsafe { sys::nftnl_expr_set_u8(expr, attribute, *value) },
                // SAFETY: as above.
                Value::U32(value) => unsafe { sys::nftnl_expr_set_u32(expr, attribute, *value) },
                // SAFETY: the expression is ours alone; the bytes are copied, as many
                // as there are. It fails only for more than a register holds.
                Value::Bytes(value) => unsafe {
                    sys::nftnl_expr_set(expr, attribute, value.as_ptr().cast(), value.len() as u32);
                },
            }
        }
        expr
    }
}
