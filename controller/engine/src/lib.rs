//! The step machine, its journal, its budgets, and the driver that runs them
