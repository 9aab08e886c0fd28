//! Table tests of single steps.
