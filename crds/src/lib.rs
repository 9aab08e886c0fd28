//! App and Target as Kubernetes objects: thin wraps of core's types
