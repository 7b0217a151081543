//! Stands in for the unwinder of the C compiler's library, which would find
//! nothing to do: a release aborts where it panics, and is linked without unwind
//! tables (build.rs).
//!
//! The standard library refers to it nevertheless. A panic walks the stack for a
//! backtrace; that this walk ends at once is known to the compiler here, so all
//! that reads debug information for its frames, a sixth of the program, is left
//! out. And functions end with clean-up code that nothing gets to. With both
//! defined, libgcc_s is not loaded at all; what a later standard library needs
//! besides would come from there again.

// Linked statically, there is no way around the one of libgcc_eh or libunwind.
#![cfg(all(
    panic = "abort",
    not(debug_assertions),
    not(target_feature = "crt-static")
))]

use std::ffi::{c_int, c_void};
use std::process::abort;

/// `_URC_END_OF_STACK` of the Itanium C++ ABI's `_Unwind_Reason_Code`.
const END_OF_STACK: c_int = 5;

/// Calls `_trace` for every frame there is a table for: none.
// SAFETY: the name and the signature are those of the ABI, and whoever calls it
// must take a stack that ends at once.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions that are called only while unwinding, and so never.
macro_rules! never_called {
    ($($name:ident)*) => {
        $(
            // SAFETY: the name is the ABI's. Without the return value of the
            // real one, it must not return, and does not.
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                abort()
            }
        )*
    };
}

never_called! {
    _Unwind_Resume
    _Unwind_GetDataRelBase
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_SetGR
    _Unwind_SetIP
}
