//! The platform on this machine for one app: services, jobs, probes, names, ports
