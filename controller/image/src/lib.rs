//! Dockerfile to OCI image to registry: build, store, pull, push
