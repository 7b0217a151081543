//! Expressions as libnftnl makes them.

use std::ffi::{CStr, CString};

use nftnl::Rule;
use nftnl::nftnl_sys::{self as sys, libc};

use super::{Expr, NEXTHOP6, ORIGINAL, PROTO_SPECIFIED, REGISTER, SET_NAME};
use crate::redirect::raw::{Raw, Value};

impl Expr {
    /// Appends the expression to a rule; `set` is the number of the set for
    /// [`Expr::In`]. [`Expr::Other`] is only ever read.
    pub fn add_to(&self, rule: &mut Rule, set: u32) {
        let to = |attribute| (attribute, Value::U32(REGISTER));
        let verdict = (
            sys::NFTNL_EXPR_IMM_DREG,
            Value::U32(libc::NFT_REG_VERDICT as u32),
        );
        let code = |code| (sys::NFTNL_EXPR_IMM_VERDICT, number(code));
        let mut add = |name, attributes: &[_]| rule.add_expr(&Raw { name, attributes });
        match self {
            Self::Meta(meta) => add(
                c"meta",
                &[
                    (sys::NFTNL_EXPR_META_KEY, Value::U32(meta.key())),
                    to(sys::NFTNL_EXPR_META_DREG),
                ],
            ),
            Self::SetMeta(meta) => add(
                c"meta",
                &[
                    (sys::NFTNL_EXPR_META_KEY, Value::U32(meta.key())),
                    to(sys::NFTNL_EXPR_META_SREG),
                ],
            ),
            Self::Payload {
                header,
                offset,
                length,
            } => add(
                c"payload",
                &[
                    (sys::NFTNL_EXPR_PAYLOAD_BASE, Value::U32(header.base())),
                    (sys::NFTNL_EXPR_PAYLOAD_OFFSET, Value::U32(*offset)),
                    (sys::NFTNL_EXPR_PAYLOAD_LEN, Value::U32(*length)),
                    to(sys::NFTNL_EXPR_PAYLOAD_DREG),
                ],
            ),
            Self::Ct(ct) => add(
                c"ct",
                &[
                    (sys::NFTNL_EXPR_CT_KEY, Value::U32(ct.key())),
                    to(sys::NFTNL_EXPR_CT_DREG),
                ],
            ),
            Self::Nexthop6 => add(
                c"rt",
                &[
                    (sys::NFTNL_EXPR_RT_KEY, Value::U32(NEXTHOP6)),
                    to(sys::NFTNL_EXPR_RT_DREG),
                ],
            ),
            Self::Bitwise { mask, xor } => add(
                c"bitwise",
                &[
                    to(sys::NFTNL_EXPR_BITWISE_SREG),
                    to(sys::NFTNL_EXPR_BITWISE_DREG),
                    (sys::NFTNL_EXPR_BITWISE_LEN, Value::U32(4)),
                    (
                        sys::NFTNL_EXPR_BITWISE_MASK,
                        Value::Bytes(&mask.to_ne_bytes()),
                    ),
                    (
                        sys::NFTNL_EXPR_BITWISE_XOR,
                        Value::Bytes(&xor.to_ne_bytes()),
                    ),
                ],
            ),
            Self::Equals(value) | Self::Differs(value) => add(
                c"cmp",
                &[
                    to(sys::NFTNL_EXPR_CMP_SREG),
                    (
                        sys::NFTNL_EXPR_CMP_OP,
                        number(match self {
                            Self::Equals(_) => libc::NFT_CMP_EQ,
                            _ => libc::NFT_CMP_NEQ,
                        }),
                    ),
                    (sys::NFTNL_EXPR_CMP_DATA, Value::Bytes(value.as_slice())),
                ],
            ),
            Self::In(_) => add(
                c"lookup",
                &[
                    to(sys::NFTNL_EXPR_LOOKUP_SREG),
                    name(sys::NFTNL_EXPR_LOOKUP_SET, SET_NAME),
                    (sys::NFTNL_EXPR_LOOKUP_SET_ID, Value::U32(set)),
                ],
            ),
            Self::Load(value) => add(
                c"immediate",
                &[
                    to(sys::NFTNL_EXPR_IMM_DREG),
                    (sys::NFTNL_EXPR_IMM_DATA, Value::Bytes(value.as_slice())),
                ],
            ),
            Self::SetOriginalZone => add(
                c"ct",
                &[
                    (sys::NFTNL_EXPR_CT_KEY, number(libc::NFT_CT_ZONE)),
                    to(sys::NFTNL_EXPR_CT_SREG),
                    (sys::NFTNL_EXPR_CT_DIR, Value::U8(ORIGINAL)),
                ],
            ),
            Self::Counter => add(c"counter", &[]),
            Self::Redirect => add(
                c"redir",
                &[
                    to(sys::NFTNL_EXPR_REDIR_REG_PROTO_MIN),
                    (sys::NFTNL_EXPR_REDIR_FLAGS, Value::U32(PROTO_SPECIFIED)),
                ],
            ),
            Self::Accept => add(c"immediate", &[verdict, code(libc::NF_ACCEPT)]),
            Self::Drop => add(c"immediate", &[verdict, code(libc::NF_DROP)]),
            Self::Goto(chain) => {
                let chain = CString::new(chain.as_str()).unwrap_or_default();
                let chain = name(sys::NFTNL_EXPR_IMM_CHAIN, &chain);
                add(c"immediate", &[verdict, chain, code(libc::NFT_GOTO)]);
            }
            Self::Other(_) => {}
        }
    }
}

fn number(value: libc::c_int) -> Value<'static> {
    Value::U32(value.cast_unsigned())
}

fn name(attribute: u32, name: &CStr) -> (u32, Value<'_>) {
    (attribute, Value::Bytes(name.to_bytes_with_nul()))
}
