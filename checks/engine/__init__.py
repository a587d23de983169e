"""The docker command under test, a case's context, what a container shows of its own state, and leak detection."""
