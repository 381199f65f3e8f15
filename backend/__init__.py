"""The Label Studio side: routes, interaction, samples, learning, reports, dashboard, command line.

Packages from top to bottom; each imports only packages below it (checked by import-linter)::

    cli             one file for each group of commands; only it starts demo and benchmark
    demo benchmark  the demonstration and the speed test
    app plugin      the FastAPI application, and the same backend as a LabelStudioMLBase class
    web             the dashboard
    api             what Label Studio, Prometheus and scripts ask over HTTP
    worker          Celery, the webhook inbox, the processes of one machine
    learning        fine-tuning, scoring and replay jobs
    samples         accepted labels as training samples
    interaction     from a click or phrase to a mask
    reports         what labeling costs
    registry        model versions and which one serves
    jobs            jobs as rows: queue, lease, runner, scheduler
    images          images of tasks and their embeddings
    label_studio    its API, labeling configs, payloads, annotations and masks
    db              connections, tables, migrations
    logs malloc metrics settings errors
"""

# Imported for its effect: it limits the threads of numpy, so it must come before numpy.
import model as _model  # noqa: F401
