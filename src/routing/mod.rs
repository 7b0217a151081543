//! Part routing.
