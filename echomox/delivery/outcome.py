"""The values between the queue and those who deliver for it; they live with the queue, which stands below."""

from echomox.queue.outcome import OUTCOMES, Job, JobRecipient, Outcome

__all__ = ["OUTCOMES", "Job", "JobRecipient", "Outcome"]
