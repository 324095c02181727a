"""What tests need: one conformance suite a port, and fakes that sit the same exam. Only tests import it."""
