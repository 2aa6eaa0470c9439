"""Whether one tenant can tell by the time of an answer what another has asked."""
