//! Manifest, desired state, resources, plan and status; the pure steps between them
