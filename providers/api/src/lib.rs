//! The provider contract: a pure Shape and a few Calls
