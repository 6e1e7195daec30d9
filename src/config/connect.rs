//! From an account of the config to a provider that can be called.
