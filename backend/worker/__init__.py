"""Background work: Celery, its queues, the webhook inbox, and the processes of one machine."""
