"""What holds for all tests: an example of Hypothesis takes as long as it takes, on a machine that is slow or busy."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
